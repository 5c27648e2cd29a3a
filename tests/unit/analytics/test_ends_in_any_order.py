"""Ends of runs, told in any order and up to three times, to the real handlers of all who count them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.analytics.adapters.mongo import MongoAggregateStore
from services.analytics.subscribers import register as register_analytics
from services.analytics.use_cases import Analytics, Pace, model_records, report
from services.learner.adapters.gains import MongoGains
from services.learner.adapters.mongo import MongoKnowledgeStore
from services.learner.subscribers import register as register_learner
from services.learner.use_cases import Gains, Learner
from shared.attestation import Approvals, Verifier
from shared.clock import SystemClock
from shared.events.improvement import GetModelRecords, GetReport
from shared.events.runs import ModelUse, RunFinished, StepFact
from shared.events.values import Usage
from tests.fakes.storage import InMemoryDatabase

ENDS = [("a", 0, "succeeded"), ("b", 0, "failed"), ("b", 1, "succeeded"), ("c", 0, "degraded"), ("d", 0, "succeeded")]
ORDERS = st.lists(st.integers(1, 3), min_size=len(ENDS), max_size=len(ENDS)).flatmap(
    lambda times: st.permutations([number for number, count in enumerate(times) for _ in range(count)])
)


def end(run_id: str, retries: int, status: str) -> RunFinished:
    use = ModelUse(family="claude", model="m", provider="local", calls=2, successes=status == "succeeded", latency_seconds=0.25)
    step = StepFact(name="s", type="claude", position="s", status="ok", provider="local", latency_seconds=0.25, models=(use,))
    fields = {"pipeline": "p", "digest": "d" * 64, "domain": "d", "purpose": "production", "latency_seconds": 0.25}
    usage = Usage(calls=1, input_tokens=8, output_tokens=2, cost_usd=0.5)
    return RunFinished.model_validate(
        {**fields, "run_id": run_id, "retries": retries, "status": status, "usage": usage, "steps": (step,)}
    )


class NoSeeds:
    def documents(self) -> Sequence[dict[str, Any]]:
        return ()


class Handlers:
    """Stands where `Consumer` does."""

    def __init__(self) -> None:
        self.of_ends: list[Any] = []

    def on(self, message_class: type, handler: Any, **_: Any) -> None:
        if message_class is RunFinished:
            self.of_ends.append(handler)

    def answers(self, *_: Any) -> None: ...


class NoGauges:
    def gains(self, *_: Any) -> None: ...


async def state_after(order: Sequence[int]) -> Any:
    database, handlers = InMemoryDatabase(), Handlers()
    analytics = Analytics(MongoAggregateStore(database), SystemClock(), Pace(0.0))
    learner = Learner(MongoKnowledgeStore(database), NoSeeds(), SystemClock())
    register_analytics(handlers, analytics)  # type: ignore[arg-type]
    gains = Gains(MongoGains(database), NoGauges(), SystemClock())
    register_learner(handlers, learner, gains, Approvals(lambda: Verifier(b""), SystemClock()))  # type: ignore[arg-type]
    for number in order:
        for handler in handlers.of_ends:
            await handler(end(*ENDS[number]), None)
    models = await model_records(GetModelRecords(domain="d"), analytics)
    return await report(GetReport(), analytics), await learner.store.runs(), models["records"]


REFERENCE = asyncio.run(state_after(range(len(ENDS))))


def test_each_end_counts_once_also_of_a_retried_run() -> None:
    (row,) = REFERENCE[0]["pipelines"]
    assert (row["runs"], row["input_tokens"], row["success_rate"], REFERENCE[1]) == (5, 40, 0.6, 5)
    (model,) = REFERENCE[2]
    assert (model["calls"], model["successes"]) == (10, 3)


@settings(max_examples=1000, deadline=None)
@given(order=ORDERS)
def test_ends_in_any_order_and_up_to_three_times_count_the_same(order: Sequence[int]) -> None:
    assert asyncio.run(state_after(order)) == REFERENCE
