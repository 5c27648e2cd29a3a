"""The provider stand-in as a process of its own, and how to control it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import urllib.request
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bench.executor.evoline_stack import stopped
from tests.eventually import eventually


@dataclass(frozen=True)
class StandinProcess:
    url: str

    @property
    def variables(self) -> dict[str, str]:
        """Have an executor call it through the real SDK."""
        return {"EVOLINE_CLAUDE_BASE_URL": self.url, "ANTHROPIC_API_KEY": "bench", "EVOLINE_PROVIDER_CONCURRENCY": "1000"}

    async def await_held(self, count: int) -> None:
        """Until that many calls hang here."""

        async def held() -> bool:
            return (await self._ask("/state", "GET"))["held"] == count

        await eventually(held, timeout_seconds=30)

    async def release(self) -> None:
        await self._ask("/release", "POST")

    async def served(self) -> int:
        return (await self._ask("/state", "GET"))["served"]

    async def _ask(self, path: str, method: str) -> dict[str, int]:
        def ask() -> dict[str, int]:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, method=method), timeout=10) as answer:
                state: dict[str, int] = json.load(answer)
                return state

        return await asyncio.to_thread(ask)


@contextlib.asynccontextmanager
async def standin_process(delay_seconds: float) -> AsyncIterator[StandinProcess]:
    command = [sys.executable, "-m", "bench.executor.standin", str(delay_seconds)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    try:
        assert process.stdout is not None
        yield StandinProcess(f"http://127.0.0.1:{int(await process.stdout.readline())}")
    finally:
        await stopped(process)
