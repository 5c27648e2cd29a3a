"""Limits that come with the command, and limits that nested runs share."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel


def asking(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "type": "claude", "prompt": "Say it.", "context": "none", **keys}


@pytest.mark.parametrize("limits", [{"concurrency": 0}, {"concurrency": -3}, {"calls": -1}, {"seconds": -1e308}, {"memory_mb": 0}])
async def test_a_bound_that_is_none_refuses_the_run_and_names_it(limits: dict[str, float]) -> None:
    model = ScriptedModel()
    end = await ExecutorKit(model=model).trial({"name": "bounded", "steps": [asking("ask")]}, limits=limits)
    assert (end.status, end.error_code) == ("refused", "invalid_input")
    assert f"limits.{next(iter(limits))}" in end.error
    assert model.requests == []


async def test_a_bound_above_the_documents_own_changes_nothing() -> None:
    huge = dict.fromkeys(
        ["seconds", "steps", "calls", "tokens", "cost_usd", "depth", "concurrency", "cpu_seconds", "memory_mb"], 1e308
    )
    assert (await ExecutorKit().trial({"name": "bounded", "steps": [asking("ask")]}, limits=huge)).status == "succeeded"
