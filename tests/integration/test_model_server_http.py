"""The model server over real HTTP with a scripted engine: limits, errors, streams, clients that hang up, shared beginnings."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from evoline.model_server.app import SERVED_BY, ModelServer, ServerOptions, create_app
from shared.llm.endpoint import LOCAL_SERVER_NAME, SERVED_BY_HEADER
from tests.eventually import eventually
from tests.fakes.scripted_engine import ScriptedEngine
from tests.model_servers import metric, serving

LABELS = {"type": "object", "properties": {"label": {"type": "string", "enum": ["good", "bad"]}}, "required": ["label"]}
CHAT = {"model": "local", "max_tokens": 100, "messages": [{"role": "user", "content": "hello there"}]}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hello there"}]}]}
GENERATE = "/v1beta/models/local:generateContent"


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def url(engine: ScriptedEngine) -> Iterator[str]:
    with serving(engine, ServerOptions("tiny", max_waiting=2, max_body_bytes=10_000)) as address:
        yield address


@pytest.fixture
async def client(url: str) -> Any:
    async with httpx2.AsyncClient(base_url=url, timeout=20) as opened:
        yield opened


async def test_both_formats_answer_and_say_who_served(client: httpx2.AsyncClient) -> None:
    anthropic, gemini = await client.post("/v1/messages", json=CHAT), await client.post(GENERATE, json=CONTENTS)
    assert anthropic.json()["content"] == [{"type": "text", "text": "hello there"}]
    assert gemini.json()["candidates"][0]["content"]["parts"] == [{"text": "hello there"}]
    assert (anthropic.json()["model"], gemini.json()["modelVersion"]) == ("tiny", "tiny")
    assert anthropic.headers["x-served-by"] == gemini.headers["x-served-by"] == "evoline-model-server"


async def test_a_label_costs_one_token_of_a_choice(client: httpx2.AsyncClient, engine: ScriptedEngine) -> None:
    body = CHAT | {"output_config": {"format": {"type": "json_schema", "schema": LABELS}}}
    answer = (await client.post("/v1/messages", json=body)).json()
    assert json.loads(answer["content"][0]["text"]) == {"label": "good"}
    assert answer["usage"]["output_tokens"] == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "word"),
    [
        ("/v1/messages", b"{not json", 400, "not valid JSON"),
        ("/v1/messages", b"[]", 404, "not served here"),
        ("/v1/messages", json.dumps(CHAT | {"model": "gpt"}).encode(), 404, "gpt is not served here"),
        ("/v1/messages", json.dumps(CHAT | {"messages": []}).encode(), 400, "at least one message"),
        ("/v1/messages", json.dumps(CHAT | {"messages": [{"role": "user", "content": "x" * 3000}]}).encode(), 400, "too long"),
        ("/v1/messages", b" " * 20_000, 413, "larger than"),
        (GENERATE, b"{not json", 400, "not valid JSON"),
        ("/v1beta/models/gpt:generateContent", json.dumps(CONTENTS).encode(), 404, "gpt is not served here"),
        ("/v1beta/models/local:dance", json.dumps(CONTENTS).encode(), 404, "no such method"),
        (GENERATE, b" " * 20_000, 413, "larger than"),
    ],
)
async def test_a_wrong_request_gets_its_providers_error(
    client: httpx2.AsyncClient, path: str, body: bytes, status: int, word: str
) -> None:
    answer = await client.post(path, content=body)
    assert answer.status_code == status
    assert word in answer.json()["error"]["message"]
    assert (answer.json().get("type") == "error") is path.startswith("/v1/messages")


async def test_both_formats_stream_the_text_piece_by_piece(client: httpx2.AsyncClient) -> None:
    anthropic = await client.post("/v1/messages", json=CHAT | {"stream": True})
    events = [json.loads(line[6:]) for line in anthropic.text.splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    gemini = await client.post("/v1beta/models/local:streamGenerateContent?alt=sse", json=CONTENTS)
    pieces = [json.loads(line[6:]) for line in gemini.text.splitlines() if line.startswith("data: ")]
    assert "".join(piece["candidates"][0]["content"]["parts"][0]["text"] for piece in pieces) == "hello there"
    assert pieces[-1]["candidates"][0]["finishReason"] == "STOP"


async def test_a_refused_stream_has_the_status_of_its_refusal(client: httpx2.AsyncClient) -> None:
    body = CHAT | {"stream": True, "messages": [{"role": "user", "content": "x" * 3000}]}
    assert (await client.post("/v1/messages", json=body)).status_code == 400


async def test_tokens_are_counted_alike_in_both_formats(client: httpx2.AsyncClient) -> None:
    anthropic = await client.post("/v1/messages/count_tokens", json=CHAT)
    gemini = await client.post("/v1beta/models/local:countTokens", json=CONTENTS)
    assert anthropic.json()["input_tokens"] == gemini.json()["totalTokens"] > 0


async def test_more_callers_than_may_wait_are_told_to_come_back(
    client: httpx2.AsyncClient, engine: ScriptedEngine, url: str
) -> None:
    engine.held.set()
    calls = [asyncio.create_task(client.post("/v1/messages", json=CHAT)) for _ in range(4)]
    await eventually(lambda: len(engine.jobs) == 2)
    await eventually(lambda: metric(url, "evoline_model_calls_waiting") == 2)
    assert (await client.post("/v1/messages", json=CHAT)).status_code == 529
    assert (await client.post(GENERATE, json=CONTENTS)).status_code == 503
    engine.held.clear()
    assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_hangs_up_frees_its_slot(url: str, engine: ScriptedEngine, stream: bool) -> None:
    engine.held.set()
    address = urlsplit(url)
    body = json.dumps(CHAT | {"stream": stream}).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection((str(address.hostname), int(address.port or 0))) as connection:
        connection.sendall(head.encode() + body)
        await eventually(lambda: len(engine.jobs) == 1)
    await eventually(lambda: engine.abandoned == 1)
    await eventually(lambda: metric(url, "evoline_model_slots_busy") == 0)


async def test_a_beginning_shared_by_many_calls_is_evaluated_once(client: httpx2.AsyncClient, engine: ScriptedEngine) -> None:
    examples = "An example that all calls share. " * 20

    def body(item: int) -> dict[str, Any]:
        return CHAT | {"messages": [{"role": "user", "content": f"{examples}\nItem {item}"}]}

    await asyncio.gather(*(client.post("/v1/messages", json=body(item)) for item in range(6)))
    whole = [new for new in engine.evaluated if new > len(examples) // 2]
    assert len(whole) == 1


async def test_health_and_models_are_public(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/health")).json() == {"status": "ready", "model": "tiny"}
    assert (await client.get("/v1/models")).json()["data"][0]["id"] == "tiny"
    assert (await client.get("/v1beta/models")).json()["models"][0]["name"] == "models/tiny"


async def test_while_the_model_loads_health_says_so_and_calls_are_told_to_come_back() -> None:
    server = ModelServer(ScriptedEngine, ServerOptions("tiny"))
    transport = httpx2.ASGITransport(create_app(server, lambda: None))
    async with httpx2.AsyncClient(transport=transport, base_url="http://loading") as client:
        assert (await client.get("/health")).status_code == 503
        assert (await client.post("/v1/messages", json=CHAT)).status_code == 529


def test_the_served_name_is_what_adapters_look_for() -> None:
    assert SERVED_BY[0].decode() == SERVED_BY_HEADER
    assert SERVED_BY[1].decode() == LOCAL_SERVER_NAME
