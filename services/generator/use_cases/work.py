"""One accepted request on its way to a proposal: drafted, checked, tried."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from services.generator.domain.selection import Candidate, Draft, Outcome, ranked, report, survivors, trial_rounds
from services.generator.domain.task import Task
from services.generator.domain.templates import blanks_of, learned_digest
from services.generator.strategies import Strategy
from services.generator.strategies.synthesis import SynthesisStrategy
from services.generator.strategies.template import TemplateStrategy
from services.generator.use_cases.bound import Effects, Generator
from shared.errors import FrozenError, InvalidInputError, Problem
from shared.events.changes import Evidence, ProposeChange
from shared.events.generation import CandidateReport, GeneratePipeline, RequestFinished, RequestProgressed
from shared.events.improvement import PipelineScored
from shared.events.message import derive_id
from shared.events.runs import ExecuteRun
from shared.events.values import Case, GrantedScope
from shared.pipeline.document import Document
from shared.pipeline.facts import document_facts
from shared.pipeline.loading import load_document
from shared.pipeline.scope import check_scope

LAST_ROUND_SHARE = 0.4
"""Of the request's seconds: a further round of trials starts only before that, so that an answer comes well within them."""
SHORTEST_TRIAL_SECONDS = 1.0


class RequestWork:
    """One accepted request on its way to a proposal."""

    def __init__(self, request: GeneratePipeline, task: Task, scope: GrantedScope, at: Generator, started: float) -> None:
        self._request = request
        self._task = task
        self._scope = scope
        self._at = at
        self._started = started
        self._reports: list[CandidateReport] = []
        self._runs_left = request.constraints.generation_calls
        self._calls = 0
        self._deadline = at.clock.now() + timedelta(seconds=request.constraints.generation_seconds)

    async def answer(self) -> Effects:
        try:
            best_first = await self._try_out()
        except FrozenError as error:
            # Runs that were stopped say nothing about their candidates.
            finished = self._finished("no_candidate", reasons=(str(error),))
            await self._close(finished)
            return [("finished", finished)]
        passing = [candidate for candidate in best_first if candidate.mean > 0]
        if not passing:
            return await self._nothing_found(best_first)
        winner = passing[0]
        others = [report(other, *_fate(other), self._task.grader) for other in best_first if other is not winner]
        self._reports = [report(winner, "proposed", (), self._task.grader), *others, *self._reports]
        return await self._propose(winner, best_first)

    async def _drafted(self, strategies: Sequence[Strategy]) -> list[Candidate]:
        drafts = [draft for offered in await asyncio.gather(*(s.drafts(self._task) for s in strategies)) for draft in offered]
        checked = [candidate for draft in drafts if (candidate := self._check(draft))]
        unique = list({candidate.document.digest: candidate for candidate in reversed(checked)}.values())[::-1]
        names = ", ".join(strategy.name for strategy in strategies)
        await self._progress("candidates", f"{names}: {len(unique)} of {len(drafts)} drafts are valid pipelines")
        return unique

    def _synthesis(self) -> list[Strategy]:
        constraints = self._request.constraints
        if constraints.max_calls == 0 or constraints.generation_calls == 0:
            return []
        seconds = min(self._at.synthesis_seconds, constraints.generation_seconds / 2)
        return [SynthesisStrategy(self._at.runs, self._at.metrics, constraints, self._request.resources, seconds)]

    def _check(self, draft: Draft) -> Candidate | None:
        if draft.document is None:
            outcome: Outcome = "timed_out" if any("timed out" in reason for reason in draft.reasons) else "failed"
            self._reports.append(_unusable(draft, outcome, draft.reasons))
            return None
        try:
            document = load_document(draft.document)
            problems = [*check_scope(document_facts(document), self._scope.scope), *self._over_constraints(document)]
        except InvalidInputError as error:
            problems = list(error.problems)
        if problems:
            self._reports.append(_unusable(draft, "invalid", tuple(str(problem) for problem in problems[:5])))
            return None
        return Candidate(draft.strategy, draft.origin, document)

    def _over_constraints(self, document: Document) -> list[Problem]:
        constraints, facts = self._request.constraints, document_facts(document)
        if facts.estimated_calls > constraints.max_calls:
            return [
                Problem(path="steps", reason=f"may make {facts.estimated_calls} calls; the request allows {constraints.max_calls}")
            ]
        return []

    async def _try_out(self) -> list[Candidate]:
        """Successive halving on the trial cases, best first.

        The model writes before the trials begin: side by side on one local model both took longer than one after the other."""
        candidates = await self._drafted([TemplateStrategy(self._at.library), *self._synthesis()])
        plan = trial_rounds(len(candidates), len(self._task.trials), self._runs_left)
        if not plan:
            return candidates
        first = self._task.trials[: plan[0].cases]
        tried = [await self._trial(candidate, first) for candidate in candidates]
        current, seen = ranked(tried), len(first)
        await self._tell_round(current, len(tried), seen)
        for taking_part, size in plan[1:]:
            if self._elapsed() > self._request.constraints.generation_seconds * LAST_ROUND_SHARE:
                break
            cases = self._task.trials[seen : seen + size]
            going_on = survivors(current, taking_part)
            rest = [candidate for candidate in current if candidate not in going_on]
            current = ranked([*[await self._trial(candidate, cases) for candidate in going_on], *rest])
            seen += size
            await self._tell_round(current, len(going_on), seen)
        return current

    async def _tell_round(self, best_first: Sequence[Candidate], taking_part: int, cases: int) -> None:
        if best_first:
            best = best_first[0]
            text = f"{taking_part} candidates on {cases} cases; ahead: {best.origin} with {best.mean:.0%} on {len(best.grades)}"
            await self._progress("trials", text)

    async def _trial(self, candidate: Candidate, cases: Sequence[Case]) -> Candidate:
        """All cases of one candidate together: its prompts share a prefix that the model server keeps.

        A run that did not end before the request's deadline is no grade at all: it was cut off, not wrong."""
        commands = {case.id: self._command(candidate, case) for case in cases[: self._runs_left]}
        seconds = self._request.constraints.generation_seconds - self._elapsed()
        if not commands or seconds < SHORTEST_TRIAL_SECONDS:
            return candidate
        finished = await self._at.runs.run_all(
            list(commands.values()), max_in_flight=self._at.trial_in_flight, deadline_seconds=seconds
        )
        if stopped := next((run for run in finished.values() if run.error_code == FrozenError.code), None):
            raise FrozenError(stopped.error)
        self._runs_left -= len(commands)
        self._calls += sum(run.usage.calls for run in finished.values())
        for case in cases:
            run = finished.get(commands[case.id].run_id) if case.id in commands else None
            candidate = candidate.with_run(case, run, self._task.grader) if run else candidate
        return candidate

    def _command(self, candidate: Candidate, case: Case) -> ExecuteRun:
        digest = candidate.document.digest
        return ExecuteRun(
            run_id=derive_id(self._task.request_id, f"{digest}:{case.id}:{self._request.seed}"),
            document=candidate.document.canonical(),
            scope=self._scope,
            inputs=case.input,
            purpose="trial",
            group_id=self._task.request_id,
            case_id=case.id,
            seed=self._request.seed,
            # What is still queued when the request ends must not hold up anybody's runs.
            deadline_at=self._deadline.isoformat(),
        )

    def _elapsed(self) -> float:
        return self._at.clock.monotonic() - self._started

    async def _nothing_found(self, tried: Sequence[Candidate]) -> Effects:
        self._reports += [report(candidate, *_fate(candidate), self._task.grader) for candidate in tried]
        finished = self._finished("no_candidate", reasons=("no candidate was valid and scored above 0 on the examples",))
        await self._close(finished)
        return [("finished", finished)]

    async def _propose(self, winner: Candidate, tried: Sequence[Candidate]) -> Effects:
        grader = self._task.grader
        change_id = derive_id(self._task.request_id, "proposal")
        baseline = next((c.trial(grader) for c in tried if c.strategy == "baseline" and c.grades), None)
        proposal = ProposeChange(
            change_id=change_id,
            kind="revision",
            pipeline=self._task.pipeline,
            document=winner.document.canonical(),
            domain=self._task.domain,
            author="generator",
            requested_by=self._request.author if self._request.author != "anonymous" else None,
            reason=f"request {self._task.request_id} by {self._request.author}: {self._task.requirements[:500]}",
            evidence=(
                Evidence(
                    kind="trial",
                    text=f"best of {len(tried)} candidates; made by {winner.strategy} from {winner.origin}",
                    score=winner.trial(grader),
                    baseline=baseline,
                    calls=self._calls,
                    seconds=self._elapsed(),
                ),
            ),
            dataset_id=self._request.dataset_id,
            parent_digest=learned_digest(winner.origin),
            group_id=self._task.request_id,
        )
        pending = self._finished("queued", digest=winner.document.digest, change_id=change_id)
        await self._at.requests.update(
            self._task.request_id, {"status": "proposed", "change_id": change_id, "pending": pending.model_dump(mode="json")}
        )
        await self._progress(
            "proposal", f"proposing {winner.origin} ({winner.mean:.0%} on {len(winner.grades)} cases) to the guardrail"
        )
        return [*self._scored(tried), ("proposal", proposal)]

    def _scored(self, tried: Sequence[Candidate]) -> Effects:
        blanks = blanks_of(self._task)
        parameters = {name: value for name, value in blanks.items() if isinstance(value, str | list) and name != "pool"}
        return [
            (
                f"scored:{candidate.document.digest}",
                PipelineScored(
                    pipeline=self._task.pipeline,
                    digest=candidate.document.digest,
                    domain=self._task.domain,
                    purpose="trial",
                    score=trial,
                    document=candidate.document.canonical(),
                    group_id=self._task.request_id,
                    parameters=parameters,
                ),
            )
            for candidate in tried
            if (trial := candidate.trial(self._task.grader))
        ]

    def _finished(self, outcome: str, *, digest: str = "", change_id: str = "", reasons: Sequence[str] = ()) -> RequestFinished:
        return RequestFinished.model_validate(
            {
                "request_id": self._task.request_id,
                "outcome": outcome,
                "pipeline": self._task.pipeline,
                "digest": digest,
                "change_id": change_id,
                "candidates": [one.model_dump() for one in self._reports],
                "reasons": tuple(reasons),
                "seconds": self._elapsed(),
                "calls": self._calls,
            }
        )

    async def _close(self, finished: RequestFinished) -> None:
        await self._at.requests.update(
            self._task.request_id,
            {
                "status": finished.outcome,
                "answer": finished.model_dump(mode="json"),
                "finished_at": self._at.clock.now().isoformat(),
            },
        )

    async def _progress(self, stage: str, text: str, done: int = 0, total: int = 0) -> None:
        await self._at.announcer.announce(
            RequestProgressed(request_id=self._task.request_id, stage=stage, text=text, done=done, total=total),
            cause=self._task.request_id,
            effect=f"progress:{stage}:{text}",
        )


def _fate(candidate: Candidate) -> tuple[Outcome, Sequence[str]]:
    """How a candidate fared that was not proposed, and why."""
    if not candidate.grades:
        return "timed_out", ("the request's time or calls ended before its trial did",)
    if candidate.total == 0:
        return "failed", ("scored 0 in its trial",)
    return "outscored", ()


def _unusable(draft: Draft, outcome: Outcome, reasons: Sequence[str]) -> CandidateReport:
    return CandidateReport(strategy=draft.strategy, origin=draft.origin, outcome=outcome, reasons=tuple(reasons))
