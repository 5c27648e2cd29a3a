"""Every no of the guardrail names the rule, the reason and what to do next."""

from __future__ import annotations

import re
from typing import Any

import pytest

from services.guardrail.domain.names import completed, flat
from services.guardrail.domain.rules import NEXT, Rule, RuleBook
from services.guardrail.use_cases import roll_back
from services.guardrail.use_cases.queries import get_pipeline
from shared.errors import NotFoundError
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed
from shared.events.deployments import GetPipeline, RollbackPipeline, RollbackRefused
from tests.fakes.guardrail import Bench, bench, facts, pipeline, shipped_policy
from tests.fakes.rollout_flow import HALF, Flow

RULES = [rule for rule in shipped_policy().document.rules if rule.effect != "allow"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_shipped_rule_names_itself_the_reason_and_what_to_do(rule: Rule) -> None:
    document = shipped_policy().document
    lists = {"allowed": document.allowed, "domains": document.domains.model_dump(mode="json")}
    holding = RuleBook([rule.model_copy(update={"when": "true"})], lists)
    effect, text = holding.rules[0].judge(holding.activation(flat(completed({}))))
    assert effect == rule.effect
    assert text.startswith(rule.reason) and text.endswith(f"[{rule.id}]")
    advice = text.removesuffix(f" [{rule.id}]").rsplit("(", 1)[-1].removesuffix(")")
    assert advice == (rule.do or NEXT[rule.effect]) and len(advice) > 10
    assert ": ?" not in text, "what is shown can be evaluated"


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.effect == "veto"], ids=lambda rule: rule.id)
def test_every_shipped_veto_says_itself_what_its_author_may_do(rule: Rule) -> None:
    assert rule.do


async def refused(at: Bench, document: dict[str, Any], **fields: Any) -> str:
    found = await at.propose(document, "x1", **fields)
    fact = next(fact for fact in found if isinstance(fact, ChangeVetoed | ChangeQueued))
    assert isinstance(fact, ChangeVetoed) and fact.vetoed_by
    return "; ".join(fact.reasons)


async def serving() -> Bench:
    at = bench()
    await at.propose(pipeline())
    return at


CALLING = [{"name": "call", "type": "pipeline", "pipeline": "nobody_knows"}]
CHECKS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("an invalid document", pipeline(steps=[]), {}),
    ("another name", pipeline(), {"pipeline": "other"}),
    ("no change", pipeline(), {}),
    ("a promotion of nothing", pipeline(name="fresh"), {"kind": "promotion", "dataset_id": "tweets"}),
    ("a promotion without a dataset", pipeline("Name: {{ text }}"), {"kind": "promotion"}),
    ("a nested pipeline that nobody approved", pipeline(name="outer", steps=CALLING, outputs={}), {}),
    ("a maturity that is none", {"maturity": "great"}, {"kind": "maturity", "pipeline": "triage"}),
    ("a maturity of nothing", {"maturity": "beta"}, {"kind": "maturity", "pipeline": "nobody"}),
    ("the maturity that it has", {"maturity": "experimental"}, {"kind": "maturity", "pipeline": "triage"}),
    ("a maturity of another domain", {"maturity": "beta"}, {"kind": "maturity", "pipeline": "triage", "domain": "legal"}),
    ("a policy of a service", shipped_policy().content, {"kind": "policy", "pipeline": "default"}),
    ("a policy that cannot be read", {"policy": "default"}, {"kind": "policy", "pipeline": "default", "author": "ada"}),
    ("the policy in force", shipped_policy().content, {"kind": "policy", "pipeline": "default", "author": "ada"}),
]
WHAT_TO_DO = re.compile(r"propose|mend|`evoline [a-z]+|set `|deploy|register|choose|approve")


@pytest.mark.parametrize(("what", "document", "fields"), CHECKS, ids=[each[0] for each in CHECKS])
async def test_every_fixed_check_says_what_is_wrong_and_what_to_do(
    what: str, document: dict[str, Any], fields: dict[str, Any]
) -> None:
    text = await refused(await serving(), document, **fields)
    assert len(text) > 25 and WHAT_TO_DO.search(text), text


async def test_a_veto_over_limits_names_those_that_are_exceeded_and_what_is_allowed() -> None:
    (vetoed,) = await bench().propose(pipeline(limits={"calls": 5000, "depth": 7}))
    assert isinstance(vetoed, ChangeVetoed)
    (reason,) = vetoed.reasons
    expected = "any run: 5000 calls (at most 1000), depth 7 (at most 5) (lower these limits of the document) [over-limits]"
    assert reason.endswith(expected), reason


async def test_a_rollback_where_only_a_canary_runs_says_how_to_end_that() -> None:
    flow = Flow()
    await flow.begin(HALF)
    command = RollbackPipeline(rollback_id="b1", pipeline="triage", reason="the new one is bad", author="grace")
    (refused,) = facts(await roll_back(command, flow.bench.at))
    assert isinstance(refused, RollbackRefused)
    canary = (await flow.record()).canary[:12]
    assert f"{canary} is not stable, it is only rolled out: end that with `evoline rollout abort r1" in refused.reason


async def test_a_pipeline_that_is_approved_and_was_never_deployed_is_shown() -> None:
    at = bench()
    (approved,) = await at.propose(pipeline(), deploy=False)
    assert isinstance(approved, ChangeApproved)
    shown = await get_pipeline(GetPipeline(pipeline="triage", undeployed_too=True), at.at)
    assert (shown["stable"], shown["digest"], shown["generation"]) == (None, approved.digest, 0)
    assert [each["digest"] for each in shown["revisions"]] == [approved.digest]
    with pytest.raises(NotFoundError, match="has no stable revision"):
        await get_pipeline(GetPipeline(pipeline="triage"), at.at)
    with pytest.raises(NotFoundError):
        await get_pipeline(GetPipeline(pipeline="another", undeployed_too=True), at.at)


async def test_a_name_that_no_pipeline_has_leads_to_the_list_and_to_the_nearest_name() -> None:
    at = await serving()
    for reference in ("triaje", "triaje@abcdef12"):
        with pytest.raises(NotFoundError, match="`evoline pipelines` lists what serves; did you mean triage") as refused:
            await get_pipeline(GetPipeline(pipeline=reference), at.at)
        assert "evoline show" not in str(refused.value)
    with pytest.raises(NotFoundError, match="evoline show pipeline triage"):
        await get_pipeline(GetPipeline(pipeline="triage@abcdef12"), at.at)


async def test_a_quarantined_or_denied_revision_says_what_to_do() -> None:
    at = await serving()
    former = await at.at.deployments.get("triage")
    assert former is not None
    await at.at.revisions.quarantine("a" * 64, cause="r", reason="bad", at="now")
    text = await refused(at, pipeline("Other: {{ text }}"), parent_digest="a" * 64)
    assert "quarantined after a rollback" in text and WHAT_TO_DO.search(text)
