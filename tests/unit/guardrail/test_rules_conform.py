"""The rule engine answers as another implementation of CEL does, on every shipped rule and on expressions of all kinds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import celpy
import pytest
from celpy.adapter import json_to_cel
from celpy.evaluation import CELEvalError
from hypothesis import given, settings
from hypothesis import strategies as st

from services.guardrail.domain.names import ABSENT, NAMES, completed, flat
from services.guardrail.domain.rules import Rule, RuleBook
from tests.fakes.guardrail import shipped_policy

TEXTS = [
    "",
    "claude",
    "gemini",
    "revision",
    "promotion",
    "template",
    "policy",
    "maturity",
    "support",
    "weapons",
    "certified",
    "beta",
]
WORDS = st.sampled_from([*TEXTS, "beta", "file_ops", "vote", "recent_runs", "new_provider", "wider_limits", "a b", "é"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": WORDS,
    "bool": st.booleans(),
    "int": st.sampled_from([0, 1, 5, 6, 200, 1000, 1001, 2_000_000, 2_000_001]),
    "double": st.sampled_from([0.0, 0.2, 0.25, 0.6, 0.85, 1.0, 20.0, 20.5, 3600.0, 3600.5]),
    "strings": st.lists(WORDS, max_size=3),
}


@st.composite
def changes(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    given: dict[str, dict[str, Any]] = {root: {} for root in ROOTS}
    for name, kind in NAMES.items():
        given[name.split(".")[0]][name.split(".")[1]] = draw(VALUES[kind])
    return given


ROOTS = sorted({name.split(".")[0] for name in NAMES})


ORACLE = celpy.Environment()
"""Made once and outside of any test: making one changes the recursion limit of the whole process."""


@cache
def oracle(text: str) -> Any:
    return ORACLE.program(ORACLE.compile(text))


def by_oracle(text: str, names: Mapping[str, Any]) -> Any:
    """The value, or `error`."""
    try:
        found = oracle(text).evaluate({root: json_to_cel(fields) for root, fields in names.items()})
    except CELEvalError:
        return "error"
    if isinstance(found, celpy.celtypes.BoolType | bool):
        return bool(found)
    return [found] if isinstance(found, str) else [str(each) for each in found]


def judged(rule: Rule, lists: Mapping[str, Any], names: Mapping[str, Any]) -> Any:
    """The rule as the engine judges it: its own effect, nothing, or `review` for what cannot be evaluated."""
    book = RuleBook([rule.model_copy(update={"effect": "veto"})], lists)
    effect, reason = book.rules[0].judge(book.activation(flat(names)))
    return (True, reason) if effect == "veto" else (("error" if effect == "review" else False), reason)


def policy_lists() -> dict[str, Any]:
    document = shipped_policy().document
    return {"allowed": document.allowed, "domains": document.domains.model_dump(mode="json")}


@settings(max_examples=30, deadline=None)
@given(names=changes())
def test_every_shipped_rule_is_judged_as_the_other_implementation_judges_it(names: dict[str, Any]) -> None:
    lists = policy_lists()
    book = RuleBook([rule.model_copy(update={"effect": "veto"}) for rule in shipped_policy().document.rules], lists)
    activation = book.activation(flat(names))
    for compiled in book.rules:
        effect, reason = compiled.judge(activation)
        assert (effect == "veto") is by_oracle(compiled.rule.when, {**names, **lists}), compiled.rule.id
        if effect == "veto" and compiled.rule.show and isinstance(shown := by_oracle(compiled.rule.show, {**names, **lists}), list):
            # The one difference: whole doubles are written as `20` here and as `20.0` there.
            assert re.sub(r"\.0\b", "", ", ".join(shown)) in reason


EXPRESSIONS = st.recursive(
    st.sampled_from(
        [
            "change.deploy",
            "change.kind == 'promotion'",
            "change.kind != change.domain",
            "change.kind in facts.step_types",
            "facts.providers.exists(p, p == change.domain)",
            "facts.models.all(m, m in allowed.models)",
            "facts.functions.filter(f, f in allowed.functions) == facts.functions",
            "facts.step_types.map(t, t + '!').exists(t, t == 'claude!')",
            "facts.step_types.exists_one(t, t == 'claude')",
            "size(facts.nested) > 1",
            "facts.steps / budget.depth > 1",
            "facts.steps % 2 == 0",
            "facts.steps + budget.calls * 2 >= 402",
            "risk.score >= allowed.review_from",
            "risk.score * 2.0 - 1.0 < 0.5",
            "budget.seconds > double(budget.calls)",
            "string(budget.calls) == '200'",
            "change.pipeline.startsWith('c') || change.pipeline.endsWith('e')",
            "change.pipeline.contains('lau')",
            "change.domain.matches('^[a-z]+$')",
            "facts.step_types[0] == 'claude'",
            "(change.deploy ? facts.steps : budget.steps) > 5",
        ]
    ),
    lambda inner: st.one_of(
        st.builds("({}) && ({})".format, inner, inner),
        st.builds("({}) || ({})".format, inner, inner),
        st.builds("!({})".format, inner),
        st.builds("(({}) ? ({}) : ({}))".format, inner, inner, inner),
    ),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None)
@given(text=EXPRESSIONS, names=changes())
def test_any_expression_is_judged_as_the_other_implementation_judges_it(text: str, names: dict[str, Any]) -> None:
    lists = policy_lists()
    rule = Rule(id="any", effect="veto", when=text, reason="because")
    assert judged(rule, lists, names)[0] == by_oracle(text, {**names, **lists})


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_name_of_the_table_can_stand_in_a_rule(name: str) -> None:
    rule = Rule(id="any", effect="veto", when=f"{name} == {name}", reason="because")
    assert judged(rule, {}, completed({}))[0] is True
    assert name.split(".")[1] in completed({})[name.split(".")[0]]


def test_what_is_absent_has_the_type_of_its_name() -> None:
    assert set(ABSENT) == set(NAMES.values())
