"""Typed retry of one model call, under a circuit breaker."""

from __future__ import annotations

import asyncio

from shared.errors import ProviderError, ProviderRefusedError
from shared.pipeline.breaker import CircuitBreaker
from shared.pipeline.completion import CompletionRequest
from shared.pipeline.document import Retry
from shared.pipeline.steps.answers import Answer, Tally

BREAKING_KINDS = frozenset(("overload", "server", "timeout", "connection"))
"""Failures that say the provider is unwell; a rate limit or a bad answer says it is working."""


class BreakerOpenError(ProviderError):
    """The call was not made at all."""

    def __init__(self, key: str, retry_after_seconds: float) -> None:
        super().__init__("connection", f"circuit breaker of {key} is open", retry_after_seconds)


def breaker_key(request: CompletionRequest) -> str:
    return f"{request.family}:{request.model or 'default'}"


def backoff_seconds(retry: Retry, attempt: int, share: float) -> float:
    """Wait after the `attempt`-th failure (1-based): exponential, between half and all of it by `share` in [0, 1)."""
    ceiling = min(retry.max_seconds, retry.initial_seconds * 2.0 ** (attempt - 1))
    return ceiling * (0.5 + share / 2)


async def ask_with_retry(request: CompletionRequest, retry: Retry, tally: Tally) -> Answer:
    """Asks up to `retry.max_attempts` times. Waits at least as long as Retry-After says; where that is longer than
    `retry.max_seconds` it gives up at once, since somebody else may answer sooner. Raises the last error."""
    context, random, attempt = tally.context, tally.context.random, 0
    while True:
        attempt += 1
        try:
            return await ask_guarded(request, tally)
        except BreakerOpenError:
            raise
        except ProviderError as error:
            wanted = error.retry_after_seconds or 0.0
            if error.kind not in retry.on or attempt >= retry.max_attempts or wanted > retry.max_seconds:
                raise
            await context.clock.sleep(max(wanted, backoff_seconds(retry, attempt, random.random())))


async def ask_guarded(request: CompletionRequest, tally: Tally) -> Answer:
    """One attempt, if the breaker lets it through. Raises `BreakerOpenError` otherwise."""
    key = breaker_key(request)
    breaker = tally.context.breaker(key)
    if not breaker.allow():
        raise BreakerOpenError(key, breaker.retry_in_seconds)
    try:
        answer = await tally.ask(request)
    except (ProviderError, ProviderRefusedError) as error:
        _record(breaker, error)
        raise
    except (asyncio.CancelledError, Exception):
        breaker.abandoned()
        raise
    breaker.succeeded()
    return answer


def _record(breaker: CircuitBreaker, error: ProviderError | ProviderRefusedError) -> None:
    if isinstance(error, ProviderRefusedError):
        breaker.abandoned()
    elif error.kind in BREAKING_KINDS:
        breaker.failed()
    elif error.kind == "invalid_answer":
        breaker.succeeded()  # it did answer
    else:
        breaker.abandoned()
