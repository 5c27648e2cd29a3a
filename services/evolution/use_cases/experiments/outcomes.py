"""What becomes of a winner: the gate's verdict, people's, and how its rollout ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.evolution.domain.experiments import FINAL, Ended, concluded, rolled
from services.evolution.domain.records import Decision, outcome_of
from services.evolution.use_cases.bound import Effects
from services.evolution.use_cases.experiments.bound import Laboratory
from shared.errors import NotFoundError
from shared.events.changes import ChangeQueued, GateFinished
from shared.events.experiments import ExperimentFinished, GetExperiment, ListExperiments

_HIDDEN = ("_id", "fingerprint", "proposal", "pending", "made", "scope_at", "stopped")


async def record_gate(fact: GateFinished, at: Laboratory) -> Effects:
    """Kept until the change is decided."""
    record = await at.experiments.of_change(fact.change_id)
    if record is not None:
        await at.experiments.update(record["_id"], {"gate": fact.model_dump(mode="json")})
    return []


async def record_verdict(decision: Decision, at: Laboratory) -> Effects:
    """Tells the outcome so far of the experiment whose change it is. Raises `UnavailableError` while the guardrail does not say
    whether a rollout began."""
    record = await at.experiments.of_change(decision.change_id)
    if record is None:
        return []
    decided = record.get("decision", "")
    if isinstance(decision, ChangeQueued) and decided not in ("", "queued"):
        return []  # out of order: people were faster than this fact
    change = await at.promotions.change(decision.change_id)
    answer = concluded(record, decision, change, _seconds(record, at))
    fields: dict[str, Any] = {"decision": outcome_of(decision)}
    if record.get("rollout"):
        await at.experiments.update(record["_id"], fields)
        return []  # out of order: its rollout has ended already, and that was told
    fields |= {"status": "rolling_out" if answer.rollout_id else "finished", "answer": answer.model_dump(mode="json")}
    await at.experiments.update(record["_id"], fields)
    return [(f"finished:{outcome_of(decision)}", answer)]


async def record_rollout(fact: Ended, at: Laboratory) -> Effects:
    """How the rollout of a winner ended. Once it was taken back, nothing else is believed of it."""
    change_id = await _change_of(fact.rollout_id, at)
    record = await at.experiments.of_change(change_id) if change_id else None
    if record is None:
        return []
    answer = rolled(record["answer"] or record["pending"], fact)
    if record.get("rollout") == FINAL != answer.outcome:
        return []
    fields = {"status": "finished", "rollout": answer.outcome, "answer": answer.model_dump(mode="json")}
    await at.experiments.update(record["_id"], fields)
    return [(f"finished:{answer.outcome}", answer)]


async def _change_of(rollout_id: str, at: Laboratory) -> str:
    try:
        return await at.promotions.change_of_rollout(rollout_id)
    except NotFoundError:
        return ""


def _seconds(record: dict[str, Any], at: Laboratory) -> float:
    return (at.evolution.clock.now() - datetime.fromisoformat(record["began_at"])).total_seconds()


async def read_experiment(query: GetExperiment, at: Laboratory) -> dict[str, Any]:
    """The record with its latest answer. Raises `NotFoundError`."""
    record = await at.experiments.get(query.experiment_id)
    if record is None:
        raise NotFoundError(f"no experiment {query.experiment_id!r}; `evoline experiment list` lists them")
    shown = {key: value for key, value in record.items() if key not in _HIDDEN}
    if not shown["answer"]:
        del shown["answer"]
    if pinned := shown.pop("stable", None):
        shown["stable"] = pinned["digest"]
    return {"experiment_id": record["_id"], **shown}


async def list_experiments(query: ListExperiments, at: Laboratory) -> dict[str, Any]:
    return {"experiments": [_line(record) for record in await at.experiments.latest(query.pipeline, query.limit)]}


def _line(record: dict[str, Any]) -> dict[str, Any]:
    answer = ExperimentFinished.model_validate(record["answer"]) if record["answer"] else None
    return {
        "experiment_id": record["_id"],
        "pipeline": record["pipeline"],
        "status": record["status"],
        "outcome": answer.outcome if answer else "",
        "winner": answer.winner if answer else "",
        "change_id": record.get("change_id", ""),
        "rollout_id": answer.rollout_id if answer else "",
        "created_at": record["created_at"],
    }
