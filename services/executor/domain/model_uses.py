"""What one attempt at a step asked of which model."""

from __future__ import annotations

from collections.abc import Iterable

from shared.events.runs import ModelUse
from shared.events.values import Usage
from shared.pipeline.completion import Completion, CompletionRequest


def answered(request: CompletionRequest, completion: Completion) -> ModelUse:
    """One call. Whether it is a success shows at the end of the attempt (`settled`)."""
    return ModelUse(
        family=request.family,
        model=request.model or completion.model,
        provider=completion.provider,
        served=completion.model,
        calls=1,
        successes=1,
        usage=completion.usage.model_copy(update={"calls": 1}),
        latency_seconds=completion.latency_seconds,
    )


def unanswered(request: CompletionRequest, provider: str, seconds: float) -> ModelUse:
    """One call that failed, or took longer than its step may."""
    usage = Usage(calls=1)
    return ModelUse(
        family=request.family, model=request.model or "", provider=provider, calls=1, usage=usage, latency_seconds=seconds
    )


def settled(uses: Iterable[ModelUse], *, is_success: bool) -> tuple[ModelUse, ...]:
    """Answers that were of no use, or degraded, are no successes."""
    return tuple(use if is_success else use.model_copy(update={"successes": 0}) for use in uses)


def merged(uses: Iterable[ModelUse]) -> tuple[ModelUse, ...]:
    """One for each model, provider and served model, in the order of the first call."""
    found: dict[tuple[str, ...], ModelUse] = {}
    for use in uses:
        key = (use.family, use.model, use.provider, use.served)
        found[key] = _sum(found[key], use) if key in found else use
    return tuple(found.values())


def _sum(first: ModelUse, second: ModelUse) -> ModelUse:
    return first.model_copy(
        update={
            "calls": first.calls + second.calls,
            "successes": first.successes + second.successes,
            "usage": first.usage + second.usage,
            "latency_seconds": first.latency_seconds + second.latency_seconds,
        }
    )
