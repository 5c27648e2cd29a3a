"""`Gauges` on Prometheus."""

from __future__ import annotations

from shared.telemetry.metrics import ChangeMetrics


class PrometheusGauges:
    def __init__(self, metrics: ChangeMetrics) -> None:
        self._metrics = metrics

    def judged(self, kind: str, verdict: str, seconds: float) -> None:
        self._metrics.judged(kind, verdict, seconds)

    def rolled_back(self) -> None:
        self._metrics.rolled_back()

    def reviews_waiting(self, count: int) -> None:
        self._metrics.reviews_waiting.set(count)
