"""Pipelines that do worse lately, from the list of their latest runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

MIN_RUNS = 10
SUCCESS_DROP = 0.1
LATENCY_RISE = 1.5


def degraded_pipelines(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compares the newer half of each pipeline's runs with the older half; `runs` are newest first, as `ListRuns` answers.

    Named are a success rate that fell by 0.1 or more and a median latency that rose by half or more. Fewer than 10 ended runs of a
    pipeline say nothing."""
    by_pipeline: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        if run["status"] != "running":
            by_pipeline[run["pipeline"]].append(run)
    found = [_compared(pipeline, ended) for pipeline, ended in sorted(by_pipeline.items()) if len(ended) >= MIN_RUNS]
    return [each for each in found if each["reasons"]]


def _compared(pipeline: str, ended: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    half = len(ended) // 2
    newer, older = _measures(ended[:half]), _measures(ended[half:])
    reasons = []
    if older["success_rate"] - newer["success_rate"] >= SUCCESS_DROP:
        reasons.append("success_rate")
    if older["latency_p50_seconds"] > 0 and newer["latency_p50_seconds"] >= LATENCY_RISE * older["latency_p50_seconds"]:
        reasons.append("latency")
    return {"pipeline": pipeline, "reasons": reasons, "newer": newer, "older": older}


def _measures(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {
        "runs": len(runs),
        "success_rate": sum(run["status"] == "succeeded" for run in runs) / len(runs),
        "latency_p50_seconds": median(run.get("latency_seconds") or 0.0 for run in runs),
    }
