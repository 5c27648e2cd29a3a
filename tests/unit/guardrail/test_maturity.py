from __future__ import annotations

import copy
from typing import Any

import pytest

from services.guardrail.domain.maturity import MATURITIES, MaturityRule, outside
from services.guardrail.domain.policy import Policy
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed
from shared.events.message import Message
from shared.events.policies import MaturityChanged
from tests.fakes.guardrail import Bench, bench, pipeline, shipped_policy


def policy(**maturities: Any) -> Policy:
    return Policy.parse({**copy.deepcopy(shipped_policy().content), "maturities": maturities}, "test")


async def asked(at: Bench, maturity: Any, change_id: str = "m1", author: str = "ada", name: str = "triage") -> list[Message]:
    fields: dict[str, Any] = {"kind": "maturity", "pipeline": name, "author": author, "domain": "support"}
    return await at.propose({"maturity": maturity}, change_id, **fields)


async def approved(at: Bench, change_id: str = "m1") -> list[Message]:
    return await at.decide(change_id, "approve", "grace", f"d-{change_id}")


async def raised(at: Bench, maturity: str, name: str = "triage") -> None:
    await asked(at, maturity, f"up-{name}-{maturity}", name=name)
    await approved(at, f"up-{name}-{maturity}")


async def maturity_of(at: Bench, name: str = "triage") -> str:
    deployment = await at.at.deployments.get(name)
    assert deployment is not None
    return deployment.maturity


def said(found: list[Message]) -> str:
    fact = found[0]
    assert isinstance(fact, ChangeVetoed | ChangeQueued)
    return "; ".join(fact.reasons)


async def test_a_new_pipeline_is_experimental_and_stays_so_when_its_revision_is_replaced() -> None:
    at = bench()
    await at.propose(pipeline())
    assert await maturity_of(at) == "experimental"
    await raised(at, "beta")
    await at.propose(pipeline("Name the sentiment of: {{ text }}"), "c2")
    assert await maturity_of(at) == "beta"


async def test_raising_waits_for_people_and_is_told() -> None:
    at = bench()
    await at.propose(pipeline())
    (queued,) = await asked(at, "production")
    assert isinstance(queued, ChangeQueued) and "experimental -> production" in said([queued])
    assert await maturity_of(at) == "experimental"
    done, changed = await approved(at)
    assert isinstance(done, ChangeApproved) and isinstance(changed, MaturityChanged)
    assert (changed.previous_maturity, changed.maturity, await maturity_of(at)) == ("experimental", "production", "production")
    assert [each.action for each in await at.at.audit.entries()][-1] == "pipeline.maturity_changed"


async def test_a_person_lowers_at_once_and_a_service_does_not() -> None:
    at = bench()
    await at.propose(pipeline())
    await raised(at, "production")
    (queued,) = await asked(at, "experimental", "m2", author="generator")
    assert isinstance(queued, ChangeQueued)
    assert await maturity_of(at) == "production"
    lowered, _ = await asked(at, "beta", "m3")
    assert isinstance(lowered, ChangeApproved) and await maturity_of(at) == "beta"


async def test_a_maturity_change_approved_twice_happens_once() -> None:
    at = bench()
    await at.propose(pipeline())
    await asked(at, "beta")
    first = await approved(at)
    assert await approved(at) == first
    deployment = await at.at.deployments.get("triage")
    assert deployment is not None and deployment.generation == 2


async def test_what_was_raised_is_the_revision_that_people_saw() -> None:
    at = bench()
    await at.propose(pipeline())
    await asked(at, "production")
    await at.propose(pipeline("Name the sentiment of: {{ text }}"), "c2")
    (late,) = await approved(at)
    assert isinstance(late, ChangeVetoed)
    assert await maturity_of(at) == "experimental"


@pytest.mark.parametrize(
    ("maturity", "why"),
    [("stable", "one of"), (["beta"], "one of"), (None, "one of"), ("experimental", "no change")],
)
async def test_what_is_no_change_of_maturity_is_vetoed(maturity: Any, why: str) -> None:
    at = bench()
    await at.propose(pipeline())
    assert why in said(await asked(at, maturity))


async def test_a_pipeline_that_does_not_serve_has_no_maturity() -> None:
    assert "there is no pipeline" in said(await asked(bench(), "beta"))


BOUNDS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("step_types", {"step_types": ["set_variable"]}, {}, "claude"),
    ("providers", {"providers": ["gemini"]}, {}, "claude"),
    ("models", {"models": ["claude-haiku-5-5"]}, {"model": "claude-opus-5-5"}, "claude-opus-5-5"),
    ("domains", {"domains": ["medical|legal"]}, {}, "support"),
]


@pytest.mark.parametrize(("noun", "bound", "step", "offender"), BOUNDS)
async def test_production_holds_narrower_bounds_than_experimental(
    noun: str, bound: dict[str, Any], step: dict[str, Any], offender: str
) -> None:
    at = bench(policy=policy(production=bound))
    steps = [{"name": "classify", "type": "claude", "prompt": "Say: {{ text }}", **step}]
    assert isinstance((await at.propose(pipeline(steps=steps)))[0], ChangeApproved), "experimental may"
    text = said(await asked(at, "production"))
    assert f"maturity-{noun}" in text and offender in text and "maturities.production" in text


async def test_a_revision_of_a_production_pipeline_is_held_to_production() -> None:
    at = bench(policy=policy(production={"providers": ["claude"]}))
    await at.propose(pipeline())
    await raised(at, "production")
    steps = [{"name": "classify", "type": "gemini", "prompt": "Say: {{ text }}"}]
    text = said(await at.propose(pipeline(steps=steps), "c2"))
    assert "maturity-providers" in text and "gemini" in text


async def test_a_production_pipeline_is_measured_on_listed_datasets_only() -> None:
    at = bench(policy=policy(production={"datasets": ["other"]}))
    await at.register()
    await at.propose(pipeline())
    await raised(at, "production")
    found = await at.propose(pipeline("Name: {{ text }}"), "c2", kind="promotion", dataset_id="tweets")
    assert "maturity-datasets" in said(found)


OUTER = [{"name": "call", "type": "pipeline", "pipeline": "triage", "inputs": {"text": "{{ text }}"}}]


def outer() -> dict[str, Any]:
    return pipeline(name="outer", steps=OUTER, outputs={"answer": "{{ steps.call.result }}"})


async def nesting() -> Bench:
    """`outer` runs `triage`; both experimental."""
    at = bench()
    await at.propose(pipeline())
    await at.propose(outer(), "c2", author="ada")
    await approved(at, "c2")
    return at


async def test_a_production_pipeline_nests_no_experimental_one_unless_policy_says_so() -> None:
    at = await nesting()
    text = said(await asked(at, "production", "m1", name="outer"))
    assert "maturity-nests" in text and "triage: experimental" in text
    allowing = at.with_policy(policy(production={"nests": ["experimental", "beta", "production"]}))
    assert isinstance((await asked(allowing, "production", "m2", name="outer"))[0], ChangeQueued)


async def test_a_production_pipeline_nests_one_that_was_raised_before() -> None:
    at = await nesting()
    await raised(at, "beta")
    assert isinstance((await asked(at, "production", "m1", name="outer"))[0], ChangeQueued)


def test_a_nested_pipeline_that_is_computed_is_no_production_one() -> None:
    names = {"change": {"kind": "revision", "maturity": "production"}, "facts": {"nested_maturities": ["{{ x }}: unknown"]}}
    assert outside({}, names)[0][0] == "maturity-nests"


@pytest.mark.parametrize("kind", ["template", "policy"])
def test_what_runs_nothing_itself_has_no_maturity(kind: str) -> None:
    rules = {each: MaturityRule(providers=()) for each in MATURITIES}
    assert outside(rules, {"change": {"kind": kind, "maturity": "production"}, "facts": {"providers": ["claude"]}}) == []


def test_a_change_without_a_known_maturity_is_vetoed() -> None:
    assert outside({}, {"change": {"kind": "revision"}, "facts": {}})[0][0] == "maturity"
