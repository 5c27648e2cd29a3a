"""Runs whose calls need permits: pauses, retries, limits of the run while they wait, cancellation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.executor.domain.limits.listed import LimitList, ProviderLimit
from shared.errors import ProviderError
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel

ONE_A_MINUTE = LimitList(limits=(ProviderLimit(provider="local", requests_a_minute=1),))


def asking(*names: str, **step: Any) -> dict[str, Any]:
    steps = [{"name": name, "type": "claude", "prompt": f"Say {name}.", **step} for name in names]
    return {"name": "limited", "steps": steps}


async def test_a_step_waits_as_long_as_the_provider_asks_and_then_succeeds() -> None:
    model = ScriptedModel([ProviderError("rate_limit", "429", retry_after_seconds=0.3), "fine"])
    kit = ExecutorKit(model=model)
    run = await kit.trial(asking("one", retry={"max_attempts": 2, "initial_seconds": 0.0}))
    assert (run.status, run.steps[0].attempts) == ("succeeded", 2)
    assert run.latency_seconds >= 0.29


async def test_a_call_without_a_turn_in_time_is_a_failed_attempt_that_says_so_and_costs_nothing() -> None:
    kit = ExecutorKit(limits=ONE_A_MINUTE)
    run = await kit.trial(asking("one", "two", timeout_seconds=0.4))
    assert (run.status, run.error_code) == ("failed", "provider")
    assert "its limits are used up" in run.error
    assert run.usage.calls == 1
    assert kit.permits.waiting == 0


async def test_the_seconds_of_a_run_hold_while_it_waits() -> None:
    kit = ExecutorKit(limits=ONE_A_MINUTE)
    run = await kit.trial({**asking("one", "two"), "limits": {"seconds": 0.5}})
    assert run.status == "failed"
    assert run.latency_seconds < 5.0
    assert (kit.permits.waiting, kit.permits.free("claude")) == (0, 4)


@pytest.mark.parametrize("limits", [LimitList(), ONE_A_MINUTE], ids=["free", "limited"])
async def test_runs_that_are_cut_off_while_their_calls_wait_leave_no_slot_taken(limits: LimitList) -> None:
    kit = ExecutorKit(model=ScriptedModel(delay_seconds=60.0), limits=limits)
    runs = [asyncio.create_task(kit.trial(asking("one"), run_id=f"run-{number}")) for number in range(20)]
    await asyncio.sleep(0.3)
    assert kit.permits.waiting > 0
    for run in runs:
        run.cancel()
    await asyncio.gather(*runs, return_exceptions=True)
    assert (kit.permits.waiting, kit.permits.free("claude")) == (0, 4)
