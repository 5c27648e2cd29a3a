"""Work beside the messages, from a service's start to its stop. What an outage ends begins again; what is broken ends the process.

A store or broker that is away for minutes is no reason to exit: what a process remembers would be lost, and all that restart at
once find it away still. Meanwhile the service says that it is not ready."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from shared.clock import Clock
from shared.errors import TransientError, UnavailableError

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
RECOVERED_SECONDS = 3.0
"""Work that went on for so long after an outage is taken to be well again, and pauses briefly at the next one."""

Work = Callable[[], Awaitable[None]]


@dataclass
class _Outage:
    reason: str
    resumed_at: float | None = None
    """Monotonic; None while it pauses."""


class Background:
    """`fail` ends the process; `begun_again` hears the name of work that an outage ended."""

    def __init__(self, clock: Clock, *, fail: Callable[[str], None], begun_again: Callable[[str], None]) -> None:
        self._clock = clock
        self._fail = fail
        self._begun_again = begun_again
        self._outages: dict[str, _Outage] = {}
        self._log = structlog.get_logger("shared.background")

    async def run(self, name: str, work: Work) -> None:
        """Until it is cancelled, or broke for good."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = self._clock.monotonic()
            try:
                await work()
            except (TransientError, OSError) as error:
                # An OSError is a connection that broke, or a TimeoutError.
                if self._clock.monotonic() - began > RECOVERED_SECONDS:
                    pause = FIRST_PAUSE_SECONDS
                self._note(name, str(error) or type(error).__name__, pause)
                await self._clock.sleep(pause)
                pause = min(LONGEST_PAUSE_SECONDS, pause * 2)
                self._outages[name].resumed_at = self._clock.monotonic()
            except Exception as error:
                self._log.exception("background work failed", work=name)
                return self._fail(f"background work {name} failed: {error}")
            else:
                return self._fail(f"background work {name} ended")

    async def check(self) -> None:
        """Raises `UnavailableError` naming what an outage keeps from working."""
        now = self._clock.monotonic()
        for name, outage in list(self._outages.items()):
            if outage.resumed_at is not None and now - outage.resumed_at > RECOVERED_SECONDS:
                del self._outages[name]
        if self._outages:
            raise UnavailableError("; ".join(f"{name} waits: {each.reason[:200]}" for name, each in sorted(self._outages.items())))

    def _note(self, name: str, reason: str, pause: float) -> None:
        self._outages[name] = _Outage(reason)
        self._begun_again(name)
        self._log.warning("background work begins again", work=name, error=reason[:500], pause_seconds=pause)
