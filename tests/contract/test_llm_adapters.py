"""Both adapters, on the official SDKs, against a server that speaks the wire formats and fails on demand."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from shared.errors import ProviderError, ProviderRefusedError
from shared.llm.anthropic import AnthropicModel
from shared.llm.endpoint import LOCAL_SERVER_NAME, Endpoint
from shared.llm.gemini import GeminiModel
from shared.llm.prices import PriceTable
from shared.pipeline.completion import ChatMessage, CompletionRequest, Family, ToolAnswer, ToolCall, ToolSpec
from tests.eventually import eventually
from tests.fakes.provider_standin import ProviderStandin, fault, provider_standin, status, text, tool_call

__all__ = ["provider_standin"]

KEY = "sk-test-4711"
Adapter = AnthropicModel | GeminiModel
PROVIDERS = {"claude": "anthropic", "gemini": "google"}
LABEL = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["positive", "negative"]}},
    "required": ["label"],
    "additionalProperties": False,
}
LOOKUP = ToolSpec(
    name="lookup",
    description="Looks up",
    parameters={"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
)


@pytest.fixture(params=["claude", "gemini"])
def family(request: pytest.FixtureRequest) -> Family:
    value: Family = request.param
    return value


def build(family: Family, url: str, key: str) -> Adapter:
    endpoint = Endpoint("some-model", SecretStr(key), url)
    return AnthropicModel(endpoint, PriceTable.load()) if family == "claude" else GeminiModel(endpoint, PriceTable.load())


@pytest.fixture
async def model(family: Family, provider_standin: ProviderStandin) -> AsyncIterator[Adapter]:
    adapter = build(family, provider_standin.url, KEY)
    yield adapter
    await adapter.close()


@pytest.fixture
async def local_model(family: Family, provider_standin: ProviderStandin) -> AsyncIterator[Adapter]:
    adapter = build(family, provider_standin.url, "")
    yield adapter
    await adapter.close()


def ask(family: Family, prompt: str = "hello there", **options: Any) -> CompletionRequest:
    return CompletionRequest(family=family, messages=(ChatMessage(role="user", text=prompt),), **options)


async def test_an_answer_names_text_usage_provider_and_model(
    family: Family, model: Adapter, provider_standin: ProviderStandin
) -> None:
    provider_standin.script(text("good day", cached_tokens=100))
    completion = await model.complete(ask(family, "x" * 40))
    assert (completion.text, completion.stop, completion.model) == ("good day", "end", "standin-1")
    assert completion.provider == PROVIDERS[family]
    assert (completion.usage.calls, completion.usage.input_tokens, completion.usage.cached_input_tokens) == (1, 110, 100)
    assert completion.usage.output_tokens > 0
    assert completion.usage.cost_usd > 0
    assert completion.latency_seconds > 0


async def test_an_answer_of_a_keyless_endpoint_is_local_and_free(family: Family, local_model: Adapter) -> None:
    completion = await local_model.complete(ask(family))
    assert (completion.provider, completion.usage.cost_usd) == ("local", 0.0)


async def test_the_local_servers_header_makes_an_answer_local(
    family: Family, model: Adapter, provider_standin: ProviderStandin
) -> None:
    provider_standin.served_by = LOCAL_SERVER_NAME
    assert (await model.complete(ask(family))).provider == "local"


async def test_a_schema_reaches_the_provider_and_its_value_comes_back(
    family: Family, model: Adapter, provider_standin: ProviderStandin
) -> None:
    seen: list[dict[str, Any] | None] = []

    def answer(messages: list[dict[str, str]], schema: dict[str, Any] | None) -> dict[str, Any]:
        seen.append(schema)
        return {"label": "negative"}

    provider_standin.answer = answer
    completion = await model.complete(ask(family, json_schema=LABEL))
    assert json.loads(completion.text) == {"label": "negative"}
    assert seen[0] is not None
    assert seen[0]["properties"]["label"]["enum"] == ["positive", "negative"]


async def test_system_and_turns_reach_the_provider_in_order(
    family: Family, model: Adapter, provider_standin: ProviderStandin
) -> None:
    seen: list[list[dict[str, str]]] = []

    def answer(messages: list[dict[str, str]], schema: dict[str, Any] | None) -> str:
        seen.append(messages)
        return "yes"

    provider_standin.answer = answer
    turns = (
        ChatMessage(role="user", text="one"),
        ChatMessage(role="assistant", text="two"),
        ChatMessage(role="user", text="three"),
    )
    await model.complete(CompletionRequest(family=family, system="be brief", messages=turns))
    assert [(message["role"], message["text"]) for message in seen[0]] == [
        ("system", "be brief"),
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
    ]


async def test_a_tool_call_comes_back_with_its_arguments(family: Family, model: Adapter, provider_standin: ProviderStandin) -> None:
    provider_standin.script(tool_call("lookup", {"word": "tree"}))
    completion = await model.complete(ask(family, tools=(LOOKUP,), tool_choice="any"))
    assert completion.stop == "tool_use"
    assert [(call.name, call.arguments) for call in completion.tool_calls] == [("lookup", {"word": "tree"})]


async def test_tool_answers_are_sent_back_to_the_model(family: Family, model: Adapter, provider_standin: ProviderStandin) -> None:
    call = ToolCall(id="toolu_1", name="lookup", arguments={"word": "tree"})
    answered = ChatMessage(role="user", tool_answers=(ToolAnswer(call_id="toolu_1", name="lookup", content={"found": "a plant"}),))
    turns = (ChatMessage(role="user", text="what"), ChatMessage(role="assistant", tool_calls=(call,)), answered)
    await model.complete(CompletionRequest(family=family, messages=turns, tools=(LOOKUP,)))
    sent = json.dumps(provider_standin.requests[-1].body)
    assert "a plant" in sent
    assert "lookup" in sent


async def test_an_answer_cut_by_length_says_so(family: Family, model: Adapter, provider_standin: ProviderStandin) -> None:
    provider_standin.script(text("half an ans", stop="max_tokens"))
    assert (await model.complete(ask(family))).stop == "max_tokens"


async def test_tokens_are_counted_by_the_provider(family: Family, model: Adapter) -> None:
    assert await model.count_tokens(ask(family, "x" * 40)) == 10


async def test_temperature_goes_to_the_local_server_as_zero_when_nobody_asks(
    family: Family, local_model: Adapter, provider_standin: ProviderStandin
) -> None:
    await local_model.complete(ask(family, seed=3))
    body = provider_standin.requests[-1].body
    sent = body if family == "claude" else body["generationConfig"]
    assert (sent["temperature"], sent["seed"]) == (0.0, 3)


async def test_anthropic_itself_is_sent_no_temperature(provider_standin: ProviderStandin) -> None:
    adapter = build("claude", provider_standin.url, KEY)
    await adapter.complete(ask("claude", temperature=0.7, seed=3))
    await adapter.close()
    assert not {"temperature", "seed"} & set(provider_standin.requests[-1].body)


async def test_a_rate_limit_carries_the_wait_that_the_provider_wishes(
    family: Family, model: Adapter, provider_standin: ProviderStandin
) -> None:
    provider_standin.script(status(429, retry_after="7"))
    with pytest.raises(ProviderError) as caught:
        await model.complete(ask(family))
    assert (caught.value.kind, caught.value.retry_after_seconds) == ("rate_limit", 7.0)


@pytest.mark.parametrize(("code", "kind"), [(500, "server"), (529, "overload"), (503, "overload"), (504, "timeout")])
async def test_a_failing_provider_is_asked_once_and_named_by_its_kind(
    family: Family, model: Adapter, provider_standin: ProviderStandin, code: int, kind: str
) -> None:
    provider_standin.script(status(code))
    with pytest.raises(ProviderError) as caught:
        await model.complete(ask(family))
    assert caught.value.kind == kind
    assert provider_standin.calls == 1


@pytest.mark.parametrize("code", [400, 401, 404])
async def test_a_refused_request_is_permanent_and_hides_the_key(
    family: Family, model: Adapter, provider_standin: ProviderStandin, code: int
) -> None:
    provider_standin.script(status(code, f"bad key {KEY}"))
    with pytest.raises(ProviderRefusedError, match="bad key") as caught:
        await model.complete(ask(family))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("kind", ["invalid_json", "wrong_shape", "empty"])
async def test_a_success_without_an_answer_is_an_invalid_answer(
    family: Family, model: Adapter, provider_standin: ProviderStandin, kind: Any
) -> None:
    provider_standin.script(fault(kind))
    with pytest.raises(ProviderError) as caught:
        await model.complete(ask(family))
    assert caught.value.kind == "invalid_answer"


async def test_blocked_content_is_a_refusal(family: Family, model: Adapter, provider_standin: ProviderStandin) -> None:
    provider_standin.script(fault("blocked"))
    with pytest.raises(ProviderRefusedError):
        await model.complete(ask(family))


async def test_a_cut_connection_is_a_connection_failure(family: Family, model: Adapter, provider_standin: ProviderStandin) -> None:
    provider_standin.script(fault("cut"))
    with pytest.raises(ProviderError) as caught:
        await model.complete(ask(family))
    assert caught.value.kind == "connection"


async def test_nobody_listening_is_a_connection_failure(family: Family) -> None:
    adapter = build(family, "http://127.0.0.1:9", KEY)
    with pytest.raises(ProviderError) as caught:
        await adapter.complete(ask(family))
    await adapter.close()
    assert caught.value.kind == "connection"


@pytest.mark.parametrize("kind", ["hang", "drip"])
async def test_an_answer_that_never_ends_times_out_on_time(
    family: Family, model: Adapter, provider_standin: ProviderStandin, kind: Any
) -> None:
    provider_standin.script(fault(kind))
    started = time.monotonic()
    with pytest.raises(ProviderError) as caught:
        await model.complete(ask(family, timeout_seconds=0.4))
    assert caught.value.kind == "timeout"
    assert time.monotonic() - started < 3


async def test_cancelling_a_call_hangs_up_on_the_wire(family: Family, model: Adapter, provider_standin: ProviderStandin) -> None:
    provider_standin.script(fault("hang"))
    call = asyncio.create_task(model.complete(ask(family)))
    await eventually(lambda: provider_standin.calls == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: provider_standin.disconnects == 1, timeout_seconds=2)


async def test_many_calls_at_once_each_get_their_own_answer(family: Family, model: Adapter) -> None:
    words = [f"word-{number}" for number in range(40)]
    answers = await asyncio.gather(*(model.complete(ask(family, word)) for word in words))
    assert [answer.text for answer in answers] == words


async def test_geminis_signature_travels_back_with_the_call(provider_standin: ProviderStandin) -> None:
    adapter = build("gemini", provider_standin.url, KEY)
    call = ToolCall(id="1|c2lnbmF0dXJl", name="lookup", arguments={})
    turns = (ChatMessage(role="user", text="q"), ChatMessage(role="assistant", tool_calls=(call,)))
    await adapter.complete(CompletionRequest(family="gemini", messages=turns))
    await adapter.close()
    part = provider_standin.requests[-1].body["contents"][1]["parts"][0]
    assert part["thoughtSignature"] == "c2lnbmF0dXJl"
