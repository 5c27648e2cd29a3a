"""Every key that all step types have does something in a run; a new one without a case fails here."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import ProviderError
from shared.pipeline.completion import CompletionRequest
from shared.pipeline.document import COMMON_KEYS
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import Reply, ScriptedModel

ONCE, THRICE = ({"initial_seconds": 0, "max_attempts": number} for number in (1, 3))
FALLBACK = {"fallback": {"type": "set_variable", "variable": "b", "value": "plan b"}}


def broken_on_demand(request: CompletionRequest) -> Reply:
    return ProviderError("server", "500") if "break" in request.messages[0].text else "fine"


PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "name": ({"name": "one"}, {"name": "other"}),
    "type": ({"type": "claude"}, {"type": "gemini"}),
    "prompt": ({"prompt": "Say a"}, {"prompt": "Say b"}),
    "when": ({"when": "n > 1"}, {"when": "n > 9"}),
    "after": ({"context": "none"}, {"context": "none", "after": ["first"]}),
    "timeout_seconds": ({"timeout_seconds": 0.001}, {"timeout_seconds": 5}),
    "retry": (
        {"prompt": "break", "retry": ONCE},
        {"prompt": "break", "retry": THRICE},
    ),
    "on_error": ({"prompt": "break", "on_error": "continue"}, {"prompt": "break", "on_error": FALLBACK}),
    "schema": ({}, {"schema": {"n": "integer"}}),
    "cache": ({"cache": False}, {"cache": True}),
    "context": ({"context": "auto"}, {"context": "none"}),
    "model": ({"model": "m-1"}, {"model": "m-2"}),
    "temperature": ({"temperature": 0.1}, {"temperature": 0.9}),
    "max_tokens": ({"max_tokens": 7}, {"max_tokens": 8}),
    "system": ({"system": "Be kind to {{ n }}."}, {"system": "Be brief."}),
}


def test_every_common_key_has_a_case() -> None:
    assert set(PAIRS) == set(COMMON_KEYS)


async def trace(keys: dict[str, Any]) -> dict[str, Any]:
    """What two runs in one executor, one after the other, ask the model and how they end."""
    model = ScriptedModel(broken_on_demand, delay_seconds=0.02)
    kit = ExecutorKit(model=model)
    first = {"name": "first", "type": "claude", "prompt": "Think", "context": "none"}
    step = {"name": "step", "type": "claude", "prompt": "Say x", **keys}
    document = {"name": "p", "inputs": {"n": "integer"}, "execution": "dataflow", "steps": [first, step], "outputs": {"done": True}}
    runs = [await kit.trial(document, run_id=f"run-{number}", inputs={"n": 5}) for number in range(2)]
    return {
        "requests": [request.model_dump(mode="json") for request in model.requests],
        "at_once": model.most_in_flight,
        "ends": [(run.status, run.error_code) for run in runs],
        "steps": [sorted((step.position, step.status, step.attempts) for step in run.steps) for run in runs],
    }


@pytest.mark.parametrize("key", PAIRS)
async def test_two_values_of_a_key_make_two_runs_that_differ(key: str) -> None:
    one, other = PAIRS[key]
    assert {name for name in {*one, *other} if one.get(name) != other.get(name)} == {key}
    traces = [await trace(keys) for keys in (one, other)]
    assert traces[0] != traces[1]
    assert await trace(one) == traces[0], "the difference must come from the key, not from chance"
