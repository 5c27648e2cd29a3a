"""Runs as files, and their logs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from evoline.client.talk import Talk, hold
from shared.errors import InvalidInputError, Problem
from shared.events.transfer import ExportRun, GetRunLog, ImportRun, RunImported
from shared.large_values import MAX_VALUE_BYTES, LargeValues
from shared.messaging.blobs import ObjectStoreBlobs
from shared.messaging.bus import Bus

EXPORT_SECONDS = 60.0
Line = dict[str, Any]


@dataclass(frozen=True)
class RunLog:
    status: str
    imported: bool
    """Another stack executed it."""
    lines: Sequence[Line]
    """In the order of time, each with `id`, `at`, `kind`, `level` and `text`."""
    next: int
    """Position of the journal to go on from."""


class RunTransfer:
    """Every method raises NotFoundError for an unknown run and UnavailableError where no executor answers."""

    def __init__(self, bus: Bus, *, author: str = "anonymous") -> None:
        self._bus = bus
        self._blobs = ObjectStoreBlobs(bus)
        self._author = author

    async def export(self, run_id: str) -> dict[str, Any]:
        """The run's file. Raises LimitReachedError for a run of more than 64 MiB."""
        answer = await self._bus.ask(ExportRun(run_id=run_id), EXPORT_SECONDS)
        file: dict[str, Any] = (await LargeValues(self._blobs).unpack(answer))["file"]
        return file

    async def take_in(self, body: bytes, reason: str = "", *, timeout_seconds: float = 120) -> RunImported:
        """Imports a file. Raises InvalidInputError with everything that is wrong with it."""
        run_id, sha256 = _named(body)
        reference = await self._blobs.store(body)
        command = ImportRun(run_id=run_id, file=reference.written(), author=self._author, reason=reason)
        talk = Talk(
            key=run_id,
            command=command,
            ends=(RunImported,),
            belongs=lambda fact: isinstance(fact, RunImported) and (fact.run_id, fact.sha256) == (run_id, sha256),
            timeout_seconds=timeout_seconds,
            look_later=f"evoline show run {run_id}",
        )
        return cast("RunImported", await hold(self._bus, talk))

    async def log(self, run_id: str, after: int = 0) -> RunLog:
        """What the run did: its own lines, and those of its journal from the position `after` on."""
        found: dict[str, Line] = {}
        while True:
            page = await self._bus.ask(GetRunLog(run_id=run_id, after=after))
            found |= {line["id"]: line for line in page["lines"]}
            after = page["next"]
            if not page["more"]:
                return RunLog(str(page["status"]), bool(page["imported"]), _in_time([*found.values()]), after)


def _in_time(lines: Sequence[Line]) -> list[Line]:
    """By their time; one without stands behind the one that it came after."""
    last, keyed = "", []
    for line in lines:
        last = line["at"] or last
        keyed.append((last, line))
    return [line for _, line in sorted(keyed, key=lambda each: each[0])]


def _named(body: bytes) -> tuple[str, str]:
    """Run id and hash that the file names; what else is in it the executor judges."""
    if len(body) > MAX_VALUE_BYTES:
        raise InvalidInputError(f"the file has {len(body):,} bytes, {MAX_VALUE_BYTES:,} is the most")
    try:
        file = json.loads(body)
        run_id, sha256 = file["run"]["run_id"], file["sha256"]
    except json.JSONDecodeError as error:
        raise InvalidInputError(Problem(line=error.lineno, reason=f"is not JSON: {error.msg} (column {error.colno})")) from error
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"is not JSON: {error}"[:300]) from error
    except (KeyError, TypeError, IndexError) as error:
        raise InvalidInputError(Problem(reason="is no run's file", suggestion="give what `evoline export` wrote")) from error
    if not isinstance(run_id, str) or not isinstance(sha256, str):
        raise InvalidInputError(Problem(path="run.run_id", reason="is no text"))
    return run_id, sha256
