"""Metrics of rollouts."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from shared.telemetry.metric import Metric

ROLLOUTS = Metric(
    "evoline_rollouts",
    "gauge",
    "rollouts",
    "Rollouts that are not over; state is ready, running, held, paused or watched, share is shadow or at most so many percent.",
    ("state", "share"),
)
ROLLOUT_DECISIONS = Metric(
    "evoline_rollout_decisions_total",
    "counter",
    "decisions",
    "What rollouts decided: running (begun), step, completed, rolled_back, aborted, close (the watch is over).",
    ("decision",),
)


class RolloutMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._rollouts = ROLLOUTS.gauge(registry)
        self._decisions = ROLLOUT_DECISIONS.counter(registry)

    def decided(self, decision: str) -> None:
        self._decisions.labels(decision).inc()

    def open(self, counts: Mapping[tuple[str, float], int]) -> None:
        """(state, share of the units) -> rollouts; replaces what was told before."""
        self._rollouts.clear()
        for (state, share), count in counts.items():
            self._rollouts.labels(state, _step_of(share)).inc(count)


def _step_of(share: float) -> str:
    """The smallest of the usual steps that is not below: labels are few."""
    return "shadow" if share == 0 else next(f"{step}%" for step in (1, 5, 10, 25, 50, 100) if share <= step / 100)
