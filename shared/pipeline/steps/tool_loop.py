"""A conversation in which the model calls functions: its calls are validated, executed, answered, at most `max_turns` times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.errors import InvalidInputError, NotFoundError, ProviderError, ProviderRefusedError
from shared.pipeline.completion import ChatMessage, Completion, CompletionRequest, ToolAnswer, ToolCall, ToolSpec
from shared.pipeline.step import StepContext
from shared.pipeline.steps.answers import Answer, Tally, read_answer, schema_problems

ToolChoice = Literal["auto", "any"]


@dataclass
class ToolLoop:
    """`calls` grows to `{name, arguments, result, error}` of every call that the model made."""

    context: StepContext
    tally: Tally
    tools: Sequence[ToolSpec]
    max_turns: int = 5
    first_choice: ToolChoice = "auto"
    calls: list[dict[str, Any]] = field(default_factory=list)

    async def run(self, request: CompletionRequest) -> Answer:
        """The final answer. Tool turns leave the schema away: the answer itself is asked for with it when the calls are done."""
        schema = request.json_schema
        request = request.model_copy(update={"tools": tuple(self.tools), "json_schema": None, "tool_choice": self.first_choice})
        for _ in range(self.max_turns):
            completion = await self.tally.complete(request)
            if not completion.tool_calls:
                return await self._answer(request, completion, schema)
            request = _continued(request, completion, [await self._execute(call) for call in completion.tool_calls])
        closing = request.model_copy(update={"tool_choice": "none", "json_schema": schema})
        return read_answer(await self.tally.complete(closing), schema)

    async def _answer(self, request: CompletionRequest, completion: Completion, schema: dict[str, Any] | None) -> Answer:
        try:
            return read_answer(completion, schema)
        except ProviderRefusedError:
            raise
        except ProviderError:
            if schema is None:
                raise
        # The tool turn asked for no schema; now the same conversation is asked for the structured answer.
        closing = request.model_copy(update={"tool_choice": "none", "json_schema": schema})
        return read_answer(await self.tally.complete(closing), schema)

    async def _execute(self, call: ToolCall) -> ToolAnswer:
        result, error = None, ""
        try:
            result = await self.context.call_function(call.name, self._checked(call))
        except (InvalidInputError, NotFoundError) as problem:
            error = str(problem)  # the model's mistake, answered to the model and kept in `calls`
        self.calls.append({"name": call.name, "arguments": call.arguments, "result": result, "error": error})
        content = {"error": error} if error else result
        return ToolAnswer(call_id=call.id, name=call.name, content=content, is_error=bool(error))

    def _checked(self, call: ToolCall) -> dict[str, Any]:
        tool = next((each for each in self.tools if each.name == call.name), None)
        if tool is None:
            raise NotFoundError(f"no function `{call.name}`; there are: {', '.join(each.name for each in self.tools)}")
        problems = schema_problems(call.arguments, tool.parameters)
        if problems:
            raise InvalidInputError(f"arguments of `{call.name}`: {'; '.join(problems)}")
        return call.arguments

    @property
    def all_failed(self) -> bool:
        return bool(self.calls) and all(call["error"] for call in self.calls)


def _continued(request: CompletionRequest, completion: Completion, answers: list[ToolAnswer]) -> CompletionRequest:
    turn = (
        ChatMessage(role="assistant", text=completion.text, tool_calls=completion.tool_calls),
        ChatMessage(role="user", tool_answers=tuple(answers)),
    )
    return request.model_copy(update={"messages": (*request.messages, *turn), "tool_choice": "auto"})
