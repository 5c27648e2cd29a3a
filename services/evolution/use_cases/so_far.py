"""A search that goes on keeps what it has measured, for people who look at its lineage meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.evolution.domain.records import rows_so_far
from services.evolution.use_cases.bound import Evolution
from shared.search.candidates import Candidate
from shared.search.watching import WatchedArena


@dataclass
class KeptArena(WatchedArena):
    """A watched arena whose candidates are kept at the first measurement, and then at most once in `every_seconds`."""

    evolution_id: str
    grader_hash: str
    at: Evolution
    every_seconds: float = 5.0
    _kept_at: float | None = field(default=None, init=False)

    async def measure(self, candidates: Sequence[Candidate], cases: Sequence[str]) -> list[list[float | None]]:
        rows = await super().measure(candidates, cases)
        now = self.at.clock.monotonic()
        if self._kept_at is None or now - self._kept_at >= self.every_seconds:
            self._kept_at = now
            await self.at.evolutions.keep_so_far(self.evolution_id, *rows_so_far(self.watch, self.grader_hash))
        return rows
