"""What executors say that was used: numbers that nobody can count with settle nothing, and break nothing."""

from __future__ import annotations

from typing import Any

import pytest

from services.guardrail.adapters.scopes import BusSealing
from shared.errors import UnavailableError
from shared.events.message import Query
from shared.messaging.bus import Bus


class Answering(Bus):
    def __init__(self, answer: dict[str, Any]) -> None:
        self._answer = answer

    async def ask(self, query: Query, timeout_seconds: float = 5.0) -> dict[str, Any]:
        return self._answer


@pytest.mark.parametrize("number", [-1, 10**30, float("inf")])
@pytest.mark.parametrize("field", ["open_calls", "open_tokens"])
async def test_open_calls_that_cannot_be_settle_no_scope(field: str, number: float) -> None:
    answer: dict[str, Any] = {"scope_id": "s1", "used": {}, "open_calls": 0, "open_tokens": 0, field: number}
    with pytest.raises(UnavailableError, match=r"answer to api\.executor\.seal_scope is not one that can be used"):
        await BusSealing(Answering(answer)).seal("s1")


@pytest.mark.parametrize(
    "wrong", [{"running": -1}, {"used": {"tokens": 10**30}}, {"used": {"cost_usd": 1e30}}, {"running": float("inf")}]
)
async def test_counts_that_cannot_be_settle_no_lease(wrong: dict[str, Any]) -> None:
    with pytest.raises(UnavailableError, match=r"answer to api\.executor\.count_lease is not one that can be used"):
        await BusSealing(Answering({"used": {}, "running": 0, **wrong})).count_lease("l1")
