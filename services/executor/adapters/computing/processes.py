"""A few warm child processes for all computations of one executor. Each is started when it is first needed."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.executor.adapters.computing.frames import MEBIBYTE, error_from
from services.executor.adapters.computing.process import Child, ChildDiedError, Reply
from services.executor.ports import Allowance
from shared.errors import InvalidInputError, LimitReachedError

COMPUTE = "shared.pipeline.functions:compute"


@dataclass(frozen=True)
class Bounds:
    processes: int = 2
    request_bytes: int = 64 * MEBIBYTE
    answer_bytes: int = 64 * MEBIBYTE
    wall_seconds: float = 60.0
    """Of one computation, from when a child has it."""


class ProcessComputations:
    """A child that passed a bound, or whose call was cancelled, is killed at once; the next call gets another one."""

    def __init__(self, bounds: Bounds | None = None, entry: str = COMPUTE) -> None:
        self._bounds = bounds or Bounds()
        self._entry = entry
        self._places = asyncio.Semaphore(self._bounds.processes)
        self._idle: list[Child] = []
        self._all: set[Child] = set()
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> list[int]:
        """Of the children that are there."""
        return [child.pid for child in self._all]

    async def compute(self, name: str, arguments: Mapping[str, Any], allowance: Allowance) -> Any:
        """Raises what the computation raises, `LimitReachedError` for its bounds, and `ComputationError`."""
        body = self._encoded(name, arguments)
        async with self._places:
            try:
                reply = await self._call(body, name, allowance)
            except ChildDiedError:
                # Somebody killed it, perhaps while it was idle: what is computed has no effects, so once more harms nobody.
                reply = await self._call(body, name, allowance)
        answer = json.loads(reply.body)
        if "error" in answer:
            raise error_from(answer["error"])
        return answer["value"]

    async def close(self) -> None:
        for child in list(self._all):
            self._drop(child)
        self._idle.clear()
        await asyncio.gather(*self._ending)

    def _encoded(self, name: str, arguments: Mapping[str, Any]) -> bytes:
        try:
            body = json.dumps([name, dict(arguments)]).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidInputError(f"{name}: its arguments are not JSON: {error}") from error
        if len(body) > self._bounds.request_bytes:
            raise LimitReachedError(
                "request_bytes",
                f"the arguments of {name} take {len(body):,} bytes; at most {self._bounds.request_bytes:,} are taken",
            )
        return body

    async def _call(self, body: bytes, name: str, allowance: Allowance) -> Reply:
        child, seconds = await self._child(), self._bounds.wall_seconds
        try:
            async with asyncio.timeout(seconds):
                reply = await child.call(body, allowance, self._bounds.answer_bytes)
        except BaseException as error:
            self._drop(child)
            if isinstance(error, TimeoutError):
                raise LimitReachedError("wall_seconds", f"{name} took longer than {seconds:g} s") from error
            if isinstance(error, ChildDiedError) and error.signal_number == signal.SIGPROF:
                raise LimitReachedError("cpu_seconds", f"{name} used more than {allowance.cpu_seconds:g} CPU seconds") from error
            raise
        if reply.retire:
            self._drop(child)
        else:
            self._idle.append(child)
        return reply

    async def _child(self) -> Child:
        """The one that was used last, so that as few as possible are in use and their caches are warm."""
        while self._idle:
            child = self._idle.pop()
            if child.is_alive:
                return child
            self._drop(child)
        starting = asyncio.ensure_future(Child.start(self._entry))
        try:
            child = await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._started_in_vain)
            raise
        self._all.add(child)
        return child

    def _started_in_vain(self, starting: asyncio.Future[Child]) -> None:
        if not starting.cancelled() and starting.exception() is None:
            self._drop(starting.result())

    def _drop(self, child: Child) -> None:
        self._all.discard(child)
        ending = asyncio.ensure_future(child.end())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
