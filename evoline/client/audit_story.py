"""Why something serves: from the deployment back to author, evidence, rules and people, each line proven or said not to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from evoline.client.audit import AuditReader, Kept, newest
from evoline.sealed_gain import SealedGain
from shared.attestation import Verifier
from shared.audit.checkpoints import Checkpoint
from shared.audit.entries import evidence_hash
from shared.errors import EvolineError, NotAttestedError, NotFoundError
from shared.events.audit import MOST_ENTRIES, FindAuditEntries
from shared.events.changes import GetChange
from shared.events.deployments import GetPipeline
from shared.events.values import Attestation
from shared.pipeline.loading import load_document

Entry = Mapping[str, Any]
SHOWN = ("change_id", "rollback_id", "generation", "holder", "domain")
"""Facts of an entry that its line shows."""
PUTS = ("pipeline.deployed", "pipeline.rolled_back", "rollout.complete")
"""What makes a revision stable; the newest of them says which one serves."""


@dataclass(frozen=True)
class Line:
    """`entry`: number of the audit entry that says it; 0 for what was computed from something else."""

    about: str
    text: str
    verified: bool
    entry: int = 0


@dataclass
class Story:
    """Tells about one thing under one checkpoint."""

    reader: AuditReader
    verifier: Verifier
    checkpoint: Checkpoint
    lines: list[Line] = field(default_factory=list)
    _proven: dict[int, str] = field(default_factory=dict)
    """Entry -> why it is not proven; empty for one that is."""

    def say(self, about: str, text: str, *, verified: bool = True) -> None:
        self.lines.append(Line(about, text, verified))

    async def tell(self, about: str, text: str, entry: Entry) -> None:
        """A line that rests on an audit entry."""
        fault = await self._fault_of(entry)
        number = entry["sequence"]
        self.lines.append(Line(about, f"{text} (NOT PROVEN: {fault})" if fault else text, not fault, number))

    async def _fault_of(self, entry: Entry) -> str:
        number = entry["sequence"]
        if number not in self._proven:
            try:
                proof = await self.reader.proof(number, self.checkpoint)
                self._proven[number] = "" if proof["entry"] == dict(entry) else "the log holds another entry under this number"
            except EvolineError as error:
                self._proven[number] = str(error)
        return self._proven[number]


async def story_of(name: str, reader: AuditReader, verifier: Verifier, places: Sequence[Kept]) -> Story:
    """Of a pipeline, or of the id of a change, scope, rollback, data set or measurement. Raises `NotFoundError`."""
    entries = await _entries_about(name, reader)
    story = Story(reader, verifier, await newest(reader))
    try:
        pipeline = await _pipeline(name, reader)
    except (NotFoundError, NotAttestedError) as error:
        if not entries:
            raise NotFoundError(f"neither a pipeline nor any decision is named {name!r}: evoline audit list") from error
        if any(each["action"].startswith("pipeline.") and each["subject"] == name for each in entries):
            story.say("serves", f"what serves cannot be told: {error}", verified=False)
    else:
        await _why_it_serves(story, pipeline, entries)
        entries = [each for each in entries if each["action"].startswith(("pipeline.", "rollback.", "rollout."))]
    about = "history" if story.lines else ""
    for entry in reversed(entries):
        await story.tell(about or entry["action"], described(entry), entry)
    await _agree(story, places)
    return story


async def _pipeline(name: str, reader: AuditReader) -> Entry:
    """Ids of changes, scopes and rollbacks mostly have another form than names of pipelines: those are asked for nowhere."""
    try:
        question = GetPipeline(pipeline=name)
    except ValidationError as error:
        raise NotFoundError(f"{name!r} is no name of a pipeline") from error
    found: Entry = await reader.bus.ask(question)
    return found


async def _why_it_serves(story: Story, pipeline: Entry, entries: Sequence[Entry]) -> None:
    name, digest, generation = pipeline["name"], pipeline["stable"], pipeline["generation"]
    story.say("serves", f"{name}@{digest[:12]} since {pipeline['updated_at']}, generation {generation}")
    computed = load_document(pipeline["document"]).digest
    story.say("document", f"its content has the digest {computed[:12]}", verified=computed == digest)
    put = put_there(digest, generation, entries)
    if put is None:
        text = f"no audit entry says that generation {generation} is {digest[:12]}: it was not the guardrail that put it there"
        return story.say("deployed", text, verified=False)
    await story.tell("deployed", described(put), put)
    first = approval_of(digest, entries)
    if first is None:
        return story.say("change", f"no change in the log approved {digest[:12]}", verified=False)
    await _change(story, str(first["facts"]["change_id"]), digest)
    _attestation(story, pipeline["attestation"], digest)
    return None


def approval_of(digest: str, entries: Sequence[Entry]) -> Entry | None:
    """The newest that names the change; a proposal of what serves already may have been vetoed since."""
    fitting = (each for each in entries if each["digest"] == digest and each["action"] in ("change.approved", "pipeline.deployed"))
    return next((each for each in fitting if each["facts"].get("change_id")), None)


def put_there(digest: str, generation: int, entries: Sequence[Entry]) -> Entry | None:
    """The entry that made the digest stable; `entries` newest first. None where the log does not lead to this deployment.

    Freezes, maturity, canaries and quarantines count a deployment up too, without another stable revision: so the newest entry
    that makes one stable has to name this one, and may tell a smaller generation, never a larger one."""
    for each in entries:
        if each["digest"] == digest and each["facts"].get("generation") == generation:
            return each
    put = next((each for each in entries if each["action"] in PUTS), None)
    told = [each["facts"].get("generation", 0) for each in entries if each["action"].startswith("pipeline.")]
    return put if put is not None and put["digest"] == digest and generation >= max(told, default=0) else None


async def _change(story: Story, change_id: str, digest: str) -> None:
    entries = await _entries_about(change_id, story.reader)
    approved = next((each for each in entries if each["action"] == "change.approved" and each["digest"] == digest), None)
    if approved is None:
        return story.say("change", f"no audit entry says that change {change_id} was approved", verified=False)
    facts = approved["facts"]
    who = f"{facts.get('kind')} by {facts.get('author')}, risk {facts.get('risk', 0):.2f}"
    await story.tell("change", f"{change_id}, {who}", approved)
    if origins := facts.get("origins"):
        await story.tell("made from", ", ".join(str(each)[:12] for each in origins), approved)
    for queued in (each for each in entries if each["action"] == "change.queued"):
        await story.tell("waited", f"for people since {queued['at']}: {'; '.join(queued['facts'].get('reasons', ()))}", queued)
    await story.tell("approved", f"by {approved['actor']} at {approved['at']}", approved)
    for reason in facts.get("reasons", ()):
        await story.tell("rule", str(reason), approved)
    for person in facts.get("people", ()):
        await story.tell("person", str(person), approved)
    await story.tell("policy", f"revision {approved['policy_revision'] or 'unknown'}", approved)
    try:
        record = await story.reader.bus.ask(GetChange(change_id=change_id))
    except EvolineError as error:
        return story.say("evidence", f"the change's record cannot be read: {error}", verified=False)
    await _evidence(story, record, approved)
    return None


async def _evidence(story: Story, record: Entry, approved: Entry) -> None:
    """The record is the store's; the log holds a hash of what it said when it was decided."""
    gate = record.get("gate")
    based_on = {"evidence": record["evidence"], "gate": gate, "diff": record["diff"]}
    if evidence_hash(based_on) != approved["evidence_hash"]:
        text = "the stored evidence is not what the change was decided on: its hash differs from the log's"
        return story.say("evidence", text, verified=False)
    for each in record["evidence"]:
        score = each.get("score")
        measured = f", score {score['mean']:.3f} on {score['cases']} cases" if score else ""
        await story.tell("evidence", f"{each['kind']}: {each['text']}{measured} (claimed by the author)", approved)
    if gate:
        gain = f"gain {SealedGain.of(gate)}"
        test = f"p {gate['p_value']:.4g} at alpha {gate['alpha']:.4g}, {gate['candidate']['cases']} sealed cases"
        await story.tell("gate", f"{gate['verdict']}: {gain}, {test}", approved)
    for line in record["diff"][:20]:
        await story.tell("diff", str(line), approved)
    return None


def _attestation(story: Story, given: Entry, digest: str) -> None:
    """The one that executors get now: after a change of keys it is another than that of the approval."""
    attestation = Attestation.model_validate(given)
    until = f"key {attestation.key_id}, until {attestation.expires_at}"
    try:
        story.verifier.verify(attestation, kind=attestation.kind, digest=digest, now=datetime.now(UTC))
    except NotAttestedError as error:
        return story.say("attestation", f"{until}: {error}", verified=False)
    return story.say("attestation", f"signed for this digest by {until}")


async def _agree(story: Story, places: Sequence[Kept]) -> None:
    """The checkpoint that everything above rests on, compared with those that were kept."""
    now = story.checkpoint
    text = f"over {now.head.size} entries, of {now.head.at}, signed by key {now.key_id}"
    story.say("checkpoint", text)
    for fault in (await story.reader.state())[1]["faults"]:
        story.say("log", f"the guardrail says: {fault}", verified=False)
    for place in places:
        for fault in place.faults:
            story.say("checkpoint", fault, verified=False)
        former = max(place.checkpoints, key=lambda each: each.head.size, default=None)
        if former is None:
            continue
        try:
            same = former.head.size <= now.head.size and await story.reader.grew_from(former, now)
        except EvolineError:
            same = False
        verb = "grew from" if same else "does NOT continue"
        story.say("checkpoint", f"{verb} the one over {former.head.size} entries kept in {place.place}", verified=same)


async def _entries_about(name: str, reader: AuditReader) -> list[Entry]:
    """Newest first."""
    found: list[Entry] = (await reader.bus.ask(FindAuditEntries(about=name, limit=MOST_ENTRIES), 30.0))["entries"]
    return found


def described(entry: Entry) -> str:
    """One entry in a line."""
    facts = entry["facts"]
    parts = [f"{entry['at'][:19]} {entry['action']} {entry['subject']}"]
    parts += [f"@{entry['digest'][:12]}"] if entry["digest"] else []
    parts.append(f"by {entry['actor']}")
    parts += [f"({name} {facts[name]})" for name in SHOWN if facts.get(name)]
    parts += [f"from {str(facts[name])[:12]}" for name in ("from_digest", "previous_digest") if facts.get(name)]
    parts += [f"quarantined {len(facts['quarantined'])}"] if facts.get("quarantined") else []
    reasons = facts.get("reason") or "; ".join(map(str, facts.get("reasons", ())))
    return " ".join(parts) + (f": {reasons}" if reasons else "")
