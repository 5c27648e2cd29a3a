"""What is taken out of use stays out with everything made from it, until people take it back in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.guardrail.domain.records import RevisionRecord
from services.guardrail.use_cases import (
    freeze_system,
    get_change,
    get_pipeline,
    list_pipelines,
    propose_change,
    quarantine_revision,
    release_revision,
    roll_back,
)
from services.guardrail.use_cases.queries import resolved
from shared.errors import InvalidInputError, NotAttestedError
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GetChange, ReviewRefused
from shared.events.deployments import GetPipeline, ListPipelines, PipelineRolledBack, RollbackPipeline
from shared.events.message import Message
from shared.events.recovery import FreezeSystem, QuarantineRefused, QuarantineRevision, ReleaseRevision, RevisionQuarantined
from tests.fakes.guardrail import Bench, bench, facts, pipeline, proposal
from tests.fakes.people import signed_proposal


async def approved(at: Bench, text: str, change_id: str, **fields: Any) -> str:
    name = fields.pop("name", "triage")
    (fact, *_) = await at.propose(pipeline(f"{text}: {{{{ text }}}}", name), change_id, **fields)
    assert isinstance(fact, ChangeApproved), fact
    return fact.digest


async def quarantine(at: Bench, digest: str, quarantine_id: str = "q1", **fields: Any) -> Message:
    command = QuarantineRevision(
        quarantine_id=quarantine_id, pipeline="triage", digest=digest, reason="it insults", author="alice", **fields
    )
    (fact,) = facts(await quarantine_revision(command, at.at))
    return fact


async def release(at: Bench, digest: str, change_id: str = "rel1") -> Message:
    command = ReleaseRevision(change_id=change_id, pipeline="triage", digest=digest, reason="it was the dataset", author="alice")
    (fact,) = facts(await release_revision(command, at.at))
    return fact


async def decide(at: Bench, change_id: str, reviewer: str = "bob") -> Message:
    return (await at.decide(change_id, "approve", reviewer, f"d-{change_id}-{reviewer}"))[0]


async def test_a_quarantine_of_the_same_id_as_a_change_tells_nothing_but_what_it_did() -> None:
    at = bench()
    bad = await approved(at, "Say", "c1")
    await approved(at, "State", "q1")
    assert isinstance(await quarantine(at, bad, "q1"), RevisionQuarantined)
    (entry,) = [each for each in await at.at.audit.entries() if each.action == "revision.quarantined"]
    assert "went_back_to" not in entry.facts


async def test_a_revision_goes_out_of_use_with_everything_made_from_it() -> None:
    at = bench()
    bad = await approved(at, "Say", "c1")
    child = await approved(at, "Tell", "c2", name="other", parent_digest=bad)
    grandchild = await approved(at, "Name", "c3", name="third", parent_digest=child)
    stable = await approved(at, "State", "c4")
    fact = await quarantine(at, bad[:12])
    assert isinstance(fact, RevisionQuarantined)
    assert (fact.digest, set(fact.quarantined)) == (bad, {bad, child, grandchild})
    for reference in (f"triage@{bad}", "other", "third"):
        with pytest.raises(NotAttestedError, match="quarantined"):
            await resolved(reference, at.at)
    assert (await resolved("triage", at.at)).digest == stable
    assert await quarantine(at, bad[:12]) == fact
    assert [entry.action for entry in await at.at.audit.entries()].count("revision.quarantined") == 1
    assert at.tally.quarantines == 3


async def test_what_serves_is_replaced_first_unless_that_is_wished_otherwise() -> None:
    at = bench()
    stable = await approved(at, "Say", "c1")
    refused = await quarantine(at, stable)
    assert isinstance(refused, QuarantineRefused) and "evoline rollback triage" in refused.reason
    assert (await resolved("triage", at.at)).digest == stable
    assert isinstance(await quarantine(at, stable, "q2", even_if_serving=True), RevisionQuarantined)
    with pytest.raises(NotAttestedError):
        await resolved("triage", at.at)


@pytest.mark.parametrize(("digest", "named"), [("0" * 12, "names 0 revisions"), ("abcdef12", "names 0 revisions")])
async def test_an_unknown_beginning_of_a_digest_is_refused(digest: str, named: str) -> None:
    at = bench()
    await approved(at, "Say", "c1")
    refused = await quarantine(at, digest)
    assert isinstance(refused, QuarantineRefused) and named in refused.reason


async def test_a_digest_that_was_never_approved_can_be_kept_out_beforehand() -> None:
    at = bench()
    document = pipeline("Shout: {{ text }}")
    digest = await approved(bench(), "Shout", "c1")
    assert isinstance(await quarantine(at, digest), RevisionQuarantined)
    (vetoed,) = await at.propose(document, "c2")
    assert isinstance(vetoed, ChangeVetoed) and "quarantined" in vetoed.reasons[0]


async def test_a_canary_that_is_quarantined_is_withdrawn() -> None:
    at = bench()
    stable = await approved(at, "Say", "c1")
    canary = await approved(at, "Tell", "c2", deploy=False)
    current = await at.at.deployments.get("triage")
    assert current is not None
    await at.at.deployments.swap(current.model_copy(update={"canary": canary, "generation": 2}), from_generation=1)
    await quarantine(at, canary)
    after = await at.at.deployments.get("triage")
    assert after is not None and (after.stable, after.canary, after.generation) == (stable, None, 3)


async def test_only_people_take_a_revision_back_in_and_never_its_author_alone() -> None:
    at = bench()
    bad = await approved(at, "Say", "c1")
    child = await approved(at, "Tell", "c2", parent_digest=bad)
    await quarantine(at, bad)
    queued = await release(at, bad)
    assert isinstance(queued, ChangeQueued) and queued.kind == "release"
    assert await release(at, bad) == queued
    with pytest.raises(NotAttestedError):
        await resolved(f"triage@{bad}", at.at)
    assert isinstance(await decide(at, "rel1", "alice"), ReviewRefused)
    assert isinstance(await decide(at, "rel1", "guardrail"), ReviewRefused)
    assert isinstance(await decide(at, "rel1"), ChangeApproved)
    assert (await resolved(f"triage@{bad}", at.at)).status == "approved"
    with pytest.raises(NotAttestedError):
        await resolved(f"triage@{child}", at.at)
    assert (await get_change(GetChange(change_id="rel1"), at.at))["applied"] is True


async def test_what_descends_from_a_quarantined_revision_is_released_after_it() -> None:
    at = bench()
    bad = await approved(at, "Say", "c1")
    child = await approved(at, "Tell", "c2", parent_digest=bad)
    await quarantine(at, bad)
    vetoed = await release(at, child)
    assert isinstance(vetoed, ChangeVetoed) and "release that one first" in vetoed.reasons[0]


async def test_there_is_nothing_to_release_where_nothing_is_quarantined() -> None:
    at = bench()
    digest = await approved(at, "Say", "c1")
    vetoed = await release(at, digest)
    assert isinstance(vetoed, ChangeVetoed) and "not quarantined" in vetoed.reasons[0]
    assert isinstance(await release(at, "0" * 64, "rel2"), QuarantineRefused)
    with pytest.raises(InvalidInputError, match="another one"):
        await release(at, digest, "c1")


async def test_a_release_that_was_tampered_with_while_it_waited_is_vetoed() -> None:
    at = bench()
    bad = await approved(at, "Say", "c1")
    await approved(at, "Tell", "c2")
    await quarantine(at, bad)
    await release(at, bad)
    planted = pipeline("Leak: {{ text }}")
    assert await at.database.collection("changes").update_if({"_id": "rel1"}, {"$set": {"document": planted}})
    vetoed = await decide(at, "rel1")
    assert isinstance(vetoed, ChangeVetoed) and "not stored as it was" in vetoed.reasons[0]


async def test_a_rollback_can_wish_that_runs_under_way_end_too() -> None:
    at = bench()
    await approved(at, "Say", "c1")
    bad = await approved(at, "Tell", "c2")
    command = RollbackPipeline(rollback_id="r1", pipeline="triage", reason="bad", author="alice", cancel_running=True)
    assert isinstance(facts(await roll_back(command, at.at))[0], PipelineRolledBack)
    row = await at.database.collection("quarantine").get(bad)
    assert row is not None and (row["cancel_running"], row["author"]) == (True, "alice")


async def test_a_child_that_is_approved_while_its_parent_is_taken_out_is_quarantined_too() -> None:
    """It was judged before the quarantine, and is stored after the descendants were read."""
    at = bench()
    bad = await approved(at, "Say", "c1")
    await approved(at, "State", "c2")
    revisions = at.at.revisions

    class QuarantinedMeanwhile:
        async def add(self, revision: RevisionRecord) -> RevisionRecord:
            await quarantine(at, bad)
            return await revisions.add(revision)

        def __getattr__(self, name: str) -> Any:
            return getattr(revisions, name)

    command = proposal(pipeline("Tell: {{ text }}", "other"), "c3", parent_digest=bad)
    (vetoed,) = facts(
        await propose_change(command, replace(at.at, revisions=QuarantinedMeanwhile()), signature=signed_proposal(command))
    )
    assert isinstance(vetoed, ChangeVetoed) and "descends from" in vetoed.reasons[0]
    assert await revisions.is_quarantined(vetoed.digest)


async def test_the_state_of_a_pipeline_says_what_is_frozen_and_why_something_is_quarantined() -> None:
    at = bench()
    stable = await approved(at, "Say", "c1")
    await quarantine(at, stable, even_if_serving=True)
    await freeze_system(FreezeSystem(freeze_id="f1", scope="pipeline", pipeline="triage", reason="r", author="alice"), at.at)
    await approved(at, "Say", "c2", name="other")
    found = await get_pipeline(GetPipeline(pipeline="triage"), at.at)
    assert (found["frozen"], found["revisions"][0]["status"]) == ("f1", "quarantined")
    assert found["revisions"][0]["quarantine"]["reason"] == "it insults"
    rows = {row["name"]: row for row in (await list_pipelines(ListPipelines(), at.at))["pipelines"]}
    assert (rows["triage"]["quarantined"], rows["triage"]["frozen"]) == (True, "f1")
    assert (rows["other"]["quarantined"], rows["other"]["frozen"]) == (False, None)


async def test_a_release_takes_no_id_that_the_system_needs_at_its_next_start() -> None:
    at = bench()
    digest = await approved(at, "Say", "c1")
    with pytest.raises(InvalidInputError, match="the system's own"):
        await release(at, digest, f"shipped-{digest[:40]}-0")
    assert await at.at.changes.get(f"shipped-{digest[:40]}-0") is None


async def test_a_revision_is_taken_out_and_released_under_its_own_pipelines_name_only() -> None:
    """Under another name it would not be seen that it serves, and its release would wait for ever without anybody being told."""
    at = bench()
    serving = await approved(at, "Say", "c1", name="other")
    await approved(at, "State", "c2")
    said = await quarantine(at, serving)
    assert isinstance(said, QuarantineRefused) and "is a revision of other" in said.reason
    assert not await at.at.revisions.is_quarantined(serving)
    said = await release(at, serving)
    assert isinstance(said, QuarantineRefused) and "is a revision of other" in said.reason
    assert await at.at.changes.get("rel1") is None
