"""Streams and durable consumers as data: who consumes what, and how. `provision`, docs and permissions derive from it.

A durable consumer exists because it is listed here, never because a process asked for it: `Consumer.on` refuses any other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from shared.events import Command, Fact, Message, Query, catalogue

MAX_BODY_BYTES = 1_000_000
"""Largest message body. The server takes 1 MiB with headers; the rest is room for the headers of a dead letter."""
MAX_MESSAGE_BYTES = MAX_BODY_BYTES + 16_384
"""Largest message with headers that the command and fact streams take."""
DUPLICATE_WINDOW = timedelta(minutes=2)
DEAD_LETTER_PREFIX = "dlq."
TIMER_PREFIX = "timer."
"""Commands that wait for their moment; the broker publishes them into their own stream only."""


@dataclass(frozen=True)
class Stream:
    name: Literal["CMD", "EVT", "FACTS", "DLQ", "ADVISORY"]
    subjects: tuple[str, ...]
    retention: Literal["workqueue", "limits"]
    max_age: timedelta | None
    max_message_bytes: int
    purpose: str
    schedules: bool = False
    copies: Literal["", "EVT"] = ""
    """The stream that the broker copies here, number by number; nothing else gets in."""


@dataclass(frozen=True)
class Durable:
    """One durable consumer. `ack_wait_seconds`: how long the server waits for a sign of life before it delivers again."""

    name: str
    stream: Literal["CMD", "EVT"]
    filter_subject: str
    service: str
    ack_wait_seconds: float = 6.0
    max_deliver: int = 1000
    """Backstop of the server only: the consumer counts attempts itself and dead-letters long before, so nothing strands."""


STREAMS: tuple[Stream, ...] = (
    Stream(
        "CMD",
        ("cmd.>", f"{TIMER_PREFIX}>"),
        "workqueue",
        None,
        MAX_MESSAGE_BYTES,
        "commands, kept until done or dead-lettered, and those that the broker is to publish later",
        schedules=True,
    ),
    Stream("EVT", ("evt.>",), "limits", timedelta(days=30), MAX_MESSAGE_BYTES, "facts, readable again for 30 days"),
    Stream(
        "FACTS",
        (),
        "limits",
        timedelta(days=30),
        MAX_MESSAGE_BYTES,
        "a copy of EVT for followers: who may make a consumer in a stream could take over its durables, so it has none",
        copies="EVT",
    ),
    Stream("DLQ", (f"{DEAD_LETTER_PREFIX}>",), "limits", timedelta(days=30), -1, "dead letters, until redriven or 30 days old"),
    Stream(
        "ADVISORY",
        ("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>", "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>"),
        "limits",
        timedelta(days=7),
        -1,
        "what the broker itself says about messages that it gave up",
    ),
)

FACT_SUBSCRIPTIONS: dict[str, tuple[str, ...]] = {
    "analytics": ("evt.run.finished", "evt.pipeline.scored", "evt.pipelines.measured"),
    "learner": (
        "evt.pipeline.scored",
        "evt.run.finished",
        "evt.change.approved",
        "evt.pipeline.rolled_back",
        "evt.revision.quarantined",
        "evt.gate.finished",
        "evt.evolution.finished",
        "evt.experiment.finished",
        "evt.outcome.reported",
        "evt.rollout.completed",
        "evt.rollout.rolled_back",
    ),
    "generator": (
        "evt.template.learned",
        "evt.pipeline.rolled_back",
        "evt.revision.quarantined",
        "evt.change.approved",
        "evt.change.vetoed",
        "evt.change.queued",
    ),
    "guardrail": ("evt.run.finished",),
    "evolution": (
        "evt.gate.finished",
        "evt.change.approved",
        "evt.change.vetoed",
        "evt.change.queued",
        "evt.pipeline.rolled_back",
        "evt.revision.quarantined",
        "evt.rollout.completed",
        "evt.rollout.rolled_back",
        "evt.rollout.aborted",
        "evt.template.learned",
    ),
}
"""Service -> facts that it consumes durably. Add a row, then `evoline bus apply`."""

ALSO_EMITS: dict[str, tuple[str, ...]] = {"evolution": ("evt.pipeline.scored",)}
"""Facts that a service emits beside those that name it as their owner."""


_RUNS = ("cmd.executor.execute", "api.executor.finished_runs")
_TRIALS = (*_RUNS, "cmd.guardrail.propose", "api.guardrail.grant_scope", "api.guardrail.get_dataset")

SENDS: dict[str, tuple[str, ...]] = {
    "generator": (*_TRIALS, "cmd.guardrail.close_scope", "api.analytics.report"),
    "evolution": (
        *_TRIALS,
        "cmd.guardrail.close_scope",
        "api.guardrail.estimate_cost",
        "api.guardrail.get_change",
        "api.guardrail.get_pipeline",
        "api.guardrail.get_rollout",
    ),
    "learner": ("cmd.guardrail.propose",),
    "guardrail": (*_RUNS, "api.executor.seal_scope", "api.executor.count_lease"),
    "executor": (
        *_RUNS,
        "cmd.executor.cancel",
        "cmd.guardrail.propose",
        "api.guardrail.grant_scope",
        "api.guardrail.lease_quota",
        "api.guardrail.report_use",
        "api.guardrail.get_change",
        "api.guardrail.get_pipeline",
        "api.guardrail.list_pipelines",
        "api.generator.list_requests",
        "api.evolution.get",
        "api.analytics.report",
        "api.analytics.model_records",
        "api.learner.knowledge",
        "api.executor.list_runs",
        "api.executor.get_run",
    ),
    "client": ("cmd.>", "api.>"),
}
"""Commands and queries that each service sends; `client` is everybody outside: CLI, console, raw clients."""

FOLLOWERS: frozenset[str] = frozenset({"generator", "evolution", "guardrail", "executor", "client"})
"""Read the log of facts as it grows (`Bus.follow`, `Fleet`), beside what they consume durably."""

SETS_TIMERS: frozenset[str] = frozenset({"executor"})
"""Have the broker publish commands to themselves later (`Bus.publish_at`)."""

SHARES_LIMITS: frozenset[str] = frozenset({"executor"})
"""Agree on providers' limits in the key-value bucket."""

KEEPS_VALUES: frozenset[str] = frozenset({"generator", "evolution", "guardrail", "executor", "client"})
"""Put large values into the object store and take them out."""


def durable_name(service: str, subject: str) -> str:
    """`<service>-<verb>` of a command, `<service>-<noun>-<verb>` of a fact; words are joined by hyphens."""
    parts = subject.replace("_", "-").split(".")[1:]
    return "-".join(parts) if subject.startswith("cmd.") else "-".join((service, *parts))


def durables(messages: Iterable[type[Message]] | None = None) -> tuple[Durable, ...]:
    """Every durable consumer of the system: one a command, one a fact subscription."""
    commands = [message for message in (catalogue() if messages is None else messages) if issubclass(message, Command)]
    own = [Durable(durable_name(command.owner, command.subject), "CMD", command.subject, command.owner) for command in commands]
    facts = [
        Durable(durable_name(service, subject), "EVT", subject, service)
        for service, subjects in FACT_SUBSCRIPTIONS.items()
        for subject in subjects
    ]
    return (*own, *facts)


def emitters(message: type[Message]) -> tuple[str, ...]:
    """Services that publish it; `*` stands for all of them, `client` for everybody outside."""
    if issubclass(message, Fact):
        others = (service for service, subjects in ALSO_EMITS.items() if message.subject in subjects)
        return (message.owner, *others)
    branch = message.subject.split(".")[0] + ".>"
    return tuple(service for service, subjects in SENDS.items() if message.subject in subjects or branch in subjects)


def consumers(message: type[Message]) -> tuple[str, ...]:
    """Services that handle it: durably for commands and facts, by answering for queries."""
    if issubclass(message, Query):
        return (message.owner,)
    return tuple(sorted({durable.service for durable in durables() if durable.filter_subject == message.subject}))
