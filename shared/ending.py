"""Ending tasks that run beside others. One request to cancel is not enough."""

from __future__ import annotations

import asyncio
from typing import Any

AGAIN_SECONDS = 1.0


async def end_tasks(*tasks: asyncio.Future[Any]) -> None:
    """Cancels until all have ended; what they raised is dropped.

    A request to cancel can be lost: `asyncio.wait_for` of Python 3.11 drops it when what it waited for came in the same moment,
    and nats-py swallows it where a publish waits for room in the queue of its flusher. A loop goes on then as if nobody had asked,
    and who waits for its end waits for ever. So who tidies up after a cancellation has `AGAIN_SECONDS` for it."""
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
