"""`SharedStates` in memory, held to the broker's key-value store by `tests/contract/test_states.py`, and permits on them."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from services.executor.domain.limits.listed import LimitList
from services.executor.engine.permits import Permits
from services.executor.engine.permits.lane import LaneParts
from services.executor.ports import SharedStates
from shared.clock import Clock
from shared.errors import UnavailableError
from shared.pipeline.completion import CompletionRequest


class InMemoryStates:
    """Several executors may share one. Each request takes `delay_seconds`; none is answered while `is_away`."""

    def __init__(self, delay_seconds: float = 0.0) -> None:
        self.delay_seconds = delay_seconds
        self.is_away = False
        self.requests: Counter[str] = Counter()
        """`read` and `write`, how often each was asked for."""
        self._stored: dict[str, tuple[bytes, int]] = {}
        self._revision = 0
        self._calls: dict[str, list[Callable[[bytes], None]]] = defaultdict(list)

    async def open(self) -> None: ...

    async def read(self, key: str) -> tuple[bytes, int]:
        await self._answer("read")
        return self._stored.get(key, (b"", 0))

    async def write(self, key: str, body: bytes, revision: int) -> int | None:
        await self._answer("write")
        asyncio.get_running_loop().call_soon(self._tell, key, body)
        if self._stored.get(key, (b"", 0))[1] != revision:
            return None
        self._revision += 1
        self._stored[key] = (body, self._revision)
        return self._revision

    def on_change(self, key: str, call: Callable[[bytes], None]) -> None:
        self._calls[key].append(call)

    async def _answer(self, what: str) -> None:
        self.requests[what] += 1
        await asyncio.sleep(self.delay_seconds)
        if self.is_away:
            raise UnavailableError("the shared states do not answer")

    def _tell(self, key: str, body: bytes) -> None:
        for call in self._calls[key]:
            call(body)


@dataclass
class RecordingPermitObserver:
    waits: list[float] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    pauses: int = 0

    def waited(self, provider: str, model: str, seconds: float) -> None:
        self.waits.append(seconds)

    def not_permitted(self, provider: str, model: str, reason: str) -> None:
        self.refusals.append(reason)

    def paused(self, provider: str, model: str) -> None:
        self.pauses += 1


def local(request: CompletionRequest) -> tuple[str, str]:
    return "local", request.model or "local"


def permits_of(
    states: SharedStates,
    clock: Clock,
    limits: LimitList | None = None,
    executor: str = "executor-1",
    *,
    concurrency: int = 4,
    observer: RecordingPermitObserver | None = None,
) -> Permits:
    """As the executor's `app` makes them."""
    parts = LaneParts(states, clock, observer or RecordingPermitObserver(), executor)
    return Permits(limits or LimitList(), local, ("claude", "gemini"), parts, concurrency=concurrency)
