"""Controlling runs that exist: one method a verb. Each publishes the command and returns the fact that answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from evoline.client.outputs import with_outputs
from evoline.client.talk import OnFact, Talk, TooLateError, hold, ignore
from shared.errors import EvolineError, NotFoundError
from shared.events import Command, Fact
from shared.events.runs import (
    FinishedRuns,
    ForkRun,
    GetRun,
    PauseRun,
    ResumeRun,
    RetryRun,
    RunFinished,
    RunStarted,
    RunSuspended,
)
from shared.large_values import LargeValues
from shared.messaging.blobs import ObjectStoreBlobs
from shared.messaging.bus import Bus

Answer = RunFinished | RunSuspended
UNKNOWN_SECONDS = 3.0
"""How long the end of a run that nobody knows is waited for: it may be about to start."""


class RunControl:
    """Every method raises InvalidInputError where the command is refused, with what can be done instead, NotFoundError for an
    unknown run and UnavailableError where nothing is told in time."""

    def __init__(self, bus: Bus, *, author: str = "anonymous") -> None:
        self._bus = bus
        self._values = LargeValues(ObjectStoreBlobs(bus))
        self._author = author

    async def pause(self, run_id: str, reason: str = "", *, timeout_seconds: float = 60) -> Answer:
        """RunSuspended, or RunFinished where the run ended before it came to its next step."""
        command = PauseRun(run_id=run_id, author=self._author, reason=reason)
        record = await self._bus.ask(GetRun(run_id=run_id))
        return await self._answer(command, run_id, timeout_seconds, generation=record.get("generation", 0))

    async def resume(self, run_id: str, reason: str = "", *, on_fact: OnFact = ignore, timeout_seconds: float = 330) -> Answer:
        """The run's end; RunSuspended where it gave its place away again."""
        record = await self._bus.ask(GetRun(run_id=run_id))
        command = ResumeRun(run_id=run_id, author=self._author, reason=reason)
        return await self._answer(command, run_id, timeout_seconds, on_fact, generation=record.get("generation", 0) + 1)

    async def retry(self, run_id: str, reason: str = "", *, on_fact: OnFact = ignore, timeout_seconds: float = 330) -> Answer:
        """The run's next end, or RunSuspended."""
        record = await self._bus.ask(GetRun(run_id=run_id))
        command = RetryRun(run_id=run_id, author=self._author, reason=reason)
        generation, retries = record.get("generation", 0) + 1, record.get("retries", 0) + 1
        return await self._answer(command, run_id, timeout_seconds, on_fact, generation=generation, retries=retries)

    async def fork(self, command: ForkRun, *, on_fact: OnFact = ignore, timeout_seconds: float = 330) -> Answer:
        """The new run's end, or RunSuspended."""
        asked = command.model_copy(update={"author": self._author, "inputs": await self._values.pack(command.inputs)})
        return await self._answer(asked, command.new_run_id, timeout_seconds, on_fact)

    async def _answer(
        self,
        command: Command,
        run_id: str,
        seconds: float,
        on_fact: OnFact = ignore,
        *,
        generation: int = 0,
        retries: int = 0,
    ) -> Answer:
        def is_new(fact: Fact) -> bool:
            if getattr(fact, "run_id", "") != run_id:
                return False
            if isinstance(fact, RunFinished):
                return fact.retries >= retries
            return not isinstance(fact, RunSuspended) or fact.generation >= generation

        async def recall() -> Fact | None:
            rows = (await self._bus.ask(FinishedRuns(run_ids=(run_id,))))["runs"]
            if rows:
                end = RunFinished.model_validate(rows[0])
                return end if is_new(end) else None
            suspended = _suspension(await self._bus.ask(GetRun(run_id=run_id)))
            return suspended if suspended is not None and is_new(suspended) else None

        talk = Talk(
            key=run_id,
            command=command,
            ends=(RunFinished, RunSuspended),
            progress=(RunStarted,),
            belongs=is_new,
            recall=recall,
            timeout_seconds=seconds,
            look_later=f"evoline show run {run_id}",
        )
        answer = cast("Answer", await hold(self._bus, talk, on_fact))
        return await with_outputs(answer, self._values) if isinstance(answer, RunFinished) else answer


async def hold_of_known(bus: Bus, talk: Callable[[float], Talk], seconds: float) -> Fact:
    """The end of a talk of so many seconds about a run, whose id is its key. Raises NotFoundError where nobody knows the run."""
    run_id = talk(seconds).key
    try:
        return await hold(bus, talk(seconds if await is_known(bus, run_id) else min(seconds, UNKNOWN_SECONDS)))
    except TooLateError:
        if await is_known(bus, run_id):
            raise
    raise NotFoundError(f"no run {run_id!r} is known; should it wait in the queue, it is cancelled when it starts")


async def is_known(bus: Bus, run_id: str) -> bool:
    """Also where nobody can say."""
    try:
        await bus.ask(GetRun(run_id=run_id))
    except NotFoundError:
        return False
    except EvolineError:
        return True  # nobody can say, or the answer is too large for a message
    return True


def _suspension(record: Mapping[str, Any]) -> RunSuspended | None:
    if record["status"] not in ("paused", "waiting"):
        return None
    suspended = record.get("suspended", {})
    return RunSuspended(
        run_id=record["run_id"],
        pipeline=record["pipeline"],
        digest=record["digest"],
        status=record["status"],
        until=suspended.get("until"),
        reason=suspended.get("reason", ""),
        generation=record.get("generation", 0),
    )
