"""A run or a score comes in; what is known about its revision changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from services.analytics.domain import Aggregate, aggregate_id, increments, model_id, model_increments, model_record
from services.analytics.ports import AggregateStore
from shared.clock import Clock
from shared.events.datasets import PipelinesMeasured
from shared.events.improvement import GetModelRecords, GetReport, PipelineScored
from shared.events.message import Message
from shared.events.runs import RunFinished

Effects = list[tuple[str, Message]]


@dataclass
class Pace:
    """Holds `PipelineMeasured` to one a second and revision; a skipped one is made up for by the next run's."""

    interval_seconds: float = 1.0
    _last: dict[str, float] = field(default_factory=dict)

    def due(self, key: str, now: float) -> bool:
        if now - self._last.get(key, float("-inf")) < self.interval_seconds:
            return False
        self._last[key] = now
        return True


@dataclass(frozen=True)
class Analytics:
    store: AggregateStore
    clock: Clock
    pace: Pace


async def count_run(run: RunFinished, at: Analytics) -> Effects:
    if run.replayed or run.faulted:
        return []  # a recording of another run measures nothing
    if not run.digest:
        return []  # refused before any revision was found: nothing to count it under
    # Each record counts a run once: a fact that is delivered again makes up for what a crash left out.
    for model, amounts in model_increments(run).items():
        names = dict(zip(("family", "provider", "model"), model, strict=True))
        await at.store.add_model(model_id(run.domain, model), {"domain": run.domain, **names}, run.end_id, amounts)
    key = aggregate_id(run.pipeline, run.digest, run.purpose)
    labels = {"pipeline": run.pipeline, "digest": run.digest, "purpose": run.purpose, "domain": run.domain}
    if not await at.store.add(key, labels, run.end_id, increments(run)):
        return []
    if not at.pace.due(key, at.clock.monotonic()):
        return []
    counters = await at.store.get(key)
    return [("measured", Aggregate(counters).measured(await at.store.quality(run.digest)))] if counters else []


async def note_score(fact: PipelineScored, at: Analytics) -> Effects:
    await at.store.set_quality(fact.digest, fact.score, fact.purpose)
    return []


async def note_measurement(fact: PipelinesMeasured, at: Analytics) -> Effects:
    for label, score in fact.scores.items():
        if label in fact.digests:
            await at.store.set_quality(fact.digests[label], score, "sealed")
    return []


async def model_records(query: GetModelRecords, at: Analytics) -> dict[str, Any]:
    found = await at.store.models(domain=query.domain, family=query.family, limit=query.limit)
    return {"domain": query.domain, "records": [model_record(counters) for counters in found]}


async def report(query: GetReport, at: Analytics) -> dict[str, Any]:
    aggregates = await at.store.select(pipeline=query.pipeline, purpose=query.purpose, limit=query.limit)
    rows = [Aggregate(counters).report(await at.store.quality(counters["digest"])) for counters in aggregates]
    totals = {name: sum(row[name] for row in rows) for name in ("runs", "calls", "input_tokens", "output_tokens", "cost_usd")}
    return {"pipelines": rows, "totals": totals}
