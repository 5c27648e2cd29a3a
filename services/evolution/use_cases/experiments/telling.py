"""`ExperimentProgressed` while an experiment runs, and how long it has been worked on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.evolution.use_cases.bound import Evolution
from services.evolution.use_cases.experiments.bound import Laboratory
from services.evolution.use_cases.stopwatch import Stopwatch
from shared.events.experiments import ExperimentProgressed, ExperimentStage, StartExperiment


async def tell(command: StartExperiment, stage: ExperimentStage, text: str, evaluations: int, at: Evolution) -> None:
    fact = ExperimentProgressed(
        experiment_id=command.experiment_id,
        stage=stage,
        text=text,
        evaluations=evaluations,
        evaluations_budget=command.evaluations,
    )
    await at.announcer.announce(fact, cause=command.experiment_id, effect=f"progress:{stage}:{evaluations}")


def watch_of(command: StartExperiment, record: Mapping[str, Any], at: Laboratory) -> Stopwatch:
    """Of the attempt that the record is about."""
    return Stopwatch.of(record, command.seconds, at.evolution.clock, since="began_at")
