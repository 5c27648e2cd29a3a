"""Questions over request-reply: typed errors come back, silence is told from refusal."""

from __future__ import annotations

import asyncio

import nats
import pytest

from shared.errors import (
    ConfigurationError,
    InvalidInputError,
    LimitReachedError,
    NotFoundError,
    Problem,
    TransientError,
    UnavailableError,
)
from shared.events.improvement import GetKnowledge, GetReport
from shared.events.quotas import ReportUse
from shared.messaging.bus import Bus
from shared.messaging.consumer import Answer
from shared.messaging.topology import MAX_BODY_BYTES
from tests.conftest import OpenBus
from tests.fakes.people import signer
from tests.messaging import consuming


async def ask(bus: Bus, nats_url: str, error: Exception | None = None, answer: Answer | None = None) -> dict[str, object]:
    async def reply(query: GetKnowledge) -> Answer:
        if error:
            raise error
        return answer if answer is not None else {"limit": query.limit}

    async with consuming(bus, nats_url, lambda consumer: consumer.answers(GetKnowledge, reply)):
        return await bus.ask(GetKnowledge(limit=7))


async def test_answer_comes_back_as_data(open_bus: OpenBus, nats_url: str) -> None:
    assert await ask(await open_bus("learner"), nats_url) == {"limit": 7}


async def test_model_answers_as_its_fields(open_bus: OpenBus, nats_url: str) -> None:
    assert await ask(await open_bus("learner"), nats_url, answer=Problem(reason="r")) == Problem(reason="r").model_dump()


async def test_errors_come_back_with_type_and_problems(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    problems = (Problem(path="domain", reason="unknown", suggestion="use support"),)
    with pytest.raises(InvalidInputError) as invalid:
        await ask(bus, nats_url, InvalidInputError(problems))
    assert invalid.value.problems == problems
    with pytest.raises(NotFoundError, match="no such pattern"):
        await ask(bus, nats_url, NotFoundError("no such pattern"))
    with pytest.raises(LimitReachedError, match="enough") as limit:
        await ask(bus, nats_url, LimitReachedError("calls", "enough"))
    assert limit.value.limit == "calls"


async def test_unexpected_error_tells_its_class_and_no_more(open_bus: OpenBus, nats_url: str) -> None:
    with pytest.raises(TransientError) as error:
        await ask(await open_bus("learner"), nats_url, KeyError("password=hunter2"))
    assert "KeyError" in str(error.value)
    assert "hunter2" not in str(error.value)


async def test_answer_larger_than_a_message_is_an_error_that_says_so(open_bus: OpenBus, nats_url: str) -> None:
    with pytest.raises(LimitReachedError, match="ask for less"):
        await ask(await open_bus("learner"), nats_url, answer={"text": "x" * MAX_BODY_BYTES})


async def test_nobody_there_names_the_service_that_should_answer(open_bus: OpenBus) -> None:
    bus = await open_bus("cli")
    with pytest.raises(UnavailableError, match="analytics does not run"):
        await bus.ask(GetReport())


async def test_a_signed_question_that_nobody_answers_says_so_at_once(open_bus: OpenBus) -> None:
    bus = (await open_bus("cli")).signed_by(signer("executor"))
    with pytest.raises(UnavailableError, match="guardrail does not run"):
        await bus.ask(ReportUse(report_id="r1", day="2026-11-22"), timeout_seconds=60)


async def test_late_answer_is_unavailable_within_the_asked_time(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")

    async def hang(query: GetKnowledge) -> Answer:
        await asyncio.Event().wait()
        return {}

    async with consuming(bus, nats_url, lambda consumer: consumer.answers(GetKnowledge, hang)):
        with pytest.raises(UnavailableError, match=r"no answer within 0\.3 s"):
            await bus.ask(GetKnowledge(), timeout_seconds=0.3)


async def test_malformed_query_is_answered_with_its_problems(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")

    async def reply(query: GetKnowledge) -> Answer:
        raise AssertionError("a malformed query was handled")

    raw = await nats.connect(nats_url)
    async with consuming(bus, nats_url, lambda consumer: consumer.answers(GetKnowledge, reply)):
        answer = await raw.request(GetKnowledge.subject, b'{"limit": 0, "color": 1}', timeout=2)
    await raw.close()
    assert answer.data.startswith(b'{"ok":false')
    assert b'"path":"limit"' in answer.data
    assert b'"path":"color"' in answer.data


async def test_slow_answers_do_not_block_quick_ones(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("learner")
    release = asyncio.Event()

    async def reply(query: GetKnowledge) -> Answer:
        if query.limit == 1:
            await release.wait()
        return {"limit": query.limit}

    async with consuming(bus, nats_url, lambda consumer: consumer.answers(GetKnowledge, reply)):
        slow = asyncio.create_task(bus.ask(GetKnowledge(limit=1)))
        await asyncio.sleep(0)
        assert await bus.ask(GetKnowledge(limit=2)) == {"limit": 2}
        assert not slow.done()
        release.set()
        assert await slow == {"limit": 1}


async def test_only_the_owner_may_answer(open_bus: OpenBus, nats_url: str) -> None:
    bus = await open_bus("analytics")
    with pytest.raises(ConfigurationError, match="answered by learner"):
        await ask(bus, nats_url)
