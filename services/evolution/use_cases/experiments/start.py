"""`StartExperiment`: variants in, measured on the same cases, compared, explained, the winner proposed. Repeatable at any point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from services.evolution.domain.experiment_plan import ExperimentPlan, plan_experiment
from services.evolution.domain.experiments import attempt, new_record, refusal, unmeasured
from services.evolution.domain.records import fingerprint, problems_of
from services.evolution.domain.variants import Entrant, within
from services.evolution.ports import LabelledCases, StablePipeline
from services.evolution.use_cases.bound import Effects
from services.evolution.use_cases.experiments.bound import Laboratory
from services.evolution.use_cases.experiments.entering import enter, make, require_budget, require_given
from services.evolution.use_cases.experiments.scope import close_scope, granted, scope_end
from services.evolution.use_cases.experiments.stopping import conclude
from services.evolution.use_cases.experiments.telling import tell, watch_of
from services.evolution.use_cases.experiments.work import ExperimentWork, Ready
from services.evolution.use_cases.pinning import pinned
from services.evolution.use_cases.preparation import refuse_unfitting
from services.evolution.use_cases.stopping import StoppedError
from shared.errors import InvalidInputError, PermanentError, Problem
from shared.events.changes import ProposeChange
from shared.events.experiments import ExperimentFinished, StartExperiment
from shared.events.values import GrantedScope
from shared.pipeline.document import Document
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
        await close_scope(command, record, at.evolution)  # a crash may have kept it open
    if answer and answer.outcome != "refused":
        return [("finished", answer)]
    if "proposal" in record:
        return [("propose", ProposeChange.model_validate(record["proposal"]))]
    record |= await _again(record, at) if answer else await _in_time(command, record, at)
    return await _Attempt(command, record, at).run()


async def _again(record: Mapping[str, Any], at: Laboratory) -> dict[str, Any]:
    """A refused one, against the revision that is stable now: the former one may be what was wrong."""
    again = {**attempt(record["attempt"] + 1, at.evolution.clock.now().isoformat()), "stable": None}
    await conclude(record["_id"], again, at)
    return again


async def _in_time(command: StartExperiment, record: Mapping[str, Any], at: Laboratory) -> dict[str, Any]:
    """One that was interrupted for so long that its scope would end before it does goes on in another scope."""
    watch = watch_of(command, record, at)
    if not record.get("scope_at") or watch.clock.now() + timedelta(seconds=watch.left()) <= scope_end(command, record["scope_at"]):
        return {}
    await close_scope(command, record, at.evolution)
    goes_on = {"attempt": record["attempt"] + 1, "scope_at": None}
    await at.experiments.update(record["_id"], goes_on)
    return goes_on


async def give_up_experiment(command: StartExperiment, at: Laboratory) -> None:
    """Of an order that is tried no more: what it holds is free for others. Sent again, it goes on from the cache in a new scope.
    Another experiment that has the order's id is none of its business."""
    record = await at.experiments.get(command.experiment_id)
    if record is None or record["fingerprint"] != fingerprint(command) or record["answer"] or "proposal" in record:
        return
    await close_scope(command, record, at.evolution)
    again = attempt(record["attempt"] + 1, at.evolution.clock.now().isoformat())
    await at.experiments.conclude(command.experiment_id, again)


class _Attempt:
    """Knows the variants as soon as there are any, so that a refusal tells what is wrong with each."""

    def __init__(self, command: StartExperiment, record: dict[str, Any], at: Laboratory) -> None:
        self._command = command
        self._record = record
        self._at = at
        self._watch = watch_of(command, record, at)
        self._found: list[Entrant] = []

    async def run(self) -> Effects:
        try:
            ready = await self._prepare()
            effects = await ExperimentWork(ready, self._at).run()
        except PermanentError as error:
            effects = await self._refuse(problems_of(error))
        except StoppedError:
            effects = []  # whoever stopped it has told it
        await close_scope(self._command, self._record, self._at.evolution)
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
        scope = await self._scope(documents)
        self._found = within(self._found, scope.scope)
        require_given(self._found)
        if not any(each.candidate for each in self._found):
            raise InvalidInputError([problem for each in self._found for problem in each.problems])
        reasons = (made.reason,) if made and made.reason else ()
        return Ready(command, self._watch, document, self._found, data, plan, scope, reasons)

    def _plan(self, data: LabelledCases, variants: int) -> ExperimentPlan:
        command = self._command
        return plan_experiment(data.cases, variants, command.evaluations, command.alpha, command.seed)

    async def _scope(self, documents: Sequence[Document]) -> GrantedScope:
        if not self._record.get("scope_at"):
            asked = {"scope_at": self._watch.clock.now().isoformat()}
            await self._at.experiments.update(self._command.experiment_id, asked)
            self._record |= asked
        return await granted(self._command, self._record["attempt"], documents, self._at.evolution)

    async def _stable(self) -> StablePipeline:
        """Raises `PermanentError` where it was taken back meanwhile."""

        async def keep(fields: Mapping[str, Any]) -> None:
            await self._at.experiments.update(self._command.experiment_id, fields)

        again = "order it again to measure against the one that is stable now"
        return await pinned(self._command.pipeline, self._record, keep, again, self._at.evolution)

    async def _refuse(self, problems: Sequence[Problem]) -> Effects:
        answer = refusal(self._command, problems, unmeasured(self._found), self._watch.elapsed())
        fields = {"status": "finished", "answer": answer.model_dump(mode="json")}
        await conclude(self._command.experiment_id, fields, self._at)
        return [("finished", answer)]
