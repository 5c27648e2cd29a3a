"""`claude_smart` on a real broker and store: what runs measured decides, and without analytics the preset does."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from pydantic import SecretStr

from services.analytics.app import create_app
from services.executor.adapters import model_records
from shared.errors import ProviderError
from shared.events.improvement import GetModelRecords
from shared.events.runs import ExecuteRun, GetRun, RunFinished
from shared.messaging.bus import Bus
from shared.messaging.fleet import Fleet
from shared.pipeline.completion import CompletionRequest
from shared.settings import SharedSettings
from tests.conftest import OpenBus
from tests.eventually import eventually
from tests.fakes.executor import Notary
from tests.fakes.language_model import Reply, ScriptedModel
from tests.integration.executors import StartExecutor

pytestmark = pytest.mark.usefixtures("empty_streams", "store")

USUAL, BETTER = "claude-sonnet-5-5", "claude-haiku-5-5"


def answer(request: CompletionRequest) -> Reply:
    return ProviderError("server", "broken") if request.model == USUAL else "yes"


def order(notary: Notary, domain: str, **step: Any) -> ExecuteRun:
    ask = {"name": "ask", "prompt": "?", "context": "none", **step}
    document = {"name": "asking", "domain": domain, "steps": [ask]}
    return ExecuteRun(run_id=uuid.uuid4().hex, document=document, scope=notary.grant(domain=domain), purpose="trial")


async def ends(bus: Bus, *orders: ExecuteRun) -> list[RunFinished]:
    return [*(await Fleet(bus).run_all(orders, max_in_flight=32, deadline_seconds=30)).values()]


async def selection(bus: Bus, notary: Notary, domain: str) -> dict[str, Any]:
    (run,) = await ends(bus, order(notary, domain, type="claude_smart", preset="production"))
    (step,) = (await bus.ask(GetRun(run_id=run.run_id)))["steps"]
    return {**step["selection"], "status": step["status"]}


async def calls(bus: Bus, domain: str) -> int:
    return sum(each["calls"] for each in (await bus.ask(GetModelRecords(domain=domain)))["records"])


async def test_what_runs_measured_leads_to_the_better_model_and_a_dead_analytics_to_the_presets(
    start_executor: StartExecutor,
    open_bus: OpenBus,
    notary: Notary,
    nats_url: str,
    mongo_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model_records, "KEPT_SECONDS", 0.0)
    monkeypatch.setattr(model_records, "ANSWER_SECONDS", 20.0)  # of this busy machine
    domain = f"domain-{uuid.uuid4().hex[:8]}"
    analytics = create_app(SharedSettings(nats_url=nats_url, mongo_url=SecretStr(mongo_url)))
    await analytics.start()
    try:
        await start_executor(ScriptedModel(answer))
        bus = await open_bus("cli")
        assert (await selection(bus, notary, domain))["status"] == "failed", "nothing is known yet, so the preset's is asked"
        measuring = [order(notary, domain, type="claude", model=model) for model in (USUAL, BETTER) for _ in range(15)]
        await ends(bus, *measuring)
        assert await eventually(lambda: _counted(bus, domain, 31), 20)
        chosen = await selection(bus, notary, domain)
    finally:
        await analytics.stop()
    assert (chosen["model"], chosen["status"]) == (BETTER, "ok")
    assert chosen["reason"] == f"measured better than {USUAL} in this domain: 15/15 against 0/16 calls succeeded"
    (dead,) = await ends(bus, order(notary, domain, type="claude_smart", preset="analysis"))
    (step,) = (await bus.ask(GetRun(run_id=dead.run_id)))["steps"]
    assert (dead.status, step["selection"]["model"]) == ("succeeded", "claude-opus-5-5")
    assert "no record of models: analytics does not answer" in step["selection"]["reason"]


async def _counted(bus: Bus, domain: str, wanted: int) -> bool:
    return await calls(bus, domain) == wanted
