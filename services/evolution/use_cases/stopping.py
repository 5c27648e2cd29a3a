"""`StopEvolution`: a search ends because somebody says so. Its record says it first; whoever works on it sees it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from services.evolution.domain.authority import require_stopper
from services.evolution.domain.records import stopped
from services.evolution.use_cases.bound import Effects, Evolution
from services.evolution.use_cases.preparation import close_scope
from services.evolution.use_cases.stopwatch import Stopwatch
from shared.errors import InvalidInputError, NotFoundError, Problem, UnavailableError
from shared.events.improvement import EvolutionFinished, StartEvolution, StopEvolution
from shared.identity import Signature


class StoppedError(Exception):
    """Somebody ended what is worked on, and has told it."""


async def conclude(evolution_id: str, fields: Mapping[str, Any], at: Evolution) -> None:
    """Writes how a search ended. Raises `StoppedError` where somebody has stopped it."""
    if not await at.evolutions.conclude(evolution_id, fields):
        raise StoppedError(evolution_id)


async def stop_evolution(command: StopEvolution, signature: Signature, at: Evolution) -> Effects:
    """Repeatable. Raises `NotFoundError`, `NotAuthorizedError`, and `InvalidInputError` where it is too late."""
    record = await at.evolutions.get(command.evolution_id)
    if record is None:
        hint = "an experiment is stopped by `evoline experiment stop`; `evoline lineage` shows the searches of a pipeline"
        raise NotFoundError(f"no evolution {command.evolution_id!r}, or it was not taken up yet: {hint}")
    order = StartEvolution.model_validate(record["command"])
    require_stopper(command, order.author, signature)
    if not record.get("stopped"):
        if "answer" in record or "proposal" in record:
            refuse_late(record, str(record.get("answer", {}).get("verdict", "")), "evolution_id")
        watch = Stopwatch.of(record, order.seconds, at.clock)
        answer = stopped(record, command, watch.elapsed())
        if not await at.evolutions.stop(record["_id"], {"status": "finished", "answer": answer.model_dump(mode="json")}):
            raise UnavailableError("it ended at this moment: it is looked at again")
        record |= {"answer": answer.model_dump(mode="json")}
    await at.evolutions.forget_so_far(record["_id"])
    await close_scope(order, at)
    return [("finished", EvolutionFinished.model_validate(record["answer"]))]


def refuse_late(record: Mapping[str, Any], outcome: str, path: str) -> NoReturn:
    """Raises `InvalidInputError`: there is nothing to stop any more, and what can be done instead."""
    change_id = record.get("change_id", "")
    if outcome and not (record["status"] == "rolling_out" or outcome == "queued"):
        raise InvalidInputError(Problem(path=path, reason=f"{record['_id']} has ended: {outcome}"))
    reason = f"{record['_id']} has proposed what it found (change {change_id}): nothing is searched any more"
    suggestion = f"`evoline review deny {change_id}` while it waits for people, `evoline rollback` once it serves"
    raise InvalidInputError(Problem(path=path, reason=reason, suggestion=suggestion))
