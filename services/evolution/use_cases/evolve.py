"""`StartEvolution`: ask the guardrail, search, confirm the finalists on fresh cases, propose the best. Repeatable at any point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.evolution.domain.records import fingerprint, new_record, problems_of, refusal
from services.evolution.use_cases.bound import Effects, Evolution
from services.evolution.use_cases.preparation import close_scope, prepare
from services.evolution.use_cases.stopping import StoppedError, conclude
from services.evolution.use_cases.stopwatch import Stopwatch
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
    try:
        effects = _ended(record) or await _searched(command, Stopwatch.of(record, command.seconds, at.clock), at)
    except StoppedError:
        effects = []  # whoever stopped it has told it
    # Also of what ended before: a crash may have kept the scope open, and what was measured of a search that was refused.
    await at.evolutions.forget_so_far(command.evolution_id)
    await close_scope(command, at)
    return effects


def _ended(record: Mapping[str, Any]) -> Effects:
    if "answer" in record:
        return [("finished", EvolutionFinished.model_validate(record["answer"]))]
    return [("propose", ProposeChange.model_validate(record["proposal"]))] if "proposal" in record else []


async def _searched(command: StartEvolution, watch: Stopwatch, at: Evolution) -> Effects:
    try:
        return await EvolutionWork(await prepare(command, watch, at), at).run()
    except PermanentError as error:
        return await _refuse(command, problems_of(error), watch, at)


async def give_up_evolution(command: StartEvolution, at: Evolution) -> None:
    """Of an order that is tried no more: what it holds is free for others. Sent again, it goes on from the cache in a new scope.
    Another evolution that has the order's id is none of its business.

    On record before the scope is closed: a search that went on in a closed one would be refused for good."""
    record = await at.evolutions.get(command.evolution_id)
    if record is None or record["fingerprint"] != fingerprint(command):
        return
    await at.evolutions.update(command.evolution_id, {"given_up": 1})
    await close_scope(command, at)


async def _refuse(command: StartEvolution, problems: Sequence[Problem], watch: Stopwatch, at: Evolution) -> Effects:
    answer = refusal(command, problems, watch.elapsed())
    await conclude(command.evolution_id, {"status": "finished", "answer": answer.model_dump(mode="json")}, at)
    return [("finished", answer)]
