from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.guardrail.adapters.allowances import MongoAllowances
from services.guardrail.domain.budgets import day_of
from services.guardrail.use_cases import attest_shipped, find_audit_entries, grant_scope, measure_pipelines, roll_back
from shared.attestation import verify_scope
from shared.errors import ConfigurationError, LimitReachedError, OutOfScopeError, UnavailableError
from shared.events.audit import FindAuditEntries
from shared.events.changes import GrantScope
from shared.events.datasets import MeasurePipelines, PipelinesMeasured
from shared.events.deployments import RollbackPipeline
from shared.events.values import Budget
from shared.pipeline.loading import load_document
from tests.fakes.guardrail import Bench, answering, bench, facts, pipeline
from tests.fakes.storage import InMemoryDatabase


def wish(scope_id: str = "s1", **fields: Any) -> GrantScope:
    usual = {
        "scope_id": scope_id,
        "purpose": "generation",
        "holder": "generator",
        "domain": "support",
        "budget": {"runs": 100, "calls": 400, "tokens": 400_000, "cost_usd": 5.0},
        "seconds": 120,
    }
    return GrantScope.model_validate({**usual, **fields})


async def measured(at: Bench, pipelines: dict[str, Any], measure_id: str = "m1", **fields: Any) -> PipelinesMeasured:
    command = {"measure_id": measure_id, "dataset_id": "tweets", "pipelines": pipelines, **fields}
    (fact,) = facts(await measure_pipelines(MeasurePipelines.model_validate(command), at.at))
    assert isinstance(fact, PipelinesMeasured)
    return fact


async def test_a_granted_scope_is_signed_and_bounded_by_policy() -> None:
    at = bench()
    granted = await grant_scope(wish(), at.at)
    verify_scope(at.signer.verifier, granted.scope, granted.attestation, now=at.clock.now())
    rule = at.at.policy.document.scopes["generation"]
    assert set(granted.scope.step_types) == set(rule.step_types)
    assert "file_ops" not in granted.scope.step_types
    assert granted.scope.budget == wish().budget


async def test_a_scope_holds_only_what_was_asked_for() -> None:
    granted = await grant_scope(wish(step_types=("claude",), providers=("claude",), functions=("vote",)), bench().at)
    assert (granted.scope.step_types, granted.scope.providers, granted.scope.functions) == (("claude",), ("claude",), ("vote",))


async def test_every_part_beyond_policy_is_named() -> None:
    with pytest.raises(OutOfScopeError) as caught:
        await grant_scope(
            wish(step_types=("shell",), functions=("send_mail",), domain="weapons", budget={"runs": 10**9}, seconds=80_000),
            bench().at,
        )
    for part in ("shell", "send_mail", "weapons", "runs", "seconds"):
        assert part in str(caught.value)


async def test_the_same_scope_id_gets_the_same_scope_and_is_counted_once() -> None:
    at = bench()
    first = await grant_scope(wish(), at.at)
    at.clock.pass_seconds(30)
    assert await grant_scope(wish(), at.at) == first
    (standing,) = await at.at.budgets.standings(day_of(at.clock.now()), ["purpose:generation"])
    assert standing.total.runs == 100
    with pytest.raises(OutOfScopeError, match="another wish"):
        await grant_scope(wish(seconds=3000), at.at)


async def test_a_day_has_only_so_much_and_the_next_day_has_it_again() -> None:
    at = bench()
    most = at.at.policy.document.scopes["generation"]
    times = most.daily.runs // most.budget.runs
    for number in range(times):
        await grant_scope(wish(f"s{number}", budget={"runs": most.budget.runs}), at.at)
    with pytest.raises(LimitReachedError, match="midnight UTC"):
        await grant_scope(wish("more", budget={"runs": 1}), at.at)
    at.clock.pass_seconds(12 * 3600)
    await grant_scope(wish("more", budget={"runs": 1}), at.at)


async def test_fifty_reservers_at_once_never_overshoot() -> None:
    database = InMemoryDatabase()
    stores = [MongoAllowances(database) for _ in range(5)]
    limit = Budget(runs=100, calls=1000, tokens=1000, cost_usd=1.0)
    amount = Budget(runs=3, calls=1, tokens=1, cost_usd=0.01)
    got = await asyncio.gather(*(stores[n % 5].reserve("day", f"k{n}", amount, limit) for n in range(50)))
    (account,) = await database.collection("quotas").find({})
    assert sum(got) == 33
    assert account["runs"] == 99


async def test_a_measurement_scores_labels_side_by_side_with_paired_differences() -> None:
    at = bench()
    at.fleet.answer = answering({"Say": 0.6, "Name": 0.95})
    await at.register()
    await at.propose(pipeline())
    fact = await measured(at, {"stable": "triage@stable", "other": pipeline("Name the sentiment of: {{ text }}")})
    assert fact.problems == ()
    assert fact.scores["other"].mean > fact.scores["stable"].mean
    gain, low, high = fact.differences["other"]
    assert low < gain < high and gain == pytest.approx(fact.scores["other"].mean - fact.scores["stable"].mean)
    assert fact.usage["stable"]["calls"] == fact.scores["stable"].cases == 60
    assert fact.usage["stable"]["seconds_p50"] == 0.5


async def test_a_measurement_takes_the_same_cases_for_all_and_pays_a_repeat_once() -> None:
    at = bench()
    await at.register()
    pair = {"a": pipeline("Say: {{ text }}"), "b": pipeline("Name: {{ text }}")}
    await measured(at, pair, cases=10)
    by_label: dict[str, list[str | None]] = {}
    for command in at.fleet.commands:
        assert command.document is not None
        by_label.setdefault(command.document["steps"][0]["prompt"], []).append(command.case_id)
    first, second = by_label.values()
    assert first == second and len(first) == 10
    await measured(at, pair, cases=10)
    assert len(at.fleet.commands) == 20


async def test_looks_a_day_are_metered_and_a_repeat_is_no_look() -> None:
    at = bench()
    await at.register()
    most = at.at.policy.document.gate.sealed_looks_a_day
    for number in range(most):
        assert (await measured(at, {"a": pipeline()}, f"m{number}", cases=1)).problems == ()
    assert (await measured(at, {"a": pipeline()}, "m0", cases=1)).problems == ()
    (problem,) = (await measured(at, {"a": pipeline()}, "more", cases=1)).problems
    assert "looked at" in problem.reason


OTHER = pipeline("Name the sentiment of: {{ text }}")


@pytest.mark.parametrize(("pipelines", "cases"), [({"a": OTHER}, 5), ({"a": pipeline(), "b": OTHER}, 5), ({"a": pipeline()}, 6)])
async def test_an_id_pays_for_one_look_and_for_no_other(pipelines: dict[str, Any], cases: int) -> None:
    at = bench()
    await at.register()
    first = await measured(at, {"a": pipeline()}, cases=5)
    (problem,) = (await measured(at, pipelines, cases=cases)).problems
    assert "the id of another measurement (choose another id" in str(problem)
    assert len(at.fleet.commands) == 5
    assert (await measured(at, {"a": pipeline()}, cases=5)).scores == first.scores
    assert (await measured(at, pipelines, "m2", cases=cases)).problems == ()


async def test_what_is_stable_by_now_is_another_look() -> None:
    at = bench()
    await at.register()
    await at.propose(pipeline())
    assert (await measured(at, {"a": "triage@stable"}, cases=5)).problems == ()
    await at.propose(OTHER, "c2")
    assert (await measured(at, {"a": "triage@stable"}, cases=5)).scores == {}


async def test_two_looks_that_are_taken_under_one_id_at_once_are_two_and_one_of_them_tells_scores() -> None:
    at = bench()
    await at.register()
    look, told = at.fleet.run_all, []

    async def with_another_meanwhile(*given: Any, **named: Any) -> Any:
        at.fleet.run_all = look  # type: ignore[method-assign]
        told.append(await measured(at, {"a": OTHER}, cases=5))
        return await look(*given, **named)

    at.fleet.run_all = with_another_meanwhile  # type: ignore[method-assign]
    told.append(await measured(at, {"a": pipeline()}, cases=5))
    assert [len(each.scores) for each in told] == [1, 0]
    (account,) = await at.database.collection("quotas").find({})
    assert account["runs"] == 2


async def test_what_is_measured_under_an_id_that_was_refused_before_is_in_the_audit_log() -> None:
    at = bench()
    assert (await measured(at, {"a": pipeline()}, cases=5)).problems
    await at.register()
    assert (await measured(at, {"a": pipeline()}, cases=5)).problems == ()
    found = (await find_audit_entries(FindAuditEntries(about="m1"), at.at))["entries"]
    assert [each["action"] for each in found] == ["dataset.measured", "measure.refused"]


@pytest.mark.parametrize(
    ("pipelines", "said"),
    [
        ({"x": "ghost"}, "ghost"),
        ({"x": pipeline(steps=[{"name": "a", "type": "claud"}])}, "claud"),
        ({"x": pipeline(domain="finance")}, "finance"),
        (
            {"x": pipeline(steps=[{"name": "classify", "type": "file_ops", "operation": "list", "path": "."}])},
            "file_ops",
        ),
    ],
)
async def test_what_may_not_be_measured_is_a_problem_and_runs_nothing(pipelines: dict[str, Any], said: str) -> None:
    at = bench()
    await at.register()
    fact = await measured(at, {"good": pipeline(), **pipelines})
    assert said in "; ".join(map(str, fact.problems))
    assert fact.scores == {} and at.fleet.commands == []


async def test_an_incomplete_measurement_is_tried_again() -> None:
    at = bench()
    await at.register()
    at.fleet.lost = {"sealed-0001"}
    with pytest.raises(UnavailableError):
        await measured(at, {"a": pipeline()})


async def test_shipped_pipelines_are_attested_and_deployed_once() -> None:
    at = bench()
    document = load_document(pipeline(name="context_aware_pipeline_generator", domain="meta"))
    effects = await attest_shipped([document], at.at)
    assert [effect.rsplit(":", 1)[1] for effect, _ in effects] == ["verdict", "deployed"]
    assert await attest_shipped([document], at.at) == []
    stored = await at.at.revisions.get(document.digest)
    assert stored is not None and stored.approved_by == "policy:shipped"
    at.signer.check(stored.attestation, kind="revision", digest=document.digest)


async def test_a_start_that_broke_off_after_the_deployment_is_finished_by_the_next() -> None:
    at = bench()
    document = load_document(pipeline(name="context_aware_pipeline_generator"))
    expected = await attest_shipped([document], at.at)
    changes = at.database.collection("changes")
    assert await changes.update_if({"applied": True}, {"$set": {"applied": False, "generation": 0}})
    assert await attest_shipped([document], at.at) == expected
    assert await attest_shipped([document], at.at) == []


async def test_a_newer_shipped_pipeline_replaces_an_older_shipped_one_and_back() -> None:
    at = bench()
    old, new = (
        load_document(pipeline(f"{word}: {{{{ text }}}}", name="context_aware_pipeline_generator")) for word in ("Old", "New")
    )
    for document, generation in ((old, 1), (new, 2), (old, 3)):
        await attest_shipped([document], at.at)
        deployment = await at.at.deployments.get(document.name)
        assert deployment is not None and (deployment.stable, deployment.generation) == (document.digest, generation)


async def test_a_shipped_pipeline_never_replaces_what_people_put_there() -> None:
    at = bench(meta_names=frozenset())
    await at.propose(pipeline("Mine: {{ text }}"))
    await attest_shipped([load_document(pipeline("Shipped: {{ text }}"))], at.at)
    deployment = await at.at.deployments.get("triage")
    assert deployment is not None and deployment.generation == 1


async def test_a_restart_does_not_undo_a_rollback_of_a_shipped_pipeline() -> None:
    at = bench()
    old, new = (load_document(pipeline(f"{word}: {{{{ text }}}}")) for word in ("Old", "New"))
    await attest_shipped([old], at.at)
    await attest_shipped([new], at.at)
    await roll_back(RollbackPipeline(rollback_id="r", pipeline="triage", reason="bad", author="alice"), at.at)
    await attest_shipped([new], at.at)
    deployment = await at.at.deployments.get("triage")
    assert deployment is not None and deployment.stable == old.digest


async def test_a_tampered_shipped_change_stops_the_start() -> None:
    at = bench()
    document = load_document(pipeline())
    planted = {"_id": f"shipped-{document.digest[:40]}-0", "change_id": f"shipped-{document.digest[:40]}-0", "kind": "revision"}
    evil = {
        "pipeline": "triage",
        "domain": "support",
        "author": "evoline",
        "document": pipeline("Evil: {{ text }}"),
        "created_at": "x",
    }
    await at.database.collection("changes").insert_once({**planted, **evil})
    with pytest.raises(ConfigurationError, match="tampered"):
        await attest_shipped([document], at.at)
