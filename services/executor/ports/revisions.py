"""What the guardrail says of revisions, and what is proposed to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from services.executor.domain.admission import Revision
from shared.events.changes import ProposeChange
from shared.events.recovery import Freeze
from shared.events.runs import ExecuteRun


class Revisions(Protocol):
    """The guardrail's revisions and deployments, read only."""

    async def resolve(self, pipeline: str, selector: str, unit_id: str = "") -> Revision:
        """A bare name (no selector) of a unit follows the pipeline's rollout, without a unit it is the stable revision.

        Raises `NotFoundError` where nothing is deployed or stored under this name and selector."""
        ...


class Shadows(Protocol):
    async def start(self, command: ExecuteRun) -> None:
        """Has some executor repeat a run on another revision; the same run id again is the same run."""
        ...


@dataclass(frozen=True)
class Stopped:
    """Who took a revision back so that not even runs under way may go on, and why."""

    author: str
    reason: str


class Standing(Protocol):
    """What the guardrail stops, read only. Nothing is remembered; every method raises `UnavailableError` without the store."""

    async def freezes(self) -> tuple[Freeze, ...]: ...
    async def is_quarantined(self, digest: str) -> bool: ...
    async def read(self, digests: Collection[str]) -> tuple[tuple[Freeze, ...], Mapping[str, Stopped]]:
        """Freezes, and those of `digests` whose runs are to be cancelled."""
        ...


class Proposals(Protocol):
    async def propose(self, change: ProposeChange, wait_seconds: float) -> dict[str, Any]:
        """Sends the proposal and waits for the guardrail's verdict: `{change_id, decision, rollout_id}`, perhaps `reasons`."""
        ...
