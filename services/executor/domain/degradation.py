"""Pipelines that do worse lately, from the list of their latest runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.store_inputs.trends import Halves, halves

MIN_RUNS = 10
SUCCESS_DROP = 0.1
LATENCY_RISE = 1.5


def degraded_pipelines(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Compares the newer half of each pipeline's runs with the older half; `runs` are newest first, as `ListRuns` answers.

    Named are a success rate that fell by 0.1 or more and a median latency that rose by half or more. Fewer than 10 ended runs of a
    pipeline say nothing."""
    found = [_compared(each) for each in halves(runs, MIN_RUNS)]
    return [each for each in found if each["reasons"]]


def _compared(of: Halves) -> dict[str, Any]:
    newer, older = of.newer, of.older
    reasons = []
    if older["success_rate"] - newer["success_rate"] >= SUCCESS_DROP:
        reasons.append("success_rate")
    if older["latency_p50_seconds"] > 0 and newer["latency_p50_seconds"] >= LATENCY_RISE * older["latency_p50_seconds"]:
        reasons.append("latency")
    return {"pipeline": of.pipeline, "reasons": reasons, "newer": newer, "older": older}
