"""How the bench talks to a peer's process: one JSON line a load on its input, one JSON line an answer on its output.

First line of the process: `{"ready": {package: version}}`. A load is `{"steps": int, "runs": int, "at_once": int}`; its answer is
`{"seconds": float, "each": [float, ...]}` or `{"error": str}`. The process ends when its input does."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from typing import Any

Run = Callable[[int], Awaitable[None]]
"""One durable run of that many no-op steps, from its start to its result."""


class Channel:
    """Takes the process's output for itself: what libraries print goes to the error output."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def say(self, answer: dict[str, Any]) -> None:
        self._answers.write(json.dumps(answer) + "\n")
        self._answers.flush()

    async def serve(self, run: Run, versions: Mapping[str, str]) -> None:
        self.say({"ready": dict(versions)})
        while line := await asyncio.to_thread(sys.stdin.readline):
            self.say(await _answer(run, json.loads(line)))


def installed(*packages: str) -> dict[str, str]:
    return {name: version(name) for name in packages}


async def _answer(run: Run, load: dict[str, int]) -> dict[str, Any]:
    try:
        return await _measured(run, **load)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


async def _measured(run: Run, steps: int, runs: int, at_once: int) -> dict[str, Any]:
    each: list[float] = []
    left = iter(range(runs))

    async def worker() -> None:
        for _ in left:
            started = time.perf_counter()
            await run(steps)
            each.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(at_once)))
    return {"seconds": time.perf_counter() - started, "each": each}
