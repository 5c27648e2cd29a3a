"""Both adapters, on the official SDKs, against the local model server: with a scripted engine and with real weights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from evoline.model_server.app import ServerOptions
from shared.errors import ProviderError, ProviderRefusedError
from shared.llm import build_models
from shared.llm.anthropic import AnthropicModel
from shared.llm.gemini import GeminiModel
from shared.pipeline.completion import ChatMessage, CompletionRequest, Family, ToolAnswer, ToolSpec
from shared.settings import ProviderSettings
from tests.eventually import eventually
from tests.fakes.scripted_engine import ScriptedEngine
from tests.model_servers import metric, serving, serving_weights

SCRIPTED_NAME = "scripted"
LONG_STORY = "Tell a very long story."
LABEL = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["positive", "negative"]}},
    "required": ["label"],
    "additionalProperties": False,
}
LOOKUP = ToolSpec(
    name="lookup",
    description="Looks a word up in the dictionary",
    parameters={
        "type": "object",
        "properties": {"word": {"type": "string", "maxLength": 20}},
        "required": ["word"],
        "additionalProperties": False,
    },
)


@pytest.fixture(scope="module", params=["scripted", pytest.param("weights", marks=pytest.mark.model)])
def server_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "weights":
        with serving_weights("--slots", "2", "--context", "2048") as (url, _):
            yield url
        return
    engine = ScriptedEngine(answer=scripted_answer, context_tokens=2048, seconds_per_piece=0.005)
    with serving(engine, ServerOptions(SCRIPTED_NAME)) as url:
        yield url


def scripted_answer(prompt: str, grammar: str) -> str:
    if "%json" in grammar:
        return '{"word":"tree"}}' if '{"name":"lookup"' in prompt else '"Tom","age":5}'
    if LONG_STORY in prompt:
        return "and then " * 400
    return 'positive"}' if grammar else "Hello to you."


@pytest.fixture(params=["claude", "gemini"])
async def model(request: pytest.FixtureRequest, server_url: str) -> AsyncIterator[tuple[Family, AnthropicModel | GeminiModel]]:
    settings = ProviderSettings.model_validate({"anthropic_api_key": "", "gemini_api_key": "", "local_model_url": server_url})
    adapter = await build_models(settings)[request.param].model()
    assert isinstance(adapter, AnthropicModel | GeminiModel)
    yield request.param, adapter
    await adapter.close()


Served = tuple[Family, AnthropicModel | GeminiModel]


def ask(family: Family, prompt: str, **options: Any) -> CompletionRequest:
    return CompletionRequest(family=family, messages=(ChatMessage(role="user", text=prompt),), **options)


async def test_a_plain_answer_names_the_local_model_that_served_it(model: Served) -> None:
    family, adapter = model
    completion = await adapter.complete(ask(family, "Say hello.", max_tokens=20))
    assert completion.text
    assert (completion.provider, completion.usage.cost_usd) == ("local", 0.0)
    assert completion.model not in {"local", "claude-haiku-5-5", "gemini-3.5-flash-lite"}
    assert completion.usage.input_tokens > 0


async def test_a_model_of_a_provider_runs_on_the_local_one(model: Served) -> None:
    family, adapter = model
    completion = await adapter.complete(ask(family, "Say hello.", model="claude-opus-5-5", max_tokens=5))
    assert completion.model != "claude-opus-5-5"


async def test_an_answer_under_a_schema_is_valid_json_of_it(model: Served) -> None:
    family, adapter = model
    prompt = "Is this review positive or negative? Review: I love it, it is wonderful!"
    completion = await adapter.complete(ask(family, prompt, json_schema=LABEL))
    assert json.loads(completion.text) == {"label": "positive"}
    assert completion.stop == "end"


async def test_several_fields_are_filled(model: Served) -> None:
    family, adapter = model
    properties = {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["name", "age"], "additionalProperties": False}
    completion = await adapter.complete(ask(family, "Tom is 5 years old. Give his name and age.", json_schema=schema))
    assert json.loads(completion.text) == {"name": "Tom", "age": 5}


async def test_a_forced_tool_is_called_with_valid_arguments(model: Served) -> None:
    family, adapter = model
    completion = await adapter.complete(ask(family, "What does the word tree mean?", tools=(LOOKUP,), tool_choice="any"))
    assert completion.stop == "tool_use"
    (call,) = completion.tool_calls
    assert call.name == "lookup"
    assert set(call.arguments) == {"word"}


async def test_a_tool_answer_can_be_used_in_the_next_turn(model: Served) -> None:
    family, adapter = model
    first = await adapter.complete(ask(family, "What does the word tree mean?", tools=(LOOKUP,), tool_choice="any"))
    call = first.tool_calls[0]
    turns = (
        ChatMessage(role="user", text="What does the word tree mean?"),
        ChatMessage(role="assistant", tool_calls=(call,)),
        ChatMessage(role="user", tool_answers=(ToolAnswer(call_id=call.id, name="lookup", content={"meaning": "a tall plant"}),)),
    )
    second = await adapter.complete(CompletionRequest(family=family, messages=turns, max_tokens=30))
    assert second.text
    assert second.stop in {"end", "max_tokens"}


async def test_an_answer_longer_than_allowed_says_so(model: Served) -> None:
    family, adapter = model
    completion = await adapter.complete(ask(family, "Count from one to one hundred in words.", max_tokens=4))
    assert completion.stop == "max_tokens"


async def test_tokens_are_counted_before_they_are_spent(model: Served) -> None:
    family, adapter = model
    short, long = ask(family, "hello", max_tokens=1), ask(family, "hello " * 50, max_tokens=1)
    assert await adapter.count_tokens(long) > await adapter.count_tokens(short) > 0


async def test_a_prompt_beyond_the_context_is_refused_for_good(model: Served) -> None:
    family, adapter = model
    with pytest.raises(ProviderRefusedError, match="too long"):
        await adapter.complete(ask(family, "word " * 3000))


async def test_cancelled_calls_free_their_slots_in_the_middle_of_a_generation(model: Served, server_url: str) -> None:
    family, adapter = model
    calls = [asyncio.create_task(adapter.complete(ask(family, LONG_STORY, max_tokens=1500))) for _ in range(2)]
    await eventually(lambda: metric(server_url, "evoline_model_slots_busy") >= 1, timeout_seconds=30)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await eventually(lambda: metric(server_url, "evoline_model_slots_busy") == 0, timeout_seconds=10)


async def test_a_call_out_of_time_is_a_timeout(model: Served) -> None:
    family, adapter = model
    with pytest.raises(ProviderError) as caught:
        await adapter.complete(ask(family, "Tell a long story.", max_tokens=1500, timeout_seconds=0.001))
    assert caught.value.kind == "timeout"
