"""The one place where candidates are measured: cached, counted before dispatch, never overshot, the same cases for all.

An evaluation is counted when it is first asked for in this evolution, whether it then runs or comes from the cache. So a search
that is repeated after a crash asks for the same, counts the same and ends with the same archive."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from services.evolution.use_cases.bound import Evolution
from shared.errors import FrozenError, UnavailableError
from shared.events.message import derive_id
from shared.events.runs import ExecuteRun, FaultPlan, RunFinished
from shared.events.values import Case, GraderSpec, GrantedScope
from shared.evidence import grade, grade_run, grader_hash
from shared.search.candidates import Candidate, Failure
from shared.search.objectives import COST_USD, SECONDS, TOKENS
from shared.search.strategies.strategy import SearchOverError

Pair = tuple[str, str]
"""(digest, case id)."""
FAULTED = "!faults"
"""Ends the id of a case on which the provider fails on purpose: an evaluation of its own, not a second opinion on the case."""


@dataclass(frozen=True)
class Assignment:
    """What is measured, by which grader, for whom."""

    evolution_id: str
    dataset_id: str
    scope: GrantedScope
    grader: GraderSpec
    cases: Mapping[str, Case]
    seed: int


@dataclass
class _Batch:
    """What was counted of those that are measured together."""

    done: int = 0
    ran: int = 0


class Evaluations:
    """Implements the strategies' `Arena`. `limit` and `deadline` are set stage by stage by the owner."""

    def __init__(self, assignment: Assignment, at: Evolution, heartbeat: Callable[[], Awaitable[None]]) -> None:
        self._for = assignment
        self._at = at
        self._heartbeat = heartbeat
        self._grader_hash = grader_hash(assignment.grader)
        self._rows: dict[Pair, Mapping[str, Any]] = {}
        self._uses: dict[str, dict[str, Mapping[str, float]]] = {}
        self._pending: dict[Pair, asyncio.Task[None]] = {}
        self.limit = 0
        self.deadline: datetime | None = None
        self.spent = 0
        self.dispatched = 0
        self.done = 0
        self.ran = 0
        """Of `done`, those that ran now instead of being known."""
        self.on_run: Callable[[], None] = lambda: None
        """Called when one has run."""

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.spent)

    async def measure(self, candidates: Sequence[Candidate], cases: Sequence[str]) -> list[list[float | None]]:
        wanted = [(candidate.digest, case) for candidate in candidates for case in cases]
        new = [pair for pair in dict.fromkeys(wanted) if pair not in self._rows and pair not in self._pending]
        # Counting happens before the first await: however many measure at once, the limit holds.
        if len(new) > self.remaining:
            told = f"this stage used up its share of the budget: {self.remaining} evaluations left, {len(new)} needed"
            raise SearchOverError("evaluations", told)
        self.spent += len(new)
        if new:
            documents = {candidate.digest: candidate for candidate in candidates}
            task = asyncio.ensure_future(self._evaluate([(documents[digest], case) for digest, case in new]))
            self._pending.update(dict.fromkeys(new, task))
        waiting = {self._pending[pair] for pair in wanted if pair in self._pending}
        await asyncio.gather(*waiting)
        await self._heartbeat()
        return [[self._rows[candidate.digest, case]["grade"] for case in cases] for candidate in candidates]

    async def endured(self, candidates: Sequence[Candidate], cases: Sequence[str]) -> list[list[bool]]:
        """Whether each still gives a gradable answer where its provider fails on purpose; counted like any other evaluation."""
        rows = await self.measure(candidates, [f"{case}{FAULTED}" for case in cases])
        return [[grade is not None for grade in row] for row in rows]

    def failures(self, digest: str) -> tuple[Failure, ...]:
        """Cases that this candidate answered wrongly, in order of measurement."""
        rows = [row for (owner, case), row in self._rows.items() if owner == digest and not case.endswith(FAULTED)]
        wrong = [row for row in rows if (row["grade"] or 0.0) < 1.0]
        return tuple(Failure(self._for.cases[row["case_id"]], row["answer"]) for row in wrong if row["answer"] is not None)

    def uses(self, digest: str) -> Mapping[str, Mapping[str, float]]:
        return self._uses.get(digest, {})

    def explain(self, digest: str, case: str) -> Mapping[str, Any]:
        row, asked = self._rows[digest, case], self._for.cases[case]
        feedback = row["error"] or f"The right answer is: {json.dumps(asked.expected, ensure_ascii=False)}"
        return {"Inputs": asked.input, "Generated Outputs": row["answer"], "Feedback": feedback}

    def errors(self, digest: str) -> list[str]:
        """What went wrong technically, most frequent first."""
        counted = Counter(str(row["error"]) for (owner, _), row in self._rows.items() if owner == digest and row["error"])
        return [text for text, _ in counted.most_common()]

    async def _evaluate(self, pairs: Sequence[tuple[Candidate, str]]) -> None:
        keys = {(candidate.digest, case): self._key(candidate.digest, case) for candidate, case in pairs}
        batch = _Batch()
        try:
            found = await self._at.cache.known([*keys.values(), *map(self._own_key, keys.values())])
            rows_of = {pair: found.get(self._own_key(key)) or found.get(key) for pair, key in keys.items()}
            known = {keys[pair]: row for pair, row in rows_of.items() if row is not None and self._is_true(row, *pair)}
            missing = [(candidate, case) for candidate, case in pairs if keys[candidate.digest, case] not in known]
            self._count(batch, done=len(pairs) - len(missing))
            rows = await self._run(missing, batch) if missing else {}
            if rows:
                await self._keep(list(rows.values()))
            for pair, key in keys.items():
                self._rows[pair] = row = rows[key] if key in rows else known[key]
                if row.get("use") and not pair[1].endswith(FAULTED):
                    self._uses.setdefault(pair[0], {})[pair[1]] = row["use"]
        except BaseException:
            self.spent -= len(pairs)
            self._count(batch, done=-batch.done, ran=-batch.ran)
            raise
        finally:
            for pair in keys:
                self._pending.pop(pair, None)

    def _count(self, batch: _Batch, *, done: int, ran: int = 0) -> None:
        """What a batch adds is taken back where it fails: what was not counted as spent is not done either."""
        batch.done += done
        batch.ran += ran
        self.done += done
        self.ran += ran

    async def _keep(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Of a revision that is taken back meanwhile nothing stays: whoever takes it back remembers that before it forgets, so
        either it finds these rows or they find that."""
        await self._at.cache.keep(rows)
        if taken := await self._at.evolutions.quarantined(sorted({str(row["digest"]) for row in rows})):
            await self._at.cache.forget(taken)

    async def _run(self, missing: Sequence[tuple[Candidate, str]], batch: _Batch) -> dict[str, dict[str, Any]]:
        commands = [self._command(candidate, case) for candidate, case in missing]
        finished = await self._at.runs.run_all(
            commands,
            max_in_flight=self._at.in_flight,
            deadline_seconds=self._seconds_for(len(commands)),
            on_finished=lambda run: self._has_run(batch),
        )
        if not finished:
            raise UnavailableError(f"none of {len(commands)} evaluations ended: does an executor run?")
        if stopped := next((run for run in finished.values() if run.error_code == FrozenError.code), None):
            # Says nothing about the candidate, so it must not be remembered as its failure.
            raise FrozenError(stopped.error)
        self.dispatched += len(commands)
        self._count(batch, done=len(commands) - len(finished))
        return {
            self._key(candidate.digest, case): self._row(candidate, case, finished.get(command.run_id))
            for (candidate, case), command in zip(missing, commands, strict=True)
        }

    def _has_run(self, batch: _Batch) -> None:
        self._count(batch, done=1, ran=1)
        self.on_run()

    def _seconds_for(self, runs: int) -> float:
        """Raises `SearchOverError` once the stage's time is up: what was begun before may end, nothing new begins."""
        now = self._at.clock.now()
        if self.deadline is not None and now >= self.deadline:
            raise SearchOverError("seconds", "the time is used up")
        return self._at.run_seconds * math.ceil(runs / self._at.in_flight)

    def _command(self, candidate: Candidate, case: str) -> ExecuteRun:
        task, faulted, latest = self._for, case.endswith(FAULTED), self._at.clock.now() + timedelta(seconds=3600)
        return ExecuteRun(
            run_id=derive_id(task.evolution_id, f"{candidate.digest}:{case}:{task.seed}"),
            inputs=self._case(case).input,
            document=dict(candidate.document),
            scope=task.scope,
            purpose="evaluation",
            group_id=task.evolution_id,
            case_id=case.removesuffix(FAULTED),
            faults=FaultPlan() if faulted else None,
            seed=task.seed,
            deadline_at=latest.isoformat(),
        )

    def _row(self, candidate: Candidate, case: str, run: RunFinished | None) -> dict[str, Any]:
        grade = grade_run(self._for.grader, self._case(case).expected, run) if run else None
        key = self._key(candidate.digest, case)
        return {
            "_id": key if _is_lasting(run.status if run else "", case) else self._own_key(key),
            "evolution_id": self._for.evolution_id,
            "digest": candidate.digest,
            "case_id": case,
            "grader_hash": self._grader_hash,
            "seed": self._for.seed,
            "grade": grade,
            "use": use_of(run) if run else {},
            "status": run.status if run else "timed_out",
            "answer": run.outputs if run and run.status == "succeeded" else None,
            "error": (run.error or run.error_code) if run else "did not end in time",
        }

    def _is_true(self, row: Mapping[str, Any], digest: str, case: str) -> bool:
        """Whether a cached grade is the one that its answer earns. One that is not was edited, and is measured again."""
        if (row["digest"], row["case_id"], row["grader_hash"]) != (digest, case, self._grader_hash):
            return False
        if row["status"] != "succeeded":
            is_own = row["_id"] == self._own_key(self._key(digest, case))
            return row["grade"] is None and (is_own or _is_lasting(row["status"], case))
        return bool(row["grade"] == grade(self._for.grader, self._case(case).expected, row["answer"]))

    def _case(self, case: str) -> Case:
        return self._for.cases[case.removesuffix(FAULTED)]

    def _own_key(self, key: str) -> str:
        """Of what gave no answer. It counts here, also after a crash; elsewhere it says more of the fleet or of a provider at that
        time than of the candidate, so it is measured again."""
        return derive_id(self._for.scope.scope.scope_id, key)

    def _key(self, digest: str, case: str) -> str:
        return derive_id(f"{digest}:{self._grader_hash}", f"{self._for.dataset_id}/{case}:{self._for.seed}")


def use_of(run: RunFinished) -> dict[str, float]:
    """What a run used. Of a replayed one nothing is known: its times and costs are those of another day."""
    if run.replayed:
        return {}
    usage = run.usage
    return {TOKENS: usage.input_tokens + usage.output_tokens, COST_USD: usage.cost_usd, SECONDS: run.latency_seconds}


def _is_lasting(status: str, case: str) -> bool:
    """Whether other searches may believe it: an answer, or what became of faults on purpose, which are the same each time."""
    return status == "succeeded" or (bool(status) and case.endswith(FAULTED))
