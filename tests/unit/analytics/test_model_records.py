"""Records of models: counted from the steps of runs, each run once."""

from __future__ import annotations

from typing import Any

from services.analytics.adapters.mongo import MongoAggregateStore
from services.analytics.use_cases import Analytics, Pace, count_run, model_records
from shared.clock import SystemClock
from shared.events.improvement import GetModelRecords
from shared.events.runs import ModelUse, RunFinished, StepFact
from shared.events.values import Usage
from tests.fakes.storage import InMemoryDatabase


def use(model: str, calls: int = 1, successes: int = 1, seconds: float = 0.5, **fields: Any) -> ModelUse:
    usage = Usage(calls=calls, input_tokens=10 * calls, output_tokens=2 * calls, cost_usd=0.01 * calls)
    values = {"family": "claude", "model": model, "provider": "local", "usage": usage, "latency_seconds": seconds * calls}
    return ModelUse.model_validate({**values, "calls": calls, "successes": successes, **fields})


def run(run_id: str, *uses: ModelUse, domain: str = "support", **fields: Any) -> RunFinished:
    step = StepFact(name="s", type="claude", position="s", status="ok", models=uses)
    values = {"pipeline": "p", "digest": "d" * 64, "purpose": "production", "status": "succeeded", "steps": (step,)}
    return RunFinished.model_validate({**values, "run_id": run_id, "domain": domain, **fields})


def analytics() -> Analytics:
    return Analytics(MongoAggregateStore(InMemoryDatabase()), SystemClock(), Pace(0.0))


async def records(at: Analytics, **query: Any) -> dict[str, dict[str, Any]]:
    found = (await model_records(GetModelRecords(**{"domain": "support", **query}), at))["records"]
    return {each["model"]: each for each in found}


async def test_calls_successes_cost_tokens_and_latency_are_counted_by_model_and_domain() -> None:
    at = analytics()
    await count_run(run("a", use("quick", 3, 2), use("strong", seconds=8.0)), at)
    await count_run(run("b", use("quick")), at)
    await count_run(run("c", use("quick"), domain="sales"), at)
    found = await records(at)
    assert list(found) == ["quick", "strong"]
    quick = found["quick"]
    assert (quick["calls"], quick["successes"], quick["tokens"]) == (4, 3, 12)
    assert abs(quick["cost_usd"] - 0.01) < 1e-9
    assert abs(quick["latency_seconds"] / 0.5 - 1) < 0.051
    assert abs(found["strong"]["latency_seconds"] / 8.0 - 1) < 0.051
    assert (await records(at, domain="sales"))["quick"]["calls"] == 1
    assert await records(at, family="gemini") == {}


async def test_a_run_that_is_told_again_counts_once_and_a_retried_one_twice() -> None:
    at = analytics()
    for fact in (run("a", use("m")), run("a", use("m")), run("a", use("m"), retries=1)):
        await count_run(fact, at)
    assert (await records(at))["m"]["calls"] == 2


class _CrashingStore(MongoAggregateStore):
    """Goes down once, between the records of models and the aggregate."""

    crashed = False

    async def add(self, *arguments: Any) -> bool:
        if not self.crashed:
            self.crashed = True
            raise ConnectionError
        return await super().add(*arguments)


async def test_what_a_crash_left_out_is_made_up_for_and_nothing_counts_twice() -> None:
    at = Analytics(_CrashingStore(InMemoryDatabase()), SystemClock(), Pace(0.0))
    fact = run("a", use("m"), use("n"))
    try:
        await count_run(fact, at)
    except ConnectionError:
        await count_run(fact, at)
    assert {model: each["calls"] for model, each in (await records(at)).items()} == {"m": 1, "n": 1}


async def test_the_same_name_at_another_provider_is_another_record() -> None:
    at = analytics()
    await count_run(run("a", use("m"), use("m", provider="anthropic", successes=0)), at)
    found = (await model_records(GetModelRecords(domain="support"), at))["records"]
    assert {(each["provider"], each["successes"]) for each in found} == {("local", 1), ("anthropic", 0)}


async def test_facts_that_name_no_model_or_claim_more_successes_than_calls_do_no_harm() -> None:
    at = analytics()
    await count_run(run("a", use("", successes=0), use("m", 1, 5)), at)
    found = await records(at)
    assert {model: (each["calls"], each["successes"]) for model, each in found.items()} == {"m": (1, 1)}
