"""Answers told while they are made: both adapters on the official SDKs, what wraps them, and the fake, held to one suite.

Faults are those of `test_llm_adapters`, at the beginning and in the middle of a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.executor.adapters.metrics import MeteredModel
from shared.clock import SystemClock
from shared.errors import ProviderError, ProviderRefusedError
from shared.llm import ModelOnDemand
from shared.llm.cassette import RecordingModel, TapeWriter
from shared.pipeline.completion import Completion, Family, LanguageModel, StreamPart, TextChunk, ToolChunk
from shared.telemetry.metrics import ProviderMetrics
from tests.contract.test_llm_adapters import KEY, LOOKUP, Adapter, ask, build, family, model, provider_standin
from tests.eventually import eventually
from tests.fakes.language_model import ScriptedModel
from tests.fakes.provider_standin import ProviderStandin, Reply, error_amid, fault, slow, status, text, tool_call

__all__ = ["family", "model", "provider_standin"]


@pytest.fixture(params=["itself", "on demand", "metered", "recorded", "scripted"])
async def wrapped(
    request: pytest.FixtureRequest, family: Family, provider_standin: ProviderStandin, tmp_path: Path
) -> AsyncIterator[LanguageModel]:
    adapter = build(family, provider_standin.url, KEY)
    forms: dict[str, LanguageModel] = {
        "itself": adapter,
        "on demand": ModelOnDemand(lambda: adapter),
        "metered": MeteredModel(family, adapter, ProviderMetrics(CollectorRegistry()), SystemClock()),
        "recorded": RecordingModel(adapter, TapeWriter(tmp_path / "tape.jsonl")),
        "scripted": ScriptedModel(["one two three"]),
    }
    yield forms[request.param]
    await adapter.close()


async def told(model: LanguageModel, family: Family, **options: Any) -> list[StreamPart]:
    return [part async for part in model.stream(ask(family, **options))]


async def failure(model: LanguageModel, family: Family, **options: Any) -> tuple[list[StreamPart], Exception]:
    """What was told before the failure, and the failure."""
    parts: list[StreamPart] = []
    try:
        async for part in model.stream(ask(family, **options)):
            parts += [part]
    except (ProviderError, ProviderRefusedError) as error:
        return parts, error
    raise AssertionError("it did not fail")


async def test_chunks_make_the_text_and_the_last_part_is_the_completion(
    wrapped: LanguageModel, family: Family, provider_standin: ProviderStandin
) -> None:
    provider_standin.script(text("one two three"), text("one two three"))
    *chunks, last = await told(wrapped, family)
    assert isinstance(last, Completion)
    assert "".join(part.text for part in chunks if isinstance(part, TextChunk)) == last.text == "one two three"
    whole = await wrapped.complete(ask(family))
    assert last.model_copy(update={"latency_seconds": 0}) == whole.model_copy(update={"latency_seconds": 0})


async def test_the_providers_tell_pieces_as_they_come(family: Family, model: Adapter, provider_standin: ProviderStandin) -> None:
    provider_standin.script(text("one two three", cached_tokens=100))
    *chunks, last = await told(model, family)
    assert [part.text for part in chunks if isinstance(part, TextChunk)] == ["one ", "two ", "three"]
    assert isinstance(last, Completion)
    assert last.usage.cached_input_tokens == 100
    assert last.usage.cost_usd > 0


async def test_a_tool_call_is_told_whole(family: Family, model: Adapter, provider_standin: ProviderStandin) -> None:
    provider_standin.script(tool_call("lookup", {"word": "tree", "deep": {"n": [1, 2]}}))
    part, last = await told(model, family, tools=(LOOKUP,))
    assert isinstance(part, ToolChunk)
    assert isinstance(last, Completion)
    assert last.tool_calls == (part.call,)
    assert (part.call.name, part.call.arguments) == ("lookup", {"word": "tree", "deep": {"n": [1, 2]}})


@pytest.mark.parametrize(
    ("reply", "kind", "retry_after"),
    [
        (status(429, retry_after="7"), "rate_limit", 7.0),
        (status(500), "server", None),
        (status(529), "overload", None),
        (fault("cut"), "connection", None),
        (fault("invalid_json"), "invalid_answer", None),
        (fault("wrong_shape"), "invalid_answer", None),
        (fault("empty"), "invalid_answer", None),
    ],
    ids=lambda value: value.kind + (str(value.status) if value.kind == "status" else "") if isinstance(value, Reply) else None,
)
async def test_a_stream_fails_by_kind(
    family: Family, model: Adapter, provider_standin: ProviderStandin, reply: Reply, kind: str, retry_after: float | None
) -> None:
    provider_standin.script(Reply(**{**reply.__dict__, "text": reply.text or "one two three four"}))
    _, error = await failure(model, family)
    assert isinstance(error, ProviderError)
    assert (error.kind, error.retry_after_seconds) == (kind, retry_after)
    assert provider_standin.calls == 1


@pytest.mark.parametrize("code", [400, 401])
async def test_a_refused_stream_is_permanent_and_hides_the_key(
    family: Family, model: Adapter, provider_standin: ProviderStandin, code: int
) -> None:
    provider_standin.script(status(code, f"bad key {KEY}"))
    _, error = await failure(model, family)
    assert isinstance(error, ProviderRefusedError)
    assert "bad key" in str(error)
    assert KEY not in str(error)


async def test_blocked_content_is_a_refusal(family: Family, model: Adapter, provider_standin: ProviderStandin) -> None:
    provider_standin.script(fault("blocked"))
    _, error = await failure(model, family)
    assert isinstance(error, ProviderRefusedError)


ERRORS = {
    "claude": [
        ("overloaded_error", "overload"),
        ("api_error", "server"),
        ("rate_limit_error", "rate_limit"),
        ("new_error", "server"),
    ],
    "gemini": [("503", "overload"), ("500", "server"), ("429", "rate_limit"), ("529", "overload")],
}


@pytest.mark.parametrize("number", range(4))
async def test_an_error_amid_a_stream_is_named_by_its_kind(
    family: Family, model: Adapter, provider_standin: ProviderStandin, number: int
) -> None:
    told_as, kind = ERRORS[family][number]
    provider_standin.script(error_amid(told_as))
    parts, error = await failure(model, family)
    assert isinstance(error, ProviderError)
    assert error.kind == kind
    assert "scripted fault" in str(error)
    assert not any(isinstance(part, Completion) for part in parts)


async def test_a_slow_stream_within_its_time_is_an_answer(
    family: Family, model: Adapter, provider_standin: ProviderStandin
) -> None:
    provider_standin.script(slow("one two three"), slow("one two three"))
    *_, last = await told(model, family, timeout_seconds=10)
    assert isinstance(last, Completion)
    assert last.text == (await model.complete(ask(family, timeout_seconds=10))).text == "one two three"


@pytest.mark.parametrize("kind", ["hang", "drip"])
async def test_a_stream_that_never_ends_times_out_and_hangs_up(
    family: Family, model: Adapter, provider_standin: ProviderStandin, kind: Any
) -> None:
    provider_standin.script(fault(kind))
    _, error = await failure(model, family, timeout_seconds=0.4)
    assert isinstance(error, ProviderError)
    assert error.kind == "timeout"
    await eventually(lambda: provider_standin.disconnects == 1, timeout_seconds=2)


async def test_cancelling_the_reader_hangs_up(family: Family, model: Adapter, provider_standin: ProviderStandin) -> None:
    provider_standin.script(Reply("drip", text="one two three four"))
    parts: list[StreamPart] = []

    async def read() -> None:
        nonlocal parts
        async for part in model.stream(ask(family)):
            parts += [part]

    reading = asyncio.create_task(read())
    await eventually(lambda: parts)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await eventually(lambda: provider_standin.disconnects == 1, timeout_seconds=2)


async def test_a_reader_that_leaves_hangs_up(family: Family, wrapped: LanguageModel, provider_standin: ProviderStandin) -> None:
    if isinstance(wrapped, ScriptedModel):
        return
    provider_standin.script(Reply("drip", text="one two three four"))
    async with aclosing(wrapped.stream(ask(family))) as parts:
        assert isinstance(await anext(parts), TextChunk)
    await eventually(lambda: provider_standin.disconnects == 1, timeout_seconds=2)


async def test_a_slow_reader_is_not_interrupted_by_the_streams_time(
    family: Family, model: Adapter, provider_standin: ProviderStandin
) -> None:
    provider_standin.script(Reply("drip", text="one two three four"))
    done = False
    with pytest.raises(ProviderError) as caught:
        async for _ in model.stream(ask(family, timeout_seconds=0.6)):
            await asyncio.sleep(0.7)
            done = True
    assert done
    assert caught.value.kind == "timeout"
