"""The supervisor's control socket: one JSON line asks, JSON lines of events answer, the last one says how it ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from evoline.stack.events import OnEvent, StackEvent, parse_event
from evoline.stack.supervisor import Supervisor
from shared.errors import EvolineError, InvalidInputError, UnavailableError

CONNECT_SECONDS = 3.0
LAST_KINDS = frozenset({"up", "down", "failed", "done"})


class ControlRequest(BaseModel):
    """`watch` answers the events of a start until it ended; `stop` those of the stop; `scale` those of the new executors."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: Literal["watch", "stop", "scale"]
    executors: int = 1


class ControlServer:
    def __init__(self, supervisor: Supervisor, path: Path) -> None:
        self._supervisor = supervisor
        self._path = path
        self._server: asyncio.Server | None = None
        self._busy: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, path=self._path)
        self._path.chmod(0o600)

    async def close(self) -> None:
        """Answers that are under way get their end first."""
        if self._server is not None:
            self._server.close()
        if self._busy:
            await asyncio.wait(self._busy, timeout=2.0)
        self._path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            await self._answer(await reader.readline(), writer)
        except ConnectionError:
            pass  # who asked has gone; what was asked for goes on
        finally:
            self._busy.discard(task)
            with contextlib.suppress(ConnectionError):
                writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            request = ControlRequest.model_validate_json(line)
        except ValidationError as error:
            writer.write(StackEvent("failed", text=f"no such request: {error}").line())
            return
        queue: asyncio.Queue[StackEvent] = asyncio.Queue()
        self._supervisor.watchers.append(queue.put_nowait)
        work = asyncio.create_task(self._carry_out(request, queue.put_nowait))
        try:
            await _forward(queue, writer, request)
        finally:
            self._supervisor.watchers.remove(queue.put_nowait)
            await work

    async def _carry_out(self, request: ControlRequest, answer: OnEvent) -> None:
        supervisor = self._supervisor
        if request.command == "stop":
            supervisor.stop_requested.set()
        elif request.command == "watch" and supervisor.record.status == "ready":
            answer(StackEvent("up"))
        elif request.command == "scale":
            try:
                await supervisor.scale(request.executors)
                answer(StackEvent("done", "", f"{request.executors} executors"))
            except EvolineError as error:
                answer(StackEvent("failed", text=str(error)))


async def _forward(queue: asyncio.Queue[StackEvent], writer: asyncio.StreamWriter, request: ControlRequest) -> None:
    while True:
        event = await queue.get()
        writer.write(event.line())
        await writer.drain()
        if _is_last(event, request):
            return


def _is_last(event: StackEvent, request: ControlRequest) -> bool:
    if event.name or event.kind not in LAST_KINDS:
        return False
    return request.command != "stop" or event.kind in {"down", "failed"}


async def ask_supervisor(path: Path, request: ControlRequest) -> AsyncIterator[StackEvent]:
    """Events until the request is carried out. Raises UnavailableError where no supervisor listens or it goes away."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
    except (OSError, TimeoutError) as error:
        raise UnavailableError(f"the stack's supervisor does not answer on {path}") from error
    try:
        writer.write(request.model_dump_json().encode() + b"\n")
        while line := await reader.readline():
            event = parse_event(line)
            if event is None:
                raise InvalidInputError(f"the supervisor said {line[:200]!r}")
            yield event
            if _is_last(event, request):
                return
        raise UnavailableError("the stack's supervisor went away")
    except ConnectionError as error:
        raise UnavailableError("the stack's supervisor went away") from error
    finally:
        writer.close()
