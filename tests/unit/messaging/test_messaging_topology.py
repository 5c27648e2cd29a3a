"""The table of who consumes what is whole, and nobody subscribes around it."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from shared.events import Command, Fact, Message, Query, catalogue
from shared.messaging.catalogue.__main__ import files, main
from shared.messaging.catalogue.examples import example_of
from shared.messaging.topology import FACT_SUBSCRIPTIONS, SENDS, STREAMS, consumers, durables, emitters

ROOT = Path(__file__).parents[3]
SUBSCRIBING = frozenset({"subscriber", "subscribe", "pull_subscribe", "subscribe_bind", "pull_subscribe_bind", "add_consumer"})


def test_every_command_has_one_durable_of_its_owner() -> None:
    rows = durables()
    for command in (message for message in catalogue() if issubclass(message, Command)):
        assert [row.service for row in rows if row.filter_subject == command.subject] == [command.owner]


def test_durable_names_are_unique_and_say_whose_they_are() -> None:
    names = [row.name for row in durables()]
    assert len(names) == len(set(names))
    assert {row.service for row in durables() if not row.name.startswith(f"{row.service}-")} == set()
    assert {"learner-learn", "executor-execute", "analytics-run-finished", "learner-pipeline-rolled-back"} <= set(names)


def test_every_subscribed_and_sent_subject_is_a_message() -> None:
    subjects = {message.subject for message in catalogue()}
    facts = {subject for subscribed in FACT_SUBSCRIPTIONS.values() for subject in subscribed}
    sent = {subject for subjects_sent in SENDS.values() for subject in subjects_sent if not subject.endswith(">")}
    assert facts | sent <= subjects


@pytest.mark.parametrize("message", catalogue(), ids=lambda message: message.__name__)
def test_every_message_has_a_sender_a_taker_and_a_stream_for_its_kind(message: type[Message]) -> None:
    branch = {Command: "cmd.", Fact: "evt.", Query: "api."}
    kind = next(kind for kind in branch if issubclass(message, kind))
    assert message.subject.startswith(branch[kind])
    assert emitters(message)
    assert kind is Fact or consumers(message) == (message.owner,)
    assert kind is Query or any(subject == f"{branch[kind]}>" for stream in STREAMS for subject in stream.subjects)


@pytest.mark.parametrize("message", catalogue(), ids=lambda message: message.__name__)
def test_documented_example_is_a_valid_message(message: type[Message]) -> None:
    assert message.model_validate_json(json.dumps(example_of(message)))


def test_documents_are_current() -> None:
    stale = [path.name for path, text in files().items() if path.read_text() != text]
    assert stale == [], "run python -m shared.messaging.catalogue"
    assert main(["--check"]) == 0


def test_asyncapi_references_resolve() -> None:
    document = json.loads((ROOT / "docs" / "asyncapi.json").read_text())

    def references(node: object) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    for reference in set(references(document)):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_nobody_subscribes_around_the_consumer_module() -> None:
    sources = [path for folder in ("shared", "services", "evoline") for path in (ROOT / folder).rglob("*.py")]
    outside = [path for path in sources if not path.is_relative_to(ROOT / "shared" / "messaging")]
    assert subscriptions(ROOT / "shared" / "messaging" / "consumer.py"), "the check itself finds nothing"
    assert [found for path in outside for found in subscriptions(path)] == []


def subscriptions(path: Path) -> list[str]:
    return [
        f"{path.name}:{node.lineno}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SUBSCRIBING
    ]
