"""Metrics of realised gain. Strategies are a small closed set of names; others are told as `other`."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from shared.telemetry.metric import Metric

STRATEGY_GAIN = Metric(
    "evoline_strategy_gain_points",
    "gauge",
    "points",
    "Mean gain of promotions whose production runs were scored, by the strategy that found them; kind is claimed or realised.",
    ("strategy", "kind"),
)
REALISED_CLAIMS = Metric(
    "evoline_realised_claims",
    "gauge",
    "promotions",
    "Promotions by what production shows of their claim: confirmed, contradicted, undecided, no_data (no zero gain).",
    ("outcome",),
)
OUTCOMES = ("confirmed", "contradicted", "undecided", "no_data")


class GainMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._gain = STRATEGY_GAIN.gauge(registry)
        self._claims = REALISED_CLAIMS.gauge(registry)

    def stand(self, points: Mapping[tuple[str, str], float], outcomes: Mapping[str, int]) -> None:
        """All of them; a strategy without data has no series."""
        self._gain.clear()
        for labels, value in points.items():
            self._gain.labels(*labels).set(value)
        for outcome in OUTCOMES:
            self._claims.labels(outcome).set(outcomes.get(outcome, 0))
