"""Headers of the bus: CloudEvents 1.0 attributes, the broker's own, W3C trace context, and what a dead letter carries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.events import Message

MESSAGE_ID = "Nats-Msg-Id"
ORIGINAL_ID = "Evoline-Message-Id"
"""Id of the message before it was redriven; a redriven message needs a new `Nats-Msg-Id` to pass the duplicates window."""
SCHEDULE = "Nats-Schedule"
SCHEDULE_TARGET = "Nats-Schedule-Target"
CAUSE = "Evoline-Cause"
DEAD_SUBJECT = "Evoline-Dead-Subject"
DEAD_SERVICE = "Evoline-Dead-Service"
DEAD_DURABLE = "Evoline-Dead-Durable"
DEAD_CODE = "Evoline-Dead-Code"
DEAD_ERROR = "Evoline-Dead-Error"
DEAD_ATTEMPTS = "Evoline-Dead-Attempts"
DEAD_AT = "Evoline-Dead-At"
DEAD_TRACE = "Evoline-Dead-Trace-Id"

_ERROR_CHARACTERS = 2000
_PROPAGATOR = TraceContextTextMapPropagator()
_TRACE_HEADERS = ("traceparent", "tracestate")


def one_line(text: str, limit: int = _ERROR_CHARACTERS) -> str:
    """What a header may hold: printable ASCII on one line, cut at `limit` characters."""
    flat = " ".join(text.split())
    plain = "".join(character if " " <= character <= "~" else "?" for character in flat)
    return plain if len(plain) <= limit else plain[: limit - 3] + "..."


def cloud_event(message: Message, *, event_id: str, cause: str, service: str, now: datetime) -> dict[str, str]:
    """CloudEvents attributes in NATS binding (binary mode) plus the broker's duplicate key."""
    return {
        MESSAGE_ID: event_id,
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": f"evoline/{service}",
        "ce-type": f"evoline.{type(message).__name__}",
        "ce-time": now.isoformat(),
        "content-type": "application/json",
        CAUSE: one_line(cause, 256),
    }


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
    """Headers worth keeping on a republished copy: not the broker's own, not a former dead letter's."""
    return {key: value for key, value in headers.items() if not key.startswith(("Nats-", "Evoline-Dead-"))}
