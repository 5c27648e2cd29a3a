"""A whole service process for tests, named `learner`: `python -m tests.small_service`, set up by `EVOLINE_*` as any service.

It prints `started <learning id>` for each command and takes as many seconds as `SMALL_SERVICE_SECONDS` says."""

from __future__ import annotations

import asyncio
import os

from shared.events.improvement import GetKnowledge, LearnFromRuns
from shared.messaging.consumer import Answer
from shared.messaging.handling import Delivery
from shared.service import Application, Host, main
from shared.settings import SharedSettings
from tests.messaging import DURABLE


async def register(host: Host) -> None:
    async def on_learn(message: LearnFromRuns, delivery: Delivery) -> None:
        print(f"started {message.learning_id}", flush=True)
        await asyncio.sleep(float(os.environ.get("SMALL_SERVICE_SECONDS", "0")))

    async def on_knowledge(query: GetKnowledge) -> Answer:
        return {"service": host.name}

    host.consumer.on(LearnFromRuns, on_learn, durable=DURABLE)
    host.consumer.answers(GetKnowledge, on_knowledge)


def create_app(settings: SharedSettings | None = None) -> Application:
    return Application("learner", settings or SharedSettings(), register)


if __name__ == "__main__":
    main(create_app)
