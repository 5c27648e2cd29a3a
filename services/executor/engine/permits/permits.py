"""Which lane a call goes by."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from services.executor.domain.limits.listed import LimitList, ProviderLimit
from services.executor.engine.permits.fleet_lane import FleetLane
from services.executor.engine.permits.free_lane import FreeLane
from services.executor.engine.permits.lane import Lane, LaneParts
from services.executor.engine.permits.permit import Permit
from services.executor.engine.permits.slots import Slots
from shared.pipeline.completion import CompletionRequest, Family

Served = Callable[[CompletionRequest], tuple[str, str]]
"""Provider and model that a request is sent to."""


@dataclass(frozen=True)
class Wanted:
    request: CompletionRequest
    tenant: str
    seconds: float
    """How long the call may wait for a limit or a pause."""
    tokens: Callable[[], int]
    """Most that it uses; asked where tokens are limited."""


class Permits:
    def __init__(
        self, limits: LimitList, served: Served, families: Iterable[Family], parts: LaneParts, *, concurrency: int
    ) -> None:
        """`concurrency`: calls in flight to one step family from this executor."""
        self._limits = limits
        self._served = served
        self._slots = {family: Slots(concurrency) for family in families}
        self._parts = parts
        self._lanes: dict[tuple[Family, str], Lane] = {}

    def permit(self, wanted: Wanted) -> AbstractAsyncContextManager[Permit]:
        """Raises `NoPermitError` where the call's turn does not come in time."""
        limit = self._limits.of(*self._served(wanted.request))
        tokens = 0 if limit.tokens_a_minute is None else wanted.tokens()
        return self._lane(wanted.request.family, limit).permit(wanted.tenant, tokens, wanted.seconds)

    @property
    def waiting(self) -> int:
        return sum(lane.waiting for lane in self._lanes.values())

    def free(self, family: Family) -> int:
        return self._slots[family].free

    async def close(self) -> None:
        for lane in self._lanes.values():
            await lane.close()

    def _lane(self, family: Family, limit: ProviderLimit) -> Lane:
        key = (family, limit.name)
        if key not in self._lanes:
            kind = FleetLane if limit.is_limited else FreeLane
            parts = replace(self._parts, executor=f"{self._parts.executor}/{family}")
            self._lanes[key] = kind(limit, self._slots[family], parts)
        return self._lanes[key]
