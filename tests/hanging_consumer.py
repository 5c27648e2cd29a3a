"""A process that takes one command and never ends it: `python -m tests.hanging_consumer NATS_URL`."""

from __future__ import annotations

import asyncio
import sys

from shared.events.improvement import LearnFromRuns
from shared.messaging.bus import Bus
from shared.messaging.consumer import Consumer
from shared.messaging.handling import Delivery
from shared.settings import SharedSettings
from tests.messaging import DURABLE


async def main(url: str) -> None:
    settings = SharedSettings(nats_url=url)
    bus = await Bus.connect(settings, service="learner")
    consumer = Consumer(bus, settings)

    async def hang(message: LearnFromRuns, delivery: Delivery) -> None:
        print("started", flush=True)
        await asyncio.Event().wait()

    consumer.on(LearnFromRuns, hang, durable=DURABLE)
    await consumer.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
