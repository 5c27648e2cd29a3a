"""`claude_extract`: a structured answer that fits its schema, or a failure."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.errors import InvalidInputError, ProviderError
from shared.pipeline.completion import ChatMessage, Completion, CompletionRequest
from shared.pipeline.document import Step
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps.answers import Tally, build_request, read_answer
from shared.pipeline.steps.base import BaseStepType, Options


class ClaudeExtractOptions(Options):
    max_reasks: int = Field(default=2, ge=0, le=5)
    """How often an answer that does not fit is asked for again, with what was wrong."""


class ClaudeExtractStep(BaseStepType):
    """Value: the validated object."""

    type_names = ("claude_extract",)
    options = ClaudeExtractOptions
    families = ("claude",)
    requires_prompt = True
    requires_schema = True
    answers_schema = True

    @staticmethod
    def max_calls(options: Any) -> int:
        return 1 + int(options.max_reasks)

    async def run(self, step: Step, options: ClaudeExtractOptions, context: StepContext) -> StepResult:
        if step.output_schema is None:
            raise InvalidInputError(f"step `{step.name}`: claude_extract needs a schema")
        tally = Tally(context)
        request = build_request(step, context, "claude")
        if step.cache and (earlier := await context.cached_answer(request)) is not None:
            return tally.result(read_answer(earlier, request.json_schema, cache_hit=True))
        return await _extract(request, tally, options.max_reasks)


async def _extract(request: CompletionRequest, tally: Tally, reasks: int) -> StepResult:
    warnings: list[str] = []
    while True:
        completion = await tally.complete(request)
        try:
            return tally.result(read_answer(completion, request.json_schema), warnings=warnings)
        except ProviderError as error:
            if reasks == 0:
                raise
            reasks -= 1
            warnings.append(f"asked again: {error}")
            request = _asked_again(request, completion, str(error))


def _asked_again(request: CompletionRequest, completion: Completion, problem: str) -> CompletionRequest:
    if completion.stop == "max_tokens":
        # Repeating a cut answer would only use up the room again.
        return request.model_copy(update={"max_tokens": request.max_tokens * 2})
    turn = (
        ChatMessage(role="assistant", text=completion.text or "(no text)"),
        ChatMessage(role="user", text=f"That was not usable. {problem}\nAnswer again with the corrected JSON value only."),
    )
    return request.model_copy(update={"messages": (*request.messages, *turn)})
