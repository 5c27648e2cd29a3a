"""Headers of the bus: CloudEvents 1.0 attributes, the broker's own, W3C trace context, and what a dead letter carries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.errors import InvalidInputError, Problem
from shared.events import Message
from shared.messaging.topology import TIMER_PREFIX

MESSAGE_ID = "Nats-Msg-Id"
ORIGINAL_ID = "Evoline-Message-Id"
"""Id of the message before it was redriven; a redriven message needs a new `Nats-Msg-Id` to pass the duplicates window."""
SCHEDULE = "Nats-Schedule"
SCHEDULE_TARGET = "Nats-Schedule-Target"
SCHEDULER = "Nats-Scheduler"
"""On what a schedule published: the subject that the schedule was published to. Set by the broker, refused from anybody else."""
BURIED_SCHEDULER = "Evoline-Scheduler"
"""The same on a dead letter, and on what was sent back of it."""
CAUSE = "Evoline-Cause"
DEAD_SUBJECT = "Evoline-Dead-Subject"
DEAD_SERVICE = "Evoline-Dead-Service"
DEAD_DURABLE = "Evoline-Dead-Durable"
DEAD_CODE = "Evoline-Dead-Code"
DEAD_ERROR = "Evoline-Dead-Error"
DEAD_ATTEMPTS = "Evoline-Dead-Attempts"
DEAD_AT = "Evoline-Dead-At"
DEAD_TRACE = "Evoline-Dead-Trace-Id"

CONTENT_TYPE = "application/json"
SPEC_VERSION = "1.0"

_ERROR_CHARACTERS = 2000
_VALUE_CHARACTERS = 4000
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
"""What the broker's clients take as a name of a header."""
_PROPAGATOR = TraceContextTextMapPropagator()
_TRACE_HEADERS = ("traceparent", "tracestate")


def one_line(text: str, limit: int = _ERROR_CHARACTERS) -> str:
    """What a header may hold: printable ASCII on one line, cut at `limit` characters."""
    flat = " ".join(text[: 4 * limit].split())
    plain = "".join(character if " " <= character <= "~" else "?" for character in flat)
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."


def cloud_event(message: Message, *, event_id: str, cause: str, service: str, now: datetime) -> dict[str, str]:
    """CloudEvents attributes in NATS binding (binary mode) plus the broker's duplicate key."""
    return {
        MESSAGE_ID: event_id,
        "ce-specversion": SPEC_VERSION,
        "ce-id": event_id,
        "ce-source": f"evoline/{service}",
        "ce-type": type_of(type(message)),
        "ce-time": now.isoformat(),
        "content-type": CONTENT_TYPE,
        CAUSE: one_line(cause, 256),
    }


def type_of(message_class: type[Message]) -> str:
    return f"evoline.{message_class.__name__}"


def check_attributes(message_class: type[Message], headers: Mapping[str, str]) -> None:
    """Raises InvalidInputError where the headers say that the body is something else. Plain clients may leave all of them away."""
    content = headers.get("content-type", CONTENT_TYPE)
    said = {
        "ce-specversion": (headers.get("ce-specversion", SPEC_VERSION), SPEC_VERSION),
        "ce-type": (headers.get("ce-type", type_of(message_class)), type_of(message_class)),
        "content-type": (content.partition(";")[0].strip().lower(), CONTENT_TYPE),
    }
    wrong = [
        Problem(path=name, reason=f"is {one_line(found, 200)!r}; messages on {message_class.subject} are {expected}")
        for name, (found, expected) in said.items()
        if found != expected
    ]
    if wrong:
        raise InvalidInputError(wrong)


def check_schedule(message_class: type[Message], headers: Mapping[str, str]) -> None:
    """Raises InvalidInputError for a command that a schedule published and its own service did not set.

    The broker publishes a schedule's message wherever in the stream the schedule says, whatever its author may publish; only
    the subject that the schedule itself was published to was checked."""
    schedulers = {headers[name] for name in (SCHEDULER, BURIED_SCHEDULER) if headers.get(name)}
    foreign = [each for each in schedulers if not each.startswith(f"{TIMER_PREFIX}{message_class.owner}.")]
    if foreign:
        raise InvalidInputError(
            Problem(
                path=SCHEDULER,
                reason=f"set by {one_line(foreign[0], 200)!r}, which may not have {message_class.subject} published",
                suggestion=f"only {message_class.owner} sets timers for its own commands",
            )
        )


def schedule(subject: str, moment: datetime) -> dict[str, str]:
    """Has the broker publish the message on `subject`, of the same stream, at `moment`."""
    at = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {SCHEDULE: f"@at {at}", SCHEDULE_TARGET: subject}


def inject_trace(headers: dict[str, str]) -> dict[str, str]:
    """Adds the present span's context; returns the same mapping."""
    _PROPAGATOR.inject(headers)
    return headers


def extract_trace(headers: Mapping[str, str]) -> Context:
    carrier = {key.lower(): value for key, value in headers.items() if key.lower() in _TRACE_HEADERS}
    return _PROPAGATOR.extract(carrier)


def without_broker_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers worth keeping on a republished copy, as the broker takes them: not its own, not a former dead letter's."""
    return {
        key: one_line(value, _VALUE_CHARACTERS)
        for key, value in headers.items()
        if _NAME.fullmatch(key) and not key.startswith(("Nats-", "Evoline-Dead-"))
    }
