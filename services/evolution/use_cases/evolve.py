"""`StartEvolution`: ask the guardrail, search, confirm the finalists on fresh cases, propose the best. Repeatable at any point."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.evolution.domain.records import fingerprint, new_record, refusal
from services.evolution.use_cases.bound import Effects, Evolution
from services.evolution.use_cases.preparation import close_scope, prepare
from services.evolution.use_cases.work import EvolutionWork
from shared.errors import InvalidInputError, PermanentError, Problem
from shared.events.changes import ProposeChange
from shared.events.improvement import EvolutionFinished, StartEvolution


async def start_evolution(command: StartEvolution, at: Evolution) -> Effects:
    """Effects: `propose` with the best candidate, or `finished` where nothing is proposed.

    Whatever a crash interrupted is searched again from the cache and comes to the same end. Raises `InvalidInputError` where the id
    belongs to another evolution, `UnavailableError` where guardrail or executors do not answer."""
    return await at.under_way.join(fingerprint(command), lambda: _begin(command, at))


async def _begin(command: StartEvolution, at: Evolution) -> Effects:
    record = await at.evolutions.open(new_record(command, at.clock.now().isoformat()))
    if record["fingerprint"] != fingerprint(command):
        raise InvalidInputError(Problem(path="evolution_id", reason=f"{command.evolution_id!r} is another evolution already"))
    if "answer" in record:
        if "progress" in record:  # it had a scope, which a crash may have kept open
            await close_scope(command, at)
        return [("finished", EvolutionFinished.model_validate(record["answer"]))]
    if "proposal" in record:
        await close_scope(command, at)
        return [("propose", ProposeChange.model_validate(record["proposal"]))]
    began = datetime.fromisoformat(record["created_at"])
    try:
        prepared = await prepare(command, began, at)
    except PermanentError as error:
        return await _refuse(command, _problems(error), began, at)
    try:
        effects = await EvolutionWork(prepared, at).run()
    except PermanentError as error:
        effects = await _refuse(command, _problems(error), began, at)
    await close_scope(command, at)
    return effects


async def _refuse(command: StartEvolution, problems: Sequence[Problem], began: datetime, at: Evolution) -> Effects:
    answer = refusal(command, problems, (at.clock.now() - began).total_seconds())
    await at.evolutions.update(command.evolution_id, {"status": "finished", "answer": answer.model_dump(mode="json")})
    return [("finished", answer)]


def _problems(error: PermanentError) -> Sequence[Problem]:
    return error.problems if isinstance(error, InvalidInputError) else [Problem(reason=str(error))]
