"""Models whose SDK is loaded at the first call."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest

from shared.llm import ModelOnDemand
from shared.pipeline.completion import ChatMessage, CompletionRequest, LanguageModel
from tests.fakes.language_model import ScriptedModel

REQUEST = CompletionRequest(family="claude", messages=(ChatMessage(role="user", text="hi"),))


def test_the_executor_starts_without_loading_a_providers_sdk() -> None:
    code = "import sys, services.executor.app; print([m for m in ('anthropic', 'google.genai') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


async def test_calls_at_the_same_time_build_one_model_and_all_are_answered() -> None:
    built: list[LanguageModel] = []

    def build() -> LanguageModel:
        built.append(ScriptedModel(["hello"]))
        return built[-1]

    model = ModelOnDemand(build)
    answers = await asyncio.gather(*(model.complete(REQUEST) for _ in range(5)))
    assert [answer.text for answer in answers] == ["hello"] * 5
    assert await model.count_tokens(REQUEST) == 1
    assert len(built) == 1


async def test_a_model_that_could_not_be_built_is_tried_again() -> None:
    tries: Iterator[Exception | ScriptedModel] = iter([RuntimeError("not yet"), ScriptedModel(["hello"])])

    def build() -> LanguageModel:
        outcome = next(tries)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    model = ModelOnDemand(build)
    with pytest.raises(RuntimeError):
        await model.complete(REQUEST)
    assert (await model.complete(REQUEST)).text == "hello"


class ConnectedModel(ScriptedModel):
    closed = 0

    async def close(self) -> None:
        self.closed += 1


async def test_what_was_built_is_closed_once_and_what_never_was_needs_no_closing() -> None:
    connected = ConnectedModel(["hello", "again"])
    model = ModelOnDemand(lambda: connected)
    await model.close()
    assert connected.closed == 0
    await model.complete(REQUEST)
    await model.close()
    await model.close()
    assert connected.closed == 1
    assert (await model.complete(REQUEST)).text == "again"


async def test_a_model_without_connections_is_closed_too() -> None:
    model = ModelOnDemand(lambda: ScriptedModel(["hello"]))
    await model.complete(REQUEST)
    await model.close()
    assert (await model.complete(REQUEST)).text == "hello"
