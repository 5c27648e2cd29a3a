"""DBOS on PostgreSQL: `python -m bench.executor.peers.on_dbos DATABASE_URL`.

Asynchronous workflows are called directly in this process: of direct, threaded and queued ones the fastest here, one at a time and
32 at once (its queue is polled every second)."""

from __future__ import annotations

import asyncio
import sys

import psycopg
from dbos import DBOS

from bench.executor.peers.protocol import Channel, installed


@DBOS.step()
async def no_op(number: int) -> int:
    return number


@DBOS.workflow()
async def no_ops(steps: int) -> int:
    total = 0
    for number in range(steps):
        total += await no_op(number)
    return total


async def run(steps: int) -> None:
    assert await no_ops(steps) == sum(range(steps))


async def main(database_url: str) -> None:
    channel = Channel()
    DBOS(config={"name": "bench", "system_database_url": database_url, "log_level": "ERROR"})
    DBOS.launch()
    try:
        with psycopg.connect(database_url) as connection:
            server = connection.info.parameter_status("server_version") or "?"
        await channel.serve(run, installed("dbos", "SQLAlchemy", "psycopg") | {"PostgreSQL": server})
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
