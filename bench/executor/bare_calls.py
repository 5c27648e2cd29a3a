"""The provider calls of a load without Evoline: `python -m bench.executor.bare_calls URL CHAINS CALLS` prints the seconds.

That many chains at once, each of that many calls one after another, through the SDK's client in one process."""

from __future__ import annotations

import asyncio
import sys
import time

import uvloop
from anthropic import AsyncAnthropic


async def chain(client: AsyncAnthropic, calls: int) -> None:
    for _ in range(calls):
        message = await client.messages.create(
            model="claude-haiku-5-5", max_tokens=64, messages=[{"role": "user", "content": "bench"}]
        )
        assert message.content


async def main(url: str, chains: int, calls: int) -> None:
    client = AsyncAnthropic(api_key="bench", base_url=url, max_retries=0)
    await chain(client, 1)
    started = time.perf_counter()
    await asyncio.gather(*(chain(client, calls) for _ in range(chains)))
    print(time.perf_counter() - started)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
