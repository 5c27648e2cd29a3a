"""The audit log, checked from outside: nothing that the guardrail answers is believed, all of it is recomputed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.audit.checkpoints import Checkpoint, TreeHead, opened
from shared.audit.entries import leaf_of
from shared.audit.merkle import included_root, is_consistent
from shared.audit.recount import Recount
from shared.errors import EvolineError, InvalidInputError, NotFoundError, Problem, UnavailableError
from shared.events import Fact
from shared.events.audit import AuditCheckpointed, GetAuditCheckpoint, GetAuditConsistency, GetAuditProof, ReadAuditLog
from shared.messaging.bus import Bus, Received

PROOF_FORMAT = "evoline-audit-proof/1"
FACTS_ARE_KEPT = timedelta(days=30)
ASK_SECONDS = 30.0
IDLE_SECONDS = 5.0
Keys = Mapping[str, Ed25519PublicKey]


@dataclass
class Kept:
    """Checkpoints from one place, and what of it could not be trusted."""

    place: str
    checkpoints: list[Checkpoint] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def take(self, note: str, where: str, keys: Keys) -> None:
        try:
            self.checkpoints.append(opened(note, keys))
        except EvolineError as error:
            self.faults.append(f"{where}: {error}")


@dataclass(frozen=True)
class Verification:
    entries: int
    kept: Mapping[str, int]
    """Place -> checkpoints that were compared."""
    covered: TreeHead | None
    """The largest checkpoint that was compared."""
    faults: tuple[str, ...]


@dataclass(frozen=True)
class AuditReader:
    """Reads the log over the bus; `keys` are the public keys that are trusted, by id."""

    bus: Bus
    keys: Keys

    async def state(self) -> tuple[Checkpoint | None, dict[str, Any]]:
        """The checkpoint over the log of now, its signature checked, and the guardrail's own opinion of the log."""
        answer = await self.bus.ask(GetAuditCheckpoint(), ASK_SECONDS)
        found = answer["checkpoint"]
        return (opened(str(found["note"]), self.keys) if found else None), answer

    async def pages(self) -> AsyncIterator[list[dict[str, Any]]]:
        after = 0
        while found := (await self.bus.ask(ReadAuditLog(after=after), ASK_SECONDS))["entries"]:
            yield found
            after += len(found)

    async def told(self) -> Kept:
        """The checkpoints that the bus still holds."""
        kept, subject = Kept("bus"), AuditCheckpointed.subject
        info = await self.bus.jetstream.stream_info("EVT", subjects_filter=subject)
        count = (info.state.subjects or {}).get(subject, 0)
        if count == 0:
            return kept
        since = datetime.now(UTC) - FACTS_ARE_KEPT - timedelta(days=1)
        async with self.bus.follow(AuditCheckpointed, since=since) as facts:
            while count and (found := await _next(facts)):
                fact, received = found
                assert isinstance(fact, AuditCheckpointed)
                kept.take(fact.note, f"bus, message {received.sequence}", self.keys)
                count -= 1
        if count:
            kept.faults.append(f"bus: {count} messages on {subject} are no checkpoints: the guardrail did not put them there")
        return kept

    async def proof(self, wanted: int | str, checkpoint: Checkpoint) -> dict[str, Any]:
        """An entry by number or key, with what proves that the checkpoint covers it; verified. Raises `InvalidInputError`."""
        by = {"sequence": wanted} if isinstance(wanted, int) else {"key": wanted}
        answer = await self.bus.ask(GetAuditProof.model_validate({**by, "size": checkpoint.head.size}), ASK_SECONDS)
        made = {"format": PROOF_FORMAT, "entry": answer["entry"], "path": answer["path"], "checkpoint": checkpoint.note}
        checked_proof(made, self.keys)
        return made

    async def grew_from(self, former: Checkpoint, now: Checkpoint) -> bool:
        """Whether the log of `now` begins with that of `former`."""
        query = GetAuditConsistency(first=former.head.size, second=now.head.size)
        path = [bytes.fromhex(each) for each in (await self.bus.ask(query, ASK_SECONDS))["path"]]
        roots = (bytes.fromhex(former.head.root), bytes.fromhex(now.head.root))
        return is_consistent(former.head.size, now.head.size, roots, path)


async def _next(facts: AsyncIterator[tuple[Fact, Received]]) -> tuple[Fact, Received] | None:
    """None where none comes: unreadable messages are skipped, so that fewer come than are stored."""
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            return await anext(facts)
    except (TimeoutError, StopAsyncIteration):
        return None


async def verified(reader: AuditReader, places: Sequence[Kept], on_progress: Callable[[int], None]) -> Verification:
    """Reads the whole log and compares it with every checkpoint of `places`, of the bus and of the guardrail's answer."""
    faults: list[str] = []
    answered, now = Kept("guardrail"), None
    try:
        now, answer = await reader.state()
    except UnavailableError:
        raise
    except EvolineError as error:
        answer = await reader.bus.ask(GetAuditCheckpoint(), ASK_SECONDS)
        faults.append(f"the guardrail's answer: {error}")
    faults += [f"the guardrail itself says: {fault}" for fault in answer["faults"]]
    answered.checkpoints += [now] if now else []
    kept = [*places, await reader.told(), answered]
    recount = Recount({each.head for place in kept for each in place.checkpoints})
    await _read_through(reader, recount, on_progress)
    found = [*recount.end(), *(fault for place in kept for fault in place.faults), *faults]
    found += _leftovers(recount, int(answer["stored"]), any(place.checkpoints for place in kept if place is not answered))
    covered = max((each.head for place in kept for each in place.checkpoints), key=lambda head: head.size, default=None)
    return Verification(
        recount.frontier.size, {place.place: len(place.checkpoints) for place in kept}, covered, tuple(dict.fromkeys(found))
    )


async def _read_through(reader: AuditReader, recount: Recount, on_progress: Callable[[int], None]) -> None:
    async for page in reader.pages():
        for entry in page:
            number, expected = entry.get("sequence"), recount.frontier.size + 1
            if isinstance(number, int) and number > expected:
                return recount.missing(expected)
            recount.take(entry)
        on_progress(recount.frontier.size)
    return None


def _leftovers(recount: Recount, stored: int, compared: bool) -> list[str]:
    size, found = recount.frontier.size, []
    if stored > size and not recount.faults:
        found.append(f"{stored - size} documents stand in the log's collection that no number leads to: they were inserted")
    if size and not compared:
        found.append(
            "no kept checkpoint covers the log, and the guardrail's own word proves nothing: name a file with --checkpoints"
        )
    return found


def kept_in_file(path: Path, keys: Keys) -> Kept:
    """Raises `InvalidInputError` where the file cannot be read."""
    kept = Kept(str(path))
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(Problem(file=str(path), reason=f"cannot be read: {error}")) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            note = str(json.loads(line)["note"])
        except (ValueError, KeyError, TypeError):
            kept.faults.append(f"{path}, line {number} is no checkpoint")
            continue
        kept.take(note, f"{path}, line {number}", keys)
    return kept


def checked_proof(made: Mapping[str, Any], keys: Keys) -> tuple[dict[str, Any], Checkpoint]:
    """The proven entry and the checkpoint that covers it. Needs nothing but the proof and public keys.

    Raises `InvalidInputError` for what proves nothing, `NotAttestedError` for a checkpoint that nobody trusted signed."""
    try:
        entry, note = dict(made["entry"]), str(made["checkpoint"])
        path, index = [bytes.fromhex(each) for each in made["path"]], int(entry["sequence"]) - 1
        leaf = leaf_of(entry)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInputError(f"this is no proof of an audit entry: {type(error).__name__} {error}") from error
    checkpoint = opened(note, keys)
    try:
        root = included_root(leaf, index, checkpoint.head.size, path).hex()
    except ValueError as error:
        raise InvalidInputError(f"entry {index + 1} is not proven: {error}") from error
    if root != checkpoint.head.root:
        covered = f"the {checkpoint.head.size} entries of the checkpoint of {checkpoint.head.at}"
        raise InvalidInputError(f"entry {index + 1} is not proven: it is none of {covered}")
    return entry, checkpoint


async def newest(reader: AuditReader) -> Checkpoint:
    """The checkpoint over the log of now, or the last one of a log that is not sound. Raises `NotFoundError` before any."""
    checkpoint, _ = await reader.state()
    if checkpoint is None:
        raise NotFoundError("the audit log is empty")
    return checkpoint
