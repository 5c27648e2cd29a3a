"""What an evolution needs before it measures anything: the stable document, cases, a plan, a scope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.evolution.ports import LabelledCases, StablePipeline
from services.evolution.use_cases.bound import Evolution
from services.evolution.use_cases.lending import Lenders, lenders_of
from services.evolution.use_cases.pinning import pinned
from services.evolution.use_cases.stopwatch import Stopwatch
from shared.errors import InvalidInputError, Problem
from shared.events.changes import GrantScope
from shared.events.improvement import StartEvolution
from shared.events.message import derive_id
from shared.events.quotas import CloseScope
from shared.events.values import Budget, GrantedScope
from shared.pipeline.document import Document
from shared.pipeline.facts import document_facts
from shared.pipeline.loading import load_document
from shared.search.candidates import Candidate, OperatorContext
from shared.search.menu import candidate_of
from shared.search.plan import Plan, plan_evolution

_CALLS_A_RUN = 4
"""Provider calls that an average candidate run may make, as far as the scope is concerned."""
_TOKENS_A_RUN = 4000
_HOLDER = "evolution"
_MOST_SCOPE_SECONDS = 86_400.0
_GATE_SECONDS = 60.0


@dataclass(frozen=True)
class Prepared:
    command: StartEvolution
    watch: Stopwatch
    seed: Candidate
    document: Document
    data: LabelledCases
    plan: Plan
    scope: GrantedScope
    lenders: Lenders
    models: tuple[str, ...]

    @property
    def context(self) -> OperatorContext:
        shown = tuple(case for case in self.data.cases if case.split == "train")
        labels = tuple(dict.fromkeys(str(case.expected) for case in self.data.cases)) if self.data.grader.kind == "label" else ()
        return OperatorContext(
            seed=self.seed.document,
            shown=shown,
            labels=tuple(sorted(labels)),
            families=self.scope.scope.providers,
            models=self.models,
            templates=self.lenders.templates,
            donors=self.lenders.donors,
        )


async def prepare(command: StartEvolution, watch: Stopwatch, at: Evolution) -> Prepared:
    """Raises `PermanentError` with what is wrong: unknown pipeline or dataset, too few cases, budget too small, scope refused."""
    if command.weights.get("robustness") and not command.fault_cases:
        reason = "robustness is not measured where no case runs with faults"
        raise InvalidInputError(Problem(path="weights.robustness", reason=reason, suggestion="set fault_cases, to 8 for example"))
    stable = await _stable(command, at)
    data = await at.custodian.dataset(command.dataset_id)
    plan = plan_evolution(data.cases, command.evaluations, command.seed)
    document = load_document(stable.document)
    refuse_unfitting(document, data)
    lenders = await lenders_of(command, document.domain, at)
    query = _scope_query(command, document, await _asked_for(command, watch, at), at)
    estimate = await at.custodian.estimate(command.pipeline, query.budget.runs)
    scope = await at.custodian.grant_scope(query.model_copy(update={"estimate": estimate}))
    seed = candidate_of(document)
    return Prepared(command, watch, seed, document, data, plan, scope, lenders, at.models)


async def _stable(command: StartEvolution, at: Evolution) -> StablePipeline:
    """Raises `PermanentError` where it was taken back, or there is none."""

    async def keep(fields: Mapping[str, Any]) -> None:
        await at.evolutions.update(command.evolution_id, fields)

    record = await at.evolutions.get(command.evolution_id) or {}
    again = "`evoline evolve ... --new` searches from the one that is stable now"
    return await pinned(command.pipeline, record, keep, again, at)


def refuse_unfitting(document: Document, data: LabelledCases) -> None:
    """The dataset's inputs must be those of the pipeline, else every run would fail."""
    required = {name for name, schema in document.inputs.items() if "default" not in schema}
    given = set(data.cases[0].input)
    if missing := sorted(required - given):
        reason = f"pipeline {document.name} needs the inputs {missing}, dataset {data.dataset_id} gives {sorted(given)}"
        raise InvalidInputError(Problem(path="dataset_id", reason=reason, suggestion="name a dataset made for this pipeline"))


async def _asked_for(command: StartEvolution, watch: Stopwatch, at: Evolution) -> str:
    """Id of the scope of this search, on record before anybody can have granted it: whatever comes, it can be closed.

    Another one where it was given up, or would end before the search does since that was interrupted for long."""
    record = await at.evolutions.get(command.evolution_id) or {}
    now = at.clock.now()
    asked_at = datetime.fromisoformat(record.get("scope_at", record["created_at"])) if "scope" in record else now
    is_too_short = now + timedelta(seconds=watch.left()) > asked_at + timedelta(seconds=_scope_seconds(command))
    number = record.get("scope", 1)
    if record.get("given_up") or is_too_short:
        await close_scope(command, at)  # whoever gave it up may have come no further
        number, asked_at = number + 1, now
    await at.evolutions.update(command.evolution_id, {"scope": number, "scope_at": asked_at.isoformat(), "given_up": 0})
    return _scope_id(command, number)


def _scope_query(command: StartEvolution, document: Document, scope_id: str, at: Evolution) -> GrantScope:
    runs = command.evaluations + at.rewrites
    calls = runs * max(_CALLS_A_RUN, document_facts(document).estimated_calls)
    return GrantScope(
        scope_id=scope_id,
        purpose="evolution",
        holder=_HOLDER,
        domain=document.domain,
        budget=Budget(runs=runs, calls=calls, tokens=runs * _TOKENS_A_RUN, cost_usd=round(0.01 * runs, 2)),
        seconds=_scope_seconds(command),
        pipeline=document.name,
        group_id=command.evolution_id,
    )


def _scope_seconds(command: StartEvolution) -> float:
    return min(_MOST_SCOPE_SECONDS, command.seconds + _GATE_SECONDS)


def _scope_id(command: StartEvolution, number: int) -> str:
    """A scope that was closed is not opened again: a search that was given up and goes on later has another one."""
    return derive_id(command.evolution_id, "scope" if number == 1 else f"scope:{number}")


async def close_scope(command: StartEvolution, at: Evolution) -> None:
    """Nothing more is evaluated: what the search did not use is free for others. Nothing happens where none was asked for."""
    record = await at.evolutions.get(command.evolution_id) or {}
    if "scope" not in record and "progress" not in record:
        return
    scope_id = _scope_id(command, record.get("scope", 1))
    closing = CloseScope(scope_id=scope_id, author=_HOLDER, reason="the search has ended")
    await at.announcer.announce(closing, cause=command.evolution_id, effect=f"close {scope_id}")
