"""One command and the facts that answer it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import NoReturn

from shared.ending import end_tasks
from shared.errors import InvalidInputError, NotFoundError, Problem, UnavailableError
from shared.events import Command, Fact
from shared.events.operations import CommandRefused
from shared.messaging.bus import Bus, Received

OnFact = Callable[[Fact], None]
RECALL_SECONDS = 3.0
"""How often the owner is asked whether the end was already told: covers facts told before we listened."""


def ignore(_: Fact) -> None:
    """For callers that only want the end."""


@dataclass(frozen=True)
class Talk:
    """What is awaited: `ends` are the facts that end it, `progress` those worth showing, both only where `belongs` says so."""

    key: str
    """The id that the command carries, for refusals of commands that could not be read."""
    ends: tuple[type[Fact], ...]
    belongs: Callable[[Fact], bool]
    timeout_seconds: float
    progress: tuple[type[Fact], ...] = ()
    command: Command | None = None
    """None waits for what somebody else has begun."""
    recall: Callable[[], Awaitable[Fact | None]] | None = None
    """Asks the owner for the end."""
    look_later: str = ""
    """Command line that shows the outcome after we stopped waiting."""


async def hold(bus: Bus, talk: Talk, on_fact: OnFact = ignore) -> Fact:
    """The fact that ends the talk. Raises InvalidInputError (refused command) or UnavailableError (no end in time)."""
    classes: tuple[type[Fact], ...] = tuple(dict.fromkeys((*talk.ends, *talk.progress, CommandRefused)))
    async with bus.follow(*classes) as stream:
        # A cause of its own each time: what was refused may be sent again under the same id, mended.
        message_id = await bus.publish(talk.command, cause=uuid.uuid4().hex) if talk.command else ""
        tasks = {asyncio.create_task(_listen(stream, talk, message_id, on_fact))}
        if talk.recall is not None:
            tasks.add(asyncio.create_task(_recall(talk.recall, at_once=talk.command is None)))
        try:
            done, _ = await asyncio.wait(tasks, timeout=talk.timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                _too_late(talk)
            return done.pop().result()
        finally:
            await end_tasks(*tasks)


async def _listen(stream: AsyncIterator[tuple[Fact, Received]], talk: Talk, message_id: str, on_fact: OnFact) -> Fact:
    async for fact, _ in stream:
        if isinstance(fact, CommandRefused):
            _raise_refusal(fact, talk, message_id)
        elif talk.belongs(fact):
            on_fact(fact)
            if isinstance(fact, talk.ends):
                return fact
    raise UnavailableError("the bus closed before the end was told")


def _raise_refusal(fact: CommandRefused, talk: Talk, message_id: str) -> None:
    command = talk.command
    if command is None or fact.command != command.subject:
        return
    if fact.message_id == message_id or (fact.correlation_id and fact.correlation_id == talk.key):
        raise InvalidInputError(fact.problems or (Problem(reason=f"{fact.service} refused the command ({fact.code})"),))


async def _recall(recall: Callable[[], Awaitable[Fact | None]], *, at_once: bool) -> Fact:
    while True:
        if not at_once:
            await asyncio.sleep(RECALL_SECONDS)
        try:
            fact = await recall()
        except NotFoundError:
            if at_once:
                raise
            fact = None  # the command has not been taken up yet
        except UnavailableError:
            fact = None
        if fact is not None:
            return fact
        at_once = False


def _too_late(talk: Talk) -> NoReturn:
    later = f"; it goes on: look later with `{talk.look_later}`" if talk.look_later else ""
    raise TooLateError(f"{talk.key} did not end within {talk.timeout_seconds:g} s{later}")


class TooLateError(UnavailableError):
    """We stopped waiting; what was asked for goes on."""

    code = "too_late"
