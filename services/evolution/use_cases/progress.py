"""`EvolutionProgressed` while a search runs, kept in its record too: every stage, and at most one a second in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Literal

from services.evolution.domain.pace import seconds_left
from services.evolution.use_cases.bound import Evolution
from services.evolution.use_cases.evaluations import Evaluations
from shared.errors import EvolineError
from shared.events.improvement import EvolutionProgressed, StartEvolution
from shared.events.values import Score
from shared.evidence import score
from shared.search.watching import Watch

Stage = Literal["scope", "seed", "search", "finalists", "gate"]


class Progress:
    def __init__(self, command: StartEvolution, began: datetime, at: Evolution, every_seconds: float = 1.0) -> None:
        self._command = command
        self._began = began
        self._at = at
        self._every_seconds = every_seconds
        self._last = self._started = at.clock.monotonic()
        self._stage: Stage = "scope"
        self._telling: asyncio.Task[None] | None = None
        self._evaluations: Evaluations | None = None
        self._watch: Watch | None = None
        self._grader_hash = ""

    @asynccontextmanager
    async def of(self, evaluations: Evaluations, watch: Watch, grader_hash: str) -> AsyncIterator[None]:
        """Tells of these while they go on, also in the middle of a large batch."""
        self._evaluations, self._watch, self._grader_hash = evaluations, watch, grader_hash
        evaluations.on_run = self._ran
        try:
            yield
        finally:
            evaluations.on_run = lambda: None
            if self._telling is not None:
                await self._telling

    def enter(self, stage: Stage) -> None:
        """What is told from now on is told of this stage."""
        self._stage = stage

    async def tell(self, stage: Stage, text: str, best: Score | None = None) -> None:
        self._stage = stage
        self._last = self._at.clock.monotonic()
        fact = self._fact(text, best)
        await self._at.evolutions.update(
            self._command.evolution_id,
            {"progress": {**fact.model_dump(mode="json"), "at": self._at.clock.now().isoformat()}},
        )
        effect = f"progress:{stage}:{fact.evaluations}:{fact.done}:{fact.candidates}"
        await self._at.announcer.announce(fact, cause=self._command.evolution_id, effect=effect)

    async def measured(self) -> None:
        if self._is_time():
            await self._tell_on()

    def _ran(self) -> None:
        if self._is_time() and (self._telling is None or self._telling.done()):
            self._telling = asyncio.ensure_future(self._tell_in_between())

    def _is_time(self) -> bool:
        return self._at.clock.monotonic() - self._last >= self._every_seconds

    async def _tell_in_between(self) -> None:
        with suppress(EvolineError):  # one fact less; what is really down, the next measurement tells
            await self._tell_on()

    async def _tell_on(self) -> None:
        spent = self._evaluations.spent if self._evaluations else 0
        await self.tell(self._stage, f"{spent} of {self._command.evaluations} evaluations")

    def _fact(self, text: str, best: Score | None) -> EvolutionProgressed:
        watch, evaluations = self._watch, self._evaluations
        accepted = watch.accepted if watch else None
        leading = watch.leader.grades if watch else None
        return EvolutionProgressed(
            evolution_id=self._command.evolution_id,
            stage=self._stage,
            text=text,
            evaluations=evaluations.spent if evaluations else 0,
            evaluations_budget=self._command.evaluations,
            best=best or (score(list(leading.values()), self._grader_hash) if leading else None),
            candidates=watch.candidates if watch else 0,
            done=evaluations.done if evaluations else 0,
            generation=watch.generation if watch else 0,
            generations=watch.generations if watch else 0,
            front=watch.front_size() if watch else 0,
            operator=accepted.operator if accepted else "",
            change=accepted.text[:300] if accepted else "",
            elapsed_seconds=(self._at.clock.now() - self._began).total_seconds(),
            seconds_left=self._seconds_left(),
        )

    def _seconds_left(self) -> float | None:
        if self._evaluations is None:
            return None
        now = self._at.clock.now()
        time_left = (self._began + timedelta(seconds=self._command.seconds) - now).total_seconds()
        working = self._at.clock.monotonic() - self._started
        return seconds_left(self._command.evaluations - self._evaluations.done, self._evaluations.ran, working, time_left)
