"""What `claude` and `gemini` do alike: one completion, with functions where the step offers some."""

from __future__ import annotations

from typing import Any, Literal, cast

from pydantic import Field, model_validator

from shared.pipeline.completion import Family
from shared.pipeline.document import Step
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps.answers import Tally, build_request
from shared.pipeline.steps.base import BaseStepType, Options
from shared.pipeline.steps.function_use import FunctionUses
from shared.pipeline.steps.tool_loop import ToolLoop


class CompletionOptions(Options):
    functions: FunctionUses = ()
    tools: FunctionUses = ()
    """Another word for `functions`."""
    tool_choice: Literal["auto", "any"] = "auto"
    """`any` makes the model call at least one function."""
    max_turns: int = Field(default=5, ge=1, le=20)

    @model_validator(mode="after")
    def _one_word(self) -> CompletionOptions:
        if self.functions and self.tools:
            raise ValueError("`tools` and `functions` are the same thing: write one of them")
        return self

    @property
    def offered(self) -> FunctionUses:
        return self.functions or self.tools


class CompletionStep(BaseStepType):
    """Value: text, or the object of `schema`."""

    options = CompletionOptions
    requires_prompt = True
    answers_schema = True

    @staticmethod
    def functions(options: Any) -> tuple[str, ...]:
        return tuple(use.name for use in options.offered)

    @staticmethod
    def max_calls(options: Any) -> int:
        return options.max_turns + 1 if options.offered else 1

    async def run(self, step: Step, options: CompletionOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        request = build_request(step, context, cast("Family", self.families[0]))
        if not options.offered:
            return tally.result(await tally.ask(request, use_cache=step.cache))
        tools = [use.tool(context) for use in options.offered]
        loop = ToolLoop(context, tally, tools, options.max_turns, options.tool_choice)
        answer = await loop.run(request)
        if loop.all_failed:
            return tally.result(answer, status="degraded", warnings=("every function call failed",))
        return tally.result(answer)
