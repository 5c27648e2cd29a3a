from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from services.guardrail.domain.gate import alpha_of_look
from services.guardrail.domain.policy import GateRule
from shared.errors import InvalidInputError
from shared.evidence.pairing import pairing_saving
from shared.evidence.wealth import AlphaLedger, SpendingRule, spend

RULE = SpendingRule(total=0.10, first=0.05, least=0.0005)


def test_looks_cost_half_of_the_one_before_until_a_look_could_show_nothing() -> None:
    ledger, paid = AlphaLedger(RULE), []
    for number in range(20):
        ledger, alpha = spend(ledger, f"change-{number}")
        paid.append(alpha)
    assert paid[:4] == pytest.approx([0.05, 0.025, 0.0125, 0.00625])
    assert paid[7:] == [0.0] * 13 and len(ledger.looks) == 7
    assert ledger.spent + ledger.balance == pytest.approx(RULE.total)


def test_ledger_spends_what_the_sealed_gate_spends() -> None:
    gate, ledger = GateRule(), AlphaLedger(RULE)
    for number in range(12):
        expected = alpha_of_look(gate, len(ledger.looks), ledger.spent)
        ledger, alpha = spend(ledger, str(number))
        assert alpha == expected


@given(st.floats(0.001, 0.4), st.floats(0.001, 1.0), st.floats(1e-5, 0.01), st.floats(0.1, 1.0), st.lists(st.integers(0, 30)))
def test_never_more_than_the_total_is_spent_and_no_key_pays_twice(
    total: float, first: float, least: float, factor: float, keys: list[int]
) -> None:
    ledger = AlphaLedger(SpendingRule(total, first, least, factor))
    paid: dict[int, float] = {}
    for key in keys:
        ledger, alpha = spend(ledger, str(key))
        assert alpha == 0.0 or alpha >= least
        if paid.get(key):
            assert alpha == paid[key]
        paid[key] = alpha
    assert ledger.spent <= total + 1e-12
    assert len({look.key for look in ledger.looks}) == len(ledger.looks)


def test_a_refusal_is_not_recorded_and_the_ledger_survives_storage() -> None:
    empty = AlphaLedger(SpendingRule(total=0.001, first=0.05, least=0.01))
    assert spend(empty, "a") == (empty, 0.0)
    ledger, adapter = spend(AlphaLedger(RULE), "a")[0], TypeAdapter(AlphaLedger)
    assert adapter.validate_json(adapter.dump_json(ledger)) == ledger
    with pytest.raises(InvalidInputError):
        SpendingRule(total=0.0, first=0.05, least=0.01)


def test_spending_bounds_the_chance_that_anything_worthless_is_ever_certified() -> None:
    generator, wrong = np.random.default_rng(1), 0
    for _ in range(2000):
        ledger = AlphaLedger(RULE)
        for number in range(10):
            ledger, alpha = spend(ledger, str(number))
            if generator.random() < alpha:
                wrong += 1
                break
    assert wrong / 2000 <= RULE.total + 0.015


def test_pairing_saves_the_share_of_the_variance_that_the_cases_explain() -> None:
    generator = np.random.default_rng(3)
    hardness = generator.random(4000)
    ours, theirs = (np.clip(hardness + generator.normal(0, 0.05, 4000), 0, 1) for _ in range(2))
    saving = pairing_saving(list(ours), list(theirs))
    assert saving.cases_saved == pytest.approx(np.corrcoef(ours, theirs)[0, 1], abs=0.02)
    assert saving.cases_saved > 0.9
    assert abs(pairing_saving(list(ours), list(generator.permutation(theirs))).cases_saved) < 0.05
    assert pairing_saving(list(hardness), list(1 - hardness)).cases_saved == pytest.approx(-1.0)


def test_too_few_cases_and_nan_save_nothing() -> None:
    for found, outcome in (
        (pairing_saving([1.0], [0.0]), "no_data"),
        (pairing_saving([1.0, float("nan")], [0.0, 1.0]), "not_finite"),
    ):
        assert (found.outcome, found.cases_saved) == (outcome, 0.0)
    assert pairing_saving([1.0, 1.0], [1.0, 1.0]).cases_saved == 0.0
