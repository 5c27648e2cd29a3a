from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInputError
from shared.events.runs import RunFinished
from shared.events.values import Case, GraderSpec
from shared.evidence.graders import answer_of, grade, grade_run, grader_hash, infer_grader

KINDS = ("exact", "normalized", "numeric", "label", "json_fields", "regex", "contains")
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from((10**400, -(10**400))) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def spec(kind: str, **options: Any) -> GraderSpec:
    return GraderSpec.model_validate({"kind": kind, "options": options})


@pytest.mark.parametrize(
    ("grader", "expected", "answer", "wanted"),
    [
        (spec("exact"), 1, 1.0, 1.0),
        (spec("exact"), 10**400, 10**400, 1.0),
        (spec("exact"), 1.5, 10**400, 0.0),
        (spec("numeric"), 1, 10**400, 0.0),
        (spec("json_fields"), {"a": 1}, {"a": 10**400}, 0.0),
        (spec("exact"), 1, True, 0.0),
        (spec("exact"), True, 1, 0.0),
        (spec("exact"), "Yes", "yes", 0.0),
        (spec("exact"), {"a": [1, "x"]}, {"answer": {"a": [1, "x"]}}, 1.0),
        (spec("exact"), math.nan, math.nan, 0.0),
        (spec("normalized"), "New  York", "  new york. ", 1.0),
        (spec("normalized"), "New York", "New Jersey", 0.0),
        (spec("normalized"), "5", 5, 0.0),
        (spec("label", labels=["ham", "spam"]), "spam", {"label": "Spam."}, 1.0),
        (spec("label", labels=["ham", "spam"]), "spam", "it is spam", 0.0),
        (spec("label", labels=["ham", "spam"]), "eggs", "eggs", 0.0),
        (spec("numeric"), 1200, "1,200", 1.0),
        (spec("numeric"), 40, "0,40", 0.0),
        (spec("numeric"), 1, True, 0.0),
        (spec("numeric"), 3, "so the answer is 3", 0.0),
        (spec("numeric", extract="last"), 3, "2 + 1, so the answer is 3.", 1.0),
        (spec("numeric", tolerance=0.5), 3, 3.4, 1.0),
        (spec("numeric", relative=0.1), 100, 91, 1.0),
        (spec("numeric"), 3, math.inf, 0.0),
        (spec("numeric"), math.nan, math.nan, 0.0),
        (spec("json_fields"), {"amount": 1.5, "currency": None}, {"amount": 1.5, "currency": None}, 1.0),
        (spec("json_fields"), {"amount": 1.5, "currency": "USD"}, {"answer": {"amount": 1.5, "currency": "EUR"}}, 0.5),
        (spec("json_fields"), {"amount": 1.5, "currency": "USD"}, '{"amount": 1.5, "currency": "usd"}', 1.0),
        (spec("json_fields"), {"a": 1}, {"a": 1, "b": 2, "c": 3}, 0.5),
        (spec("json_fields", fields=["a"]), {"a": 1, "b": 5}, {"a": 1, "b": 2}, 1.0),
        (spec("json_fields"), {"answer": 3, "unit": "kg"}, {"answer": 3, "unit": "kg"}, 1.0),
        (spec("json_fields"), {"a": 1}, {"a": True}, 0.0),
        (spec("regex"), r"\d{4}", "2026", 1.0),
        (spec("regex"), r"\d{4}", "in 2026", 0.0),
        (spec("regex"), "(", "(", 0.0),
        (spec("regex", pattern="a+", ignore_case=True), None, "AAA", 1.0),
        (spec("contains"), ["cat", "dog"], "A dog and a Cat", 1.0),
        (spec("contains"), ["cat", "dog"], "a dog", 0.0),
        (spec("contains", max_characters=10), "cat", "cat " * 10, 0.0),
        (spec("contains"), "", "anything", 0.0),
    ],
)
def test_grade_is_as_documented(grader: GraderSpec, expected: Any, answer: Any, wanted: float) -> None:
    assert grade(grader, expected, answer) == wanted


@given(st.sampled_from(KINDS), anything, anything)
def test_any_answer_gets_a_finite_grade_and_no_exception(kind: str, expected: Any, answer: Any) -> None:
    assert 0.0 <= grade(spec(kind), expected, answer) <= 1.0


@given(st.sampled_from(KINDS), st.booleans(), st.integers() | st.floats())
def test_a_bool_never_passes_for_a_number(kind: str, answer: bool, expected: float) -> None:
    assert grade(spec(kind), expected, answer) == 0.0


@given(st.sampled_from([k for k in KINDS if k not in ("regex",)]), anything)
def test_no_answer_never_passes(kind: str, expected: Any) -> None:
    if expected is not None:
        assert grade(spec(kind), expected, None) == 0.0


def test_answer_is_found_under_its_key_or_alone() -> None:
    assert answer_of({"answer": 1, "why": "x"}) == 1
    assert answer_of({"label": "a"}) == "a"
    assert answer_of({"label": "a", "why": "x"}) == {"label": "a", "why": "x"}
    assert answer_of({"label": "a"}, keep_objects=True) == {"label": "a"}
    assert answer_of("plain") == "plain"


def test_only_a_succeeded_run_earns_a_grade() -> None:
    run = RunFinished(
        run_id="r", pipeline="p", digest="d", domain="x", purpose="trial", status="succeeded", outputs={"answer": "a"}
    )
    assert grade_run(spec("exact"), "a", run) == 1.0
    for status in ("degraded", "failed", "refused", "cancelled"):
        assert grade_run(spec("exact"), "a", run.model_copy(update={"status": status})) is None


def test_hash_depends_on_the_rule_and_not_on_spelled_out_defaults() -> None:
    assert grader_hash(spec("numeric")) == grader_hash(spec("numeric", tolerance=1e-6, extract="whole"))
    assert grader_hash(spec("numeric")) != grader_hash(spec("numeric", tolerance=1e-5))
    assert grader_hash(spec("exact")) != grader_hash(spec("normalized"))
    assert len(grader_hash(spec("exact"))) == 64


def test_unknown_grader_options_are_named() -> None:
    with pytest.raises(InvalidInputError, match=r"grader.options.tolerence"):
        grader_hash(spec("numeric", tolerence=1))
    with pytest.raises(InvalidInputError, match="regular expression"):
        grade(spec("regex", pattern="("), "a", "a")


def cases(*expected: Any) -> list[Case]:
    return [Case(id=f"c{index}", input={"text": "t"}, expected=value) for index, value in enumerate(expected)]


def test_grader_follows_from_the_labels() -> None:
    assert infer_grader(cases("a", "b", "a", "b")) == spec("label", labels=["a", "b"])
    assert infer_grader(cases("one", "two", "three")).kind == "normalized"
    assert infer_grader(cases(1, 2.5)).kind == "numeric"
    assert infer_grader(cases({"x": 1}, {"y": 2})) == spec("json_fields", fields=["x", "y"])
    assert infer_grader(cases(True, False)).kind == "exact"
    assert infer_grader(cases([1], [2])).kind == "exact"


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (("a",), "1 labelled"),
        (("a", None), "no label"),
        (("a", 1), "mixed types: number, text"),
        (("a", "a", "a"), "same label 'a'"),
    ],
)
def test_unusable_examples_are_refused_with_the_reason(expected: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        infer_grader(cases(*expected))
