"""`EvolutionProgressed` while a search runs: every stage, and at most one fact a second in between."""

from __future__ import annotations

from typing import Literal

from services.evolution.use_cases.bound import Evolution
from shared.events.improvement import EvolutionProgressed, StartEvolution
from shared.events.values import Score

Stage = Literal["scope", "seed", "search", "finalists", "gate"]


class Progress:
    def __init__(self, command: StartEvolution, at: Evolution, every_seconds: float = 1.0) -> None:
        self._command = command
        self._at = at
        self._every_seconds = every_seconds
        self._last = at.clock.monotonic()
        self._stage: Stage = "scope"

    async def tell(self, stage: Stage, text: str, evaluations: int, best: Score | None = None) -> None:
        self._stage = stage
        self._last = self._at.clock.monotonic()
        fact = EvolutionProgressed(
            evolution_id=self._command.evolution_id,
            stage=stage,
            text=text,
            evaluations=evaluations,
            evaluations_budget=self._command.evaluations,
            best=best,
        )
        await self._at.announcer.announce(fact, cause=self._command.evolution_id, effect=f"progress:{stage}:{evaluations}")

    async def measured(self, evaluations: int) -> None:
        if self._at.clock.monotonic() - self._last < self._every_seconds:
            return
        following: dict[Stage, Stage] = {"scope": "seed", "seed": "search"}
        stage = following.get(self._stage, self._stage)
        await self.tell(stage, f"{evaluations} of {self._command.evaluations} evaluations", evaluations)
