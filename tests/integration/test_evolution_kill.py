"""The evolution service as a process, killed with SIGKILL in the middle of a search and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.evolution.use_cases import start_evolution
from shared.events import Message
from shared.events.improvement import EvolutionFinished, GetEvolution, StartEvolution
from shared.events.runs import ExecuteRun
from shared.messaging.bus import Bus
from shared.messaging.handling import Delivery
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.evolution_world import small_world
from tests.integration.test_evolution_service import ScriptedExecutor, ScriptedGuardrail, order, public_key
from tests.messaging import consuming

pytestmark = pytest.mark.usefixtures("empty_streams")
__all__ = ["public_key"]
KILLS = 2
BUDGET = 120


class PatientExecutor(ScriptedExecutor):
    async def execute(self, command: ExecuteRun, delivery: Delivery) -> Sequence[tuple[str, Message]]:
        await asyncio.sleep(0.02)
        return await super().execute(command, delivery)


@contextlib.asynccontextmanager
async def service(nats_url: str, mongo_url: str, tmp_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m services.evolution`; killed at the end, whatever it does then."""
    own = {"EVOLINE_NATS_URL": nats_url, "EVOLINE_MONGO_URL": mongo_url, "EVOLINE_LOG_LEVEL": "error"}
    own["EVOLINE_GUARDRAIL_PUBLIC_KEY_FILE"] = str(tmp_path / "guardrail.pub")
    line = [sys.executable, "-m", "services.evolution"]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*line, env={**os.environ, **own}, stdout=quiet, stderr=quiet)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def has_evaluated(executor: ScriptedExecutor, least: int) -> bool:
    return len(executor.evaluated) >= least


async def end_of(bus: Bus, command: StartEvolution) -> dict[str, Any]:
    async def answered() -> Any:
        with contextlib.suppress(Exception):  # nobody answers while the service is dead
            record = await bus.ask(GetEvolution(evolution_id=command.evolution_id))
            return record if record.get("answer") else None

    record: dict[str, Any] = await eventually(answered, 60)
    return record


async def test_killed_again_and_again_it_ends_with_the_archive_of_a_search_that_nobody_killed(
    open_bus: OpenBus, nats_url: str, mongo_url: str, tmp_path: Path
) -> None:
    whole = small_world()
    await start_evolution(order(evolution_id="whole", dataset_id="tweets3", evaluations=BUDGET), whole.evolution)
    expected = await whole.evolution.evolutions.get("whole")
    assert expected is not None
    draw, executor = random.Random(uuid.uuid4().hex), PatientExecutor()
    moments = sorted(draw.sample(range(1, len(whole.runs.started) - 5), KILLS))
    async with contextlib.AsyncExitStack() as stack:
        guardrail = ScriptedGuardrail()
        await stack.enter_async_context(consuming(await open_bus("guardrail"), nats_url, guardrail.register))
        await stack.enter_async_context(consuming(await open_bus("executor"), nats_url, executor.register))
        bus, command = await open_bus("test"), order(evaluations=BUDGET)
        for moment in moments:
            async with service(nats_url, mongo_url, tmp_path) as process:
                await bus.publish(command, cause=uuid.uuid4().hex)  # as the same command line does again
                await eventually(partial(has_evaluated, executor, moment), 60)
                assert process.returncode is None, "it was running when it was killed"
        async with service(nats_url, mongo_url, tmp_path):
            record = await end_of(bus, command)
    answer = EvolutionFinished.model_validate(record["answer"])
    assert record["archive_digest"] == expected["archive_digest"], moments
    assert answer.best_digest == expected["pending"]["best_digest"]
    assert answer.evaluations == expected["pending"]["evaluations"] <= BUDGET
    assert len(executor.evaluated) == len(set(executor.evaluated)) == answer.evaluations
    assert len({each.change_id for each in guardrail.proposals}) == 1
