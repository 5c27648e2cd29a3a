"""Evolution's surroundings in memory: a guardrail, an executor fleet that knows the right answers, announcements, a clock."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from services.evolution.adapters.mongo import MongoEvaluationCache, MongoEvolutions
from services.evolution.adapters.templates import MongoTemplates
from services.evolution.ports import LabelledCases, StablePipeline
from services.evolution.use_cases import Evolution
from shared.errors import NotFoundError
from shared.events.changes import GrantScope
from shared.events.message import Message
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Attestation, Budget, Case, GraderSpec, GrantedScope, TrialScope
from shared.pipeline.document import Document
from shared.pipeline.facts import document_facts
from shared.pipeline.loading import load_document
from tests.fakes.storage import InMemoryDatabase

LABELS = ("negative", "neutral", "positive")
STEP_TYPES = ("claude", "claude_extract", "claude_robust", "function", "set_variable")
FUNCTIONS = ("nearest_examples", "vote", "parse_json")


def seed_document(**changes: Any) -> dict[str, Any]:
    """A one-step classifier as the generator makes it."""
    step = {
        "name": "classify",
        "type": "claude",
        "prompt": "Decide how the writer feels.\nAnswer with exactly one of: negative, neutral, positive.\n\n{{ text }}\n",
        "schema": {
            "type": "object",
            "properties": {"label": {"enum": list(LABELS)}},
            "required": ["label"],
            "additionalProperties": False,
        },
        "max_tokens": 24,
    }
    document = {
        "name": "tweets",
        "description": "Labels tweets.",
        "domain": "social",
        "limits": {"seconds": 30, "steps": 2, "calls": 2, "tokens": 4000},
        "steps": [step],
        "outputs": {"answer": "{{ steps.classify.result.label }}"},
    }
    return {**document, **changes}


def donor_document() -> dict[str, Any]:
    """Another task in another domain: thinks first, then chooses."""
    think = {"name": "think", "type": "claude", "prompt": "Is the mail urgent?\nSay what asks for haste.\n\n{{ mail }}\n"}
    schema = {"type": "object", "properties": {"label": {"enum": ["urgent", "other"]}}, "required": ["label"]}
    prompt = "Is the mail urgent?\n\n{{ mail }}\n\nReasoning:\n{{ steps.think.text }}\n"
    decide = {"name": "decide", "type": "claude_extract", "prompt": prompt, "schema": schema, "max_tokens": 16}
    outputs = {"answer": "{{ steps.decide.result.label }}"}
    return {"name": "triage", "domain": "support", "steps": [think, decide], "outputs": outputs, "inputs": {"mail": "string"}}


def labelled_cases(train: int = 30, dev: int = 60) -> tuple[Case, ...]:
    splits = ["train"] * train + ["dev"] * dev
    return tuple(
        Case.model_validate(
            {
                "id": f"{split}-{index}",
                "input": {"text": f"text number {index} about {LABELS[index % 3]} things, {{{{ braces }}}} and all"},
                "expected": LABELS[index % 3],
                "split": split,
            }
        )
        for index, split in enumerate(splits)
    )


def granted(query: GrantScope, expires_at: datetime) -> GrantedScope:
    scope = TrialScope(
        scope_id=query.scope_id,
        purpose=query.purpose,
        holder=query.holder,
        domain=query.domain,
        step_types=STEP_TYPES,
        providers=("claude",),
        functions=FUNCTIONS,
        budget=query.budget,
        expires_at=expires_at.isoformat(),
    )
    attestation = Attestation(
        kind="scope",
        digest="0" * 64,
        scope=query.purpose,
        domain=query.domain,
        policy_revision="1",
        issued_at="",
        expires_at=scope.expires_at,
        key_id="k",
    )
    return GrantedScope(scope=scope, attestation=attestation)


@dataclass
class SteppingClock:
    """Moves only when told, or by `tick_seconds` at every look."""

    moment: datetime = datetime(2026, 11, 1, tzinfo=UTC)
    tick_seconds: float = 0.0

    def now(self) -> datetime:
        self.moment += timedelta(seconds=self.tick_seconds)
        return self.moment

    def monotonic(self) -> float:
        return self.now().timestamp()

    async def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)
        await asyncio.sleep(0)


@dataclass
class ScriptedCustodian:
    documents: dict[str, dict[str, Any]]
    data: dict[str, LabelledCases]
    clock: SteppingClock
    gates: dict[str, dict[str, Any]] = field(default_factory=dict)
    rollouts: dict[str, str] = field(default_factory=dict)
    """By the change that began them."""

    async def stable(self, pipeline: str) -> StablePipeline:
        if pipeline not in self.documents:
            raise NotFoundError(f"no pipeline {pipeline!r}")
        document = self.documents[pipeline]
        return StablePipeline(load_document(document).digest, document)

    async def dataset(self, dataset_id: str) -> LabelledCases:
        if dataset_id not in self.data:
            raise NotFoundError(f"no dataset {dataset_id!r}")
        return self.data[dataset_id]

    async def estimate(self, pipeline: str, runs: int) -> Budget:
        facts = document_facts(load_document(dict((await self.stable(pipeline)).document)))
        return Budget(runs=runs, calls=runs * facts.estimated_calls, tokens=runs * facts.estimated_tokens)

    async def grant_scope(self, query: GrantScope) -> GrantedScope:
        return granted(query, self.clock.moment + timedelta(seconds=query.seconds))

    async def gate_of(self, change_id: str) -> dict[str, Any] | None:
        return self.gates.get(change_id)

    async def rollout_of(self, change_id: str) -> str:
        return self.rollouts.get(change_id, "")


Quality = Callable[[Document], float]


def liked_features(document: Document) -> float:
    """Quality that grows with examples and a few phrasings; what a searcher can find."""
    text = " ".join(step.prompt or "" for step in document.steps)
    gain = 0.2 * ("xamples:" in text) + 0.15 * ("What the labels mean" in text) + 0.1 * ("careful" in text)
    return 0.45 + gain - 0.2 * (len(document.steps) > 3)


@dataclass
class ScriptedRuns:
    """Answers runs by a planted quality. `workers` run at once and end in random order; `crash_after` runs it breaks once."""

    cases: Mapping[str, Case]
    quality: Quality = liked_features
    workers: int = 4
    crash_after: int | None = None
    answers: Callable[[ExecuteRun], RunFinished | None] | None = None
    ended: dict[str, RunFinished] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    """Run ids in order of start; a run id twice would be a run executed twice."""
    documents: dict[str, Document] = field(default_factory=dict)

    async def run_all(
        self,
        commands: Sequence[ExecuteRun],
        *,
        max_in_flight: int,
        deadline_seconds: float,
        on_finished: Callable[[RunFinished], None] | None = None,
    ) -> dict[str, RunFinished]:
        slots = asyncio.Semaphore(min(self.workers, max_in_flight))

        async def one(command: ExecuteRun) -> None:
            async with slots:
                for _ in range(random.randrange(4)):
                    await asyncio.sleep(0)
                self._finish(command)
                if on_finished is not None and command.run_id in self.ended:
                    on_finished(self.ended[command.run_id])

        try:
            async with asyncio.TaskGroup() as group:
                for command in commands:
                    group.create_task(one(command))
        except* RuntimeError as killed:
            raise killed.exceptions[0] from None
        return {command.run_id: self.ended[command.run_id] for command in commands if command.run_id in self.ended}

    def _finish(self, command: ExecuteRun) -> None:
        if command.run_id in self.ended:
            return
        if self.crash_after is not None and len(self.started) >= self.crash_after:
            self.crash_after = None
            raise RuntimeError("the process was killed here")
        self.started.append(command.run_id)
        run = self.answers(command) if self.answers else self._answer(command)
        if run is not None:
            self.ended[command.run_id] = run

    def _loaded(self, document: dict[str, Any]) -> Document:
        key = json.dumps(document, sort_keys=True)
        if key not in self.documents:
            self.documents[key] = load_document(document)
        return self.documents[key]

    def _answer(self, command: ExecuteRun) -> RunFinished:
        if command.purpose == "meta":
            return finished(command, "failed", None)
        case = self.cases[command.case_id or ""]
        document = self._loaded(command.document or {})
        draw = hashlib.sha256(f"{document.digest}:{case.id}".encode()).digest()[0] / 256
        wrong = next(label for label in LABELS if label != case.expected)
        return finished(command, "succeeded", {"answer": case.expected if draw < self.quality(document) else wrong})


def finished(command: ExecuteRun, status: str, outputs: Any, error: str = "") -> RunFinished:
    return RunFinished.model_validate(
        {
            "run_id": command.run_id,
            "pipeline": "tweets",
            "digest": "",
            "domain": "social",
            "purpose": command.purpose,
            "status": status,
            "outputs": outputs,
            "error": error,
            "case_id": command.case_id,
            "group_id": command.group_id,
        }
    )


@dataclass
class RecordingAnnouncer:
    facts: dict[tuple[str, str], Message] = field(default_factory=dict)

    async def announce(self, message: Message, *, cause: str, effect: str) -> None:
        self.facts[cause, effect] = message


@dataclass
class World:
    evolution: Evolution
    runs: ScriptedRuns
    custodian: ScriptedCustodian
    announcer: RecordingAnnouncer
    clock: SteppingClock
    database: InMemoryDatabase


def small_world(*, cases: tuple[Case, ...] | None = None, document: dict[str, Any] | None = None, **runs: Any) -> World:
    """One pipeline `tweets`, one dataset `tweets3`."""
    chosen = labelled_cases() if cases is None else cases
    clock, announcer, database = SteppingClock(), RecordingAnnouncer(), InMemoryDatabase()
    grader = GraderSpec(kind="label", options={"labels": list(LABELS)})
    data = {"tweets3": LabelledCases("tweets3", "social", grader, chosen)}
    custodian = ScriptedCustodian({"tweets": document or seed_document()}, data, clock)
    fleet = ScriptedRuns({case.id: case for case in chosen}, **runs)
    evolution = Evolution(
        MongoEvolutions(database), MongoEvaluationCache(database), MongoTemplates(database), custodian, fleet, announcer, clock
    )
    return World(evolution, fleet, custodian, announcer, clock, database)
