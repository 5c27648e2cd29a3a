"""A valid example of each message, made from its schema with values that a reader recognises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.events import Message

_DIGEST = "3f2a" * 16
_DOCUMENT = {
    "name": "support_triage",
    "domain": "support",
    "inputs": {"ticket": "string"},
    "steps": [{"name": "classify", "type": "claude", "prompt": "Which team answers this ticket?\n{{ ticket }}"}],
    "outputs": {"answer": "{{ steps.classify.result }}"},
}
_CASES = [
    {"id": "t1", "input": {"ticket": "I was charged twice"}, "expected": "billing"},
    {"id": "t2", "input": {"ticket": "The app crashes at start"}, "expected": "technical"},
    {"id": "t3", "input": {"ticket": "Where is my invoice?"}, "expected": "billing"},
]
NAMED: dict[str, Any] = {
    "digest": _DIGEST,
    "candidate_digest": _DIGEST,
    "incumbent_digest": "9b1c" * 16,
    "from_digest": _DIGEST,
    "to_digest": "9b1c" * 16,
    "document": _DOCUMENT,
    "domain": "support",
    "pipeline": "support_triage",
    "template": "few_shot_label",
    "requirements": "Say which team answers a support ticket.",
    "request_id": "request-1",
    "run_id": "run-1",
    "run_ids": ["run-1"],
    "change_id": "change-1",
    "dataset_id": "tickets",
    "evolution_id": "evolution-1",
    "author": "ada",
    "reviewer": "grace",
    "reason": "It mixes up billing and sales.",
    "reasons": ["prompt text only"],
    "cases": _CASES,
    "pipelines": {"stable": "support_triage@stable"},
    "command": "cmd.executor.execute",
    "message_id": "5d41402abc4b2a76b9719d911017c592",
    "service": "executor",
    "code": "invalid_input",
    "approved_by": "policy:prompt-only",
    "vetoed_by": "policy:unknown-function",
    "policy_revision": "default@1",
    "issued_at": "2026-11-22T10:00:00Z",
    "expires_at": "2026-12-22T10:00:00Z",
    "grader_hash": "77ab" * 4,
    "text": "trial 12 of 40",
}
EXTRA: dict[str, dict[str, Any]] = {
    "GeneratePipeline": {"examples": _CASES, "constraints": {"max_seconds": 20, "max_calls": 3}, "author": "ada"},
    "ExecuteRun": {"pipeline": "support_triage@stable", "inputs": {"ticket": "I was charged twice"}},
    "RunFinished": {"outputs": {"answer": "billing"}},
    "ImportRun": {"file": {"evoline:value": {"sha256": _DIGEST, "bytes": 1_234_567}}},
    "StartEvolution": {"evaluations": 300, "strategy": "guided"},
    "ReportUse": {"day": "2026-11-22"},
    "ProposeChange": {"reason": "Best of 4 candidates on 40 training examples."},
}
"""Optional fields worth showing."""


def example_of(message: type[Message]) -> dict[str, Any]:
    """Required fields, and the optional ones of `EXTRA`. It validates as the message (tested)."""
    schema = message.model_json_schema()
    value = _object(schema, schema.get("$defs", {}))
    return {**value, **EXTRA.get(message.__name__, {})}


def _object(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    return {name: _named(name, properties[name], definitions) for name in schema.get("required", ())}


def _named(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    fits = name in NAMED and not (name == "cases" and schema.get("type") == "integer")
    return NAMED[name] if fits else _value(schema, definitions)


def _value(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    if "$ref" in schema:
        return _value(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "anyOf" in schema:
        return _value(schema["anyOf"][0], definitions)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    return _plain(schema, definitions)


def _plain(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    match schema.get("type"):
        case "object" if "properties" in schema:
            return _object(schema, definitions)
        case "object":
            inner = schema.get("additionalProperties")
            return {"stable": _value(inner, definitions)} if isinstance(inner, dict) else {"key": "value"}
        case "array":
            return [_value(schema["items"], definitions)] if isinstance(schema.get("items"), dict) else []
        case "integer":
            return max(12, int(schema.get("minimum", 0)))
        case "number":
            return 0.5
        case "boolean":
            return True
        case "string":
            return "example-1"
    return "billing"
