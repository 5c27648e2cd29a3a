"""What tests with executors share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

StopExecutor = Callable[[], Awaitable[None]]
StartExecutor = Callable[..., Awaitable[StopExecutor]]
