"""What every message on the bus is: a command, a fact, a query with its answer, or a notice.

The subject stands on the class, so name and channel cannot drift. Bodies are JSON objects; CloudEvents attributes and the W3C
trace context travel in headers (`shared.messaging`).
"""

from __future__ import annotations

import hashlib
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A part of a message: frozen, and strict about names so that a misspelled field is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Part(BaseModel):
    """A part of a fact: frozen, and tolerant of fields that a newer writer added."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Message(BaseModel):
    """Root of all messages. `subject` is the NATS subject, `owner` the service that consumes (commands) or emits (facts).

    `signed`: a sender that has an identity signs it."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    subject: ClassVar[str]
    owner: ClassVar[str]
    signed: ClassVar[bool] = False


class Command(Message):
    """An order to one service, kept in a work queue until it is done or dead-lettered. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Fact(Message):
    """Something that happened, in the past tense. Grows by optional fields only; readers ignore what they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Query(Message):
    """A question answered at once over request-reply; changes nothing that a repeat would change again."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def derive_id(cause: str, effect: str) -> str:
    """Id of an effect, the same however often its cause is handled: 32 hex digits of SHA-256(cause, effect)."""
    return hashlib.sha256(f"{cause}\x00{effect}".encode()).hexdigest()[:32]
