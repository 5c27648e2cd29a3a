"""Every subject there is on the broker, and how it matches patterns: what the tests of permissions try out."""

from __future__ import annotations

from collections.abc import Iterable

from shared.events import Query, catalogue
from shared.messaging.permissions import permissions, roles, services
from shared.messaging.topology import STREAMS, durables

STREAM_CALLS = ("CREATE", "UPDATE", "DELETE", "PURGE", "INFO", "MSG.GET", "MSG.DELETE", "SNAPSHOT", "RESTORE")
CONSUMER_CALLS = ("INFO", "DELETE", "MSG.NEXT", "PAUSE", "RESET", "UNPIN", "LEADER.STEPDOWN")
STORES = (*(stream.name for stream in STREAMS), "KV_limits", "OBJ_values")
OTHER = (
    "$JS.API.INFO",
    "$JS.API.ACCOUNT.PURGE.one",
    "$JS.API.STREAM.NAMES",
    "$JS.API.DIRECT.GET.KV_limits.$KV.limits.one",
    "$SYS.REQ.SERVER.PING",
    "cmd.nobody.knows",
    "evt.no.such",
    "free",
)
WIDE = (">", "cmd.>", "evt.>", "api.>", "dlq.>", "timer.>", "$JS.>", "$JS.API.>", "$JS.EVENT.>", "$SYS.>", "$KV.limits.>", "$O.>")


def to_publish() -> set[str]:
    """Messages, letters, timers, boxes for answers, calls of the broker's API, and what any user's list names."""
    messages = {message.subject for message in catalogue()}
    letters = {f"dlq.{message.subject}" for message in catalogue() if not issubclass(message, Query)}
    timers = {f"timer.{name}.one" for name in services()}
    boxes = {f"_INBOX.{role}.one" for role in roles()} | {"_INBOX.one"}
    listed = {concrete(subject) for each in permissions() for subject in each.publish}
    return messages | letters | timers | boxes | listed | api_calls() | set(OTHER)


def api_calls() -> set[str]:
    streams = {f"$JS.API.STREAM.{call}.{name}" for call in STREAM_CALLS for name in STORES}
    direct = {f"$JS.API.DIRECT.GET.{name}{rest}" for name in STORES for rest in ("", ".cmd.guardrail.decide")}
    made = {f"$JS.API.CONSUMER.{call}.{name}" for call in ("CREATE", "LIST", "NAMES") for name in STORES}
    places = [f"{each.stream}.{each.name}" for each in durables()]
    consumers = {f"$JS.API.CONSUMER.{call}.{place}" for call in (*CONSUMER_CALLS, "CREATE", "DURABLE.CREATE") for place in places}
    filtered = {f"$JS.API.CONSUMER.CREATE.{each.stream}.{each.name}.{each.filter_subject}" for each in durables()}
    acknowledged = {f"$JS.ACK.{place}.1.1.1.1.0" for place in places}
    return streams | direct | made | consumers | filtered | acknowledged


def to_subscribe() -> set[str]:
    """With every queue that a service could use, written `SUBJECT QUEUE`."""
    subjects = {message.subject for message in catalogue()}
    queries = [message.subject for message in catalogue() if issubclass(message, Query)]
    queued = {f"{subject} {name}" for subject in queries for name in (*services(), "other")}
    boxes = {f"_INBOX.{role}.>" for role in roles()} | {"_INBOX.>", "_INBOX.one"}
    return subjects | queued | boxes | set(WIDE) | {subject for each in permissions() for subject in each.subscribe}


def concrete(pattern: str) -> str:
    return pattern.replace("*", "one").replace(">", "one.two")


def allows(patterns: Iterable[str], subject: str) -> bool:
    """As the broker matches: `*` is one word, `>` the rest, and a queue is part of what is allowed."""
    return any(_matches(pattern, subject) for pattern in patterns)


def _matches(pattern: str, subject: str) -> bool:
    wanted, _, only_queue = pattern.partition(" ")
    given, _, queue = subject.partition(" ")
    if only_queue and only_queue != queue:
        return False
    words, found = wanted.split("."), given.split(".")
    if words[-1] == ">":
        return len(found) >= len(words) and _same(words[:-1], found[: len(words) - 1])
    return len(words) == len(found) and _same(words, found)


def _same(wanted: list[str], given: list[str]) -> bool:
    return all(one in {"*", other} for one, other in zip(wanted, given, strict=True))
