"""`StartExperiment`: variants in, measured on the same cases, compared, explained, the winner proposed. Repeatable at any point."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.evolution.domain.experiment_plan import ExperimentPlan, plan_experiment
from services.evolution.domain.experiments import attempt, new_record, refusal, unmeasured
from services.evolution.domain.records import fingerprint, problems_of
from services.evolution.domain.variants import Entrant, within
from services.evolution.ports import LabelledCases, StablePipeline
from services.evolution.use_cases.bound import Effects
from services.evolution.use_cases.experiments.bound import Laboratory
from services.evolution.use_cases.experiments.entering import enter, make, require_budget, require_given
from services.evolution.use_cases.experiments.scope import close_scope, granted
from services.evolution.use_cases.experiments.telling import tell
from services.evolution.use_cases.experiments.work import ExperimentWork, Ready
from services.evolution.use_cases.preparation import refuse_unfitting
from shared.errors import InvalidInputError, PermanentError, Problem
from shared.events.changes import ProposeChange
from shared.events.experiments import ExperimentFinished, StartExperiment
from shared.pipeline.loading import load_document


async def start_experiment(command: StartExperiment, at: Laboratory) -> Effects:
    """Effects: `propose` with the winner, or `finished` where nothing is proposed.

    Whatever a crash interrupted is measured again from the cache and comes to the same end; one that was refused is tried again,
    for what was wrong around it may have been mended. Raises `InvalidInputError` where the
    id belongs to another experiment, `UnavailableError` where guardrail or executors do not answer."""
    return await at.evolution.under_way.join(fingerprint(command), lambda: _begin(command, at))


async def _begin(command: StartExperiment, at: Laboratory) -> Effects:
    record = await at.experiments.open(new_record(command, at.evolution.clock.now().isoformat()))
    if record["fingerprint"] != fingerprint(command):
        reason = f"{command.experiment_id!r} is another experiment already"
        raise InvalidInputError(Problem(path="experiment_id", reason=reason, suggestion="choose another id"))
    answer = ExperimentFinished.model_validate(record["answer"]) if record["answer"] else None
    if answer or "proposal" in record:
        await close_scope(command, record["attempt"], at.evolution)  # a crash may have kept it open
    if answer and answer.outcome != "refused":
        return [("finished", answer)]
    if "proposal" in record:
        return [("propose", ProposeChange.model_validate(record["proposal"]))]
    if answer:
        again = attempt(record["attempt"] + 1, at.evolution.clock.now().isoformat())
        await at.experiments.update(command.experiment_id, again)
        record |= again
    return await _Attempt(command, record, at).run()


async def give_up_experiment(command: StartExperiment, at: Laboratory) -> None:
    """Of an order that is tried no more: what it holds is free for others. Sent again, it goes on from the cache in a new scope."""
    record = await at.experiments.get(command.experiment_id)
    if record is None or record["answer"] or "proposal" in record:
        return
    await close_scope(command, record["attempt"], at.evolution)
    again = attempt(record["attempt"] + 1, at.evolution.clock.now().isoformat())
    await at.experiments.update(command.experiment_id, again)


class _Attempt:
    """Knows the variants as soon as there are any, so that a refusal tells what is wrong with each."""

    def __init__(self, command: StartExperiment, record: dict[str, Any], at: Laboratory) -> None:
        self._command = command
        self._record = record
        self._at = at
        self._began = datetime.fromisoformat(record["began_at"])
        self._found: list[Entrant] = []

    async def run(self) -> Effects:
        try:
            ready = await self._prepare()
            effects = await ExperimentWork(ready, self._at).run()
        except PermanentError as error:
            effects = await self._refuse(problems_of(error))
        await close_scope(self._command, self._record["attempt"], self._at.evolution)
        return effects

    async def _prepare(self) -> Ready:
        command, at = self._command, self._at
        require_budget(command)
        stable = await self._stable()
        data = await at.evolution.custodian.dataset(command.dataset_id)
        document = load_document(stable.document)
        self._plan(data, len(command.variants) or 1)
        refuse_unfitting(document, data)
        made = None
        if command.generate:
            await tell(command, "variants", "the meta pipeline makes variants", 0, at.evolution)
            made = await make(command, self._record["attempt"], document, data, at)
        self._found = await enter(command, document, data, made)
        taking_part = [each for each in self._found if each.candidate]
        plan = self._plan(data, len(taking_part))
        documents = [document, *(load_document(dict(each.candidate.document)) for each in taking_part if each.candidate)]
        scope = await granted(command, self._record["attempt"], documents, at.evolution)
        self._found = within(self._found, scope.scope)
        require_given(self._found)
        if not any(each.candidate for each in self._found):
            raise InvalidInputError([problem for each in self._found for problem in each.problems])
        reasons = (made.reason,) if made and made.reason else ()
        return Ready(command, self._began, document, self._found, data, plan, scope, reasons)

    def _plan(self, data: LabelledCases, variants: int) -> ExperimentPlan:
        command = self._command
        return plan_experiment(data.cases, variants, command.evaluations, command.alpha, command.seed)

    async def _stable(self) -> StablePipeline:
        """The same one however often this is tried: what was measured against it would not fit another."""
        if known := self._record.get("stable"):
            return StablePipeline(known["digest"], known["document"])
        stable = await self._at.evolution.custodian.stable(self._command.pipeline)
        pinned = {"digest": stable.digest, "document": stable.document}
        await self._at.experiments.update(self._command.experiment_id, {"stable": pinned})
        return stable

    async def _refuse(self, problems: Sequence[Problem]) -> Effects:
        seconds = (self._at.evolution.clock.now() - self._began).total_seconds()
        answer = refusal(self._command, problems, unmeasured(self._found), seconds)
        fields = {"status": "finished", "answer": answer.model_dump(mode="json")}
        await self._at.experiments.update(self._command.experiment_id, fields)
        return [("finished", answer)]
