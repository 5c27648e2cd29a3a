"""Patience with the executor's own store and with the broker: a short outage is no failure of the step that meets it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.executor.domain.records import StoreUnavailableError
from shared.clock import Clock
from shared.errors import UnavailableError

T = TypeVar("T")
PATIENCE_SECONDS = 10.0
PAUSE_SECONDS = 0.2


async def patiently(attempt: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """`attempt` must bear being repeated after it was done and reported as failed. Raises `StoreUnavailableError` after 10 s."""
    give_up_at = 0.0
    while True:
        try:
            return await attempt()
        except UnavailableError as error:
            give_up_at = give_up_at or clock.monotonic() + PATIENCE_SECONDS
            if clock.monotonic() >= give_up_at:
                raise StoreUnavailableError(str(error)) from error
        await clock.sleep(PAUSE_SECONDS)
