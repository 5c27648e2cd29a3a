from __future__ import annotations

from typing import Any

import pytest

from services.guardrail.adapters.files import DEFAULT_POLICY, read_policy
from services.guardrail.domain.policy import Policy
from shared.errors import ConfigurationError


def names(**parts: dict[str, Any]) -> dict[str, Any]:
    """A harmless new pipeline, with `parts` changed."""
    usual: dict[str, dict[str, Any]] = {
        "change": {
            "kind": "revision",
            "pipeline": "triage",
            "domain": "support",
            "author": "generator",
            "author_verified": True,
            "author_fault": "",
            "deploy": True,
            "new_pipeline": True,
            "replaces": False,
            "meta": False,
            "maturity": "experimental",
            "name_taken": False,
            "dataset_changed": False,
        },
        "facts": {
            "step_types": ["claude"],
            "providers": ["claude"],
            "functions": [],
            "models": [],
            "nested": [],
            "steps": 1,
            "estimated_calls": 1,
            "estimated_tokens": 600,
            "prompt_characters": 40,
        },
        "diff": {"kinds": ["new_pipeline"], "lines": []},
        "risk": {"score": 0.2, "reasons": ["a new pipeline"]},
        "evidence": {"kinds": ["trial"], "score": 0.9, "cases": 20, "gate": ""},
        "budget": {
            "seconds": 300.0,
            "steps": 200,
            "calls": 100,
            "tokens": 200000,
            "cost_usd": 2.0,
            "depth": 5,
            "concurrency": 8,
        },
    }
    return {name: {**usual[name], **parts.get(name, {})} for name in usual}


def minimal(*rules: dict[str, Any], **fields: Any) -> Policy:
    content = {
        "policy": "test",
        "version": 1,
        "domains": {"pattern": ".*"},
        "allowed": {"list": ["a"]},
        "scopes": {},
        "rules": rules,
        **fields,
    }
    return Policy.parse(content, "test.yaml")


def rule(effect: str, when: str, id: str = "r", **more: str) -> dict[str, Any]:
    return {"id": id, "effect": effect, "when": when, "reason": f"because of {id}", **more}


@pytest.fixture(scope="module")
def shipped() -> Policy:
    return read_policy(DEFAULT_POLICY)


def test_a_harmless_new_pipeline_goes_through(shipped: Policy) -> None:
    assert shipped.decide(names()).effect == "allow"


@pytest.mark.parametrize(
    ("change", "by"),
    [
        ({"change": {"domain": "weapons"}}, "domain-refused"),
        ({"facts": {"step_types": ["claude", "shell"]}}, "unknown-step-type"),
        ({"facts": {"providers": ["openrouter"]}}, "unknown-provider"),
        ({"facts": {"functions": ["send_mail"]}}, "unknown-function"),
        ({"budget": {"calls": 1001}}, "over-limits"),
        ({"budget": {"tokens": 2_000_001}}, "over-limits"),
        ({"budget": {"cost_usd": 20.5}}, "over-limits"),
        ({"budget": {"seconds": 3601.0}}, "over-limits"),
        ({"budget": {"depth": 6}}, "over-limits"),
    ],
)
def test_what_is_unknown_or_too_large_is_vetoed(shipped: Policy, change: dict[str, Any], by: str) -> None:
    decision = shipped.decide(names(**change))
    assert (decision.effect, decision.decided_by) == ("veto", f"policy:{by}")


@pytest.mark.parametrize(
    ("change", "by"),
    [
        ({"change": {"meta": True}}, "meta-pipeline"),
        ({"facts": {"step_types": ["claude", "file_ops"]}}, "sensitive-step-type"),
        ({"facts": {"step_types": ["pipeline_deployer"]}}, "sensitive-step-type"),
        ({"facts": {"functions": ["recent_runs"]}}, "unlisted-function"),
        ({"facts": {"models": ["huge-9"]}}, "unlisted-model"),
        ({"diff": {"kinds": ["new_provider"]}}, "new-provider"),
        ({"diff": {"kinds": ["wider_limits"]}}, "wider-limits"),
        ({"diff": {"kinds": ["new_domain"]}}, "new-domain"),
        ({"change": {"name_taken": True}}, "name-taken"),
        ({"change": {"replaces": True}, "risk": {"score": 0.3}}, "replaces-without-proof"),
        ({"change": {"kind": "promotion", "dataset_changed": True}, "evidence": {"gate": "certified"}}, "other-dataset"),
        ({"risk": {"score": 0.6}}, "high-risk"),
        ({"change": {"author_verified": False, "author_fault": "it is not signed"}}, "unverified-author"),
        ({"change": {"author_verified": False, "kind": "promotion"}, "evidence": {"gate": "certified"}}, "unverified-author"),
        ({"change": {"author_verified": False, "kind": "template", "deploy": False}}, "unverified-author"),
    ],
)
def test_what_widens_the_system_waits_for_people(shipped: Policy, change: dict[str, Any], by: str) -> None:
    decision = shipped.decide(names(**change))
    assert (decision.effect, decision.decided_by) == ("review", f"policy:{by}")


def test_a_promotion_goes_through_only_when_certified(shipped: Policy) -> None:
    change = {"kind": "promotion", "replaces": True, "name_taken": True}
    assert shipped.decide(names(change=change, evidence={"gate": "certified"})).effect == "allow"
    for gate in ("", "canary", "rejected"):
        assert shipped.decide(names(change=change, evidence={"gate": gate})).effect == "review"


def test_every_veto_is_told_and_names_what_offends(shipped: Policy) -> None:
    decision = shipped.decide(names(facts={"step_types": ["shell", "claude"], "functions": ["send_mail"]}))
    assert decision.decided_by == "policy:unknown-step-type"
    assert "shell" in decision.reasons[0] and "claude" not in decision.reasons[0].split(":")[1]
    assert "send_mail" in decision.reasons[1]


def test_the_first_veto_wins_over_reviews_and_allows_whatever_their_order() -> None:
    policy = minimal(rule("allow", "true", "a"), rule("review", "true", "b"), rule("veto", "true", "c"), rule("veto", "true", "d"))
    assert policy.decide(names()).decided_by == "policy:c"


def test_what_no_rule_matches_waits_for_people() -> None:
    decision = minimal(rule("allow", "false"), rule("veto", "false", "v")).decide(names())
    assert (decision.effect, decision.decided_by) == ("review", "policy:nothing-matched")


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("change.unheard_of", "undeclared reference to 'change.unheard_of'"),
        ("change.matrity == 'beta'", "did you mean `change.maturity`?"),
        ("allowed.lsit == ['a']", "did you mean `allowed.list`?"),
        ("chnge.kind == 'revision'", "did you mean `change.kind`?"),
        ("risk.score + 'x' == 'y'", "no matching overload"),
        ("risk.score == 'high'", "no matching overload"),
        ("budget.calls > 5.0", "no matching overload"),
        ("change.kind", "gives string, and must give true or false"),
        ("facts.steps.exists(s, true)", "range of a comprehension"),
    ],
)
@pytest.mark.parametrize("effect", ["veto", "review", "allow"])
def test_a_rule_about_what_does_not_exist_is_refused_when_it_is_loaded(when: str, said: str, effect: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        minimal(rule(effect, when, "odd"), rule("allow", "true", "any"))
    assert "rule odd: `when`" in str(refused.value) and said in str(refused.value)


def test_a_wrong_name_in_show_is_refused_too() -> None:
    with pytest.raises(ConfigurationError, match="rule odd: `show`"):
        minimal(rule("veto", "true", "odd", show="facts.stepz"))


@pytest.mark.parametrize(
    ("allowed", "said"),
    [
        ({"a-b": 1}, "a-b"),
        ({"deep": {"x": 1}}, "allowed.deep"),
        ({"mixed": [1, "a"]}, "allowed.mixed"),
        ({"big": 2**60}, "too large"),
    ],
)
def test_lists_that_rules_could_not_use_are_refused(allowed: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        minimal(rule("veto", "true"), allowed=allowed)


def test_a_rule_whose_name_is_missing_when_it_is_judged_asks_people() -> None:
    given = names()
    del given["risk"]
    decision = minimal(rule("allow", "risk.score < 0.5", "odd"), rule("allow", "true", "any")).decide(given)
    assert (decision.effect, decision.decided_by) == ("review", "policy:odd")


@pytest.mark.parametrize("when", ["facts.steps / 0 == 1", "allowed.list[7] == 'x'", "1 / (facts.steps - 1) == 1"])
@pytest.mark.parametrize("effect", ["veto", "allow"])
def test_a_rule_that_cannot_be_judged_asks_people(when: str, effect: str) -> None:
    decision = minimal(rule(effect, when, "odd"), rule("allow", "true", "any")).decide(names())
    assert (decision.effect, decision.decided_by) == ("review", "policy:odd")


def test_a_veto_wins_over_a_rule_that_cannot_be_judged() -> None:
    decision = minimal(rule("allow", "facts.steps / 0 == 1", "odd"), rule("veto", "true", "stop")).decide(names())
    assert decision.effect == "veto"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"rules": [rule("veto", "a +")]}, "rule r"),
        ({"rules": [rule("veto", "true"), rule("allow", "true")]}, "twice"),
        ({"rules": []}, "rules"),
        ({"rules": [rule("maybe", "true")]}, "rules.0.effect"),
        ({"domains": {"pattern": "("}}, "regular expression"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_policy_that_cannot_be_used_is_refused_with_the_place(content: dict[str, Any], said: str) -> None:
    usual = {
        "policy": "t",
        "version": 1,
        "domains": {"pattern": ".*"},
        "allowed": {},
        "scopes": {},
        "rules": [rule("veto", "true")],
    }
    with pytest.raises(ConfigurationError, match=said):
        Policy.parse({**usual, **content}, "bad.yaml")


def test_the_revision_changes_with_every_content_and_with_nothing_else() -> None:
    first = minimal(rule("veto", "true"))
    assert first.revision == minimal(rule("veto", "true")).revision
    assert first.revision != minimal(rule("veto", "false")).revision


def test_text_inside_a_change_is_never_an_expression(shipped: Policy) -> None:
    decision = shipped.decide(names(change={"kind": "promotion", "author": "x' || true || 'y", "pipeline": "true"}))
    assert decision.effect == "review"
