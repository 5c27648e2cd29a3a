"""Experiments: start one and follow it to its verdict, ask for one, list them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from evoline.client.talk import OnFact, Talk, hold, ignore
from shared.errors import NotFoundError
from shared.events import Fact
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, GateFinished
from shared.events.experiments import ExperimentFinished, ExperimentProgressed, GetExperiment, ListExperiments, StartExperiment
from shared.events.runs import RunFinished
from shared.messaging.bus import Bus

PROGRESS = (ExperimentProgressed, RunFinished, GateFinished, ChangeQueued, ChangeApproved, ChangeVetoed)
GATE_SECONDS = 1800.0
"""The sealed gate runs two pipelines on every sealed case after the experiment's own time."""


class Experiments:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def start(
        self, command: StartExperiment, *, on_fact: OnFact = ignore, timeout_seconds: float | None = None
    ) -> ExperimentFinished:
        """The first outcome; a winner that is rolled out goes on. The same command again goes on where it stopped, or is answered
        at once. Raises InvalidInputError where it is refused, UnavailableError where no end is told in time."""
        experiment_id = command.experiment_id
        refused = await self._refused_attempt(experiment_id)

        def belongs(fact: Fact) -> bool:
            return experiment_id in (getattr(fact, "experiment_id", ""), getattr(fact, "group_id", ""))

        async def recall() -> Fact | None:
            return told_end(await self.get(experiment_id), refused)

        talk = Talk(
            key=experiment_id,
            command=command,
            ends=(ExperimentFinished,),
            progress=PROGRESS,
            belongs=belongs,
            recall=recall,
            timeout_seconds=timeout_seconds or command.seconds + GATE_SECONDS,
            look_later=f"evoline experiment show {experiment_id}",
        )
        fact = await hold(self._bus, talk, on_fact)
        assert isinstance(fact, ExperimentFinished)
        return fact

    async def _refused_attempt(self, experiment_id: str) -> int:
        """Number of the attempt that ended refused before we came; 0 where none did."""
        try:
            record = await self.get(experiment_id)
        except NotFoundError:
            return 0
        return int(record["attempt"]) if (record.get("answer") or {}).get("outcome") == "refused" else 0

    async def get(self, experiment_id: str) -> dict[str, Any]:
        """Raises NotFoundError."""
        return await self._bus.ask(GetExperiment(experiment_id=experiment_id))

    async def list(self, *, pipeline: str | None = None, limit: int = 20) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self._bus.ask(ListExperiments(pipeline=pipeline, limit=limit)))["experiments"]
        return rows


def told_end(record: Mapping[str, Any], refused_attempt: int) -> ExperimentFinished | None:
    """How it ended, if it did. The refusal of an attempt before ours is no end: what was refused is tried again."""
    answer = record.get("answer")
    if not answer or (answer["outcome"] == "refused" and record["attempt"] <= refused_attempt):
        return None
    return ExperimentFinished.model_validate(answer)
