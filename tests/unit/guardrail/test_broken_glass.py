"""One admin alone, in an emergency: heard by everybody, confirmed or taken back."""

from __future__ import annotations

from typing import Any

import pytest

from services.guardrail.use_cases import lapse_glass
from services.guardrail.use_cases.telling import Effects
from shared.events.changes import ChangeApproved
from shared.events.deployments import PipelineDeployed, PipelineRolledBack, RollbackRefused
from shared.events.message import Message
from shared.events.oversight import GlassBroken, GlassConfirmed, GlassLapsed
from tests.fakes.guardrail import Bench, bench, facts, pipeline, shipped_policy
from tests.fakes.people import identity
from tests.fakes.reviewing import HIGH, refusal, stable, waiting


async def swept(at: Bench) -> list[Message]:
    told: list[Message] = []

    async def tell(effects: Effects) -> None:
        told.extend(facts(effects))

    await lapse_glass(at.at, tell)
    return told


async def broken(document: dict[str, Any] = HIGH) -> tuple[Bench, str]:
    at = await waiting(document)
    before = await stable(at)
    approved, deployed, glass = await at.decide("c2", reviewer="alice", message="m1", break_glass=True, comment="outage 7")
    assert isinstance(approved, ChangeApproved) and approved.approved_by == "break-glass:alice"
    assert isinstance(deployed, PipelineDeployed) and isinstance(glass, GlassBroken)
    return at, before


async def test_one_admin_approves_alone_in_an_emergency_and_everybody_hears_of_it() -> None:
    at, before = await broken()
    assert await stable(at) != before
    assert at.tally.glasses == ["broken"]
    entry = await at.at.audit.find("glass:c2:broken")
    assert entry is not None and (entry.actor, entry.facts["reason"]) == ("alice", "outage 7")
    assert await swept(at) == [] and at.tally.glasses_open == 1


@pytest.mark.parametrize(
    ("reviewer", "fields", "said"),
    [
        ("rita", {"comment": "x"}, "takes the role admin"),
        ("alice", {}, "reason in `comment`"),
        ("alice", {"comment": "x", "delegated_by": "bob"}, "one's own approval"),
        ("generator", {"comment": "x"}, "no person"),
    ],
)
async def test_the_glass_is_not_broken_by_anybody_or_for_nothing(reviewer: str, fields: dict[str, Any], said: str) -> None:
    at = await waiting()
    at.identities.add(identity("rita", "reviewer"))
    assert said in refusal(await at.decide("c2", reviewer=reviewer, break_glass=True, **fields))


async def test_not_even_in_an_emergency_does_an_author_approve() -> None:
    at = await waiting(author="alice")
    assert "author never approves" in refusal(await at.decide("c2", reviewer="alice", break_glass=True, comment="urgent"))


async def test_an_emergency_that_somebody_else_confirms_stays() -> None:
    at, _ = await broken()
    now = await stable(at)
    assert "has approved it already" in refusal(await at.decide("c2", reviewer="alice", message="m2"))
    (confirmed,) = await at.decide("c2", reviewer="bob", message="m3")
    assert isinstance(confirmed, GlassConfirmed) and confirmed.by == "bob"
    assert await at.decide("c2", reviewer="bob", message="m3") == [confirmed]
    at.clock.pass_seconds(48 * 3600)
    assert await swept(at) == [] and await stable(at) == now
    assert "only what is queued" in refusal(await at.decide("c2", reviewer="carol", message="m4"))


async def test_an_emergency_that_nobody_confirms_is_taken_back() -> None:
    at, before = await broken()
    bad = await stable(at)
    at.clock.pass_seconds(24 * 3600)
    told = await swept(at)
    assert [type(each) for each in told] == [PipelineRolledBack, PipelineDeployed, GlassLapsed]
    assert await stable(at) == before and await at.at.revisions.is_quarantined(bad)
    assert await swept(at) == []


async def test_a_crash_before_it_is_told_repeats_it_and_nothing_happens_twice() -> None:
    at, _ = await broken()
    at.clock.pass_seconds(24 * 3600)

    async def crash(_: Effects) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await lapse_glass(at.at, crash)
    deployment = await at.at.deployments.get("triage")
    assert len(await swept(at)) == 3
    assert await at.at.deployments.get("triage") == deployment


async def test_an_emergency_that_somebody_rejects_is_taken_back_at_once() -> None:
    at, before = await broken()
    told = await at.decide("c2", "deny", "bob", "m2", comment="not the cause")
    assert isinstance(told[-1], GlassLapsed) and told[-1].by == "bob"
    assert await stable(at) == before
    assert await at.decide("c2", "deny", "bob", "m2", comment="not the cause") == told
    assert await swept(at) == [] and await at.at.changes.with_broken_glass(1) == [], "it hides no other that is due"


async def test_the_first_revision_of_a_pipeline_is_taken_back_by_quarantine() -> None:
    at = bench()
    steps = [{"name": "keep", "type": "file_ops", "operation": "read", "path": "a.txt"}]
    await at.propose(pipeline(name="fresh", steps=steps, outputs={}), "c2")
    await at.decide("c2", reviewer="alice", break_glass=True, comment="outage")
    at.clock.pass_seconds(24 * 3600)
    told = await swept(at)
    assert isinstance(told[0], RollbackRefused) and isinstance(told[-1], GlassLapsed)
    assert await at.at.revisions.is_quarantined(told[-1].digest)


async def test_the_glass_is_not_broken_for_a_policy() -> None:
    at = bench()
    content = {**shipped_policy().content, "version": 9}
    await at.propose(content, "p1", kind="policy", pipeline="default", domain="general", author="ada")
    found = await at.decide("p1", reviewer="alice", break_glass=True, comment="urgent")
    assert "takes all its votes" in refusal(found)
