"""A thousand runs that are cancelled, run out of time, or lose their executor amid a call leave nothing held behind."""

from __future__ import annotations

import asyncio
from typing import Any

from services.executor.use_cases import cancel_run
from shared.errors import UnavailableError
from shared.events.runs import CancelRun, ExecuteRun
from shared.events.values import Budget
from shared.pipeline.completion import Family
from tests.eventually import eventually
from tests.fakes.executor import ExecutorKit, new_id
from tests.fakes.language_model import ScriptedModel

RUNS, AT_ONCE, PROVIDER_PLACES = 1000, 50, 4
ASK: dict[str, Any] = {"name": "ask", "type": "claude", "prompt": "?", "context": "none"}
CHILD = {"name": "child", "steps": [ASK]}
FLAT = {"name": "flat", "steps": [ASK]}
NESTED = {
    "name": "nested",
    "execution": "dataflow",
    "steps": [{"name": n, "type": "pipeline", "pipeline": CHILD} for n in ("a", "b")],
}


def order(kit: ExecutorKit, number: int, **fields: Any) -> ExecuteRun:
    document = NESTED if number % 5 == 0 else FLAT
    scope = kit.notary.grant(budget=Budget(runs=10**6, calls=10**6, tokens=10**9, cost_usd=1.0))
    return ExecuteRun(run_id=f"run-{number}", document=document, scope=scope, purpose="trial", **fields)


async def cut_off(kit: ExecutorKit, number: int) -> str:
    """How a run ended that never got an answer."""
    way = ("cancelled", "timed out", "killed")[number % 3]
    running = asyncio.ensure_future(kit.deliver(order(kit, number, limits={"seconds": 0.03} if way == "timed out" else {})))
    if way != "timed out":
        await asyncio.sleep(0.02)
    if way == "cancelled":
        await cancel_run(CancelRun(run_id=f"run-{number}"), new_id(), kit.executor)
    elif way == "killed":
        running.cancel()
    ended = (await asyncio.gather(running, return_exceptions=True))[0]
    return "killed" if isinstance(ended, asyncio.CancelledError | UnavailableError) else str(getattr(ended, "error_code", ended))


def held(kit: ExecutorKit) -> dict[str, int]:
    services, watch = kit.executor.services, kit.executor.watch
    families: tuple[Family, ...] = ("claude", "gemini")
    return {
        "provider places": sum(PROVIDER_PLACES - kit.permits.free(family) for family in families),
        "calls that wait for a place": kit.permits.waiting,
        "places of waiting parents": kit.slots - 1 - services.children._waiting_places,
        "watched runs": len(getattr(watch, "_scopes", ())),
        "writes under way": len(kit.runs._commits._inserts._waiting) + len(kit.runs._commits._updates._waiting),
    }


async def test_nothing_is_held_after_a_thousand_runs_that_were_cut_off() -> None:
    model = ScriptedModel(delay_seconds=60)
    kit = ExecutorKit(model=model, slots=1)
    before, places = len(asyncio.all_tasks()), asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> str:
        async with places:
            return await cut_off(kit, number)

    ends = await asyncio.gather(*(one(number) for number in range(RUNS)))
    assert set(ends) == {"cancelled", "limit_reached:seconds", "killed"}
    await eventually(lambda: len(asyncio.all_tasks()) <= before + 1)
    assert model.in_flight == 0
    assert held(kit) == dict.fromkeys(held(kit), 0)
    model.delay_seconds, model.most_in_flight = 0.01, 0
    fresh = await asyncio.gather(*(kit.execute(order(kit, RUNS + number)) for number in range(AT_ONCE)))
    assert {run.status for run in fresh} == {"succeeded"}
    assert model.most_in_flight == PROVIDER_PLACES, "all places are there again"
