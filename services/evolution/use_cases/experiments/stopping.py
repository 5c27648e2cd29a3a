"""`StopExperiment`: an experiment ends because somebody says so. Its record says it first; whoever works on it sees it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.evolution.domain.authority import require_stopper
from services.evolution.domain.experiments import stopped
from services.evolution.use_cases.bound import Effects
from services.evolution.use_cases.experiments.bound import Laboratory
from services.evolution.use_cases.experiments.scope import close_scope
from services.evolution.use_cases.experiments.telling import watch_of
from services.evolution.use_cases.stopping import StoppedError, refuse_late
from shared.errors import NotFoundError, UnavailableError
from shared.events.experiments import ExperimentFinished, StartExperiment, StopExperiment
from shared.identity import Signature


async def conclude(experiment_id: str, fields: Mapping[str, Any], at: Laboratory) -> None:
    """Writes how an experiment ended, or that it begins again. Raises `StoppedError` where somebody has stopped it."""
    if not await at.experiments.conclude(experiment_id, fields):
        raise StoppedError(experiment_id)


async def stop_experiment(command: StopExperiment, signature: Signature, at: Laboratory) -> Effects:
    """Repeatable. Raises `NotFoundError`, `NotAuthorizedError`, and `InvalidInputError` where it is too late."""
    record = await at.experiments.get(command.experiment_id)
    if record is None:
        hint = "a search is stopped by `evoline stop`; `evoline experiment list` lists experiments"
        raise NotFoundError(f"no experiment {command.experiment_id!r}, or it was not taken up yet: {hint}")
    order = StartExperiment.model_validate(record["command"])
    require_stopper(command, order.author, signature)
    if not record.get("stopped"):
        if record["answer"] or "proposal" in record:
            refuse_late(record, str((record["answer"] or {}).get("outcome", "")), "experiment_id")
        answer = stopped(record, command, watch_of(order, record, at).elapsed())
        if not await at.experiments.stop(record["_id"], {"status": "finished", "answer": answer.model_dump(mode="json")}):
            raise UnavailableError("it ended at this moment: it is looked at again")
        record |= {"answer": answer.model_dump(mode="json")}
    # Whoever works on it may have asked for the scope since it was read above.
    await close_scope(order, await at.experiments.get(record["_id"]) or record, at.evolution)
    return [("finished", ExperimentFinished.model_validate(record["answer"]))]
