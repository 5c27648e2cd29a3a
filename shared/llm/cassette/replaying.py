"""Models that answer from a cassette."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from shared.errors import EvolineError, NotRecordedError
from shared.llm.cassette.differences import nearest_difference
from shared.llm.cassette.tape import (
    BLANK,
    CompleteLine,
    CountLine,
    Outcome,
    ResultsLine,
    SubmitLine,
    Tape,
    canonical,
)
from shared.llm.streaming import parts_of
from shared.pipeline.batches import Answered, MessageBatches
from shared.pipeline.completion import Completion, CompletionRequest, StreamPart

T = TypeVar("T")


class Recorded(Generic[T]):
    """What was answered to each question, in the order of recording; after the last answer it begins again, so that a run can be
    replayed as often as one likes."""

    def __init__(self) -> None:
        self.questions: dict[str, Any] = {}
        self._answers: dict[str, list[T]] = defaultdict(list)
        self._given: Counter[str] = Counter()

    def add(self, question: Any, answer: T) -> None:
        key = _key(question)
        self.questions[key] = question
        self._answers[key].append(answer)

    def next(self, question: Any) -> T | None:
        key = _key(question)
        answers = self._answers.get(key)
        if not answers:
            return None
        self._given[key] += 1
        return answers[(self._given[key] - 1) % len(answers)]


class ReplayingModel:
    """Never reaches a provider. What it gives says that it is replayed."""

    def __init__(self, tape: Tape, secrets: Sequence[str] = ()) -> None:
        self._tape = tape
        self._secrets = [secret for secret in secrets if secret]
        self._outcomes: Recorded[Outcome] = Recorded()
        self._counts: Recorded[int] = Recorded()
        self._batches = ReplayingBatches(self)
        for line in tape.lines:
            if isinstance(line, CompleteLine):
                self._outcomes.add(canonical(line.request), line.outcome)
            elif isinstance(line, CountLine):
                self._counts.add(canonical(line.request), line.tokens)

    @property
    def tape(self) -> Tape:
        return self._tape

    async def complete(self, request: CompletionRequest) -> Completion:
        """Raises what was raised when it was recorded, and `NotRecordedError`."""
        answered = self._found(self._outcomes, request).replayed()
        if isinstance(answered, EvolineError):
            raise answered
        return answered

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[StreamPart]:
        for part in parts_of(await self.complete(request)):
            yield part

    async def count_tokens(self, request: CompletionRequest) -> int:
        return self._found(self._counts, request)

    async def batches(self) -> MessageBatches:
        return self._batches

    def asked(self, request: CompletionRequest) -> Any:
        """As it stands in the file."""
        text = json.dumps(canonical(request), ensure_ascii=False)
        for secret in self._secrets:
            text = text.replace(secret, BLANK)
        return json.loads(text)

    def missing(self, question: Any, recorded: Recorded[T]) -> NotRecordedError:
        difference = nearest_difference(question, list(recorded.questions.values()))
        return NotRecordedError(f"cassette {self._tape.file.name} holds no answer to this request: {difference}")

    def _found(self, recorded: Recorded[T], request: CompletionRequest) -> T:
        question = self.asked(request)
        answer = recorded.next(question)
        if answer is None:
            raise self.missing(question, recorded)
        return answer


class ReplayingBatches:
    """A batch ends as soon as it is submitted. It is known to the process that submitted it only."""

    def __init__(self, model: ReplayingModel) -> None:
        self._model = model
        self._recorded: Recorded[list[Outcome]] = Recorded()
        self._submitted: dict[str, dict[str, Outcome]] = {}
        submitted = {line.batch_id: line for line in model.tape.lines if isinstance(line, SubmitLine)}
        for line in model.tape.lines:
            if isinstance(line, ResultsLine) and (asked := submitted.pop(line.batch_id, None)) is not None:
                missing = Outcome(kind="invalid_answer", message="the batch holds no answer to this request")
                outcomes = [line.outcomes.get(name, missing) for name in asked.requests]
                self._recorded.add([canonical(request) for request in asked.requests.values()], outcomes)

    async def submit(self, requests: Mapping[str, CompletionRequest]) -> str:
        question = [self._model.asked(request) for request in requests.values()]
        outcomes = self._recorded.next(question)
        if outcomes is None:
            raise self._model.missing(question, self._recorded)
        batch_id = f"replayed-{len(self._submitted)}"
        self._submitted[batch_id] = dict(zip(requests, outcomes, strict=True))
        return batch_id

    async def find(self, prefix: str, size: int, since: datetime) -> str | None:
        return None

    async def has_ended(self, batch_id: str) -> bool:
        self._outcomes(batch_id)
        return True

    async def results(self, batch_id: str) -> Mapping[str, Answered]:
        return {name: outcome.replayed() for name, outcome in self._outcomes(batch_id).items()}

    async def cancel(self, batch_id: str) -> None:
        return

    def _outcomes(self, batch_id: str) -> dict[str, Outcome]:
        if batch_id not in self._submitted:
            raise NotRecordedError(f"batch {batch_id} was submitted by another process: retry the run")
        return self._submitted[batch_id]


def _key(question: Any) -> str:
    return json.dumps(question, sort_keys=True, ensure_ascii=False)
