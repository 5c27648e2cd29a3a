"""Each pipeline's newer runs beside its older ones. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

UNFINISHED = frozenset(("running", "paused", "waiting"))


@dataclass(frozen=True)
class Halves:
    """`{runs, success_rate, latency_p50_seconds}` of either half."""

    pipeline: str
    older: dict[str, float]
    newer: dict[str, float]


def halves(runs: Sequence[Mapping[str, Any]], fewest: int) -> list[Halves]:
    """Pipelines with at least `fewest` ended runs, by name; `runs` are newest first, as `ListRuns` answers."""
    by_pipeline: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for run in runs:
        if run["status"] not in UNFINISHED:
            by_pipeline[run["pipeline"]].append(run)
    return [_split(pipeline, ended) for pipeline, ended in sorted(by_pipeline.items()) if len(ended) >= fewest]


def _split(pipeline: str, ended: Sequence[Mapping[str, Any]]) -> Halves:
    half = len(ended) // 2
    return Halves(pipeline, older=_measures(ended[half:]), newer=_measures(ended[:half]))


def _measures(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {
        "runs": len(runs),
        "success_rate": sum(run["status"] == "succeeded" for run in runs) / len(runs),
        "latency_p50_seconds": median(run.get("latency_seconds") or 0.0 for run in runs),
    }
