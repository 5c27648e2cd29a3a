"""A request comes in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.generator.domain.task import Task, understand
from services.generator.use_cases.bound import Effects, Generator
from services.generator.use_cases.work import RequestWork
from shared.errors import InvalidInputError, PermanentError, Problem
from shared.events.changes import GrantScope
from shared.events.generation import GeneratePipeline, RequestAccepted, RequestFinished, RequestRejected
from shared.events.message import derive_id
from shared.events.quotas import CloseScope
from shared.events.values import Budget, Case, GraderSpec, GrantedScope

HOLDER = "generator"


async def generate_pipeline(request: GeneratePipeline, at: Generator) -> Effects:
    """Ends in `RequestRejected`, in `RequestFinished(no_candidate)`, or in a `ProposeChange` whose verdict ends the request."""
    before = await at.requests.get(request.request_id)
    if before and before["status"] != "accepted":
        if before["status"] != "rejected":
            await _close_scope(request.request_id, at)
        return _again(before)
    # A redelivery while it was accepted starts over; its runs have deterministic ids and are found finished.
    started = at.clock.monotonic()
    try:
        task = await _understand(request, at)
        scope = await _scope(request, task, at)
    except PermanentError as error:
        return await _reject(request, error, at)
    await at.requests.open(_record(request, task, at))
    await at.announcer.announce(
        RequestAccepted(request_id=task.request_id, pipeline=task.pipeline, domain=task.domain),
        cause=task.request_id,
        effect="accepted",
    )
    work = RequestWork(request, task, scope, at, started)
    effects = await work.answer()
    await _close_scope(request.request_id, at)
    return effects


async def _close_scope(request_id: str, at: Generator) -> None:
    """Nothing more is tried: what the search did not use is free for others."""
    command = CloseScope(scope_id=_scope_id(request_id), author=HOLDER, reason="the search has ended")
    await at.announcer.announce(command, cause=request_id, effect="close scope")


def _scope_id(request_id: str) -> str:
    return derive_id(request_id, "scope")


def _again(record: dict[str, Any]) -> Effects:
    """The same answer to the same request asked again; nothing where its verdict is still on the way."""
    if record["status"] == "rejected":
        problems = tuple(Problem.model_validate(problem) for problem in record["problems"])
        return [("rejected again", RequestRejected(request_id=record["_id"], problems=problems))]
    return [("finished again", RequestFinished.model_validate(record["answer"]))] if "answer" in record else []


async def _understand(request: GeneratePipeline, at: Generator) -> Task:
    cases: Sequence[Case] = request.examples
    grader: GraderSpec | None = None
    if request.dataset_id and not request.examples:
        cases, grader, domain = await at.custodian.dataset(request.dataset_id)
        if domain != request.domain:
            raise InvalidInputError(
                Problem(path="domain", reason=f"is {request.domain!r}, but the dataset {request.dataset_id!r} is of {domain!r}")
            )
    return understand(request, cases, grader)


async def _scope(request: GeneratePipeline, task: Task, at: Generator) -> GrantedScope:
    calls = request.constraints.generation_calls
    return await at.custodian.grant_scope(
        GrantScope(
            scope_id=_scope_id(task.request_id),
            purpose="generation",
            holder=HOLDER,
            domain=task.domain,
            providers=request.constraints.providers,
            budget=Budget(runs=calls, calls=calls * 3, tokens=calls * 4000, cost_usd=calls * request.constraints.max_cost_usd),
            seconds=request.constraints.generation_seconds + 60,
            pipeline=task.pipeline,
            group_id=task.request_id,
        )
    )


async def _reject(request: GeneratePipeline, error: PermanentError, at: Generator) -> Effects:
    problems = error.problems if isinstance(error, InvalidInputError) else (Problem(reason=str(error)),)
    await at.requests.open(
        {
            "_id": request.request_id,
            "status": "rejected",
            "problems": [problem.model_dump() for problem in problems],
            "created_at": at.clock.now().isoformat(),
            "author": request.author,
        }
    )
    return [("rejected", RequestRejected(request_id=request.request_id, problems=tuple(problems)))]


def _record(request: GeneratePipeline, task: Task, at: Generator) -> dict[str, Any]:
    return {
        "_id": request.request_id,
        "status": "accepted",
        "pipeline": task.pipeline,
        "domain": task.domain,
        "requirements": task.requirements,
        "constraints": request.constraints.model_dump(mode="json"),
        "resources": request.resources,
        "author": request.author,
        "dataset_id": request.dataset_id,
        "created_at": at.clock.now().isoformat(),
    }
