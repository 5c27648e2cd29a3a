"""Messages about messages: what every service may emit."""

from __future__ import annotations

from typing import ClassVar

from shared.errors import Problem
from shared.events.message import Fact


class CommandRefused(Fact):
    """A command that was dead-lettered: malformed, or failing for good.

    `message_id` is the sender's `Nats-Msg-Id`, if it gave one."""

    subject: ClassVar[str] = "evt.command.refused"
    owner: ClassVar[str] = "*"

    command: str
    """Subject of the command."""
    message_id: str
    correlation_id: str = ""
    """The id field of the body (`request_id`, `run_id`, ...) where the body could be read."""
    service: str
    code: str
    problems: tuple[Problem, ...]
    attempts: int = 1
