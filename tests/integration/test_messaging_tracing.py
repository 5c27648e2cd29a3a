"""One trace from the sender over every hop, retries, dead letters and redrives included."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_trace_id

from shared.clock import SystemClock
from shared.errors import InvalidInputError, UnavailableError
from shared.events import Message
from shared.events.improvement import GetKnowledge, LearnFromRuns, PatternsMined
from shared.messaging.bus import BusParts
from shared.messaging.consumer import Answer, Consumer
from shared.messaging.dead_letters import list_dead_letters, redrive
from shared.messaging.handling import Delivery, current_trace_id
from shared.messaging.observer import SilentObserver
from shared.messaging.retry import RetryPolicy
from shared.telemetry.tracing import Tracing
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.messaging import DURABLE, consuming, learn, mined, stored

pytestmark = pytest.mark.usefixtures("empty_streams")


def parts_of(tracing: Tracing) -> BusParts:
    return BusParts(clock=SystemClock(), tracer=tracing.tracer("test"), observer=SilentObserver())


async def test_trace_continues_over_the_bus_through_retry_and_effects(open_bus: OpenBus, nats_url: str) -> None:
    exporter = InMemorySpanExporter()
    tracing = Tracing(service="test", version="0", processor=SimpleSpanProcessor(exporter))
    bus = await open_bus("learner", parts_of(tracing))
    ended = False

    async def handle(message: LearnFromRuns, delivery: Delivery) -> list[tuple[str, Message]]:
        nonlocal ended
        if delivery.attempt == 1:
            raise UnavailableError("again")
        await bus.ask(GetKnowledge())
        ended = True
        return [("mined", mined(message.learning_id))]

    async def reply(query: GetKnowledge) -> Answer:
        return {}

    def register(consumer: Consumer) -> None:
        consumer.on(LearnFromRuns, handle, durable=DURABLE, retry=RetryPolicy(initial_seconds=0.02))
        consumer.answers(GetKnowledge, reply)

    async with consuming(bus, nats_url, register):
        with tracing.tracer("test").start_as_current_span("request") as request:
            await bus.publish(learn(), cause="test-trace")
        await eventually(lambda: ended)
    names = {span.name for span in exporter.get_finished_spans() if span.context.trace_id == request.get_span_context().trace_id}
    assert names >= {
        "request",
        "publish cmd.learner.learn",
        "process cmd.learner.learn",
        "ask api.learner.knowledge",
        "answer api.learner.knowledge",
        f"publish {PatternsMined.subject}",
    }
    fact = (await stored(bus, "EVT"))[-1]
    assert (fact.headers or {})["traceparent"].split("-")[1] == format_trace_id(request.get_span_context().trace_id)
    await tracing.close()


async def test_dead_letter_names_the_trace_and_a_redrive_continues_it_without_any_exporter(
    open_bus: OpenBus, nats_url: str
) -> None:
    tracing = Tracing(service="test", version="0")
    bus = await open_bus("learner", parts_of(tracing))
    traces: list[str] = []

    async def handle(message: LearnFromRuns, delivery: Delivery) -> None:
        traces.append(current_trace_id())
        if len(traces) == 1:
            raise InvalidInputError("not now")

    async with consuming(bus, nats_url, lambda consumer: consumer.on(LearnFromRuns, handle, durable=DURABLE)):
        await bus.publish(learn(), cause="test-dead-trace")
        letter = (await eventually(lambda: list_dead_letters(bus)))[0]
        await redrive(bus, letter.sequence)
        await eventually(lambda: len(traces) == 2)
    assert len(letter.trace_id) == 32
    assert traces == [letter.trace_id, letter.trace_id]
    await tracing.close()
