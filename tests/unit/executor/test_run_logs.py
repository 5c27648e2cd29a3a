"""What a run did, in the order of time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.executor.use_cases import run_log as read_log
from services.executor.use_cases.logs import MAX_PAGE_BYTES
from shared.errors import NotFoundError, ProviderError
from shared.events.runs import Continuation, ExecuteRun
from shared.events.transfer import GetRunLog
from tests.fakes.batches import BatchingModel
from tests.fakes.executor import ExecutorKit
from tests.fakes.language_model import ScriptedModel
from tests.fakes.lost_owner import Blocking, command, end_of, hung_run, second

ASK = {"name": "ask", "type": "claude", "prompt": "?", "context": "none"}


async def page(kit: ExecutorKit, **query: Any) -> dict[str, Any]:
    return await read_log(GetRunLog(**{"run_id": "run-1", **query}), kit.runs, kit.journal)


def told(log: dict[str, Any]) -> list[tuple[str, str]]:
    return [(line["kind"], line["level"]) for line in sorted(log["lines"], key=lambda line: line["at"])]


async def test_a_runs_start_steps_and_end_are_told_with_what_they_used() -> None:
    kit = ExecutorKit()
    await kit.trial({"name": "asking", "steps": [ASK, {**ASK, "name": "never", "when": "false"}]})
    log = await page(kit)
    assert told(log) == [("started", "info"), ("step", "info"), ("step", "info"), ("finished", "info")]
    assert (log["status"], log["imported"], log["more"], log["next"]) == ("succeeded", False, False, 2)
    texts = {line["id"]: line["text"] for line in log["lines"]}
    assert "for trial, claimed by executor-1" in texts["started"]
    assert "ask (claude): ok in" in texts["journal:0"] and "local/scripted-1, 1 calls, 1+1 tokens" in texts["journal:0"]
    assert "never (claude): skipped" in texts["journal:1"]
    assert texts["finished:0"].startswith("succeeded after")


async def test_failures_warnings_retries_and_secrets() -> None:
    key = "sk-0123456789abcdef"
    kit = ExecutorKit(model=ScriptedModel([ProviderError("overload", "busy"), ProviderError("server", f"key {key}\nis bad")]))
    retry = {"max_attempts": 2, "initial_seconds": 0.01, "max_seconds": 0.01}
    fallback = {"name": "instead", "type": "set_variable", "variable": "v", "value": 1}
    await kit.trial(
        {"name": "asking", "steps": [{**ASK, "retry": retry, "on_error": {"fallback": fallback}}, {**ASK, "name": "b"}]}
    )
    first, last = (line for line in (await page(kit))["lines"] if line["kind"] == "step")
    assert (first["level"], first["status"], first["warnings"]) == ("warning", "degraded", [first["warnings"][0]])
    assert "warning: fallback instead after" in first["text"]
    assert (last["level"], last["error_code"]) == ("error", "provider")
    assert key not in str(await page(kit))
    assert "[provider] key [redacted] is bad" in last["text"], "on one line"


async def test_a_batch_that_a_step_waits_for_is_told() -> None:
    kit = ExecutorKit(model=BatchingModel())
    asked = {"name": "many", "type": "claude_batch", "prompts": ["a", "b"], "context": "none", "mode": "message_batches"}
    await kit.trial({"name": "handing", "steps": [asked]})
    log = await page(kit)
    assert told(log) == [("started", "info"), ("batch", "info"), ("step", "info"), ("finished", "info")]
    (line,) = (line for line in log["lines"] if line["kind"] == "batch")
    assert (line["text"], line["path"], line["calls"]) == ("many: 2 requests were handed over as batch batch-0", "many", 2)


async def test_a_lost_owner_and_a_long_wait_are_told() -> None:
    kit = ExecutorKit(model=Blocking(free=1))
    await end_of(await hung_run(kit, command(kit)))
    await second(kit, ScriptedModel()).execute(command(kit), sequence=7, attempt=2)
    assert ("claim", "warning") in told(await page(kit))
    waiting = ExecutorKit(model=ScriptedModel([ProviderError("rate_limit", "slowly", 0.05), "ok"]), park_after_seconds=0.01)
    retry = {"max_attempts": 2, "initial_seconds": 0.01, "max_seconds": 1}
    document = {"name": "asking", "steps": [{**ASK, "retry": retry}]}
    order = ExecuteRun(run_id="run-1", document=document, scope=waiting.notary.grant(), purpose="trial")
    await waiting.deliver(order)
    assert [kind for kind, _ in told(await page(waiting))] == ["started", "wait", "suspended"]
    await asyncio.sleep(0.06)
    await waiting.deliver(order.model_copy(update={"continuation": Continuation(generation=1, verb="wake", author="timer")}))
    log = await page(waiting)
    assert [line["text"] for line in log["lines"] if line["kind"] == "control"] == ["wake by timer"]
    assert [kind for kind, _ in told(log)][-2:] == ["step", "finished"]


async def test_a_long_log_comes_in_pages_and_goes_on_where_it_stopped() -> None:
    kit = ExecutorKit()
    loop = {"name": "each", "type": "for_loop", "items": list(range(30)), "steps": [ASK]}
    await kit.trial({"name": "looping", "steps": [loop]})
    seen, after = [], 0
    while True:
        log = await page(kit, after=after, limit=7)
        seen += [line["id"] for line in log["lines"] if line["id"].startswith("journal:")]
        assert {"started", "finished:0"} <= {line["id"] for line in log["lines"]}
        after = log["next"]
        if not log["more"]:
            break
    assert seen == [f"journal:{number}" for number in range(31)]
    assert (await page(kit, after=31))["more"] is False


async def test_a_page_fits_into_a_message_whatever_the_steps_said(monkeypatch: pytest.MonkeyPatch) -> None:
    kit = ExecutorKit(model=ScriptedModel([ProviderError("server", "x" * 100_000)]))
    steps = [{**ASK, "name": f"s{number}", "on_error": "continue"} for number in range(30)]
    await kit.trial({"name": "failing", "steps": steps})
    log = await page(kit)
    assert max(len(line["text"]) for line in log["lines"]) < 5000
    monkeypatch.setattr("services.executor.use_cases.logs.MAX_PAGE_BYTES", MAX_PAGE_BYTES // 100)
    small = await page(kit)
    assert small["more"] and 0 < small["next"] < 30


async def test_the_log_of_an_unknown_run_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="no run 'run-1'"):
        await read_log(GetRunLog(run_id="run-1"), ExecutorKit().runs, ExecutorKit().journal)
