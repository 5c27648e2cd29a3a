"""`gemini_instructor`: a structured answer, with functions of the catalogue that really run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from shared.pipeline.document import Step
from shared.pipeline.step import StepContext, StepResult
from shared.pipeline.steps.answers import Answer, Tally, build_request
from shared.pipeline.steps.base import BaseStepType, Options
from shared.pipeline.steps.function_use import FunctionUses
from shared.pipeline.steps.tool_loop import ToolLoop


class GeminiInstructorOptions(Options):
    functions: FunctionUses = ()
    tool_choice: Literal["auto", "any"] = "any"
    """`any` (the default) makes the first turn call a function: the answer rests on what was really measured."""
    max_turns: int = Field(default=5, ge=1, le=20)


class GeminiInstructorStep(BaseStepType):
    """Value: `{answer, calls: [{name, arguments, result, error}]}`; `answer` is the object of `schema`, or text."""

    type_names = ("gemini_instructor",)
    options = GeminiInstructorOptions
    families = ("gemini",)
    requires_prompt = True
    value_fields = ("answer", "calls")

    @staticmethod
    def functions(options: Any) -> tuple[str, ...]:
        return tuple(use.name for use in options.functions)

    @staticmethod
    def max_calls(options: Any) -> int:
        return options.max_turns + 1 if options.functions else 1

    async def run(self, step: Step, options: GeminiInstructorOptions, context: StepContext) -> StepResult:
        tally = Tally(context)
        request = build_request(step, context, "gemini")
        if not options.functions:
            return _with_calls(tally.result(await tally.ask(request, use_cache=step.cache)), [])
        tools = [use.tool(context) for use in options.functions]
        loop = ToolLoop(context, tally, tools, options.max_turns, options.tool_choice)
        return _judged(tally, loop, await loop.run(request))


def _judged(tally: Tally, loop: ToolLoop, answer: Answer) -> StepResult:
    if loop.all_failed:
        return _with_calls(tally.result(answer, status="degraded", warnings=("every function call failed",)), loop.calls)
    warnings = () if loop.calls else ("the model called no function",)
    return _with_calls(tally.result(answer, warnings=warnings), loop.calls)


def _with_calls(result: StepResult, calls: list[dict[str, Any]]) -> StepResult:
    return result.model_copy(update={"value": {"answer": result.value, "calls": calls}})
