"""What the executor learns of models, from analytics in this process and over a real broker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from services.analytics.adapters.mongo import MongoAggregateStore
from services.analytics.subscribers import register
from services.analytics.use_cases import Analytics, Pace, count_run
from services.executor.adapters.model_records import AnalyticsModelRecords
from services.executor.adapters.nats import BusQuestions
from services.executor.ports import Questions
from shared.clock import SystemClock
from shared.events.improvement import GetModelRecords
from shared.events.message import Query
from shared.events.runs import ModelUse, RunFinished, StepFact
from shared.events.values import Usage
from shared.messaging import codec, envelope
from shared.messaging.bus import Bus
from shared.settings import SharedSettings
from tests.fakes.storage import InMemoryDatabase
from tests.messaging import consuming


class Answers:
    """Takes what analytics answers, in place of a consumer."""

    def __init__(self, analytics: Analytics) -> None:
        self.handlers: dict[type, Any] = {}
        register(cast("Any", self), analytics)

    def on(self, *_: Any, **__: Any) -> None: ...

    def answers(self, query_class: type, handler: Any) -> None:
        self.handlers[query_class] = handler

    async def ask(self, query: Query) -> dict[str, Any]:
        asked = codec.decode(type(query), codec.encode(query))
        return envelope.open_answer(envelope.success(await self.handlers[type(query)](asked)))


@pytest.fixture
def analytics() -> Analytics:
    return Analytics(MongoAggregateStore(InMemoryDatabase()), SystemClock(), Pace(0.0))


@pytest.fixture(params=["memory", "nats"])
def server(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "memory" else str(request.getfixturevalue("nats_url"))


@pytest.fixture
async def questions(server: str | None, analytics: Analytics) -> AsyncIterator[Questions]:
    local = Answers(analytics)
    if server is None:
        yield local
        return
    answering, asking = [await Bus.connect(SharedSettings(nats_url=server), service=name) for name in ("analytics", "executor")]
    answer = local.handlers[GetModelRecords]
    async with consuming(answering, server, lambda consumer: consumer.answers(GetModelRecords, answer)):
        yield BusQuestions(asking)
    for bus in (answering, asking):
        await bus.close()


def run(run_id: str, model: str, *, success: bool) -> RunFinished:
    usage = Usage(calls=1, input_tokens=7, output_tokens=3, cost_usd=0.002)
    use = ModelUse(
        family="claude", model=model, provider="local", calls=1, successes=int(success), usage=usage, latency_seconds=2.0
    )
    step = StepFact(name="s", type="claude", position="s", status="ok" if success else "failed", models=(use,))
    fields = {"pipeline": "p", "digest": "d" * 64, "domain": "support", "purpose": "production", "status": "succeeded"}
    return RunFinished.model_validate({**fields, "run_id": run_id, "steps": (step,)})


async def test_what_was_counted_is_what_the_executor_learns(analytics: Analytics, questions: Questions) -> None:
    for number in range(4):
        await count_run(run(f"a-{number}", "m", success=number > 0), analytics)
    await count_run(run("b", "n", success=True), analytics)
    found = await AnalyticsModelRecords(questions, SystemClock(), {"claude": "local"}).of_domain("support")
    assert found.missing == ""
    assert [(each.family, each.model, each.calls, each.successes) for each in found.records] == [
        ("claude", "m", 4, 3),
        ("claude", "n", 1, 1),
    ]
    assert abs(found.records[0].latency_seconds / 2.0 - 1) < 0.051
    assert abs(found.records[0].cost_usd - 0.002) < 1e-9


async def test_a_domain_where_nothing_ran_has_no_records_and_nothing_is_missing(questions: Questions) -> None:
    found = await AnalyticsModelRecords(questions, SystemClock(), {}).of_domain("elsewhere")
    assert (found.records, found.missing) == ((), "")
