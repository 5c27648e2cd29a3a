from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import TypeAdapter

from shared.errors import InvalidInputError
from shared.evidence.betting import EProcess, Leaning, evidence, log_capitals, observe, observe_all, start_test
from shared.evidence.confidence_sequence import ConfidenceSequence, bounds, extend, start_sequence

ORACLES: dict[str, Any] = json.loads((Path(__file__).parents[2] / "data" / "evidence_oracles.json").read_text())["confseq"]
ALPHA = 0.05
VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=60)


LEANING = Leaning(weight=20.0, lean=0.7)


def wealth_of(values: list[float], mean: float, alpha: float = ALPHA, leaning: Leaning | None = None) -> EProcess:
    state = start_test(mean, alpha, leaning)
    for value in values:
        state = observe(state, value)
    return state


def sequence_of(values: list[float], state: ConfidenceSequence | None = None) -> ConfidenceSequence:
    state = state or start_sequence(ALPHA)
    for value in values:
        state = extend(state, value)
    return state


@pytest.mark.parametrize("name", ["values", "binary"])
def test_wealth_equals_that_of_confseq(name: str) -> None:
    above, below = log_capitals(np.asarray(ORACLES[name]), 0.6, ALPHA / 2)
    hedged = np.exp(np.maximum(above, below)) / 2
    assert hedged[np.asarray(ORACLES["at"]) - 1] == pytest.approx(ORACLES[f"{name}_martingale_at_0.6"], rel=1e-6)


@pytest.mark.parametrize("name", ["values", "binary"])
def test_confidence_sequence_equals_that_of_confseq_up_to_its_grid(name: str) -> None:
    state, met = start_sequence(ALPHA, steps=1000), 0
    for at, low, high in zip(ORACLES["at"], ORACLES[f"{name}_low"], ORACLES[f"{name}_high"], strict=True):
        state, met = sequence_of(ORACLES[name][met:at], state), at
        found = bounds(state)
        assert (found.low, found.high) == pytest.approx((low, high), abs=0.0025)


@settings(max_examples=40, deadline=None)
@given(VALUES, st.floats(0.05, 0.95))
def test_one_by_one_gives_the_wealth_of_all_at_once_and_mirrored_values_mirror_it(values: list[float], mean: float) -> None:
    above, below = log_capitals(np.asarray(values), mean, ALPHA)
    state, mirrored = wealth_of(values, mean), wealth_of([1 - value for value in values], 1 - mean)
    assert (state.log_above, state.log_below) == pytest.approx((above[-1], below[-1]), abs=1e-9)
    assert (mirrored.log_above, mirrored.log_below) == pytest.approx((state.log_below, state.log_above), abs=1e-6)
    assert state.best_above == pytest.approx(max(0.0, above.max()), abs=1e-9)


def aa_values(name: str, sequences: int, time: int) -> tuple[NDArray[np.float64], float]:
    generator = np.random.default_rng(21)
    if name == "beta":
        return generator.beta(0.5, 1.5, (sequences, time)), 0.25
    share = {"fair": 0.5, "common": 0.9, "rare": 0.05}[name]
    return (generator.random((sequences, time)) < share).astype(np.float64), share


@pytest.mark.parametrize("name", ["fair", "common", "rare", "beta"])
def test_false_alarms_under_continuous_looking_stay_below_alpha(name: str) -> None:
    values, mean = aa_values(name, 2000, 400)
    above, below = log_capitals(values, mean, ALPHA)
    for wealth in (above, below):
        assert np.mean(wealth.max(axis=1) >= math.log(1 / ALPHA)) <= ALPHA
    two_sided = np.maximum(*log_capitals(values, mean, ALPHA / 2)).max(axis=1) >= math.log(2 / ALPHA)
    assert np.mean(two_sided) <= ALPHA


def test_a_fixed_test_looked_at_continuously_would_alarm_so_the_simulation_can_fail() -> None:
    values, mean = aa_values("fair", 2000, 400)
    number = np.arange(1, 401)
    z = (np.cumsum(values, axis=1) / number - mean) / np.sqrt(0.25 / number)
    assert np.mean((np.abs(z[:, 20:]) > 1.96).any(axis=1)) > 0.2


def test_a_real_difference_is_noticed_and_the_sequence_closes_in_on_the_truth() -> None:
    values = list((np.random.default_rng(2).random(300) < 0.8).astype(float))
    found = evidence(wealth_of(values, 0.6))
    assert found.outcome == "ok" and found.p_above < ALPHA < found.p_below
    early, late = bounds(sequence_of(values[:50])), bounds(sequence_of(values))
    assert early.low <= late.low < 0.8 < late.high <= early.high
    assert late.high - late.low < 0.2


def test_one_sided_sequence_is_tighter_on_its_side_and_open_on_the_other() -> None:
    values = list((np.random.default_rng(2).random(100) < 0.8).astype(float))
    both = bounds(sequence_of(values))
    lower, upper = (bounds(sequence_of(values, start_sequence(ALPHA, side))) for side in ("lower", "upper"))
    assert lower.low > both.low and lower.high == 1.0
    assert upper.high < both.high and upper.low == 0.0


@settings(max_examples=20, deadline=None)
@given(VALUES, VALUES)
def test_stored_and_loaded_states_go_on_as_if_nothing_had_happened(before: list[float], after: list[float]) -> None:
    tests, sequences = TypeAdapter(EProcess), TypeAdapter(ConfidenceSequence)
    test, leaning, sequence = wealth_of(before, 0.4), wealth_of(before, 0.4, leaning=LEANING), sequence_of(before)
    loaded_test, loaded_leaning = (tests.validate_json(tests.dump_json(each)) for each in (test, leaning))
    loaded_sequence = sequences.validate_json(sequences.dump_json(sequence))
    for value in after:
        test, loaded_test = observe(test, value), observe(loaded_test, value)
        leaning, loaded_leaning = observe(leaning, value), observe(loaded_leaning, value)
        sequence, loaded_sequence = extend(sequence, value), extend(loaded_sequence, value)
    assert (loaded_test, loaded_leaning, loaded_sequence) == (test, leaning, sequence)


def test_a_test_stored_before_bets_could_lean_goes_on_with_its_own() -> None:
    stored = TypeAdapter(EProcess).dump_python(wealth_of([0.2, 0.9], 0.5))
    del stored["leaning"], stored["squares"]
    assert observe(TypeAdapter(EProcess).validate_python(stored), 0.3) == wealth_of([0.2, 0.9, 0.3], 0.5)


def test_the_state_that_was_observed_stays_as_it_was() -> None:
    state = start_test(0.5, ALPHA)
    observe(state, 1.0)
    assert state == start_test(0.5, ALPHA)


def test_values_that_are_no_numbers_end_all_success_whatever_came_before() -> None:
    sure = [1.0] * 200
    assert evidence(wealth_of(sure, 0.5)).p_above < 1e-6
    for broken in (float("nan"), float("inf"), -float("inf")):
        found = evidence(wealth_of([*sure, broken, 1.0], 0.5))
        assert (found.outcome, found.p_above, found.p_below) == ("not_finite", 1.0, 1.0)
        interval = bounds(sequence_of([*sure[:20], broken, 1.0]))
        assert (interval.outcome, interval.low, interval.high) == ("not_finite", 0.0, 1.0)


def test_nothing_seen_is_no_data_and_what_breaks_the_bounds_is_refused() -> None:
    assert evidence(start_test(0.5, ALPHA)).outcome == "no_data"
    assert bounds(start_sequence(ALPHA)).outcome == "no_data"
    for wrong in (1.01, -0.01):
        with pytest.raises(InvalidInputError):
            observe(start_test(0.5, ALPHA), wrong)
        with pytest.raises(InvalidInputError):
            extend(start_sequence(ALPHA), wrong)
    for mean, alpha in ((0.0, 0.05), (1.0, 0.05), (0.5, 0.0)):
        with pytest.raises(InvalidInputError):
            start_test(mean, alpha)
    for weight, lean in ((0.0, 0.5), (20.0, 1.1), (20.0, -0.1)):
        with pytest.raises(InvalidInputError):
            start_test(0.5, ALPHA, Leaning(weight, lean))


def test_values_that_no_constant_mean_explains_are_a_mismatch() -> None:
    found = bounds(sequence_of([1.0] * 300 + [0.0] * 300))
    assert (found.outcome, found.low, found.high) == ("mismatch", 0.0, 1.0)


@pytest.mark.parametrize("mean", [0.5, 0.25])
def test_bets_that_lean_make_nothing_on_average_where_the_mean_is_as_tested(mean: float) -> None:
    """Over all sequences of twelve: exactly, whatever was bet on the way."""
    wealth = {"log_above": 0.0, "log_below": 0.0}
    for values in itertools.product((0.0, 1.0), repeat=12):
        state = observe_all(start_test(mean, ALPHA, LEANING), values)
        chance = mean ** sum(values) * (1 - mean) ** (12 - sum(values))
        wealth = {side: made + chance * math.exp(getattr(state, side)) for side, made in wealth.items()}
    assert wealth == pytest.approx({"log_above": 1.0, "log_below": 1.0}, abs=1e-9)


def test_bets_that_lean_are_as_large_as_what_they_expect_and_then_as_what_they_saw() -> None:
    free = Leaning(weight=20.0, lean=0.4)
    assert observe(start_test(0.5, ALPHA, free), 0.0).log_below == pytest.approx(math.log(1.4))
    fair = wealth_of([0.0, 1.0] * 2000, 0.5, leaning=free)
    assert observe(fair, 0.0).log_below - fair.log_below == pytest.approx(math.log1p(8 / 4020))


def test_a_small_difference_is_found_that_plug_in_bets_do_not_find() -> None:
    rng = np.random.default_rng(1005)
    sequences = [rng.choice((0.0, 0.5, 1.0), size=1500, p=(0.3, 0.5, 0.2)).tolist() for _ in range(100)]
    leaning, plug_in = (
        sum(observe_all(start_test(0.5, 1e-6, lean), values).best_below >= math.log(1 / 0.0275) for values in sequences)
        for lean in (LEANING, None)
    )
    assert leaning >= 95
    assert leaning > plug_in


@pytest.mark.parametrize("leaning", [None, LEANING])
@given(values=VALUES, cut=st.integers(0, 60))
def test_many_values_in_one_go_are_the_same_as_one_by_one(values: list[float], cut: int, leaning: Leaning | None) -> None:
    one_by_one = wealth_of(values, 0.6, leaning=leaning)
    at_once = observe_all(observe_all(start_test(0.6, ALPHA, leaning), values[:cut]), values[cut:])
    for name in ("log_above", "log_below", "best_above", "best_below"):
        assert math.isclose(getattr(at_once, name), getattr(one_by_one, name), rel_tol=1e-9, abs_tol=1e-9)
    assert at_once.past.count == one_by_one.past.count
    assert observe_all(at_once, [0.5, math.nan]).not_finite == 1
    with pytest.raises(InvalidInputError):
        observe_all(at_once, [0.5, 1.5])
