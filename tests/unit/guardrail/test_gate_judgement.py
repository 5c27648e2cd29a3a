from __future__ import annotations

from typing import Any

import pytest

from services.guardrail.domain.gate import Arm, alpha_of_look, copied_cases, judge, shortcuts
from services.guardrail.domain.policy import GateRule
from shared.events.values import GraderSpec
from tests.fakes.guardrail import cases

LABEL = GraderSpec(kind="label")
SEALED = [case for case in cases(60) if case.split == "sealed"]
RULE = GateRule()


def arm(right: int, *, failures: int = 0, answers: Any = None) -> Arm:
    """Right on the first `right` cases, failing on the last `failures`."""
    grades = [1.0 if number < right else 0.0 for number in range(len(SEALED))]
    marked = [None if number >= len(SEALED) - failures else grade for number, grade in enumerate(grades)]
    given = answers or [f"{case.expected}{number}" for number, case in enumerate(SEALED)]
    return Arm(digest="d", grades=tuple(marked), answers=tuple(given))


def verdict(candidate: Arm, incumbent: Arm, alpha: float = 0.05) -> tuple[str, str, int]:
    report = judge(candidate, incumbent, SEALED, LABEL, RULE, alpha)
    return report.verdict, "; ".join(report.reasons), report.more_cases_needed


def test_a_large_gain_is_certified() -> None:
    assert verdict(arm(55), arm(42))[0] == "certified"


def test_no_difference_is_undecided_and_hopeless() -> None:
    found, reasons, more = verdict(arm(50), arm(50))
    assert (found, more) == ("canary", 0)
    assert "not shown better" in reasons


def test_a_small_gain_is_undecided_and_says_how_many_cases_are_missing() -> None:
    found, _, more = verdict(arm(52), arm(50))
    assert found == "canary"
    assert more > 100


def test_a_loss_that_is_shown_is_rejected() -> None:
    assert verdict(arm(42), arm(55))[:1] == ("rejected",)


def test_failures_beyond_the_tolerance_reject_even_a_better_candidate() -> None:
    found, reasons, _ = verdict(arm(56, failures=4), arm(30))
    assert found == "rejected"
    assert "4 of 60 runs failed" in reasons


def test_a_constant_answer_is_a_shortcut_however_it_scores() -> None:
    found, reasons, _ = verdict(arm(55, answers=["good"] * 60), arm(20))
    assert found == "rejected"
    assert "shortcut" in reasons


def test_a_candidate_that_does_not_beat_the_majority_label_is_not_certified() -> None:
    found, reasons, _ = verdict(arm(32), arm(10))
    assert found == "canary"
    assert "majority" in reasons


def test_a_smaller_alpha_asks_for_more() -> None:
    better, base = arm(56), arm(49)
    assert verdict(better, base, alpha=0.05)[0] == "certified"
    assert verdict(better, base, alpha=0.001)[0] == "canary"


def test_looks_halve_and_never_spend_more_than_the_total() -> None:
    spent, looks = 0.0, list[float]()
    while (alpha := alpha_of_look(RULE, len(looks), spent)) > 0:
        looks.append(alpha)
        spent += alpha
    assert looks[:3] == [0.05, 0.025, 0.0125]
    assert spent <= RULE.alpha_total
    assert looks[-1] >= RULE.alpha_least


def test_shortcuts_are_computed_from_the_sealed_labels() -> None:
    rows = [case for case in SEALED if case.expected == "good" or int(case.id[-4:]) % 5 == 0]
    assert set(shortcuts(rows)["majority"]) == {"good"}
    assert shortcuts(rows)["echo"][0] == rows[0].input["text"]


@pytest.mark.parametrize("where", ["prompt", "system"])
def test_a_sealed_text_inside_the_document_is_found(where: str) -> None:
    stolen = f"Remember:\n{SEALED[7].input['text'].upper()}"
    assert copied_cases({"steps": [{where: stolen}]}, SEALED) == (SEALED[7].id,)
    assert copied_cases({"steps": [{where: "train message number 1 about something bad"}]}, SEALED) == ()


def test_a_perfect_candidate_is_no_shortcut_where_most_labels_are_the_same() -> None:
    rows = [case.model_copy(update={"expected": "fraud" if number % 25 == 0 else "fine"}) for number, case in enumerate(SEALED * 4)]
    labels = tuple(case.expected for case in rows)
    perfect, lazy = Arm("d", (1.0,) * len(rows), labels), ["fine"] * (len(rows) - 1) + ["Fine."]
    before = Arm("b", tuple(0.0 if number % 2 else 1.0 for number in range(len(rows))), ("?",) * len(rows))
    report = judge(perfect, before, rows, LABEL, RULE, 0.05)
    assert (report.verdict, report.reasons[0][:6]) == ("certified", "better")
    as_ever = Arm("d", tuple(float(label == "fine") for label in labels), tuple(lazy))
    assert judge(as_ever, before, rows, LABEL, RULE, 0.05).reasons[-1] == "a shortcut: it answers as `majority` does"


def test_a_category_of_many_cases_in_a_prompt_is_no_copy_of_them() -> None:
    rows = [case.model_copy(update={"input": {**case.input, "topic": "electronics"}}) for case in SEALED]
    assert copied_cases({"prompt": "topics are electronics and clothing"}, rows) == ()


@pytest.mark.parametrize("between", ["\t", "\n", "\r\n"])
def test_short_texts_are_found_whatever_stands_between_them(between: str) -> None:
    rows = [case.model_copy(update={"input": {"text": f"plate {number:03d}x"}}) for number, case in enumerate(SEALED)]
    document = {"prompt": between.join(row.input["text"] for row in rows[:9])}
    assert copied_cases(document, rows) == tuple(row.id for row in rows[:9])
