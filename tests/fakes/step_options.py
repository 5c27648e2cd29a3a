"""For every option of every step type: two values of it under which the step behaves differently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import ProviderError, ProviderRefusedError
from shared.pipeline.completion import ChatMessage, CompletionRequest, ToolCall
from shared.pipeline.step import ModelRecord, Session
from tests.fakes.step_context import Reply, completion


def echo(request: CompletionRequest) -> str:
    return request.messages[-1].text or "answered"


def broken_on_two(request: CompletionRequest) -> Reply:
    return ProviderRefusedError("blocked") if "two" in echo(request) else echo(request)


CALLS = completion(calls=[ToolCall(id="1", name="vote", arguments={"values": ["a"]})])


@dataclass(frozen=True)
class Pair:
    """Keys of the step under which it is run once and once again, and the world around it."""

    one: Mapping[str, Any]
    other: Mapping[str, Any]
    replies: tuple[Reply, ...] = (echo,)
    names: Mapping[str, Any] = field(default_factory=dict)
    prepared: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the context."""


ASK = {"name": "ask", "type": "claude", "prompt": "Say {{ loop.item }}"}
SET = {"name": "inner", "type": "set_variable", "variable": "x", "value": "{{ vars.n + 1 }}"}
DOWN = ProviderError("timeout", "too slow")


def of(key: str, one: Any, other: Any, also: Mapping[str, Any] | None = None, **world: Any) -> Pair:
    """Two values of one key beside `also`."""
    same = dict(also or {})
    return Pair({**same, key: one}, {**same, key: other}, **world)


def functions(key: str, also: Mapping[str, Any]) -> dict[str, Pair]:
    limit = {"type": "object", "properties": {"values": {"type": "array", "maxItems": 0}}}
    return {
        key: of(key, ["vote"], ["arithmetic"], also),
        f"{key}.name": of(key, [{"name": "vote"}], [{"name": "arithmetic"}], also),
        f"{key}.description": of(key, [{"name": "vote", "description": "A"}], [{"name": "vote", "description": "B"}], also),
        f"{key}.parameters": of(key, ["vote"], [{"name": "vote", "parameters": limit}], also, replies=(CALLS, "done")),
    }


def completions() -> dict[str, Pair]:
    asked, offered = {"prompt": "x"}, {"prompt": "x", "functions": ["vote"]}
    return {
        **functions("functions", asked),
        **functions("tools", asked),
        "tool_choice": of("tool_choice", "auto", "any", offered),
        "max_turns": of("max_turns", 1, 3, offered, replies=(CALLS, CALLS, "done")),
    }


def tasks(key: str, shaped: Any) -> dict[str, Pair]:
    """`shaped` puts the fields of one task into the form of the key."""
    values = {
        "prompt": ("a", "b"),
        "system": ("be kind", "be brief"),
        "schema": ({"n": "integer"}, {"n": "string"}),
        "model": ("m-1", "m-2"),
        "temperature": (0.1, 0.9),
        "max_tokens": (5, 6),
        "timeout_seconds": (5, 6),
    }
    pairs = {
        f"{key}.{name}": of(key, shaped({"prompt": "x", name: one}), shaped({"prompt": "x", name: other}))
        for name, (one, other) in values.items()
    }
    goes_on, fails = (shaped({"prompt": "two", "on_error": each}) for each in ("continue", "fail"))
    return {**pairs, f"{key}.on_error": of(key, goes_on, fails, {"min_success": 0}, replies=(broken_on_two,))}


def fan_out(also: Mapping[str, Any]) -> dict[str, Pair]:
    return {
        "max_parallel": of("max_parallel", 1, 3, also),
        "task_timeout_seconds": of("task_timeout_seconds", 5, 6, also),
        "min_success": of("min_success", 2, 3, also, replies=(broken_on_two,)),
    }


def long_talk() -> dict[str, Session]:
    messages = [ChatMessage(role=role, text=f"{n} " + "x" * 400) for n in range(5) for role in ("user", "assistant")]
    return {"default/p/s": Session(name="default/p/s", messages=tuple(messages))}


def record(model: str, **measured: float) -> ModelRecord:
    return ModelRecord.model_validate({"family": "claude", "model": model, "calls": 99, "successes": 90, **measured})


TALK = {"prompt": "go on"}
ROBUST = {"prompt": "x", "retry": {"max_attempts": 1}}
BATCH = {"prompts": ["one", "two", "three"]}
DEAR = {"records": (record("claude-opus-5-5", cost_usd=0.2, latency_seconds=9),)}
SMART = {"prompt": "x", "preset": "analysis"}
PIPELINE = {"name": "variant", "steps": [{"name": "a", "type": "claude", "prompt": "Hi"}]}
OTHER = {**PIPELINE, "name": "other"}
CASES = [{"id": "c1", "input": {"t": 1}, "expected": 1}, {"id": "c2", "input": {"t": 2}, "expected": 2}]


def config(key: str, one: Any, other: Any, **also: Any) -> Pair:
    """Two values of one key of `config`."""
    return Pair({"config": {**also, key: one}}, {"config": {**also, key: other}})


def runs() -> dict[str, dict[str, Pair]]:
    trying: dict[str, Any] = {"pipelines": ["triage"], "test_data": CASES}
    proposing: dict[str, Any] = {"pipeline": PIPELINE}
    choosing: dict[str, Any] = {"pipeline": "2"}
    return {
        "parallel_pipeline_executor": {
            "config": config("pipelines", ["triage"], ["sorting"], test_data=CASES),
            "config.pipelines": config("pipelines", ["triage"], ["triage", "sorting"], test_data=CASES),
            "config.test_data": config("test_data", CASES, CASES[:1], pipelines=["triage"]),
            "config.max_parallel": config("max_parallel", 1, 2, **trying),
            "config.max_cases": config("max_cases", 1, 2, **trying),
            "config.graders": config("graders", ["exact"], ["normalized", "exact"], **trying),
        },
        "pipeline_deployer": {
            "config": config("pipeline", PIPELINE, OTHER),
            "config.pipeline": config("pipeline", PIPELINE, OTHER),
            "config.candidates": config("candidates", [PIPELINE, OTHER], [OTHER, PIPELINE], **choosing),
            "config.deployment_strategy": config("deployment_strategy", "immediate", "shadow", **proposing),
            "config.wait": config("wait", 1, 2, **proposing),
            "config.replaces": config("replaces", "triage", "answers", **proposing),
            "config.dataset_id": config("dataset_id", "tweets", "mails", **proposing),
            "config.reason": config("reason", "faster", "cheaper", **proposing),
        },
        "pipeline": {
            "pipeline": of("pipeline", "triage", "triage@stable"),
            "inputs": of("inputs", {"a": "{{ x }}"}, {"a": 2}, {"pipeline": "triage"}, names={"x": 1}),
        },
    }


def control() -> dict[str, dict[str, Pair]]:
    three: dict[str, Any] = {"items": ["one", "two", "three"], "steps": [ASK]}
    many = {"names": {"many": [1, 2, 3]}}
    counting = {"prepared": {"variables": {"n": 0}}}
    way = {"a": {**ASK, "prompt": "A"}, "b": {**ASK, "prompt": "B"}}
    when = [{"condition": "true", "steps": way["a"]}]
    return {
        "for_loop": {
            "items": of("items", ["one"], ["one", "two"], {"steps": [ASK]}),
            "times": of("times", 1, 2, {"steps": [ASK]}),
            "steps": of("steps", [ASK], [{**ASK, "prompt": "Shout {{ loop.item }}"}], {"times": 1}),
            "max_iterations": of("max_iterations", 2, 3, {"items": "{{ many }}", "steps": [ASK]}, **many),
            "max_parallel": of("max_parallel", 1, 3, three),
            "on_item_error": of("on_item_error", "fail", "continue", three, replies=(broken_on_two,)),
        },
        "while_loop": {
            "condition": of("condition", "loop.index < 1", "loop.index < 2", {"steps": [SET]}, **counting),
            "steps": of("steps", [SET], [{**SET, "value": 7}], {"condition": "loop.index < 1"}, **counting),
            "max_iterations": of("max_iterations", 1, 2, {"condition": "true", "steps": [SET]}, **counting),
        },
        "switch": {
            "value": of("value", "a", "b", {"cases": way}),
            "cases": of("cases", {"a": way["a"]}, {"a": way["b"]}, {"value": "a"}),
            "cases.condition": of("cases", when, [{**when[0], "condition": "false"}]),
            "cases.steps": of("cases", when, [{**when[0], "steps": way["b"]}]),
            "default": of("default", way["a"], way["b"], {"value": "c", "cases": way}),
        },
        "set_variable": {
            "variable": of("variable", "x", "y", {"value": 1}),
            "value": of("value", 1, "{{ x }}", {"variable": "x"}, names={"x": 2}),
            "variables": of("variables", {"x": 1}, {"x": 1, "y": 2}),
        },
    }


ROWS = [{"k": 2, "v": 1}, {"k": 1, "v": 5}, {"k": 2, "v": 3}]
KEYS = [{"k": 1, "id": 2, "name": "one"}]


def operation(op: str, key: str, one: Any, other: Any, **also: Any) -> Pair:
    return of("operations", [{"op": op, **also, key: one}], [{"op": op, **also, key: other}], {"input": ROWS})


def aggregates() -> dict[str, Pair]:
    at = "operations.aggregate"
    total, most = {"function": "sum", "of": "v"}, {"function": "max", "of": "v"}
    return {
        f"{at}.by": operation("aggregate", "by", "k", "v", measures={"n": total}),
        f"{at}.measures": operation("aggregate", "measures", {"n": total}, {"n": total, "m": most}),
        f"{at}.measures.function": operation("aggregate", "measures", {"n": total}, {"n": most}),
        f"{at}.measures.of": operation("aggregate", "measures", {"n": total}, {"n": {**total, "of": "k"}}),
    }


def transforms() -> dict[str, Pair]:
    sides = {"with": KEYS, "left_on": "k", "right_on": "k"}
    pairs = {
        "query.expression": operation("query", "expression", "[0]", "[1]"),
        "filter.where": operation("filter", "where", "k == `1`", "k == `2`"),
        "map.expression": operation("map", "expression", "k", "v"),
        "sort.by": operation("sort", "by", "k", "v"),
        "sort.descending": operation("sort", "descending", False, True, by="v"),
        "group.by": operation("group", "by", "k", "v"),
        "join.with": operation("join", "with", KEYS, [], on="k"),
        "join.on": operation("join", "on", "k", "v", **{"with": KEYS}),
        "join.left_on": operation("join", "left_on", "k", "v", **{"with": KEYS, "right_on": "k"}),
        "join.right_on": operation("join", "right_on", "k", "id", **{"with": KEYS, "left_on": "k"}),
        "join.how": operation("join", "how", "inner", "left", **sides),
        "limit.count": operation("limit", "count", 1, 2),
        "unique.by": operation("unique", "by", "k", "v"),
    }
    return {
        "input": of("input", [1], "{{ x }}", {"query": "@"}, names={"x": [2]}),
        "query": of("query", "[0]", "[1]", {"input": ROWS}),
        "operations": of("operations", [{"limit": 1}], [{"limit": 1}, {"map": "k"}], {"input": ROWS}),
        **{f"operations.{name}": pair for name, pair in pairs.items()},
        **aggregates(),
    }


def files() -> dict[str, Pair]:
    """`a` holds JSON; the contexts of both runs begin with it."""
    return {
        "operation": of("operation", "read", "list", {"path": "a"}),
        "path": of("path", "a", "b", {"operation": "read"}),
        "content": of("content", "x", {"y": 1}, {"operation": "write", "path": "c"}),
        "to": of("to", "c", "d", {"operation": "copy", "path": "a"}),
        "format": of("format", "text", "json", {"operation": "read", "path": "a"}),
        "max_bytes": of("max_bytes", 1, 100, {"operation": "read", "path": "a"}),
    }


def named(task: dict[str, Any]) -> dict[str, Any]:
    return {"t": task}


OPTIONS: Mapping[str, Mapping[str, Pair]] = {
    "claude": completions(),
    "gemini": completions(),
    "claude_smart": {
        "preset": of("preset", "test", "analysis", {"prompt": "x"}),
        "models": of("models", {"fast": "tiny"}, {"fast": "small"}, {"prompt": "x", "preset": "test"}),
        "max_cost_usd": of("max_cost_usd", 0.1, 0.3, SMART, prepared=DEAR),
        "max_latency_seconds": of("max_latency_seconds", 5, 10, SMART, prepared=DEAR),
    },
    "claude_extract": {
        "max_reasks": of("max_reasks", 0, 1, {"prompt": "x", "schema": {"n": "integer"}}, replies=("no", '{"n": 1}')),
    },
    "claude_batch": {
        **fan_out(BATCH),
        "prompts": of("prompts", ["a"], ["a", "b"]),
        "tasks": of("tasks", ["a"], ["a", "b"]),
        "mode": of("mode", "parallel", "message_batches", BATCH),
        "poll_seconds": of("poll_seconds", 1, 60, {**BATCH, "mode": "message_batches"}),
        "max_tasks": of("max_tasks", 2, 3, {"prompts": "{{ many }}"}, names={"many": ["a", "b", "c"]}),
        **tasks("prompts", lambda task: [task]),
        **tasks("tasks", lambda task: [task]),
    },
    "claude_robust": {
        "fallbacks": of("fallbacks", ["provider"], ["model"], ROBUST, replies=(DOWN, "saved")),
        "fallback_models": of("fallback_models", ["m-1"], ["m-2"], ROBUST, replies=(DOWN, "saved")),
        "fallback_model": of("fallback_model", "g-1", "g-2", {**ROBUST, "fallbacks": ["provider"]}, replies=(DOWN, "saved")),
        "simplified_prompt": of("simplified_prompt", "A", "B", {**ROBUST, "fallbacks": ["simplified"]}, replies=(DOWN, "saved")),
    },
    "claude_session": {
        "session": of("session", "a", "{{ who }}", TALK, names={"who": "b"}),
        "max_context_tokens": of("max_context_tokens", 500, 5000, TALK, prepared={"sessions": long_talk()}),
        "keep_messages": of("keep_messages", 2, 8, {**TALK, "max_context_tokens": 100}, prepared={"sessions": long_talk()}),
    },
    "parallel_claude": {
        **fan_out({"tasks": {"a": "one", "b": "two", "c": "three"}}),
        "tasks": of("tasks", {"a": "one"}, {"a": "one", "b": "more"}),
        **tasks("tasks", named),
    },
    "gemini_instructor": {
        **functions("functions", {"prompt": "x"}),
        "tool_choice": of("tool_choice", "auto", "any", {"prompt": "x", "functions": ["vote"]}),
        "max_turns": of("max_turns", 1, 3, {"prompt": "x", "functions": ["vote"]}, replies=(CALLS, CALLS, "done")),
    },
    **runs(),
    **control(),
    "data_transform": transforms(),
    "function": {
        "function": of("function", "vote", "parse_json", {"arguments": {"text": "[]"}}),
        "arguments": of("arguments", {"expression": "1"}, {"expression": "{{ x }}"}, {"function": "arithmetic"}, names={"x": "2"}),
        "constants": of("constants", {"expression": "1"}, {"expression": "2"}, {"function": "arithmetic"}),
    },
    "file_ops": files(),
}
