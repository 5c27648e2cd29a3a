from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.analytics.adapters.mongo import MongoAggregateStore
from services.analytics.domain import bucket_of, bucket_seconds, quantile
from services.analytics.use_cases import Analytics, Pace, count_run, note_measurement, note_score, report
from shared.clock import SystemClock
from shared.events.datasets import PipelinesMeasured
from shared.events.improvement import GetReport, PipelineMeasured, PipelineScored
from shared.events.runs import RunFinished, StepFact
from shared.events.values import Score, Usage
from tests.fakes.storage import InMemoryDatabase

DIGEST = "d" * 64


def run(run_id: str, status: str = "succeeded", seconds: float = 0.2, **changes: Any) -> RunFinished:
    step = StepFact(name="classify", type="claude", position="classify", status="ok", provider="local", latency_seconds=seconds)
    fields = {
        "run_id": run_id,
        "pipeline": "p",
        "digest": DIGEST,
        "domain": "d",
        "purpose": "production",
        "status": status,
        "latency_seconds": seconds,
        "usage": Usage(calls=1, input_tokens=10, output_tokens=2),
        "steps": (step,),
    }
    return RunFinished.model_validate({**fields, **changes})


def analytics() -> Analytics:
    return Analytics(MongoAggregateStore(InMemoryDatabase()), SystemClock(), Pace(0.0))


def score(mean: float, cases: int) -> Score:
    return Score(mean=mean, low=0, high=1, cases=cases, grader_hash="g")


async def rows(at: Analytics) -> list[dict[str, Any]]:
    return list((await report(GetReport(), at))["pipelines"])


async def test_two_successes_are_counted_as_two() -> None:
    at = analytics()
    for run_id in ("a", "b"):
        await count_run(run(run_id), at)
    (row,) = await rows(at)
    assert (row["runs"], row["success_rate"], row["input_tokens"]) == (2, 1.0, 20)


async def test_a_redelivered_run_is_counted_once() -> None:
    at = analytics()
    assert await count_run(run("a"), at)
    assert not await count_run(run("a"), at)
    assert (await rows(at))[0]["runs"] == 1


async def test_a_replayed_run_measures_nothing() -> None:
    at = analytics()
    assert not await count_run(run("a", replayed=True), at)
    assert await rows(at) == []


async def test_a_degraded_run_is_not_a_success() -> None:
    at = analytics()
    await count_run(run("a", "degraded"), at)
    await count_run(run("b", "failed"), at)
    (row,) = await rows(at)
    assert (row["success_rate"], row["degraded_rate"], row["error_rate"]) == (0.0, 0.5, 0.5)


async def test_the_bottleneck_is_the_step_with_most_of_the_time() -> None:
    at = analytics()
    steps = tuple(
        StepFact(name=name, type="claude", position=name, status="ok", latency_seconds=seconds)
        for name, seconds in (("quick", 0.1), ("slow", 0.9))
    )
    await count_run(run("a", steps=steps), at)
    assert (await rows(at))[0]["bottleneck"] == "slow"


async def test_a_sealed_measurement_beats_a_larger_trial() -> None:
    at = analytics()
    await count_run(run("a"), at)
    scored = PipelineScored(pipeline="p", digest=DIGEST, domain="d", purpose="trial", score=score(0.9, 500), document={})
    await note_score(scored, at)
    await note_measurement(
        PipelinesMeasured(measure_id="m", dataset_id="d", scores={"x": score(0.6, 50)}, digests={"x": DIGEST}), at
    )
    await note_score(scored, at)
    assert (await rows(at))[0]["quality"]["mean"] == 0.6


async def test_measured_facts_are_paced() -> None:
    at = Analytics(MongoAggregateStore(InMemoryDatabase()), SystemClock(), Pace(3600.0))
    first, second = await count_run(run("a"), at), await count_run(run("b"), at)
    assert isinstance(first[0][1], PipelineMeasured)
    assert second == []


@given(st.floats(0.0002, 10_000))
def test_a_bucket_holds_its_latency_within_five_percent(seconds: float) -> None:
    assert abs(bucket_seconds(bucket_of(seconds)) / seconds - 1) < 0.051


def test_quantiles_of_no_runs_are_zero() -> None:
    assert quantile({}, 0.95) == 0.0
