"""Model calls of runs: limits, budget of the trial scope, permits of the provider, deadline, kept answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import structlog

from services.executor.domain.meter import estimated_input_tokens
from services.executor.domain.spending import Reserved, Spending, unused
from services.executor.engine.faults import Completing, FaultyModel
from services.executor.engine.patience import patiently
from services.executor.engine.permits import Permit, Permits, Wanted
from services.executor.engine.run_state import RunState
from services.executor.ports import AnswerCache, ScopeLedger
from shared.clock import Clock
from shared.errors import (
    ConfigurationError,
    LimitReachedError,
    OutOfScopeError,
    ProviderError,
    ProviderRefusedError,
    UnavailableError,
)
from shared.events.values import Budget, Usage
from shared.pipeline.completion import Completion, CompletionRequest, Family, LanguageModel

Charge = Callable[[Usage], None]
WAITING_SHARE = 0.9
"""Of a call's time, at most so much is spent on waiting for the provider's limits: what begins later would hardly be answered."""
REFUSING_KINDS = frozenset(("rate_limit", "overload"))
"""The provider did no work: 429, 503, 529."""


_NOTHING = Reserved((), Spending())


def answer_key(tenant: str, request: CompletionRequest) -> str:
    """SHA-256 of the tenant and the canonical request, seed included; the time-out is no part of what is asked."""
    canonical = request.model_dump_json(exclude={"timeout_seconds"})
    return hashlib.sha256(f"{tenant}\x00{canonical}".encode()).hexdigest()


class PermittedModel:
    """One call under its permit: what it used and what the provider asked for is told to whoever gives permits."""

    def __init__(self, model: LanguageModel, permit: Permit) -> None:
        self._model = model
        self._permit = permit

    async def complete(self, request: CompletionRequest) -> Completion:
        """A call that ends in any way but an answer or a refusal may have used all that was taken for it."""
        self._permit.begin()
        try:
            completion = await self._model.complete(request)
        except ProviderRefusedError:
            self._permit.used(0)
            raise
        except ProviderError as error:
            if error.kind in REFUSING_KINDS:
                self._permit.used(0)
                if error.retry_after_seconds and not error.replayed:
                    self._permit.pause(error.retry_after_seconds)
            raise
        self._permit.used(completion.usage.input_tokens + completion.usage.output_tokens)
        return completion


class Completions:
    def __init__(
        self,
        models: Mapping[Family, LanguageModel],
        answers: AnswerCache,
        ledger: ScopeLedger,
        clock: Clock,
        permits: Permits,
    ) -> None:
        self._models = models
        self._answers = answers
        self._ledger = ledger
        self._clock = clock
        self._permits = permits

    async def cached(self, state: RunState, request: CompletionRequest) -> Completion | None:
        return await patiently(lambda: self._answers.get(answer_key(state.record.command.tenant, request)), self._clock)

    async def complete(self, state: RunState, request: CompletionRequest, charge: Charge, *, keep: bool) -> Completion:
        """One attempt. `charge` is told what it used, also when it fails; `keep` stores a complete answer for later runs.

        Raises `LimitReachedError`, `OutOfScopeError`, `ProviderError` (`NoPermitError` where the provider's limits left no room in
        time), `ProviderRefusedError`."""
        model = self.model(state, request.family)
        async with state.call_slots, self._permits.permit(self._wanted(state, request)) as permit:
            bounded = self._in_time(state, state.meter.start_call(request))
            completion = await self._called(state, _with_faults(PermittedModel(model, permit), state), bounded, charge)
        if keep and completion.stop == "end" and not completion.replayed:
            await patiently(lambda: self._answers.put(answer_key(state.record.command.tenant, request), completion), self._clock)
        return completion

    async def _called(self, state: RunState, model: Completing, bounded: CompletionRequest, charge: Charge) -> Completion:
        try:
            reserved = await self.reserve(state, Budget(calls=1, tokens=estimated_input_tokens(bounded) + bounded.max_tokens))
            state.check_held()
        except BaseException:
            state.meter.drop_call(bounded)
            raise
        used = Usage()
        try:
            try:
                completion = await model.complete(bounded)
                used = completion.usage
            except (ProviderError, ProviderRefusedError):
                await self.settle(state, reserved, Usage(calls=1))
                raise
            # A call that is cut off in any other way keeps its reservation: what it used is not known.
            await self.settle(state, reserved, used.model_copy(update={"calls": 1}))
        finally:
            charge(state.meter.end_call(bounded, used))
        return completion

    async def reserve(self, state: RunState, wanted: Budget) -> Reserved:
        """Takes it from the pools of the runs that this one is nested in and counts it in its trial scope, if it has any. Raises
        `LimitReachedError`; then nothing is taken."""
        granted = state.record.command.scope
        if granted is None and not state.shared.ids:
            return _NOTHING
        share = Spending(calls=wanted.calls, tokens=wanted.tokens)
        pools = await state.shared.take(share)
        if granted is None:
            return Reserved(pools, share)
        try:
            await patiently(lambda: self._ledger.reserve(granted.scope.scope_id, granted.scope.budget, wanted), self._clock)
        except LimitReachedError:
            await state.shared.give_back(pools, share)
            raise
        return Reserved(pools, share, wanted)

    async def settle(self, state: RunState, reserved: Reserved, used: Usage) -> None:
        """Replaces what was reserved by what was used."""
        if reserved.pools:
            await state.shared.give_back(reserved.pools, unused(reserved.share, used))
        granted = state.record.command.scope
        if granted is None or reserved.budget is None:
            return
        try:
            await self._ledger.settle(granted.scope.scope_id, reserved.budget, used)
        except UnavailableError as error:
            # Tried again it might be subtracted twice. What was reserved stays counted, so the budget still holds.
            structlog.get_logger("services.executor").warning("reservation not settled", error=str(error))

    def model(self, state: RunState, family: Family) -> LanguageModel:
        """Raises `OutOfScopeError`, and `ConfigurationError` where nobody serves the family."""
        granted = state.record.command.scope
        if granted is not None and family not in granted.scope.providers:
            raise OutOfScopeError(f"provider `{family}` is outside the scope {granted.scope.scope_id}")
        if family not in self._models:
            raise ConfigurationError(f"no model serves the family `{family}` here")
        return self._models[family]

    def _wanted(self, state: RunState, request: CompletionRequest) -> Wanted:
        seconds = WAITING_SHARE * min(request.timeout_seconds, state.deadline - self._clock.monotonic())
        return Wanted(request, state.record.command.tenant, seconds, lambda: estimated_input_tokens(request) + request.max_tokens)

    def _in_time(self, state: RunState, request: CompletionRequest) -> CompletionRequest:
        left = state.deadline - self._clock.monotonic()
        if left <= 0:
            raise LimitReachedError("seconds", f"the run may take {state.meter.limits.seconds:g} s")
        return request.model_copy(update={"timeout_seconds": min(request.timeout_seconds, left)})


def _with_faults(model: Completing, state: RunState) -> Completing:
    plan = state.record.command.faults
    return FaultyModel(model, state, plan) if plan else model
