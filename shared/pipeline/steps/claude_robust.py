"""`claude_robust`: an answer even when the provider fails, and the truth about what it is worth."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from pydantic import Field

from shared.errors import ProviderError, ProviderRefusedError
from shared.pipeline.completion import ChatMessage, CompletionRequest
from shared.pipeline.document import Retry, Step
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps.answers import Answer, Tally, build_request, read_answer
from shared.pipeline.steps.base import BaseStepType, Options
from shared.pipeline.steps.model_tiers import CLAUDE_TIERS
from shared.pipeline.steps.retrying import ask_guarded, ask_with_retry

Fallback = Literal["model", "provider", "cache", "simplified"]
ORDER: tuple[Fallback, ...] = ("model", "provider", "cache", "simplified")
SIMPLIFIED_CHARACTERS = 2000


class ClaudeRobustOptions(Options):
    fallbacks: tuple[Fallback, ...] = ORDER
    """Which are tried when the asked-for answer cannot be had; always in the order above."""
    fallback_models: tuple[str, ...] = ()
    """Other models of the family; empty: the next one of the table."""
    fallback_model: str | None = None
    """Model of the other provider; None: the one configured."""
    simplified_prompt: str | None = Field(default=None, min_length=1)
    """Asked as the last resort; None: the prompt's instructions without system text and context, cut in the middle."""


class ClaudeRobustStep(BaseStepType):
    """Value: as `claude`. `ok` only for the asked-for answer; what a fallback gave is `degraded`."""

    type_names = ("claude_robust",)
    options = ClaudeRobustOptions
    families = ("claude", "gemini")
    requires_prompt = True
    answers_schema = True
    owns_retry = True

    @staticmethod
    def max_calls(options: Any) -> int:
        models = max(1, len(options.fallback_models)) if "model" in options.fallbacks else 0
        return 1 + models + ("provider" in options.fallbacks) + ("simplified" in options.fallbacks)

    async def run(self, step: Step, options: ClaudeRobustOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        request = build_request(step, context, "claude")
        if step.cache and (earlier := await context.cached_answer(request)) is not None:
            return tally.result(read_answer(earlier, request.json_schema, cache_hit=True))
        try:
            return tally.result(await ask_with_retry(request, step.retry or Retry(), tally))
        except (ProviderError, ProviderRefusedError) as error:
            return await _fall_back(step, options, request, tally, error)


async def _fall_back(
    step: Step, options: ClaudeRobustOptions, request: CompletionRequest, tally: Tally, error: ProviderError | ProviderRefusedError
) -> StepResult:
    """The first fallback that answers. Raises the first error, with all that was tried in its message."""
    warnings = [f"asked for {request.model or 'the configured model'}: {error}"]
    async for what, answer in _fallbacks(step, options, request, tally):
        if isinstance(answer, Answer):
            return tally.result(answer, status="degraded", warnings=(*warnings, f"answered by {what}"))
        warnings.append(f"{what}: {answer}")
    summary = "; ".join(warnings)
    if isinstance(error, ProviderError):
        raise ProviderError(error.kind, summary, error.retry_after_seconds) from error
    raise ProviderRefusedError(summary) from error


async def _fallbacks(
    step: Step, options: ClaudeRobustOptions, request: CompletionRequest, tally: Tally
) -> AsyncIterator[tuple[str, Answer | Exception]]:
    """(what, answer or error) of each, in order; each is asked once."""
    for kind in ORDER:
        if kind not in options.fallbacks:
            continue
        if kind == "cache":
            yield "a cached answer to the same prompt", await _cached(request, tally.context)
            continue
        for what, other in _other_requests(kind, step, options, request, tally.context):
            try:
                yield what, await ask_guarded(other, tally)
            except (ProviderError, ProviderRefusedError) as error:
                yield what, error


def _other_requests(
    kind: Fallback, step: Step, options: ClaudeRobustOptions, request: CompletionRequest, context: StepContext
) -> Sequence[tuple[str, CompletionRequest]]:
    if kind == "model":
        models = options.fallback_models or _next_model(request.model)
        return [(f"the other model {model}", request.model_copy(update={"model": model})) for model in models]
    if kind == "provider":
        change = {"family": "gemini", "model": options.fallback_model}
        return [("the other provider, gemini", request.model_copy(update=change))]
    return [("a simplified prompt", _simplified(step, options, request, context))]


def _next_model(model: str | None) -> tuple[str, ...]:
    """The weakest model of the table that is not the one asked for; the configured one counts as the fast one."""
    asked = model or CLAUDE_TIERS["fast"]
    return tuple(other for other in CLAUDE_TIERS.values() if other != asked)[:1]


async def _cached(request: CompletionRequest, context: StepContext) -> Answer | Exception:
    earlier = await context.cached_answer(request)
    if earlier is None:
        return LookupError("there is none")
    try:
        return read_answer(earlier, request.json_schema, cache_hit=True)
    except (ProviderError, ProviderRefusedError) as error:
        return error


def _simplified(step: Step, options: ClaudeRobustOptions, request: CompletionRequest, context: StepContext) -> CompletionRequest:
    text = context.render_prompt(options.simplified_prompt or step.prompt or "")
    if options.simplified_prompt is None and len(text) > SIMPLIFIED_CHARACTERS:
        half = SIMPLIFIED_CHARACTERS // 2
        text = f"{text[:half]}\n[...]\n{text[-half:]}"
    return request.model_copy(update={"system": "", "messages": (ChatMessage(role="user", text=text),)})
