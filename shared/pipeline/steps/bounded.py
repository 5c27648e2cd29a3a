"""Work side by side, at most so much at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def gather_bounded(calls: Sequence[Callable[[], Awaitable[T]]], max_parallel: int) -> list[T]:
    """Results in the order of `calls`. The first error cancels what still runs, starts nothing more, and is raised as it is."""
    waiting = iter(enumerate(calls))
    results: dict[int, T] = {}

    async def work() -> None:
        for index, call in waiting:
            results[index] = await call()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(max_parallel, len(calls))):
                group.create_task(work())
    except BaseExceptionGroup as failures:
        raise _first(failures) from None
    return [results[index] for index in range(len(calls))]


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = failures
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
