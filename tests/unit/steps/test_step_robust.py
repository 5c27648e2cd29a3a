"""`claude_robust`, typed retry and the circuit breaker."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from shared.errors import LimitReachedError, OutOfScopeError, ProviderError, ProviderRefusedError
from shared.pipeline.breaker import CircuitBreaker
from shared.pipeline.completion import Completion, CompletionRequest
from shared.pipeline.document import Retry, Step
from shared.pipeline.steps import step_type
from shared.pipeline.steps.claude_robust import SIMPLIFIED_CHARACTERS
from shared.pipeline.steps.retrying import backoff_seconds
from tests.fakes.step_context import ManualClock, ScriptedStepContext, completion, run_step

TIMEOUT = ProviderError("timeout", "too slow")


def only(family: str, model: str | None = None):  # type: ignore[no-untyped-def]
    def reply(request: CompletionRequest) -> Completion | Exception:
        served = request.family == family and (model is None or request.model == model)
        return completion(f"from {family}") if served else ProviderError("overload", "busy")

    return reply


async def test_the_asked_for_answer_is_ok() -> None:
    result = await run_step(ScriptedStepContext("fine"), type="claude_robust", prompt="x")
    assert (result.value, result.status, result.attempts, result.warnings) == ("fine", "ok", 1, ())


@pytest.mark.parametrize("kind", ["timeout", "rate_limit", "overload", "server", "connection"])
async def test_a_time_out_and_every_other_passing_failure_is_retried(kind: str) -> None:
    context = ScriptedStepContext(ProviderError(kind, "once"), "fine")
    result = await run_step(context, type="claude_robust", prompt="x")
    assert (result.status, result.attempts, len(context.clock.slept)) == ("ok", 2, 1)


async def test_retry_after_is_honoured() -> None:
    context = ScriptedStepContext(ProviderError("rate_limit", "slow down", retry_after_seconds=7.0), "fine")
    await run_step(context, type="claude_robust", prompt="x")
    assert context.clock.slept == [7.0]


async def test_a_retry_after_beyond_the_longest_wait_goes_to_a_fallback_at_once() -> None:
    context = ScriptedStepContext(ProviderError("rate_limit", "slow down", retry_after_seconds=700.0), "other")
    result = await run_step(context, type="claude_robust", prompt="x")
    assert (result.status, context.clock.slept) == ("degraded", [])


async def test_waits_grow_with_jitter_up_to_the_longest() -> None:
    retry = Retry(initial_seconds=1, max_seconds=5)
    assert [backoff_seconds(retry, attempt, 0.0) for attempt in (1, 2, 3, 4)] == [0.5, 1.0, 2.0, 2.5]
    assert [backoff_seconds(retry, attempt, 1.0) for attempt in (1, 2, 3, 4)] == [1.0, 2.0, 4.0, 5.0]
    context = ScriptedStepContext(TIMEOUT, TIMEOUT, TIMEOUT, "fine")
    await run_step(context, type="claude_robust", prompt="x", retry={"max_attempts": 4, "initial_seconds": 1, "max_seconds": 9})
    first, second, third = context.clock.slept
    assert 0.5 <= first <= 1 <= second <= 2 <= third <= 4


async def test_a_kind_that_the_step_does_not_list_is_not_retried() -> None:
    context = ScriptedStepContext(TIMEOUT)
    with pytest.raises(ProviderError):
        await run_step(context, type="claude_robust", prompt="x", retry={"on": ["rate_limit"]}, fallbacks=[])
    assert len(context.requests) == 1


async def test_fallbacks_come_in_order_and_their_answers_are_degraded() -> None:
    context = ScriptedStepContext(ProviderError("overload", "busy"))
    with pytest.raises(ProviderError) as caught:
        await run_step(context, type="claude_robust", prompt="x", retry={"max_attempts": 1})
    asked = [(request.family, request.model) for request in context.requests]
    assert asked == [("claude", None), ("claude", "claude-sonnet-5-5"), ("gemini", None), ("claude", None)]
    assert caught.value.kind == "overload"
    for tried in ("the other model", "the other provider", "a cached answer", "a simplified prompt"):
        assert tried in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "what"),
    [(only("claude", "claude-sonnet-5-5"), "the other model"), (only("gemini"), "the other provider")],
)
async def test_another_model_and_another_provider_answer_as_degraded(reply: object, what: str) -> None:
    context = ScriptedStepContext(reply)  # type: ignore[arg-type]
    result = await run_step(context, type="claude_robust", prompt="x", retry={"max_attempts": 1})
    assert result.status == "degraded"
    assert what in result.warnings[-1]


async def test_models_of_the_fallbacks_may_be_named() -> None:
    context = ScriptedStepContext(only("gemini", "g-2"))
    keys = {"fallback_models": ["m-1", "m-2"], "fallback_model": "g-2", "model": "m-0"}
    await run_step(context, type="claude_robust", prompt="x", retry={"max_attempts": 1}, **keys)
    assert [request.model for request in context.requests] == ["m-0", "m-1", "m-2", "g-2"]


async def test_a_cached_answer_is_degraded_and_only_taken_when_asking_failed() -> None:
    context = ScriptedStepContext(TIMEOUT)
    context.cached = lambda request: completion("old")
    result = await run_step(context, type="claude_robust", prompt="x", fallbacks=["cache"], retry={"max_attempts": 2})
    assert (result.value, result.status, result.cache_hit, result.attempts) == ("old", "degraded", True, 2)
    wanted = await run_step(context, type="claude_robust", prompt="x", cache=True)
    assert (wanted.value, wanted.status) == ("old", "ok")


async def test_a_cached_answer_that_does_not_fit_the_schema_is_not_taken() -> None:
    context = ScriptedStepContext(TIMEOUT)
    context.cached = lambda request: completion("old")
    with pytest.raises(ProviderError, match="not JSON"):
        await run_step(
            context, type="claude_robust", prompt="x", schema={"a": "string"}, fallbacks=["cache"], retry={"max_attempts": 1}
        )


async def test_the_simplified_prompt_leaves_out_context_and_the_middle() -> None:
    context = ScriptedStepContext(TIMEOUT, "short", names={"long": "y" * 9000})
    context.section = "SECTION"
    keys = {"system": "be kind", "fallbacks": ["simplified"], "retry": {"max_attempts": 1}}
    result = await run_step(context, type="claude_robust", prompt="Sum up {{ long }}", **keys)
    text = context.requests[1].messages[0].text
    assert result.status == "degraded"
    assert text.startswith("Sum up") and "[...]" in text and len(text) < SIMPLIFIED_CHARACTERS + 20
    assert context.requests[1].system == "" and "SECTION" not in text


async def test_the_simplified_prompt_may_be_written() -> None:
    context = ScriptedStepContext(TIMEOUT, "short", names={"t": "a"})
    keys = {"fallbacks": ["simplified"], "simplified_prompt": "Only {{ t }}", "retry": {"max_attempts": 1}}
    await run_step(context, type="claude_robust", prompt="x", **keys)
    assert context.requests[1].messages[0].text == "Only a"


async def test_an_invalid_answer_is_not_success() -> None:
    context = ScriptedStepContext("nonsense", '{"a": "b"}')
    result = await run_step(context, type="claude_robust", prompt="x", schema={"a": "string"})
    assert (result.status, result.value) == ("degraded", {"a": "b"})
    retried = ScriptedStepContext("nonsense", '{"a": "b"}')
    again = await run_step(
        retried, type="claude_robust", prompt="x", schema={"a": "string"}, retry={"on": ["invalid_answer"], "initial_seconds": 0}
    )
    assert (again.status, again.attempts) == ("ok", 2)


async def test_a_refusal_is_not_retried_but_another_provider_is_asked() -> None:
    context = ScriptedStepContext(ProviderRefusedError("no key"), ProviderRefusedError("no key"), "served")
    result = await run_step(context, type="claude_robust", prompt="x")
    assert (result.status, len(context.requests), context.requests[2].family) == ("degraded", 3, "gemini")
    with pytest.raises(ProviderRefusedError):
        await run_step(ScriptedStepContext(ProviderRefusedError("no key")), type="claude_robust", prompt="x")


@pytest.mark.parametrize("error", [LimitReachedError("calls", "used up"), OutOfScopeError("gemini")])
async def test_limits_and_scopes_end_the_step_without_any_fallback(error: Exception) -> None:
    context = ScriptedStepContext(error)
    with pytest.raises(type(error)):
        await run_step(context, type="claude_robust", prompt="x")
    assert len(context.requests) == 1


async def test_an_open_breaker_spares_the_model_and_says_so() -> None:
    context = ScriptedStepContext(only("gemini"))
    for _ in range(5):
        context.breaker("claude:default").failed()
    result = await run_step(context, type="claude_robust", prompt="x")
    assert (result.status, context.clock.slept) == ("degraded", [])
    assert "circuit breaker of claude:default is open" in result.warnings[0]
    assert all(request.model is not None or request.family == "gemini" for request in context.requests)


async def test_failures_of_one_model_open_only_its_own_breaker() -> None:
    context = ScriptedStepContext(only("gemini"))
    await run_step(context, type="claude_robust", prompt="x", retry={"max_attempts": 6, "initial_seconds": 0})
    assert context.breaker("claude:default").state == "open"
    assert context.breaker("gemini:default").state == "closed"
    assert sum(request.family == "claude" and request.model is None for request in context.requests) == 5


async def test_a_cancelled_probe_leaves_the_breaker_able_to_probe_again() -> None:
    context = ScriptedStepContext(lambda request: _raise_cancelled())
    breaker = context.breaker("claude:default")
    for _ in range(5):
        breaker.failed()
    context.clock.seconds += 31
    with pytest.raises(asyncio.CancelledError):
        await run_step(context, type="claude_robust", prompt="x")
    assert breaker.state == "half_open" and breaker.allow()


def _raise_cancelled() -> str:
    raise asyncio.CancelledError


def fail(breaker: CircuitBreaker, times: int) -> str:
    for _ in range(times):
        breaker.failed()
    return breaker.state


def test_the_breaker_opens_after_failures_in_a_row_and_closes_by_one_probe() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(clock, failure_threshold=3, open_seconds=10)
    assert fail(breaker, 2) == "closed"
    breaker.succeeded()
    assert fail(breaker, 2) == "closed" and breaker.allow()
    assert fail(breaker, 1) == "open" and not breaker.allow() and breaker.retry_in_seconds == 10
    clock.seconds = 10
    assert [breaker.allow(), breaker.allow()] == [True, False]
    breaker.succeeded()
    assert breaker.allow() and breaker.allow()


def test_a_failed_probe_opens_the_breaker_for_the_whole_time_again() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(clock, failure_threshold=1, open_seconds=10)
    breaker.failed()
    clock.seconds = 12
    assert breaker.allow()
    breaker.failed()
    assert breaker.state == "open" and breaker.retry_in_seconds == 10


def test_late_failures_do_not_prolong_an_open_breaker() -> None:
    clock = ManualClock()
    breaker = CircuitBreaker(clock, failure_threshold=1, open_seconds=10)
    breaker.failed()
    clock.seconds = 9
    breaker.failed()
    assert breaker.retry_in_seconds == 1


def test_calls_are_bounded_and_options_are_strict() -> None:
    kind = step_type("claude_robust")
    assert (kind.owns_retry, kind.families) == (True, ("claude", "gemini"))
    assert kind.max_calls(kind.options()) == 4
    assert kind.max_calls(kind.options(fallbacks=["cache"])) == 1
    with pytest.raises(ValidationError):
        Step.model_validate({"name": "s", "type": "claude_robust", "prompt": "x", "fallbacks": ["prayer"]})
