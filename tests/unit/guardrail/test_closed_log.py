"""While the audit log is not what it was, what only takes away still works, loudly, and stands in the log once that is mended."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from services.guardrail.ports import AuditLogUnsoundError
from services.guardrail.subscribers import register
from services.guardrail.use_cases import check_audit_log, take_up_late_notes
from shared.errors import NotAttestedError
from shared.events.audit import AuditBypassed
from shared.events.changes import DecideReview, ProposeChange
from shared.events.deployments import PipelineDeployed, PipelineRolledBack, RollbackPipeline, RollbackRefused
from shared.events.message import Command, Message
from shared.events.recovery import (
    FreezeSystem,
    QuarantineRefused,
    QuarantineRevision,
    ReleaseRevision,
    RevisionQuarantined,
    SystemFrozen,
    UnfreezeSystem,
)
from shared.events.rollouts import StartRollout
from shared.messaging import codec
from shared.messaging.handling import Delivery
from shared.messaging.retry import RetryPolicy
from shared.messaging.topology import durables
from tests.fakes.guardrail import Bench, bench, facts, pipeline, proposal
from tests.fakes.people import signature_of

FREEZE = FreezeSystem(freeze_id="f1", reason="the log was changed", author="alice")
ROLLBACK = RollbackPipeline(rollback_id="b1", pipeline="triage", reason="it insults", author="alice")


class Office:
    """A guardrail behind its edge, two revisions of a pipeline, and a log that somebody changes."""

    def __init__(self) -> None:
        self.bench: Bench = bench()
        self.at = self.bench.at
        self.handlers: dict[type[Message], Any] = {}
        self.retries: dict[type[Message], RetryPolicy] = {}
        self.digests: list[str] = []
        register(self, self.at, concurrency=1)  # type: ignore[arg-type]

    def on(self, kind: type[Message], handler: Any, *, retry: RetryPolicy | None = None, **_: Any) -> None:
        self.handlers[kind] = handler
        self.retries[kind] = retry or RetryPolicy()

    def answers(self, *_: Any) -> None: ...

    answers_signed = answers

    async def begin(self) -> None:
        for number, text in enumerate(("Say: {{ text }}", "Name: {{ text }}"), 1):
            (approved, *_) = await self.bench.propose(pipeline(text), f"c{number}")
            self.digests.append(str(getattr(approved, "digest")))  # noqa: B009  a union of facts

    async def send(self, command: Command, by: str = "alice") -> list[Message]:
        """Twice, as a message comes that was not acknowledged."""
        message_id = f"m-{type(command).__name__}"
        signature = signature_of(self.bench.identities.current(), by, command, message_id)
        body = codec.encode(command)
        delivery = Delivery(message_id=message_id, sequence=1, attempt=1, subject=command.subject, headers={}, body=body)
        delivery = replace(delivery, signature=signature)
        first, second = [facts(await self.handlers[type(command)](command, delivery)) for _ in range(2)]
        assert first == second
        return first

    async def tamper(self) -> dict[str, Any]:
        """The entry as it was."""
        collection = self.bench.database.collection("audit")
        (first, *_) = await collection.find({}, sort=[("_id", 1)])
        await collection.put({**first, "actor": "mallory"})
        assert await self.at.audit.check()
        return first

    async def mend(self, entry: dict[str, Any]) -> None:
        await self.bench.database.collection("audit").put(entry)
        assert await self.at.audit.check() == ()

    async def stable(self) -> str:
        found = await self.at.deployments.get("triage")
        assert found is not None
        return found.stable


async def office() -> Office:
    made = Office()
    await made.begin()
    return made


async def test_freeze_rollback_and_quarantine_work_are_told_loudly_and_stand_in_the_log_later() -> None:
    on = await office()
    entry, size = await on.tamper(), await on.at.audit.count()
    out = QuarantineRevision(
        quarantine_id="q1", pipeline="triage", digest=on.digests[0], reason="too", author="alice", even_if_serving=True
    )
    told = [await on.send(each) for each in (FREEZE, ROLLBACK, out)]
    kinds = [[type(each) for each in facts_] for facts_ in told]
    assert kinds == [
        [SystemFrozen, AuditBypassed],
        [PipelineRolledBack, PipelineDeployed, AuditBypassed],
        [RevisionQuarantined, AuditBypassed],
    ]
    assert await on.stable() == on.digests[0]
    assert [await on.at.revisions.is_quarantined(each) for each in on.digests] == [True, True]
    bypassed = told[1][-1]
    assert isinstance(bypassed, AuditBypassed) and (bypassed.author, bypassed.about) == ("alice", "triage")
    assert (on.bench.tally.late, await on.at.audit.count()) == (3, size)

    await on.mend(entry)
    assert await take_up_late_notes(on.at) == 3
    found = [each for each in await on.at.audit.entries() if each.sequence > size]
    assert [each.key for each in found] == ["freeze:f1", "rollback:b1", "quarantine:q1"]
    assert all(each.facts["done_while_unsound"] and each.actor == "alice" for each in found)
    assert (await on.at.audit.check(), await take_up_late_notes(on.at), on.bench.tally.late) == ((), 0, 0)
    assert [type(each) for each in await on.send(ROLLBACK)] == [PipelineRolledBack, PipelineDeployed]
    assert await on.at.audit.count() == size + 3


async def test_what_was_kept_and_is_in_the_log_already_is_not_there_twice() -> None:
    """A crash between the log's entry and the removal of the note."""
    on = await office()
    entry = await on.tamper()
    await on.send(FREEZE)
    kept = await on.at.late_notes.all()
    await on.mend(entry)
    await take_up_late_notes(on.at)
    size = await on.at.audit.count()
    await on.at.late_notes.keep(*kept[0])
    assert await take_up_late_notes(on.at) == 1
    assert await on.at.audit.count() == size


async def test_nothing_else_is_done_until_the_log_is_mended() -> None:
    on = await office()
    await on.tamper()
    await on.send(FREEZE)
    forbidden: list[Command] = [
        UnfreezeSystem(unfreeze_id="u1", freeze_id="f1", reason="enough", author="alice"),
        proposal(pipeline("Tell: {{ text }}"), "c9", author="alice"),
        DecideReview(change_id="c9", decision="comment", comment="hm", reviewer="alice"),
        ReleaseRevision(change_id="rel1", pipeline="triage", digest=on.digests[1], reason="x", author="alice"),
        StartRollout(rollout_id="r1", pipeline="triage", digest=on.digests[0][:12], author="alice"),
    ]
    for command in forbidden:
        with pytest.raises(AuditLogUnsoundError, match="freeze, rollback and quarantine work all the same"):
            await on.send(command)
    assert await on.at.changes.get("c9") is None
    assert [each.freeze_id for each in (await on.at.freeze.read()).freezes] == ["f1"]
    assert isinstance(forbidden[1], ProposeChange)


async def test_a_rollback_beside_a_closed_log_leads_to_an_attested_revision_only() -> None:
    on = await office()
    await on.tamper()
    revisions = on.bench.database.collection("revisions")
    await revisions.update_if({"_id": on.digests[0]}, {"$set": {"attestation.signature": "AAAA"}})
    refused, bypassed = await on.send(ROLLBACK)
    assert isinstance(refused, RollbackRefused) and isinstance(bypassed, AuditBypassed)
    assert "not attested" in refused.reason
    assert await on.stable() == on.digests[1]
    revision = await on.at.revisions.get(on.digests[0])
    assert revision is not None
    with pytest.raises(NotAttestedError):
        on.at.signer.check(revision.attestation, kind="revision", digest=on.digests[0])


async def test_a_refusal_beside_a_closed_log_is_kept_too() -> None:
    on = await office()
    await on.tamper()
    unknown = QuarantineRevision(quarantine_id="q9", pipeline="triage", digest="abcdef12", reason="x", author="alice")
    (refused, *_) = await on.send(unknown)
    assert isinstance(refused, QuarantineRefused)
    ((note, _),) = await on.at.late_notes.all()
    assert (note.action, note.facts["reason"]) == ("quarantine.refused", refused.reason)


async def test_a_quarantine_beside_a_closed_log_leads_to_an_attested_revision_only() -> None:
    """One that died behind its mark, and finds that the revision serves."""
    on = await office()
    await on.tamper()
    revisions = on.bench.database.collection("revisions")
    await revisions.update_if({"_id": on.digests[0]}, {"$set": {"attestation.signature": "AAAA"}})
    await on.at.revisions.quarantine(on.digests[1], cause="q1", reason="x", at="2026-11-22T12:00:00+00:00")
    out = QuarantineRevision(quarantine_id="q1", pipeline="triage", digest=on.digests[1], reason="x", author="alice")
    assert [type(each) for each in await on.send(out)] == [RevisionQuarantined, AuditBypassed]
    assert await on.stable() == on.digests[1]


async def test_a_freeze_beside_a_closed_log_is_told_with_what_it_is_about() -> None:
    on = await office()
    await on.tamper()
    freeze = FreezeSystem(freeze_id="f2", scope="domain", domain="support", reason="the log was changed", author="alice")
    bypassed = (await on.send(freeze))[-1]
    assert isinstance(bypassed, AuditBypassed) and bypassed.about == "support"


async def test_after_a_restart_with_a_closed_log_it_is_still_shown_how_much_waits_for_it() -> None:
    on = await office()
    await on.tamper()
    await on.send(FREEZE)
    on.bench.tally.late = 0
    assert await check_audit_log(on.at)
    assert on.bench.tally.late == 1


@pytest.mark.parametrize("kind", [ProposeChange, DecideReview, ReleaseRevision, UnfreezeSystem, StartRollout])
def test_what_waits_for_the_log_waits_for_hours_before_it_is_given_up(kind: type[Command]) -> None:
    retry, rng, attempt, seconds = Office().retries[kind], random.Random(7), 1, 0.0
    while not retry.is_last(attempt, transient=True):
        seconds += retry.delay_seconds(attempt, rng)
        attempt += 1
    assert seconds > 3 * 3600
    (row,) = (each for each in durables() if each.filter_subject == kind.subject)
    assert attempt < row.max_deliver
