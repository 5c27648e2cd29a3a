"""Waiting without sleeping blindly: ask until it holds, or say what did not."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Awaitable[T]], timeout_seconds: float = 10.0) -> T: ...
@overload
async def eventually(check: Callable[[], T], timeout_seconds: float = 10.0) -> T: ...
async def eventually(check: Callable[[], Any], timeout_seconds: float = 10.0) -> Any:
    """Returns the first truthy answer of `check`; an AssertionError inside counts as "not yet" and is raised at the end."""
    deadline = time.monotonic() + timeout_seconds
    last: AssertionError | None = None
    while time.monotonic() < deadline:
        try:
            answer = check()
            value = await answer if inspect.isawaitable(answer) else answer
            if value:
                return value
            last = AssertionError(f"still {value!r} after {timeout_seconds} s")
        except AssertionError as error:
            last = error
        await asyncio.sleep(0.02)
    raise last or AssertionError("never checked")
