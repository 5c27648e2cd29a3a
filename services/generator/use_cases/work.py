"""One accepted request on its way to a proposal: drafted, checked, tried."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.generator.domain.selection import Candidate, Draft, ranked, report, rounds
from services.generator.domain.task import Task
from services.generator.domain.templates import blanks_of
from services.generator.strategies import Strategy
from services.generator.strategies.synthesis import SynthesisStrategy
from services.generator.strategies.template import TemplateStrategy
from services.generator.use_cases.bound import Effects, Generator
from shared.errors import InvalidInputError, Problem
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

    async def answer(self) -> Effects:
        candidates = await self._candidates()
        best_first = await self._try_out(candidates)
        passing = [candidate for candidate in best_first if candidate.grades and candidate.mean > 0]
        if not passing:
            return await self._nothing_found(best_first)
        winner = passing[0]
        self._reports += [report(other, "outscored", self._task.grader) for other in best_first if other is not winner]
        self._reports.insert(0, report(winner, "proposed", self._task.grader))
        return await self._propose(winner, best_first)

    async def _candidates(self) -> list[Candidate]:
        constraints = self._request.constraints
        synthesis = SynthesisStrategy(
            self._at.runs,
            self._at.metrics,
            constraints,
            self._request.resources,
            min(self._at.synthesis_seconds, constraints.generation_seconds / 2),
        )
        strategies: list[Strategy] = [TemplateStrategy(self._at.library)]
        if constraints.max_calls > 0:
            strategies.append(synthesis)
        await self._progress("candidates", f"drafting with {len(strategies)} strategies: {', '.join(s.name for s in strategies)}")
        drafts = [draft for offered in await asyncio.gather(*(s.drafts(self._task) for s in strategies)) for draft in offered]
        checked = [candidate for draft in drafts if (candidate := self._check(draft))]
        unique = list({candidate.document.digest: candidate for candidate in reversed(checked)}.values())[::-1]
        await self._progress("candidates", f"{len(unique)} of {len(drafts)} drafts are valid pipelines", len(unique), len(drafts))
        return unique

    def _check(self, draft: Draft) -> Candidate | None:
        if draft.document is None:
            outcome = "timed_out" if any("timed out" in reason for reason in draft.reasons) else "failed"
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

    async def _try_out(self, candidates: list[Candidate]) -> list[Candidate]:
        """Successive halving on the trial cases, ended early by the request's deadline."""
        plan = rounds(len(candidates), len(self._task.trials), self._runs_left)
        tried, done = 0, 0
        total = sum(count * cases for count, cases in plan)
        current = list(candidates)
        for count, size in plan:
            if tried and self._seconds_left() < 2:
                break
            alive, rest = current[:count], current[count:]
            cases = self._task.trials[tried : tried + size]
            alive = [await self._trial(candidate, cases) for candidate in alive]
            current = [*ranked(alive), *rest]
            tried, done = tried + size, done + count * size
            await self._progress("trials", f"{count} candidates on {tried} cases; best so far {current[0].mean:.0%}", done, total)
        return ranked(current)

    async def _trial(self, candidate: Candidate, cases: Sequence[Case]) -> Candidate:
        """All cases of one candidate together: its prompts share a prefix that the model server keeps."""
        commands = {case.id: self._command(candidate, case) for case in cases}
        finished = await self._at.runs.run_all(
            list(commands.values()),
            max_in_flight=self._at.trial_in_flight,
            deadline_seconds=max(2.0, self._seconds_left()),
        )
        self._runs_left -= len(commands)
        self._calls += sum(run.usage.calls for run in finished.values())
        for case in cases:
            candidate = candidate.with_run(case, finished.get(commands[case.id].run_id), self._task.grader)
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
        )

    def _seconds_left(self) -> float:
        return self._request.constraints.generation_seconds - (self._at.clock.monotonic() - self._started)

    async def _nothing_found(self, tried: Sequence[Candidate]) -> Effects:
        self._reports += [report(candidate, "failed", self._task.grader, ("scored 0 in its trial",)) for candidate in tried]
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
            reason=f"request {self._task.request_id} by {self._request.author}: {self._task.requirements[:500]}",
            evidence=(
                Evidence(
                    kind="trial",
                    text=f"best of {len(tried)} candidates; made by {winner.strategy} from {winner.origin}",
                    score=winner.trial(grader),
                    baseline=baseline,
                    calls=self._calls,
                    seconds=self._at.clock.monotonic() - self._started,
                ),
            ),
            dataset_id=self._request.dataset_id,
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
                "seconds": self._at.clock.monotonic() - self._started,
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


def _unusable(draft: Draft, outcome: str, reasons: Sequence[str]) -> CandidateReport:
    return CandidateReport.model_validate(
        {"strategy": draft.strategy, "origin": draft.origin, "outcome": outcome, "reasons": tuple(reasons)}
    )
