"""A run recorded on a provider and replayed without it: real broker, real store, real SDKs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.events.runs import ExecuteRun, RunFinished
from shared.messaging.fleet import Fleet
from tests.conftest import OpenBus
from tests.fakes.executor import Notary
from tests.fakes.provider_standin import ProviderStandin, provider_standin, status
from tests.integration.executors import StartExecutor

__all__ = ["provider_standin"]
pytestmark = pytest.mark.usefixtures("empty_streams")

SECRET = "sk-test-4711"
RETRY = {"max_attempts": 2, "initial_seconds": 0.01, "max_seconds": 0.01}
BATCH = {"mode": "message_batches", "poll_seconds": 0.3}
DOCUMENT: dict[str, Any] = {
    "name": "recorded",
    "inputs": {"word": "string"},
    "steps": [
        {"name": "flaky", "type": "claude", "prompt": "Say {{ word }}", "context": "none", "retry": RETRY},
        {"name": "label", "type": "gemini", "prompt": "Label {{ steps.flaky.text }}", "schema": {"label": "string"}},
        {"name": "many", "type": "claude_batch", "prompts": ["one", "two"], "context": "none", **BATCH},
        {"name": "twice", "type": "for_loop", "items": [1, 2], "steps": [{"name": "ask", "type": "claude", "prompt": "Again?"}]},
    ],
    "outputs": {
        "said": "{{ steps.flaky.text }}",
        "label": "{{ steps.label.result.label }}",
        "many": "{{ steps.many.text }}",
        "twice": "{{ steps.twice.result }}",
    },
}


def answers(messages: list[dict[str, str]], schema: dict[str, Any] | None, *, given: list[str]) -> Any:
    given.append(messages[-1]["text"])
    return {"label": "fine"} if schema else f"answer {len(given)}"


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, provider_standin: ProviderStandin) -> pytest.MonkeyPatch:
    """An executor that finds its providers in its environment."""
    for name in ("CLAUDE", "GEMINI"):
        monkeypatch.setenv(f"EVOLINE_{name}_BASE_URL", provider_standin.url)
    for name in ("ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(name, SECRET)
    return monkeypatch


async def ended(open_bus: OpenBus, notary: Notary, run_id: str, word: str = "rain") -> RunFinished:
    bus = await open_bus("client")
    order = ExecuteRun(run_id=run_id, document=DOCUMENT, inputs={"word": word}, scope=notary.grant(), purpose="trial", seed=3)
    return (await Fleet(bus).run_all([order], max_in_flight=1, deadline_seconds=60))[run_id]


async def test_a_run_is_recorded_and_replayed_with_the_provider_gone(
    start_executor: StartExecutor,
    open_bus: OpenBus,
    notary: Notary,
    provider_standin: ProviderStandin,
    configured: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    given: list[str] = []
    provider_standin.answer = lambda messages, schema: answers(messages, schema, given=given)
    provider_standin.script(status(529))
    provider_standin.batches.polls = 2
    tape = tmp_path / "tape.jsonl"
    configured.setenv("EVOLINE_CASSETTE", f"record:{tape}")
    stop = await start_executor(None, park_after_seconds=0.1, answer_tokens=128)
    first = await ended(open_bus, notary, "first")
    assert (first.status, first.error, first.replayed, len(provider_standin.batches.made)) == ("succeeded", "", False, 1)
    assert (first.steps[0].attempts, first.usage.calls) == (2, 7)
    assert first.usage.cost_usd > 0
    assert SECRET not in tape.read_text()

    await stop()
    asked, asked_of_batches = provider_standin.calls, len(provider_standin.batches.calls)
    configured.setenv("EVOLINE_CASSETTE", f"replay:{tape}")
    for name in ("ANTHROPIC_API_KEY", "GEMINI_API_KEY"):
        configured.delenv(name)
    await start_executor(None, park_after_seconds=0.1)
    for run_id in ("second", "third"):
        again = await ended(open_bus, notary, run_id)
        assert (again.status, again.error, again.replayed) == ("succeeded", "", True)
        assert again.outputs == first.outputs
        assert again.usage == first.usage
        assert {(step.position, step.provider, step.model, step.attempts) for step in again.steps} == {
            (step.position, step.provider, step.model, step.attempts) for step in first.steps
        }
    assert (provider_standin.calls, len(provider_standin.batches.calls)) == (asked, asked_of_batches)

    other = await ended(open_bus, notary, "fourth", word="snow")
    assert (other.status, other.error_code, other.replayed) == ("failed", "not_recorded", True)
    assert "'Say snow' instead of 'Say rain'" in other.error
