"""Work beside the messages, from a service's start to its stop. What an outage ends begins again; what is broken ends the process.

A store or broker that is away for minutes is no reason to exit: what a process remembers would be lost, and all that restart at
once find it away still. Meanwhile the service says that it is not ready, until the work itself says that it goes well again: an
attempt that merely has not failed yet may hang."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from shared.clock import Clock
from shared.errors import TransientError, UnavailableError

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0

Work = Callable[[], Awaitable[None]]


class WentWell(Protocol):
    """What work says of its rounds."""

    def __call__(self) -> None:
        """After each round that did what it is for; repeatable."""
        ...

    def put_off(self, reason: str) -> None:
        """After one that an outage ended and that the work itself will try again: not ready until one goes well."""
        ...


Rounds = Callable[[WentWell], Awaitable[None]]
"""Work without an end."""


class Background:
    """`fail` ends the process; `begun_again` hears the name of work that an outage ended."""

    def __init__(self, clock: Clock, *, fail: Callable[[str], None], begun_again: Callable[[str], None]) -> None:
        self._clock = clock
        self._fail = fail
        self._begun_again = begun_again
        self._outages: dict[str, str] = {}
        """Work -> what keeps it waiting."""
        self._log = structlog.get_logger("shared.background")

    async def run(self, name: str, work: Rounds) -> None:
        """Until it is cancelled, or broke for good."""
        said = _Said(name, self._outages)
        while True:
            try:
                await work(said)
            except (TransientError, OSError) as error:
                # An OSError is a connection that broke, or a TimeoutError.
                self._note(name, str(error) or type(error).__name__, said.pause)
                await self._clock.sleep(said.pause)
                said.pause = min(LONGEST_PAUSE_SECONDS, said.pause * 2)
            except Exception as error:
                self._log.exception("background work failed", work=name)
                return self._fail(f"background work {name} failed: {error}")
            else:
                return self._fail(f"background work {name} ended")

    async def check(self) -> None:
        """Raises `UnavailableError` naming what an outage keeps from working, until it begins again and goes well."""
        if self._outages:
            raise UnavailableError("; ".join(f"{name} waits: {reason[:200]}" for name, reason in sorted(self._outages.items())))

    def _note(self, name: str, reason: str, pause: float) -> None:
        self._outages[name] = reason
        self._begun_again(name)
        self._log.warning("background work begins again", work=name, error=reason[:500], pause_seconds=pause)


class _Said:
    def __init__(self, name: str, outages: dict[str, str]) -> None:
        self.pause = FIRST_PAUSE_SECONDS
        self._name = name
        self._outages = outages

    def __call__(self) -> None:
        self.pause = FIRST_PAUSE_SECONDS
        self._outages.pop(self._name, None)

    def put_off(self, reason: str) -> None:
        self._outages[self._name] = reason
