"""Runs whose executor hangs or is gone, and other executors over the same stores."""

from __future__ import annotations

import asyncio
from typing import Any

from shared.events.runs import ExecuteRun
from tests.eventually import eventually
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel

STEPS = [{"name": f"s{n}", "type": "claude", "prompt": f"Question {n}?", "context": "none"} for n in range(3)]
ASKING = {"name": "asking", "steps": STEPS}


def command(kit: ExecutorKit, run_id: str = "run-1", **fields: Any) -> ExecuteRun:
    return ExecuteRun(**{"run_id": run_id, "document": ASKING, "scope": kit.notary.grant(), "purpose": "trial", **fields})


def second(first: ExecutorKit, model: ScriptedModel | None = None) -> ExecutorKit:
    """Another executor over the same stores."""
    return ExecutorKit(
        database=first.database,
        guardrail=first.guardrail,
        notary=first.notary,
        model=model or first.model,
        announcer=first.announcer,
        name="executor-2",
        sequence=first.sequence,
    )


class Blocking(ScriptedModel):
    """Answers the first `free` calls, then hangs like an executor that was stopped."""

    def __init__(self, free: int) -> None:
        super().__init__()
        self.free = free

    async def complete(self, request: Any) -> Any:
        if len(self.requests) >= self.free:
            self.requests.append(request)
            await asyncio.Event().wait()
        return await super().complete(request)


async def hung_run(kit: ExecutorKit, order: ExecuteRun) -> asyncio.Task[Any]:
    """A run whose executor hangs in the middle of a step, as a killed or stalled one."""
    model = kit.model
    assert isinstance(model, Blocking)
    task = asyncio.create_task(kit.deliver(order, sequence=7))
    await eventually(lambda: len(model.requests) > model.free)
    return task


async def end_of(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
