"""Run documents and journal in `evoline_executor`.

Values that documents carry (commands, results) are kept as JSON text: they hold any key and any number, which the store's own
format does not, and come back exactly as they went in.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from services.executor.adapters.journal_lines import (
    REFERENCES,
    is_large,
    is_surely_large,
    large_parts,
    line_id,
    outlined,
    read,
    with_parts,
    written,
)
from services.executor.domain.records import JournalEntry, RunFencedError, RunRecord
from shared.clock import Clock
from shared.errors import UnavailableError
from shared.events.runs import ExecuteRun, ListRuns, RunFinished
from shared.large_values import Blobs, from_json
from shared.storage import Database
from shared.storage.group_commit import GroupCommit

T = TypeVar("T")
RETRY_SECONDS = 10.0
FIRST_CHUNK, LARGEST_CHUNK = 16, 512
"""Journal lines that are read at once."""
LISTED = (
    "pipeline",
    "digest",
    "purpose",
    "status",
    "group_id",
    "case_id",
    "latency_seconds",
    "started_at",
    "finished_at",
    "error_code",
    "imported",
)


class MongoRunStore:
    def __init__(self, database: Database) -> None:
        self._runs = database.collection("runs")
        self._commits = GroupCommit(self._runs)

    async def claim(self, record: RunRecord) -> bool:
        return await self._commits.insert_once(_document(record))

    async def get(self, run_id: str) -> RunRecord | None:
        document = await self._runs.get(run_id)
        return _record(document) if document else None

    async def take_over(self, record: RunRecord, executor_id: str, sequence: int, attempt: int = 1) -> RunRecord | None:
        command = {"command_sequence": sequence, "command_attempt": attempt}
        change = {"epoch": record.epoch + 1, "executor_id": executor_id, **command}
        owned = {"_id": record.run_id, "epoch": record.epoch, "status": "running"}
        won = await self._runs.update_if(owned, {"$set": change})
        return record.model_copy(update=change) if won else None

    async def finish(self, record: RunRecord, finished: RunFinished) -> None:
        owned = {"_id": record.run_id, "epoch": record.epoch, "status": "running"}
        if await self._commits.surely_updated(owned, {"$set": _end(finished)}):
            return
        stored = await self.get(record.run_id)
        if stored is None or stored.epoch != record.epoch or not _is_same(stored.finished, finished):
            raise RunFencedError(f"run {record.run_id} is not owned under epoch {record.epoch} any more")

    async def change(self, known: RunRecord, changed: RunRecord) -> bool:
        stored = {"_id": known.run_id, "epoch": known.epoch, "status": known.status}
        fields = _document(changed)
        del fields["_id"]
        update: dict[str, Any] = {"$set": fields}
        if gone := _fields_gone(known, changed):
            update["$unset"] = dict.fromkeys(gone, "")
        return await self._runs.update_if(stored, update)

    async def finished(self, run_ids: Sequence[str]) -> list[RunFinished]:
        wanted = {"_id": {"$in": list(run_ids)}, "finished": {"$exists": True}, **HERE}
        return [RunFinished.model_validate_json(each["finished"]) for each in await self._runs.find(wanted, fields=["finished"])]

    async def nested_in(self, run_id: str) -> list[RunRecord]:
        return [_record(each) for each in await self._runs.find({"parent_run_id": run_id, **HERE})]

    async def latest(self, query: ListRuns) -> list[dict[str, Any]]:
        wanted = {name: value for name in ("pipeline", "status", "purpose") if (value := getattr(query, name)) is not None}
        if query.imported is not None:
            wanted["imported"] = {"$exists": query.imported}
        found = await self._runs.find(wanted, sort=[("started_at", -1)], limit=query.limit, fields=LISTED)
        return [{"run_id": each.pop("_id"), **each} for each in found]


class MongoJournal:
    """A line above 256 KiB keeps an outline of its entry; what makes it large are blobs."""

    def __init__(self, database: Database, clock: Clock, blobs: Blobs) -> None:
        self._journal = database.collection("journal")
        self._blobs = blobs
        self._commits = GroupCommit(self._journal)
        self._clock = clock

    async def append(self, entry: JournalEntry) -> None:
        document = await self._line(entry)
        if not await self._retried(lambda: self._commits.insert_once(document)):
            stored = await self._retried(lambda: self._journal.get(document["_id"]))
            # An own insert that was reported as failed may have been written all the same.
            if stored is None or stored["epoch"] != entry.epoch or stored["path"] != entry.path:
                raise RunFencedError(f"position {entry.position} of run {entry.run_id} was written by another owner")

    async def entries(self, run_id: str) -> list[JournalEntry]:
        return [await self._whole(line) for line in await self._lines(run_id)]

    async def outline(self, run_id: str, after: int = 0) -> list[JournalEntry]:
        return [read(line) for line in await self._lines(run_id, after)]

    async def bytes_elsewhere(self, run_id: str) -> int:
        stored = [REFERENCES.validate_json(line["blobs"]) for line in await self._lines(run_id) if "blobs" in line]
        return sum(reference.bytes for references in stored for reference in references.values())

    async def _line(self, entry: JournalEntry) -> dict[str, Any]:
        if not is_surely_large(entry) and not is_large(line := written(entry)):
            return line
        parts = large_parts(entry)
        references = {body: await self._retried(partial(self._blobs.store, body)) for body in dict.fromkeys(parts.values())}
        stored = {name: references[body] for name, body in parts.items()}
        return {**written(outlined(entry, stored)), "blobs": REFERENCES.dump_json(stored).decode()}

    async def _whole(self, line: dict[str, Any]) -> JournalEntry:
        entry = read(line)
        if "blobs" not in line:
            return entry
        references = REFERENCES.validate_json(line["blobs"])
        bodies = {name: await self._retried(partial(self._blobs.load, each)) for name, each in references.items()}
        return with_parts(entry, {name: from_json(body) for name, body in bodies.items()})

    async def _lines(self, run_id: str, after: int = 0) -> list[dict[str, Any]]:
        """Positions have no gaps, so the lines are asked for by their ids, ever more at a time, until one is missing.

        A range of ids would be a scan on the embedded server, and an index on the run would slow every append."""
        found: list[dict[str, Any]] = []
        asked = FIRST_CHUNK
        while True:
            ids = [line_id(run_id, after + len(found) + number) for number in range(asked)]
            lines = await self._journal.find({"_id": {"$in": ids}})
            found += sorted(lines, key=lambda line: line["position"])
            if len(lines) < asked:
                return found
            asked = min(asked * 4, LARGEST_CHUNK)

    async def _retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """A finished step is worth some patience: giving up executes it again."""
        deadline = self._clock.monotonic() + RETRY_SECONDS
        while True:
            try:
                return await attempt()
            except UnavailableError:
                if self._clock.monotonic() >= deadline:
                    raise
                await self._clock.sleep(0.2)


def _document(record: RunRecord) -> dict[str, Any]:
    command = record.command
    document = {
        "_id": record.run_id,
        "epoch": record.epoch,
        "status": record.status,
        "command_sequence": record.command_sequence,
        "command_attempt": record.command_attempt,
        "pipeline": record.pipeline,
        "digest": record.digest,
        "domain": record.domain,
        "purpose": command.purpose,
        "tenant": command.tenant,
        "group_id": command.group_id,
        "case_id": command.case_id,
        "parent_run_id": command.parent_run_id,
        "executor_id": record.executor_id,
        "claimed_by": record.claimed_by,
        "started_at": record.started_at.isoformat(),
        "queued_seconds": record.queued_seconds,
        **({"imported": True} if record.is_inert else {}),
        **({"quota": record.quota.model_dump()} if record.quota else {}),
        **({"control": _control(record)} if record.generation or record.is_suspended or record.controls else {}),
        **({"rollout": _rollout(record)} if record.rollout_id else {}),
        "command": command.model_dump_json(exclude_defaults=True),
    }
    return document | _end(record.finished) if record.finished else document


HERE: dict[str, Any] = {"imported": {"$exists": False}}
"""Runs that this stack executed, or executes."""
END_FIELDS = ("finished_at", "latency_seconds", "error_code", "finished")
CONTROL_FIELDS = {
    "generation",
    "going_for",
    "retries",
    "held_seconds",
    "suspended_at",
    "suspended_until",
    "suspended_for",
    "controls",
    "imported",
}
"""Only in documents of runs that somebody, or a timer, had to do with."""


ROLLOUT_FIELDS = ("arm", "rollout_id", "shadow", "shadow_runs")
"""Of a run whose pipeline was being rolled out when it began: it keeps its arm."""


def _control(record: RunRecord) -> str:
    return record.model_dump_json(include=CONTROL_FIELDS)


def _rollout(record: RunRecord) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ROLLOUT_FIELDS}


def _fields_gone(known: RunRecord, changed: RunRecord) -> list[str]:
    ended = END_FIELDS if known.finished is not None and changed.finished is None else ()
    return [*ended, *(["imported"] if known.is_inert and not changed.is_inert else [])]


def _is_same(stored: RunFinished | None, finished: RunFinished) -> bool:
    """As they are stored: values may come back in another form, and a value that is no number equals not even itself."""
    return stored is not None and stored.model_dump_json() == finished.model_dump_json()


def _end(finished: RunFinished) -> dict[str, Any]:
    return {
        "status": finished.status,
        "finished_at": finished.finished_at,
        "latency_seconds": finished.latency_seconds,
        "error_code": finished.error_code,
        "finished": finished.model_dump_json(),
    }


def _record(document: dict[str, Any]) -> RunRecord:
    finished = document.get("finished")
    control = json.loads(document.get("control", "{}"))
    return RunRecord(
        **control,
        **document.get("rollout", {}),
        run_id=document["_id"],
        epoch=document["epoch"],
        status=document["status"],
        command_sequence=document["command_sequence"],
        command_attempt=document.get("command_attempt", 1),
        command=ExecuteRun.model_validate_json(document["command"]),
        pipeline=document["pipeline"],
        digest=document["digest"],
        domain=document["domain"],
        executor_id=document["executor_id"],
        claimed_by=document.get("claimed_by", ""),
        started_at=datetime.fromisoformat(document["started_at"]),
        queued_seconds=document["queued_seconds"],
        finished=RunFinished.model_validate_json(finished) if finished else None,
        quota=document.get("quota"),
    )
