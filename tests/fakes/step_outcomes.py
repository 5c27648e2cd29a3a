"""For every step type: each way in which it can end, by what brings it about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import ProviderError, ProviderRefusedError
from shared.pipeline.completion import ToolCall
from shared.pipeline.step import ChildRun, ChildSpec, Session
from tests.fakes.step_context import Reply, ScriptedStepContext, completion
from tests.fakes.step_options import ASK, CASES, PIPELINE, broken_on_two, echo

DOWN = ProviderError("server", "broken")
REFUSED = completion("no", stop="refused")
WRONG_CALL = completion(calls=[ToolCall(id="1", name="arithmetic", arguments={"expression": "1/0"})])


@dataclass(frozen=True)
class Outcome:
    end: str
    """`ok`, `degraded`, `skipped`, `failed`, or the class of the error that it raises; with what it says after a colon."""
    keys: Mapping[str, Any]
    replies: tuple[Reply, ...] = (echo,)
    names: Mapping[str, Any] = field(default_factory=dict)
    prepare: Any = None
    """Takes the context before the step runs."""


def child(status: str, **fields: Any) -> Any:
    def prepare(context: ScriptedStepContext) -> None:
        def run(spec: ChildSpec) -> ChildRun:
            return ChildRun.model_validate({"run_id": spec.key, "digest": "d" * 64, "status": status, "outputs": 1, **fields})

        context.child = run

    return prepare


def always_overtaken(context: ScriptedStepContext) -> None:
    versions = iter(range(1, 100))

    def overtake(_: Any) -> str:
        context.sessions["default/p/s"] = Session(name="default/p/s", version=next(versions))
        return "late"

    context.replies = [overtake]


def no_stored_document(context: ScriptedStepContext) -> None:
    context.functions["get_pipeline"] = lambda pipeline: {"name": pipeline}


ASKED = {"prompt": "x"}
EMPTY = Outcome("InvalidInputError: prompt is empty", {"prompt": "{{ x }}"}, names={"x": " "})
ONE_ANSWER = (
    Outcome("ok", ASKED),
    EMPTY,
    Outcome("ProviderError: no text", ASKED, ("",)),
    Outcome("ProviderError: not JSON", {**ASKED, "schema": {"n": "integer"}}, ("nonsense",)),
    Outcome("ProviderError: does not fit", {**ASKED, "schema": {"n": "integer"}}, ('{"n": "x"}',)),
    Outcome("ProviderError: broken", ASKED, (DOWN,)),
    Outcome("ProviderRefusedError: refused", ASKED, (REFUSED,)),
)
WITH_FUNCTIONS = (
    Outcome("degraded", {**ASKED, "functions": ["arithmetic"]}, (WRONG_CALL, "done")),
    Outcome("ProviderError: asked for tools", {**ASKED, "functions": ["arithmetic"], "max_turns": 1}, (WRONG_CALL,)),
    Outcome("NotFoundError: no function", {**ASKED, "functions": ["format_disk"]}),
)
THREE: dict[str, Any] = {"one": "one", "two": "two", "three": "three"}
ONCE: dict[str, Any] = {"prompt": "x", "retry": {"max_attempts": 1}}
TRIED: dict[str, Any] = {"pipelines": [PIPELINE], "test_data": CASES}

OUTCOMES: Mapping[str, tuple[Outcome, ...]] = {
    "claude": (*ONE_ANSWER, *WITH_FUNCTIONS),
    "gemini": (*ONE_ANSWER, *WITH_FUNCTIONS),
    "gemini_instructor": (*ONE_ANSWER, *WITH_FUNCTIONS),
    "claude_smart": (
        *ONE_ANSWER,
        Outcome("InvalidInputError: unknown preset", ASKED, prepare=lambda context: _set_preset(context, "party")),
    ),
    "claude_extract": (
        Outcome("ok", {**ASKED, "schema": {"n": "integer"}}, ('{"n": 1}',)),
        Outcome("InvalidInputError: needs a schema", ASKED),
        Outcome("ProviderError: not JSON", {**ASKED, "schema": {"n": "integer"}}, ("nonsense",)),
        Outcome("ProviderRefusedError", {**ASKED, "schema": {"n": "integer"}}, (REFUSED,)),
    ),
    "claude_session": (*ONE_ANSWER, Outcome("UnavailableError: written by others", ASKED, prepare=always_overtaken)),
    "claude_robust": (
        Outcome("ok", ASKED),
        EMPTY,
        Outcome("degraded", ONCE, (DOWN, "saved")),
        Outcome("ProviderError: broken", ONCE, (DOWN,)),
        Outcome("ProviderRefusedError: blocked", ONCE, (ProviderRefusedError("blocked"),)),
        Outcome(
            "ProviderError: circuit breaker",
            {**ONCE, "fallbacks": []},
            prepare=lambda context: [context.breaker("claude:default").failed() for _ in range(5)],
        ),
    ),
    "claude_batch": (
        Outcome("ok", {"prompts": [*THREE]}),
        Outcome("degraded", {"prompts": [*THREE], "min_success": 2}, (broken_on_two,)),
        Outcome("failed: 1 of 3", {"prompts": [*THREE]}, (broken_on_two,)),
        Outcome("ok", {"prompts": [*THREE], "mode": "message_batches"}),
        Outcome("degraded", {"prompts": [*THREE], "min_success": 2, "mode": "message_batches"}, (broken_on_two,)),
        Outcome("failed: 1 of 3", {"prompts": [*THREE], "mode": "message_batches"}, (broken_on_two,)),
        Outcome("InvalidInputError: list of texts", {"prompts": "{{ x }}"}, names={"x": 7}),
        Outcome("StepLimitError: max_tasks", {"prompts": "{{ x }}", "max_tasks": 1}, names={"x": ["a", "b"]}),
    ),
    "parallel_claude": (
        Outcome("ok", {"tasks": THREE}),
        Outcome("degraded", {"tasks": THREE, "min_success": 2}, (broken_on_two,)),
        Outcome("failed: 1 of 3", {"tasks": THREE}, (broken_on_two,)),
    ),
    "parallel_pipeline_executor": (
        Outcome("ok", {"config": TRIED}, prepare=child("succeeded")),
        Outcome("degraded", {"config": TRIED}, prepare=child("degraded")),
        Outcome("degraded", {"config": TRIED}, prepare=child("failed", error="no")),
        Outcome("InvalidInputError: list of pipelines", {"config": {**TRIED, "pipelines": []}}),
        Outcome("InvalidInputError: list of cases", {"config": {**TRIED, "test_data": []}}),
        Outcome("InvalidInputError: share their id", {"config": {**TRIED, "test_data": [CASES[0], CASES[0]]}}),
        Outcome("StepLimitError: max_cases", {"config": {**TRIED, "max_cases": 1}}),
        Outcome("StepLimitError: at most 20", {"config": {**TRIED, "pipelines": [PIPELINE] * 21}}),
    ),
    "pipeline_deployer": (
        Outcome("ok", {"config": {"pipeline": PIPELINE}}),
        Outcome("InvalidInputError", {"config": {"pipeline": "{{ x }}"}}, names={"x": "The second one."}),
        Outcome("InvalidInputError: no document", {"config": {"pipeline": "triage"}}, prepare=no_stored_document),
    ),
    "pipeline": (
        Outcome("ok", {"pipeline": "triage"}, prepare=child("succeeded")),
        Outcome("degraded", {"pipeline": "triage"}, prepare=child("degraded")),
        Outcome("failed: cancelled", {"pipeline": "triage"}, prepare=child("cancelled")),
        Outcome("InvalidInputError: not a reference", {"pipeline": "{{ x }}"}, names={"x": "no name"}),
    ),
    "for_loop": (
        Outcome("ok", {"times": 2, "steps": [ASK]}),
        Outcome("degraded", {"items": [*THREE], "steps": [ASK], "on_item_error": "continue"}, (broken_on_two,)),
        Outcome("failed: round 1", {"items": [*THREE], "steps": [ASK]}, (broken_on_two,)),
        Outcome("InvalidInputError: must be a list", {"items": "{{ x }}", "steps": [ASK]}, names={"x": 7}),
        Outcome("StepLimitError: max_iterations", {"items": "{{ x }}", "steps": [ASK], "max_iterations": 1}, names={"x": [1, 2]}),
    ),
    "while_loop": (
        Outcome("ok", {"condition": "loop.index < 2", "steps": [ASK]}),
        Outcome("degraded", {"condition": "true", "steps": [ASK], "max_iterations": 2}),
        Outcome("failed: round 0", {"condition": "true", "steps": [ASK]}, (DOWN,)),
    ),
    "switch": (
        Outcome("ok", {"value": "a", "cases": {"a": {**ASK, "prompt": "A"}}}),
        Outcome("skipped", {"value": "b", "cases": {"a": {**ASK, "prompt": "A"}}}),
        Outcome("failed: broken", {"value": "a", "cases": {"a": {**ASK, "prompt": "A"}}}, (DOWN,)),
        Outcome("degraded", {"value": "a", "cases": {"a": [{**ASK, "prompt": "A", "on_error": "continue"}]}}, (DOWN,)),
    ),
    "set_variable": (
        Outcome("ok", {"variable": "x", "value": 1}),
        Outcome("UndefinedNameError", {"variable": "x", "value": "{{ gone }}"}),
    ),
    "data_transform": (
        Outcome("ok", {"input": [1], "query": "[0]"}),
        Outcome("InvalidInputError: needs a list", {"input": 1, "operations": [{"limit": 1}]}),
        Outcome(
            "StepLimitError: join makes more",
            {"input": [{"k": 1}] * 1010, "operations": [{"join": {"with": [{"k": 1}] * 1010, "on": "k"}}]},
        ),
    ),
    "function": (
        Outcome("ok", {"function": "arithmetic", "arguments": {"expression": "1"}}),
        Outcome("InvalidInputError: expression", {"function": "arithmetic"}),
        Outcome("NotFoundError: no function", {"function": "format_disk"}),
    ),
    "file_ops": (
        Outcome("ok", {"operation": "read", "path": "a"}),
        Outcome("NotFoundError: no file", {"operation": "read", "path": "gone"}),
        Outcome("NotFoundError: no folder", {"operation": "read", "path": "gone/too"}),
        Outcome("InvalidInputError: not a relative path", {"operation": "read", "path": "{{ x }}"}, names={"x": "/etc/passwd"}),
        Outcome("InvalidInputError: leaves", {"operation": "write", "path": "{{ x }}", "content": 1}, names={"x": "../a"}),
        Outcome("InvalidInputError: not JSON", {"operation": "read", "path": "b", "format": "json"}),
        Outcome("StepLimitError: larger", {"operation": "read", "path": "a", "max_bytes": 1}),
    ),
}


def _set_preset(context: ScriptedStepContext, preset: str) -> None:
    context.run = context.run.model_copy(update={"preset": preset})
