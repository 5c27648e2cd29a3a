"""`GainGauges` on Prometheus."""

from __future__ import annotations

from collections.abc import Mapping

from shared.telemetry.metrics.gains import GainMetrics


class PrometheusGains:
    def __init__(self, metrics: GainMetrics) -> None:
        self._metrics = metrics

    def gains(self, points: Mapping[tuple[str, str], float], outcomes: Mapping[str, int]) -> None:
        self._metrics.stand(points, outcomes)
