"""Model calls recorded to a file, and replayed from it."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.executor.adapters.metrics import MeteredModel
from shared.clock import SystemClock
from shared.errors import ConfigurationError, InvalidInputError, NotRecordedError, ProviderError, ProviderRefusedError
from shared.llm import build_models, sent_to
from shared.llm.cassette import RecordingModel, ReplayingModel, TapeWriter, chosen_cassette, read_tape
from shared.llm.cassette.tape import CountLine
from shared.pipeline.batches import batches_of
from shared.pipeline.completion import ChatMessage, Completion, CompletionRequest, LanguageModel
from shared.settings import ProviderSettings
from shared.telemetry.metrics import ProviderMetrics
from tests.fakes.batches import BatchingModel, InMemoryBatches
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import Reply, ScriptedModel, completion_of
from tests.fakes.states import InMemoryStates

SECRET = "sk-very-secret"


def ask(prompt: str, **options: Any) -> CompletionRequest:
    return CompletionRequest(family="claude", messages=(ChatMessage(role="user", text=prompt),), **options)


def recording(file: Path, *replies: Reply) -> RecordingModel:
    return RecordingModel(ScriptedModel(replies or ("ok",)), TapeWriter(file, [SECRET]))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tapes" / "calls.jsonl"


async def test_the_same_answers_come_back_in_order_again_and_again_and_say_so(file: Path) -> None:
    model = recording(file, "first", "second")
    recorded = [await model.complete(ask("same")) for _ in range(2)]
    replaying = ReplayingModel(read_tape(file))
    replayed = [await replaying.complete(ask("same")) for _ in range(4)]
    assert [each.text for each in replayed] == ["first", "second", "first", "second"]
    assert all(each.replayed for each in replayed)
    assert [each.model_copy(update={"replayed": False}) for each in replayed[:2]] == recorded


def test_what_was_asked_for_where_nobody_said_it_is_told_and_is_one_in_a_file(file: Path) -> None:
    TapeWriter(file, answer_tokens=128)
    TapeWriter(file, answer_tokens=128)
    assert read_tape(file).answer_tokens == 128
    with pytest.raises(InvalidInputError, match=r"answer_tokens 128, these executors ask for None .*another file"):
        TapeWriter(file)
    assert len(file.read_text().splitlines()) == 1


async def test_failures_are_met_again(file: Path) -> None:
    model = recording(file, ProviderError("rate_limit", "slowly", 7.0), ProviderRefusedError("blocked"), "ok")
    for _ in range(2):
        with pytest.raises((ProviderError, ProviderRefusedError)):
            await model.complete(ask("x"))
    await model.complete(ask("x"))
    replaying = ReplayingModel(read_tape(file))
    with pytest.raises(ProviderError, match="slowly") as caught:
        await replaying.complete(ask("x"))
    assert (caught.value.kind, caught.value.retry_after_seconds) == ("rate_limit", 7.0)
    with pytest.raises(ProviderRefusedError, match="blocked"):
        await replaying.complete(ask("x"))
    assert (await replaying.complete(ask("x"))).text == "ok"


async def test_streams_and_counts_are_recorded_and_replayed(file: Path) -> None:
    model = recording(file, "one two")
    streamed = [part async for part in model.stream(ask("x"))]
    assert await model.count_tokens(ask("a b c")) == 3
    replaying = ReplayingModel(read_tape(file))
    assert (await replaying.complete(ask("x"))).text == "one two"
    again = [part async for part in replaying.stream(ask("x"))]
    assert [type(part) for part in again] == [type(part) for part in streamed]
    assert await replaying.count_tokens(ask("a b c")) == 3


async def test_a_batch_is_replayed_to_whoever_hands_over_the_same_requests(file: Path) -> None:
    offered = InMemoryBatches(lambda asked: ProviderRefusedError("no") if asked.messages[0].text == "b" else "fine", polls=2)
    recorder = await batches_of(RecordingModel(BatchingModel(offered=offered), TapeWriter(file)))
    assert recorder is not None
    batch_id = await recorder.submit({"run-1-0": ask("a"), "run-1-1": ask("b")})
    await recorder.results(batch_id)
    replayer = await batches_of(ReplayingModel(read_tape(file)))
    assert replayer is not None
    again = await replayer.submit({"run-2-0": ask("a"), "run-2-1": ask("b")})
    assert await replayer.has_ended(again)
    results = await replayer.results(again)
    assert isinstance(results["run-2-0"], Completion)
    assert (results["run-2-0"].text, results["run-2-0"].replayed) == ("fine", True)
    assert isinstance(results["run-2-1"], ProviderRefusedError)
    with pytest.raises(NotRecordedError, match=r"`\[1\].messages"):
        await replayer.submit({"run-2-0": ask("a"), "run-2-1": ask("c")})


async def test_a_time_out_is_no_part_of_what_is_asked(file: Path) -> None:
    await recording(file).complete(ask("x", timeout_seconds=3))
    assert (await ReplayingModel(read_tape(file)).complete(ask("x", timeout_seconds=4))).text == "ok"


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (ask("say hello to Ann"), r"`messages\[0\].text` from character 14: 'say hello to Ann' instead of 'say hello to Bob'"),
        (ask("say hello to Bob", max_tokens=9), r"`max_tokens`: 9 instead of nothing"),
        (ask("say hello to Bob", system="be brief", seed=1), r"`seed`: 1 instead of nothing; `system`"),
    ],
)
async def test_an_unknown_request_is_told_from_the_nearest_one(file: Path, asked: CompletionRequest, told: str) -> None:
    model = recording(file)
    for prompt in ("something else", "say hello to Bob", "say nothing"):
        await model.complete(ask(prompt))
    with pytest.raises(NotRecordedError, match=told):
        await ReplayingModel(read_tape(file)).complete(asked)


async def test_an_empty_cassette_knows_nothing(file: Path) -> None:
    TapeWriter(file)
    with pytest.raises(NotRecordedError, match="none of its kind"):
        await ReplayingModel(read_tape(file)).complete(ask("x"))


def make_readable(file: Path) -> None:
    file.parent.mkdir()
    file.touch(0o644)


def content_and_mode(file: Path) -> tuple[str, int]:
    return file.read_text(), file.stat().st_mode & 0o777


async def test_no_key_gets_into_the_file_and_only_its_owner_reads_it(file: Path) -> None:
    make_readable(file)
    model = recording(file, f"your key is {SECRET}", ProviderRefusedError(f"bad key {SECRET}"))
    await model.complete(ask(f"my key is {SECRET}"))
    with pytest.raises(ProviderRefusedError):
        await model.complete(ask("x"))
    assert content_and_mode(file)[1] == 0o600
    assert SECRET not in content_and_mode(file)[0]
    replaying = ReplayingModel(read_tape(file), [SECRET])
    assert "[redacted]" in (await replaying.complete(ask(f"my key is {SECRET}"))).text


async def test_odd_characters_do_not_break_the_file(file: Path) -> None:
    """Line separators of other standards, and half of a character, which no file can hold."""
    for odd, kept in (("a\u2028b\x85c\r\nd", "a\u2028b\x85c\r\nd"), ("a\ud800b", "a?b")):
        await recording(file, completion_of(odd, ask(kept))).complete(ask(kept))
        assert (await ReplayingModel(read_tape(file)).complete(ask(kept))).text == kept


def test_many_writers_leave_whole_lines(file: Path) -> None:
    writers = [TapeWriter(file) for _ in range(4)]

    def write(number: int) -> None:
        writers[number % 4].add(CountLine(request=ask("x" * 10_000 + str(number)), tokens=number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(200)))
    tokens = [line.tokens for line in read_tape(file).lines if isinstance(line, CountLine)]
    assert sorted(tokens) == list(range(200))


async def test_a_call_that_is_cut_off_leaves_nothing(file: Path) -> None:
    model = RecordingModel(ScriptedModel(delay_seconds=60), TapeWriter(file))
    call = asyncio.create_task(model.complete(ask("x")))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert read_tape(file).lines == ()


HEAD = '{"evoline_cassette": 1, "recorded_at": ""}\n'


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "calls.jsonl:1: this is no cassette"),
        (b"hello\n", "calls.jsonl:1: this is no cassette"),
        (b"[1]\n", "calls.jsonl:1: this is no cassette"),
        (b'{"evoline_cassette": 2}\n', "version 2, this Evoline reads version 1"),
        (b'{"evoline_cassette": 1, "answer_tokens": "many"}\n', "calls.jsonl:1: answer_tokens is 'many'"),
        (HEAD.encode() + b'{"call": "compl', "calls.jsonl:2: line is broken"),
        (HEAD.encode() + b'{"call": "sing"}\n', "calls.jsonl:2: line is broken"),
        (HEAD.encode() + b'{"call": "count_tokens", "request": {"family": "claude", "messages": []}}\n', "at count_tokens.tokens"),
        (HEAD.encode() + b"\n", "calls.jsonl:2: line is broken"),
        (b"\xff\xfe", "cannot be read"),
    ],
    ids=["empty", "text", "list", "version", "answer tokens", "cut", "unknown call", "missing field", "blank", "bytes"],
)
def test_a_file_that_is_no_cassette_is_refused_with_its_line(file: Path, content: bytes, told: str) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(InvalidInputError) as caught:
        read_tape(file)
    assert told in str(caught.value)
    if content:
        with pytest.raises(InvalidInputError):
            TapeWriter(file)
        assert file.read_bytes() == content


def test_a_file_that_is_not_there_cannot_be_replayed(file: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"cannot be read: No such file or directory .*`evoline up --cassette record:FILE`"):
        read_tape(file)


@pytest.mark.parametrize("text", ["record", "record:", "play:x", "x"])
def test_a_setting_that_is_no_cassette_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="record:FILE or replay:FILE"):
        chosen_cassette(text)


async def test_settings_put_a_cassette_around_both_families(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOLINE_CASSETTE", f"replay:{file}")
    with pytest.raises(InvalidInputError):
        build_models(ProviderSettings())
    for family in ("claude", "gemini"):
        await RecordingModel(ScriptedModel([f"by {family}"]), TapeWriter(file)).complete(
            CompletionRequest.model_validate({"family": family, "messages": [{"role": "user", "text": "x"}]})
        )
    models = build_models(ProviderSettings())
    assert (await models["claude"].complete(ask("x"))).text == "by claude"
    gemini = ask("x").model_copy(update={"family": "gemini"})
    assert (await models["gemini"].complete(gemini)).text == "by gemini"


async def test_replayed_calls_are_no_metrics(file: Path) -> None:
    await recording(file).complete(ask("x"))
    registry = CollectorRegistry()
    metered = MeteredModel("claude", ReplayingModel(read_tape(file)), ProviderMetrics(registry), SystemClock())
    await metered.complete(ask("x"))
    labels = {"provider": "local", "model": "scripted-1", "outcome": "ok"}
    assert registry.get_sample_value("evoline_provider_calls_total", labels) is None


async def test_replayed_failures_are_neither_metrics_nor_pauses(file: Path) -> None:
    document = {"name": "asking", "steps": [{"name": "ask", "type": "claude", "prompt": "x", "context": "none"}]}
    labels = {"provider": "claude", "model": "configured", "outcome": "rate_limit"}

    async def told(model: LanguageModel) -> tuple[str, float | None, int]:
        registry, states = CollectorRegistry(), InMemoryStates()
        metered = MeteredModel("claude", model, ProviderMetrics(registry), SystemClock())
        error = (await ExecutorKit(model=metered, states=states).trial(document)).error
        await asyncio.sleep(0.01)  # a pause is told beside the run
        return error, registry.get_sample_value("evoline_provider_calls_total", labels), states.requests["write"]

    assert await told(recording(file, ProviderError("rate_limit", "busy", 30.0))) == ("step ask: busy", 1.0, 1)
    assert await told(ReplayingModel(read_tape(file))) == ("step ask: busy", None, 0)


def test_replayed_calls_take_nothing_of_a_providers_limits(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVOLINE_CASSETTE", f"replay:{file}")
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    assert sent_to(ProviderSettings(), ask("x", model="m")) == ("cassette", "m")


def test_a_line_is_plain_json(file: Path) -> None:
    TapeWriter(file).add(CountLine(request=ask("grüße"), tokens=2))
    head, line = file.read_text(encoding="utf-8").splitlines()
    assert json.loads(head)["evoline_cassette"] == 1
    assert json.loads(line)["request"]["messages"][0]["text"] == "grüße"
