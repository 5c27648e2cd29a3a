"""Steps that wait for a provider's batch: submitted once, found again by whoever owns the run, polled in place or between parks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from services.executor.domain.control import SuspendRun, Suspension
from services.executor.domain.meter import estimated_input_tokens
from services.executor.domain.records import JournalEntry, RunFencedError, SubmittedBatch
from services.executor.domain.spending import Reserved, Spending
from services.executor.engine.completions import Charge, Completions
from services.executor.engine.run_state import RunState
from shared.clock import Clock
from shared.errors import ConfigurationError, EvolineError, InvalidInputError, Problem, ProviderError, ProviderRefusedError
from shared.events.message import derive_id
from shared.events.values import Budget, Usage
from shared.pipeline.batches import Answered, MessageBatches, batches_of
from shared.pipeline.completion import Completion, CompletionRequest, Family, LanguageModel
from shared.pipeline.document import Document
from shared.pipeline.steps.claude_batch import uses_message_batches
from shared.pipeline.walk import walk

FAMILY: Family = "claude"
"""The only one whose steps can ask for batches."""
LONGEST_POLL_SECONDS = 600.0
FAILED_POLLS = 20
"""After so many in a row whoever waits in place gives up."""
CANCEL_GRACE_SECONDS = 30.0
"""How long a batch that was cancelled for its time-out may take to end with what it has answered."""
SUBMISSION_SECONDS = 5.0
"""How long a submission may go on in a run that is cut off: given up at once, nobody would know of its batch."""
CANCEL_ATTEMPTS = 3
NOT_SUBMITTED = frozenset({"rate_limit", "overload"})
"""Kinds of failures after which there certainly is no batch."""


@dataclass(frozen=True)
class BatchStep:
    """One execution of a step that asks through a batch."""

    state: RunState
    path: str
    requests: Sequence[CompletionRequest]
    charge: Charge
    may_park: Callable[[float], bool]
    poll_seconds: float
    timeout_seconds: float | None

    @property
    def stem(self) -> str:
        """What the ids of its requests begin with: another one for each retry of the run, which asks anew."""
        record = self.state.record
        return derive_id(record.run_id, f"{self.path}:{record.retries}:batch")

    def names(self) -> list[str]:
        return [f"{self.stem}-{number}" for number in range(len(self.requests))]


@dataclass(frozen=True)
class EndedBatch:
    results: Mapping[str, Answered] | None
    """None where it did not even end when it was told to."""
    in_time: bool = True


def _reserved_by(batch: SubmittedBatch, state: RunState) -> Reserved:
    """As whoever submitted the batch reserved it, who may have been another owner of the run."""
    budget = Budget(calls=batch.calls, tokens=batch.tokens) if state.record.command.scope is not None else None
    return Reserved(state.shared.ids, Spending(calls=batch.calls, tokens=batch.tokens), budget)


class ProviderBatches:
    def __init__(self, models: Mapping[Family, LanguageModel], completions: Completions, clock: Clock) -> None:
        self._models = models
        self._completions = completions
        self._clock = clock

    async def check(self, document: Document) -> None:
        """Before anything runs. Raises `InvalidInputError` where a step asks for batches and nobody takes them here."""
        asking = [step.name for step in walk(document.steps) if uses_message_batches(step)]
        if asking and await batches_of(self._models.get(FAMILY)) is None:
            reason = "the model that serves `claude` here has no batch interface"
            suggestion = "use `mode: parallel`, or set ANTHROPIC_API_KEY"
            raise InvalidInputError([Problem(path=f"steps.{name}.mode", reason=reason, suggestion=suggestion) for name in asking])

    async def complete(self, step: BatchStep) -> list[Answered]:
        """In the order of the requests. Raises `LimitReachedError` before anything is submitted, `SuspendRun` to wait elsewhere,
        and what the provider raises where it takes or gives nothing."""
        model = self._completions.model(step.state, FAMILY)
        batches = await batches_of(model)
        if batches is None:
            raise ConfigurationError("the model that serves `claude` here has no batch interface: use `mode: parallel`")
        bounded = self._reserved(step)
        try:
            line = step.state.journal.submitted(step.path) or await self._surely_submitted(step, bounded, batches)
            ended = await self._awaited(step, line, batches)
        except BaseException:
            for request in bounded:
                step.state.meter.drop_call(request)
            raise
        return self._charged(step, line, bounded, ended)

    async def end_open(self, lines: Iterable[JournalEntry]) -> None:
        """Cancels at the provider what steps of a run that has ended still wait for. What fails here costs money, but no truth."""
        for line in lines:
            batches = await batches_of(self._models.get(FAMILY))
            if batches is None or line.batch is None:
                continue
            await self._cancel(batches, line.batch.batch_id, line.run_id)

    async def _cancel(self, batches: MessageBatches, batch_id: str, run_id: str) -> None:
        try:
            async with asyncio.timeout(SUBMISSION_SECONDS):
                await self._surely_cancelled(batches, batch_id)
        except (EvolineError, TimeoutError) as error:
            log = structlog.get_logger("services.executor")
            log.warning("batch not cancelled", run_id=run_id, batch_id=batch_id, error=str(error))

    async def _surely_cancelled(self, batches: MessageBatches, batch_id: str) -> None:
        for _ in range(CANCEL_ATTEMPTS - 1):
            try:
                return await batches.cancel(batch_id)
            except ProviderError:
                await self._clock.sleep(0.2)
        return await batches.cancel(batch_id)

    def _reserved(self, step: BatchStep) -> list[CompletionRequest]:
        bounded: list[CompletionRequest] = []
        try:
            for request in step.requests:
                bounded += [step.state.meter.start_call(request)]
        except BaseException:
            for request in bounded:
                step.state.meter.drop_call(request)
            raise
        return bounded

    async def _surely_submitted(
        self, step: BatchStep, bounded: Sequence[CompletionRequest], batches: MessageBatches
    ) -> JournalEntry:
        """A run that is cut off waits a moment for a submission under way, so that its batch is known and can be cancelled."""
        submission = asyncio.ensure_future(self._submitted(step, bounded, batches))
        try:
            return await asyncio.shield(submission)
        except asyncio.CancelledError:
            await asyncio.wait([submission], timeout=SUBMISSION_SECONDS)
            submission.cancel()
            await asyncio.gather(submission, return_exceptions=True)
            raise

    async def _submitted(self, step: BatchStep, bounded: Sequence[CompletionRequest], batches: MessageBatches) -> JournalEntry:
        state = step.state
        tokens = sum(estimated_input_tokens(request) + request.max_tokens for request in bounded)
        wanted = Budget(calls=len(bounded), tokens=tokens)
        state.check_held()
        batch_id = None
        if state.record.epoch > 1 or step.path in state.doubtful_batches:
            batch_id = await batches.find(step.stem, len(bounded), state.record.started_at)
        if batch_id is None:
            reserved = await self._completions.reserve(state, wanted)
            state.check_held()
            state.doubtful_batches.add(step.path)
            try:
                batch_id = await batches.submit(dict(zip(step.names(), bounded, strict=True)))
            except (ProviderError, ProviderRefusedError) as error:
                if isinstance(error, ProviderRefusedError) or error.kind in NOT_SUBMITTED:
                    await self._completions.settle(state, reserved, Usage())
                raise
        try:
            batch = SubmittedBatch(batch_id=batch_id, family=FAMILY, calls=wanted.calls, tokens=wanted.tokens)
            return await state.journal.submit(step.path, batch)
        except RunFencedError:
            # The run's new owner has a batch of its own, or found this one after its end, where cancelling it changes nothing.
            await self._cancel(batches, batch_id, state.record.run_id)
            raise

    async def _awaited(self, step: BatchStep, line: JournalEntry, batches: MessageBatches) -> EndedBatch:
        assert line.batch is not None
        batch_id, failures = line.batch.batch_id, 0
        while True:
            wait = self._next_wait(step, line)
            try:
                if await batches.has_ended(batch_id):
                    return EndedBatch(await batches.results(batch_id))
                failures = 0
            except ProviderError as error:
                failures += 1
                if error.kind == "invalid_answer" or failures >= FAILED_POLLS:
                    raise
                wait = max(wait, error.retry_after_seconds or 0.0)
            if self._seconds_left(step, line) <= 0:
                return await self._cut_off(batch_id, batches)
            wait = min(wait, self._seconds_left(step, line))
            if step.may_park(wait):
                until = self._clock.now() + timedelta(seconds=wait)
                raise SuspendRun(Suspension("waiting", f"step {step.path} waits for batch {batch_id}", until=until))
            await self._clock.sleep(wait)

    async def _cut_off(self, batch_id: str, batches: MessageBatches) -> EndedBatch:
        ends_at = self._clock.monotonic() + CANCEL_GRACE_SECONDS
        await batches.cancel(batch_id)
        while not await batches.has_ended(batch_id):
            if self._clock.monotonic() >= ends_at:
                return EndedBatch(None, in_time=False)
            await self._clock.sleep(1.0)
        return EndedBatch(await batches.results(batch_id), in_time=False)

    def _next_wait(self, step: BatchStep, line: JournalEntry) -> float:
        """Longer with the age of the batch: who waits for hours need not know it by the second."""
        return max(step.poll_seconds, min(self._age(line) / 4, LONGEST_POLL_SECONDS))

    def _seconds_left(self, step: BatchStep, line: JournalEntry) -> float:
        return float("inf") if step.timeout_seconds is None else step.timeout_seconds - self._age(line)

    def _age(self, line: JournalEntry) -> float:
        return max(0.0, (self._clock.now() - line.at).total_seconds()) if line.at else 0.0

    def _charged(
        self, step: BatchStep, line: JournalEntry, bounded: Sequence[CompletionRequest], ended: EndedBatch
    ) -> list[Answered]:
        answers = [self._answer(step, line, ended, name) for name in step.names()]
        total = Usage()
        for request, answer in zip(bounded, answers, strict=True):
            used = answer.usage if isinstance(answer, Completion) else Usage()
            charged = step.state.meter.end_call(request, used)
            step.charge(charged)
            total += charged
        # What a batch used that did not end is not known: its reservation stays.
        if ended.results is not None and line.batch is not None:
            step.state.to_settle[step.path] = (_reserved_by(line.batch, step.state), total)
        return answers

    def _answer(self, step: BatchStep, line: JournalEntry, ended: EndedBatch, name: str) -> Answered:
        answer = (ended.results or {}).get(name)
        if isinstance(answer, Completion):
            return answer.model_copy(update={"latency_seconds": self._age(line)})
        if not ended.in_time:
            return ProviderError("timeout", f"no answer within {step.timeout_seconds:g} s")
        return answer or ProviderError("invalid_answer", "the batch holds no answer to this request")
