"""Attempts to bring back what people or the gate refused, or what was overtaken. Each has to fail closed."""

from __future__ import annotations

from services.guardrail.use_cases import quarantine_revision, roll_back, start_rollout
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed
from shared.events.deployments import RollbackPipeline, RollbackRefused
from shared.events.recovery import QuarantineRevision
from shared.events.rollouts import RolloutRefused, StartRollout
from tests.fakes.guardrail import Bench, bench, facts, pipeline

RISKY = pipeline("Name the sentiment of: {{ text }}", limits={"calls": 500})


async def denied() -> tuple[Bench, str, str]:
    """A guardrail, what serves, and the revision that a person denied."""
    at = bench()
    stable = (await at.propose(pipeline()))[0]
    queued = (await at.propose(RISKY, "q1"))[0]
    assert isinstance(stable, ChangeApproved) and isinstance(queued, ChangeQueued)
    await at.decide("q1", "deny")
    return at, stable.digest, queued.digest


async def serves(at: Bench, digest: str) -> bool:
    deployment = await at.at.deployments.get("triage")
    return deployment is not None and (deployment.stable, deployment.canary) == (digest, None)


async def test_a_rollback_does_not_lead_to_a_vetoed_revision() -> None:
    at, stable, vetoed = await denied()
    command = RollbackPipeline(rollback_id="r1", pipeline="triage", to_digest=vetoed, reason="back", author="alice")
    (said,) = facts(await roll_back(command, at.at))
    assert isinstance(said, RollbackRefused) and "no former stable revision" in said.reason
    assert await serves(at, stable)


async def test_a_rollout_does_not_lead_to_a_vetoed_revision() -> None:
    at, stable, vetoed = await denied()
    command = StartRollout(rollout_id="r1", pipeline="triage", digest=vetoed, author="alice")
    (said,) = facts(await start_rollout(command, at.at))
    assert isinstance(said, RolloutRefused) and "names 0 approved revisions" in said.reason
    assert await serves(at, stable)


async def test_a_rollback_does_not_lead_to_a_quarantined_revision() -> None:
    at = bench()
    first = (await at.propose(pipeline()))[0]
    second = (await at.propose(pipeline("Tell the sentiment of: {{ text }}"), "c2"))[0]
    assert isinstance(first, ChangeApproved) and isinstance(second, ChangeApproved)
    out = QuarantineRevision(quarantine_id="q", pipeline="triage", digest=first.digest, reason="bad", author="alice")
    await quarantine_revision(out, at.at)
    command = RollbackPipeline(rollback_id="r1", pipeline="triage", to_digest=first.digest, reason="back", author="alice")
    (said,) = facts(await roll_back(command, at.at))
    assert isinstance(said, RollbackRefused) and "quarantined" in said.reason
    assert await serves(at, second.digest)


async def test_a_child_of_a_quarantined_revision_is_not_approved() -> None:
    at = bench()
    first = (await at.propose(pipeline()))[0]
    assert isinstance(first, ChangeApproved)
    out = QuarantineRevision(
        quarantine_id="q", pipeline="triage", digest=first.digest, reason="bad", author="alice", even_if_serving=True
    )
    await quarantine_revision(out, at.at)
    (said,) = await at.propose(pipeline("Tell it: {{ text }}"), "c2", parent_digest=first.digest)
    assert isinstance(said, ChangeVetoed)
    assert await serves(at, first.digest)
