"""Runs many pipelines at once over the bus: bounded in flight and time, complete even where facts are lost or came before."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from shared.ending import end_tasks
from shared.errors import EvolineError, InvalidInputError, PermanentError
from shared.events.answers import reading
from shared.events.runs import ExecuteRun, FinishedRuns, RunFinished
from shared.large_values import LargeValues
from shared.messaging.blobs import ObjectStoreBlobs
from shared.messaging.bus import Bus

POLL_SECONDS = 2.0
IDS_A_QUERY = 50
"""Finished runs carry their step facts; this many fit into one answer."""

OnFinished = Callable[[RunFinished], None]


@dataclass
class _Board:
    """Which runs wait, which are out, which are back."""

    waiting: deque[ExecuteRun]
    max_in_flight: int
    on_finished: OnFinished | None
    out: set[str] = field(default_factory=set)
    back: dict[str, RunFinished] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> list[ExecuteRun]:
        """As many as there is room for."""
        taken = []
        while self.waiting and len(self.out) < self.max_in_flight:
            command = self.waiting.popleft()
            if command.run_id not in self.back:
                self.out.add(command.run_id)
                taken.append(command)
        return taken

    def accept(self, run: RunFinished, wanted: Mapping[str, int]) -> None:
        """Counts a run once, whichever way its end was heard of; not an end that it had before it was retried."""
        if run.retries < wanted.get(run.run_id, math.inf) or run.run_id in self.back:
            return
        self.back[run.run_id] = run
        self.out.discard(run.run_id)
        self.changed.set()
        if self.on_finished:
            self.on_finished(run)


class Fleet:
    """A client of the executors."""

    def __init__(self, bus: Bus, *, poll_seconds: float = POLL_SECONDS, packs: bool = True) -> None:
        """`packs` is false for a caller who deals in references itself: inputs are sent, and outputs given, as they are."""
        self._bus = bus
        self._values = LargeValues(ObjectStoreBlobs(bus)) if packs else None
        self._poll_seconds = poll_seconds
        self._log = structlog.get_logger("shared.messaging")

    async def run_all(
        self,
        commands: Sequence[ExecuteRun],
        *,
        max_in_flight: int,
        deadline_seconds: float,
        on_finished: OnFinished | None = None,
    ) -> dict[str, RunFinished]:
        """Run id -> its end, for those that ended by the deadline; the same run id twice is one run.

        Runs that ended before, as after a restart of the caller, are not published again. Raises InvalidInputError for a
        command that is too large, UnavailableError where the bus takes no command."""
        if max_in_flight < 1 or deadline_seconds <= 0:
            raise InvalidInputError("a fleet needs max_in_flight of at least 1 and a positive deadline")
        unique = {command.run_id: command for command in commands}
        board = _Board(deque(unique.values()), max_in_flight, on_finished)
        if not unique:
            return {}
        try:
            async with asyncio.timeout(deadline_seconds) as deadline:
                await self._drive(board, {run_id: _retries(command) for run_id, command in unique.items()})
        except TimeoutError:
            if not deadline.expired():
                raise
        return {run_id: await self._unpacked(run) for run_id, run in board.back.items()}

    async def _drive(self, board: _Board, wanted: Mapping[str, int]) -> None:
        async with self._bus.follow(RunFinished) as facts:
            await self._poll(board, wanted, wanted)

            async def listen() -> None:
                async for fact, _ in facts:
                    if isinstance(fact, RunFinished):
                        board.accept(fact, wanted)

            async def poll() -> None:
                while True:
                    await asyncio.sleep(self._poll_seconds)
                    await self._poll(board, frozenset(board.out), wanted)

            watchers = [asyncio.create_task(listen()), asyncio.create_task(poll())]
            publishing = asyncio.create_task(self._publish(board))
            try:
                done, _ = await asyncio.wait([publishing, *watchers], return_when=asyncio.FIRST_COMPLETED)
                await next(iter(done))
            finally:
                await end_tasks(publishing, *watchers)

    async def _publish(self, board: _Board) -> None:
        """Publishes as room comes free; a slow publish holds back no other. Raises what the first failing one raises."""
        try:
            async with asyncio.TaskGroup() as publishing:
                while board.waiting or board.out:
                    board.changed.clear()
                    for command in board.take():
                        publishing.create_task(self._send(command))
                    if board.waiting or board.out:
                        await board.changed.wait()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _send(self, command: ExecuteRun) -> None:
        if self._values is not None:
            command = command.model_copy(update={"inputs": await self._values.pack(command.inputs)})
        continued = f"{command.subject}:{command.continuation.generation}" if command.continuation else ""
        await self._bus.publish(command, cause=command.run_id, effect=continued)

    async def _unpacked(self, run: RunFinished) -> RunFinished:
        """A run whose outputs are gone is told as failed, for nothing can be made of them; the others are told as they ended."""
        if self._values is None:
            return run
        try:
            return run.model_copy(update={"outputs": await self._values.unpack(run.outputs)})
        except PermanentError as error:
            lost = {"status": "failed", "outputs": None, "error": f"its outputs cannot be read: {error}", "error_code": error.code}
            return run.model_copy(update=lost)

    async def _poll(self, board: _Board, asked: Iterable[str], wanted: Mapping[str, int]) -> None:
        """Asks for ends that were not heard: lost facts, and runs that ended before we listened."""
        ids = sorted(asked)
        for start in range(0, len(ids), IDS_A_QUERY):
            try:
                answer = await self._bus.ask(FinishedRuns(run_ids=tuple(ids[start : start + IDS_A_QUERY])))
                with reading(FinishedRuns):
                    found = [RunFinished.model_validate(run) for run in answer.get("runs", ())]
            except EvolineError as error:
                # Without an executor that answers, the facts still tell; commands wait in the queue meanwhile.
                self._log.info("finished runs not told", error=str(error))
                return
            for run in found:
                board.accept(run, wanted)


def _retries(command: ExecuteRun) -> int:
    """Of the end that is waited for."""
    return command.continuation.retries if command.continuation else 0
