"""What each role may publish and subscribe on the broker: derived from the topology, as the docs and AsyncAPI are.

Three things are the administrator's alone, because each would let a service say what it may not: changing streams, reading a
stored message by `$JS.API.DIRECT.GET` (its answer goes to any subject the asker names, as if it were published there), and
making or deleting consumers where durables are (another's would be changed or gone). Followers read a copy that has none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from shared.events import Command, Fact, Query, catalogue
from shared.messaging.topology import (
    ALSO_EMITS,
    DEAD_LETTER_PREFIX,
    FOLLOWERS,
    KEEPS_VALUES,
    SENDS,
    SETS_TIMERS,
    SHARES_LIMITS,
    TIMER_PREFIX,
    Durable,
    durables,
)

CLIENT = "client"
ADMIN = "admin"
EVERY_SERVICE = "*"
_API = "$JS.API"


@dataclass(frozen=True)
class Permissions:
    """Subjects with the broker's wildcards; a subscription `SUBJECT QUEUE` is allowed in that queue only."""

    role: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: bool
    """Whether it may publish one answer to whatever reply subject a message brought."""


def services() -> tuple[str, ...]:
    return tuple(sorted({message.owner for message in catalogue()} - {EVERY_SERVICE}))


def roles() -> tuple[str, ...]:
    """Every user of the broker: the services, everybody outside, and who sets the broker up."""
    return (*services(), CLIENT, ADMIN)


def permissions() -> tuple[Permissions, ...]:
    return (*(_of_service(name) for name in services()), _of_client(), _of_admin())


def _of_service(name: str) -> Permissions:
    own = [durable for durable in durables() if durable.service == name]
    publish = [
        *_facts(name),
        *_sent(name),
        *([f"{TIMER_PREFIX}{name}.*"] if name in SETS_TIMERS else []),
        *(f"{DEAD_LETTER_PREFIX}{durable.filter_subject}" for durable in own),
        *(subject for durable in own for subject in _durable_api(durable)),
        *_store_api(name),
    ]
    queries = [f"{query.subject} {name}" for query in catalogue() if issubclass(query, Query) and query.owner == name]
    changes = ["$KV.limits.>"] if name in SHARES_LIMITS else []
    return Permissions(name, _sorted(publish), _sorted([_inbox(name), *queries, *changes]), answers=bool(queries))


def _of_client() -> Permissions:
    """A raw client may listen to facts as they are told, beside following the log of them."""
    return Permissions(CLIENT, _sorted([*_sent(CLIENT), *_store_api(CLIENT)]), (_inbox(CLIENT), "evt.>"), answers=False)


def _of_admin() -> Permissions:
    """Sets up streams and consumers, reads dead letters and sends them back to where they came from."""
    return Permissions(ADMIN, (f"{_API}.>", "cmd.>", "evt.>"), (_inbox(ADMIN),), answers=False)


def _facts(name: str) -> Iterable[str]:
    return (
        *(fact.subject for fact in catalogue() if issubclass(fact, Fact) and fact.owner in {name, EVERY_SERVICE}),
        *ALSO_EMITS.get(name, ()),
    )


def _sent(name: str) -> Iterable[str]:
    """Branches of the topology (`cmd.>`) are written out: a subject that is no message is nobody's."""
    wanted = SENDS.get(name, ())
    for message in catalogue():
        branch = message.subject.split(".")[0] + ".>"
        if issubclass(message, Command | Query) and (message.subject in wanted or branch in wanted):
            yield message.subject


def _durable_api(durable: Durable) -> Iterable[str]:
    place = f"{durable.stream}.{durable.name}"
    return (f"{_API}.CONSUMER.INFO.{place}", f"{_API}.CONSUMER.MSG.NEXT.{place}", f"$JS.ACK.{place}.>")


def _store_api(name: str) -> Iterable[str]:
    if name in FOLLOWERS:
        yield from (f"{_API}.STREAM.INFO.EVT", f"{_API}.CONSUMER.CREATE.FACTS")
    if name in SHARES_LIMITS:
        yield from ("$KV.limits.>", f"{_API}.STREAM.INFO.KV_limits", f"{_API}.STREAM.MSG.GET.KV_limits")
    if name in KEEPS_VALUES:
        yield from ("$O.values.C.*", "$O.values.M.*", "$JS.FC.OBJ_values.>", f"{_API}.STREAM.NAMES")
        yield from (f"{_API}.{what}.OBJ_values" for what in ("STREAM.INFO", "STREAM.MSG.GET", "CONSUMER.CREATE"))


def _inbox(role: str) -> str:
    return f"_INBOX.{role}.>"


def _sorted(subjects: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(subjects)))
