"""Rollouts and their observations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.guardrail.domain.rollout import Phase, RolloutRecord
from services.guardrail.domain.rollout_evidence import Observation


class Rollouts(Protocol):
    """Rollouts, and the outcomes that they count. What is counted is marked, so that nothing is counted twice."""

    async def open(self, record: RolloutRecord) -> RolloutRecord:
        """The stored record of this id: the given one, or the one that was there before."""
        ...

    async def get(self, rollout_id: str) -> RolloutRecord | None: ...
    async def save(self, record: RolloutRecord) -> RolloutRecord:
        """Writes the next version. Raises `LostRaceError` where the stored one is not the one that `record` came from."""
        ...

    async def latest(self, pipeline: str | None, *, unclosed_only: bool, limit: int) -> Sequence[RolloutRecord]:
        """Newest first."""
        ...

    async def uncleared(self, ended_before: str, limit: int) -> Sequence[RolloutRecord]:
        """Closed ones that ended before this moment, whose outcomes are still kept."""
        ...

    async def clear(self, rollout_id: str) -> None:
        """Removes its outcomes and what is known of its units. Repeatable."""
        ...

    async def note(self, observation: Observation) -> bool:
        """False where it was noted before."""
        ...

    async def uncounted(self, rollout_id: str, limit: int) -> Sequence[Observation]:
        """Noted and not marked, oldest first."""
        ...

    async def mark(self, ids: Sequence[str]) -> None:
        """Repeatable."""
        ...

    async def counted_before(self, seen: Sequence[Observation], phase: Phase) -> frozenset[str]:
        """Ids of those whose unit was counted in this phase by another outcome of their kind; of every other unit the first one
        given is kept as the one that counts. Repeatable."""
        ...

    async def of_run(self, run_id: str) -> Sequence[Observation]: ...

    async def report(self, run_id: str, score: float) -> float:
        """The score that is kept for the run: the first one reported."""
        ...

    async def reported(self, run_id: str) -> float | None: ...
