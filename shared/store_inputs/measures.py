"""From analytics and the runs themselves: how pipelines do, and how that changed."""

from __future__ import annotations

from typing import Any

from shared.events.answers import reading
from shared.events.improvement import GetReport
from shared.events.runs import ListRuns
from shared.store_inputs.stores import MOST_RUNS, Stores, chosen
from shared.store_inputs.trends import Halves, halves

FEWEST_RUNS = 4
"""Below these a pipeline's two halves say nothing."""
_MEASURED = ("pipeline", "purpose", "runs", "success_rate", "error_rate", "degraded_rate", "latency_p50_seconds")
_SPENT = ("latency_p95_seconds", "input_tokens", "output_tokens", "cost_usd", "bottleneck")


async def metrics(at: Stores) -> dict[str, Any]:
    """Analytics' totals and the aggregates of the pipelines that ran last."""
    report = await at.questions.ask(GetReport(limit=at.most))
    with reading(GetReport):
        rows = [{**chosen(row, *_MEASURED, *_SPENT), **_quality(row)} for row in report.get("pipelines", [])]
        return {"totals": report.get("totals", {}), "pipelines": rows}


async def trend_analysis(at: Stores) -> dict[str, Any]:
    """What changed from the older half of each pipeline's latest runs to the newer half, largest change first."""
    runs = await at.rows(ListRuns(limit=MOST_RUNS), "runs")
    changes = sorted((_change(each) for each in halves(runs, FEWEST_RUNS)), key=_size, reverse=True)
    started = sorted(str(run["started_at"]) for run in runs if run.get("started_at"))
    window = {"since": started[0], "until": started[-1]} if started else {}
    return {"runs": len(runs), **window, "pipelines": changes[: at.most]}


def _quality(row: dict[str, Any]) -> dict[str, Any]:
    quality = row.get("quality")
    return {"quality": {name: quality[name] for name in ("mean", "low", "high", "cases")}} if quality else {}


def _change(of: Halves) -> dict[str, Any]:
    names = ("success_rate", "latency_p50_seconds")
    changed = {f"{name}_change": round(of.newer[name] - of.older[name], 4) for name in names}
    return {"pipeline": of.pipeline, "older": of.older, "newer": of.newer, **changed}


def _size(change: dict[str, Any]) -> float:
    return abs(float(change["success_rate_change"])) + abs(float(change["latency_p50_seconds_change"]))
