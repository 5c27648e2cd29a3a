from __future__ import annotations

from typing import Any

import pytest

from evoline.model_server.chat import RequestRefusedError, Turn
from evoline.model_server.formats.anthropic import AnthropicFormat
from evoline.model_server.formats.gemini import GeminiFormat, plain_schema

HELLO = [{"role": "user", "content": "hello"}]
CONTENTS = [{"role": "user", "parts": [{"text": "hello"}]}]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "body: must be an object"),
        ({}, "messages: Field required"),
        ({"messages": []}, "messages: at least one message"),
        ({"messages": ["x"]}, "messages.0: must be an object"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: must be user or assistant"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content: must be a string"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages.0.content.0.type: this model reads text"),
        ({"messages": HELLO, "max_tokens": 0}, "max_tokens: must be at least 1"),
        ({"messages": HELLO, "max_tokens": True}, "max_tokens: must be an integer"),
        ({"messages": HELLO, "temperature": 3}, "temperature: must be between 0 and 2"),
        ({"messages": HELLO, "tools": [{}]}, "tools.0.name: Field required"),
        ({"messages": HELLO, "tool_choice": {"type": "tool", "name": "x"}}, "no tool is called 'x'"),
        ({"messages": HELLO, "output_config": {"format": {"type": "xml"}}}, "must be json_schema"),
        ({"messages": HELLO, "stop_sequences": "x"}, "stop_sequences: must be an array of strings"),
    ],
)
def test_a_wrong_anthropic_request_is_refused_with_the_field(body: Any, reason: str) -> None:
    with pytest.raises(RequestRefusedError, match=reason):
        AnthropicFormat().read(body, "m", stream=False)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("x", "body: must be an object"),
        ({}, "contents: Field required"),
        ({"contents": []}, "contents: at least one content"),
        ({"contents": [{"role": "robot"}]}, r"contents\[0\].role: must be user or model"),
        ({"contents": [{"parts": [{"inlineData": {}}]}]}, r"contents\[0\].parts\[0\]: this model reads text"),
        ({"contents": CONTENTS, "generationConfig": {"maxOutputTokens": -1}}, "maxOutputTokens: must be at least 1"),
        ({"contents": CONTENTS, "generationConfig": {"temperature": "hot"}}, "temperature: must be a number"),
        ({"contents": CONTENTS, "tools": [{"functionDeclarations": [{"description": "x"}]}]}, "name: Field required"),
    ],
)
def test_a_wrong_gemini_request_is_refused_with_the_field(body: Any, reason: str) -> None:
    with pytest.raises(RequestRefusedError, match=reason):
        GeminiFormat().read(body, "m", stream=False)


def test_both_formats_read_the_same_conversation_alike() -> None:
    anthropic = AnthropicFormat().read({"system": "s", "messages": HELLO, "max_tokens": 9}, "m", stream=False)
    gemini_body = {
        "systemInstruction": {"parts": [{"text": "s"}]},
        "contents": CONTENTS,
        "generationConfig": {"maxOutputTokens": 9},
    }
    assert GeminiFormat().read(gemini_body, "m", stream=False) == anthropic
    assert anthropic.turns == (Turn("system", "s"), Turn("user", "hello"))


def test_gemini_field_names_may_come_in_snake_case() -> None:
    body = {"contents": CONTENTS, "generation_config": {"max_output_tokens": 9, "response_json_schema": {"type": "string"}}}
    request = GeminiFormat().read(body, "m", stream=False)
    assert (request.max_tokens, request.schema) == (9, {"type": "string"})


def test_names_that_a_user_gave_keep_their_spelling() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {"first_name": {"type": "STRING"}, "nullable": {"type": "BOOLEAN"}},
        "propertyOrdering": ["x"],
    }
    assert plain_schema(schema) == {
        "type": "object",
        "properties": {"first_name": {"type": "string"}, "nullable": {"type": "boolean"}},
    }


def test_json_without_a_schema_is_any_json() -> None:
    body = {"contents": CONTENTS, "generationConfig": {"responseMimeType": "application/json"}}
    assert GeminiFormat().read(body, "m", stream=False).schema == {}


@pytest.mark.parametrize(
    ("refusal", "anthropic", "gemini"),
    [("invalid", 400, 400), ("not_found", 404, 404), ("too_large", 413, 413), ("overloaded", 529, 503), ("failed", 500, 500)],
)
def test_each_refusal_has_the_status_of_its_provider(refusal: Any, anthropic: int, gemini: int) -> None:
    error = RequestRefusedError(refusal, "why")
    assert AnthropicFormat().error(error)[0] == anthropic
    status, body = GeminiFormat().error(error)
    assert (status, body["error"]["code"], body["error"]["message"]) == (gemini, gemini, "why")


def test_a_tool_choice_of_none_hides_the_tools() -> None:
    body = {"messages": HELLO, "tools": [{"name": "x"}], "tool_choice": {"type": "none"}}
    assert AnthropicFormat().read(body, "m", stream=False).tools == ()
