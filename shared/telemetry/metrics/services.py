"""Metrics of every service."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from shared.telemetry.metric import Metric

SERVICE_INFO = Metric("evoline_service_info", "gauge", "1", "Always 1; which service and version this is.", ("service", "version"))
BACKGROUND_BEGUN_AGAIN = Metric(
    "evoline_background_begun_again_total",
    "counter",
    "outages",
    "Work beside the messages that an outage of store or broker ended, and that begins again after a pause.",
    ("work",),
)


class BackgroundMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._begun_again = BACKGROUND_BEGUN_AGAIN.counter(registry)

    def begun_again(self, work: str) -> None:
        self._begun_again.labels(work).inc()
