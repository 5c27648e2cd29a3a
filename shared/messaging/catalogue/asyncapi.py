"""`docs/asyncapi.json`: the catalogue for programs, AsyncAPI 3.0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from shared.messaging.catalogue.description import Described
from shared.messaging.topology import STREAMS

_SCHEMAS = "#/components/schemas/"
HEADERS: dict[str, Any] = {
    "type": "object",
    "description": "All optional for clients; services set them all.",
    "properties": {
        "Nats-Msg-Id": {"type": "string", "description": "The same id within two minutes is one message."},
        "ce-specversion": {"type": "string", "const": "1.0"},
        "ce-id": {"type": "string"},
        "ce-source": {"type": "string", "description": "evoline/<service>"},
        "ce-type": {"type": "string", "description": "evoline.<message>"},
        "ce-time": {"type": "string", "format": "date-time"},
        "traceparent": {"type": "string", "description": "W3C trace context."},
        "Evoline-Cause": {"type": "string", "description": "Id of what caused it."},
        "Evoline-Signer": {"type": "string", "description": "Identity that signed it: docs/identities.md."},
        "Evoline-Signed-At": {"type": "string", "format": "date-time"},
        "Evoline-Signature": {"type": "string", "description": "Ed25519, base64."},
    },
}


def render(messages: Sequence[Described]) -> str:
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Evoline messages",
            "version": version("evoline"),
            "description": "Commands, facts and queries on NATS. Streams: "
            + "; ".join(f"{stream.name} ({', '.join(stream.subjects) or stream.copies}): {stream.purpose}" for stream in STREAMS),
        },
        "servers": {"local": {"host": "127.0.0.1:4222", "protocol": "nats"}},
        "defaultContentType": "application/json",
        "channels": {message.name: _channel(message) for message in messages},
        "operations": {key: value for message in messages for key, value in _operations(message).items()},
        "components": {
            "messages": {message.name: _message(message) for message in messages},
            "schemas": _schemas(messages),
        },
    }
    return json.dumps(document, indent=1, sort_keys=False) + "\n"


def _channel(message: Described) -> dict[str, Any]:
    return {"address": message.subject, "messages": {message.name: {"$ref": f"#/components/messages/{message.name}"}}}


def _operations(message: Described) -> dict[str, Any]:
    """One operation for each service that sends it and for each that takes it; a query is received with a reply."""
    channel = {"$ref": f"#/channels/{message.name}"}
    sends = {
        f"{service}.send{message.name}": {"action": "send", "channel": channel} for service in message.emitters if service != "*"
    }
    receive: dict[str, Any] = {"action": "receive", "channel": channel}
    if message.kind == "query":
        receive["reply"] = {"address": {"location": "$message.header#/reply", "description": "The requester's inbox."}}
    return sends | {f"{service}.receive{message.name}": receive for service in message.consumers}


def _message(message: Described) -> dict[str, Any]:
    return {
        "name": message.name,
        "title": message.name,
        "summary": message.meaning.split("\n")[0],
        "description": message.meaning,
        "tags": [{"name": message.kind}],
        "headers": HEADERS,
        "payload": {"$ref": f"{_SCHEMAS}{message.name}"},
        "examples": [{"name": "example", "payload": message.example}],
    }


def _schemas(messages: Sequence[Described]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for message in messages:
        schema = json.loads(json.dumps(message.schema).replace("#/$defs/", _SCHEMAS))
        found |= schema.pop("$defs", {})
        found[message.name] = schema
    return dict(sorted(found.items()))
