"""`ExperimentProgressed` while an experiment runs."""

from __future__ import annotations

from services.evolution.use_cases.bound import Evolution
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
