"""The executor asks analytics for records of models: seldom, briefly, and it never believes or needs the answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.executor.adapters import model_records
from services.executor.adapters.model_records import AnalyticsModelRecords
from shared.errors import UnavailableError
from shared.events.improvement import GetModelRecords
from shared.events.message import Query
from tests.fakes.executor import ScriptedQuestions
from tests.fakes.step_context import ManualClock

ROW = {"family": "claude", "provider": "local", "model": "m", "calls": 20, "successes": 19, "latency_seconds": 0.5, "tokens": 9.0}
PROVIDERS = {"claude": "local", "gemini": "local"}


@dataclass
class SlowQuestions(ScriptedQuestions):
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, query: Query) -> dict[str, Any]:
        answer = await super().ask(query)
        await self.release.wait()
        return answer


def asking(questions: ScriptedQuestions, clock: ManualClock | None = None) -> AnalyticsModelRecords:
    return AnalyticsModelRecords(questions, clock or ManualClock(), PROVIDERS)


def answering(*rows: dict[str, Any]) -> ScriptedQuestions:
    return ScriptedQuestions({GetModelRecords: {"domain": "support", "records": list(rows)}})


async def test_records_are_asked_for_once_a_minute_and_domain() -> None:
    questions, clock = answering(ROW), ManualClock()
    records = asking(questions, clock)
    for _ in range(3):
        found = await records.of_domain("support")
        assert [(each.model, each.successes, found.missing) for each in found.records] == [("m", 19, "")]
    await records.of_domain("sales")
    assert len(questions.asked) == 2
    clock.seconds += 61
    await records.of_domain("support")
    assert len(questions.asked) == 3


async def test_many_who_ask_at_once_ask_once_and_one_who_gives_up_takes_it_from_nobody() -> None:
    questions = SlowQuestions(answering(ROW).answers)
    records = asking(questions)
    waiting = [asyncio.create_task(records.of_domain("support")) for _ in range(20)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    questions.release.set()
    found = await asyncio.gather(*waiting[1:])
    assert len(questions.asked) == 1
    assert all(len(each.records) == 1 for each in found)


async def test_records_of_another_provider_are_left_out() -> None:
    found = await asking(answering(ROW, {**ROW, "provider": "anthropic", "model": "n"})).of_domain("support")
    assert [each.model for each in found.records] == ["m"]


async def test_a_dead_analytics_gives_no_records_and_says_so_and_is_asked_again_soon() -> None:
    questions, clock = ScriptedQuestions({GetModelRecords: UnavailableError("nobody answers")}), ManualClock()
    records = asking(questions, clock)
    found = await records.of_domain("support")
    assert (found.records, found.missing) == ((), "analytics does not answer: nobody answers")
    await records.of_domain("support")
    assert len(questions.asked) == 1
    questions.answers = answering(ROW).answers
    clock.seconds += 11
    assert len((await records.of_domain("support")).records) == 1


async def test_a_slow_analytics_is_waited_for_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_records, "ANSWER_SECONDS", 0.02)
    async with asyncio.timeout(10):
        found = await asking(SlowQuestions(answering(ROW).answers)).of_domain("support")
    assert (found.records, found.missing) == ((), "analytics did not answer within 0.02 s")


@pytest.mark.parametrize(
    "row",
    [
        {**ROW, "calls": "many"},
        {**ROW, "successes": 21},
        {**ROW, "calls": -1},
        {**ROW, "latency_seconds": float("nan")},
        {**ROW, "cost_usd": float("inf")},
        {**ROW, "family": "gpt"},
        {**ROW, "family": []},
        {"model": "m"},
        "records",
        None,
    ],
)
async def test_nonsense_gives_no_records(row: Any) -> None:
    found = await asking(answering(ROW, row)).of_domain("support")
    assert found.records == ()
    assert "answered something else" in found.missing


@pytest.mark.parametrize("answer", [{}, {"records": None}, {"records": 1}, {"records": {"a": 1}}])
async def test_an_answer_of_another_form_gives_no_records(answer: Any) -> None:
    found = await asking(ScriptedQuestions({GetModelRecords: answer})).of_domain("support")
    assert "answered something else" in found.missing
