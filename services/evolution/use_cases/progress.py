"""`EvolutionProgressed` while a search runs, kept in its record too: every stage, and at most one a second in between."""

from __future__ import annotations

import asyncio
import copy
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

from services.evolution.domain.pace import seconds_left
from services.evolution.use_cases.bound import Evolution
from services.evolution.use_cases.evaluations import Evaluations
from services.evolution.use_cases.stopwatch import Stopwatch
from shared.errors import EvolineError
from shared.events.improvement import EvolutionProgressed, StartEvolution
from shared.events.values import Score
from shared.evidence import score
from shared.search.candidates import Entry
from shared.search.watching import Watch

Stage = Literal["scope", "seed", "search", "finalists", "gate"]
_REST = 9.0
"""Between two sorts of the front, in times of what the first one took."""


class Progress:
    def __init__(self, command: StartEvolution, watch: Stopwatch, at: Evolution, every_seconds: float = 1.0) -> None:
        self._command = command
        self._stopwatch = watch
        self._at = at
        self._every_seconds = every_seconds
        self._last = self._started = at.clock.monotonic()
        self._stage: Stage = "scope"
        self._telling: asyncio.Task[None] | None = None
        self._evaluations: Evaluations | None = None
        self._watch: Watch | None = None
        self._grader_hash = ""
        self._front = 0
        self._sorting = asyncio.Lock()
        self._sort_at = -math.inf

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
        fact = self._fact(text, best, await self._front_size())
        await self._at.evolutions.update(
            self._command.evolution_id,
            {"progress": {**fact.model_dump(mode="json"), "at": self._at.clock.now().isoformat()}, **self._stopwatch.kept()},
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

    async def _front_size(self) -> int:
        """The latest that is known. Sorted beside the event loop, from a copy, and for a tenth of the time at most: intervals of
        hundreds of graded candidates take seconds."""
        async with self._sorting:
            began = self._at.clock.monotonic()
            if self._watch is not None and (not self._front or began >= self._sort_at):
                self._front = await asyncio.to_thread(_as_it_is(self._watch).front_size)
                ended = self._at.clock.monotonic()
                self._sort_at = ended + _REST * (ended - began)
            return self._front

    def _fact(self, text: str, best: Score | None, front: int) -> EvolutionProgressed:
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
            front=front,
            operator=accepted.operator if accepted else "",
            change=accepted.text[:300] if accepted else "",
            elapsed_seconds=self._stopwatch.elapsed(),
            seconds_left=self._seconds_left(),
        )

    def _seconds_left(self) -> float | None:
        if self._evaluations is None:
            return None
        working = self._at.clock.monotonic() - self._started
        return seconds_left(
            self._command.evaluations - self._evaluations.done, self._evaluations.ran, working, self._stopwatch.left()
        )


def _as_it_is(watch: Watch) -> Watch:
    """What another thread may read while measurements go on."""
    found = copy.copy(watch)
    found.entries = {
        digest: Entry(entry.candidate, entry.accepted, dict(entry.grades), dict(entry.uses), dict(entry.faulted))
        for digest, entry in watch.entries.items()
    }
    return found
