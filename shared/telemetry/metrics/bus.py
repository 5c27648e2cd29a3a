"""Metrics of messages and answers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from shared.telemetry.metric import SLOW, Metric

BUS_MESSAGES = Metric(
    "evoline_bus_messages_total",
    "counter",
    "deliveries",
    "Deliveries by how they ended: done, retried, dead_lettered, abandoned.",
    ("subject", "outcome"),
)
BUS_HANDLER_SECONDS = Metric(
    "evoline_bus_handler_seconds", "histogram", "seconds", "Delivery to acknowledgement.", ("subject",), SLOW
)
BUS_REDELIVERIES = Metric(
    "evoline_bus_redeliveries_total", "counter", "deliveries", "Deliveries that were not a message's first.", ("subject",)
)
BUS_PUBLISH_SECONDS = Metric(
    "evoline_bus_publish_seconds", "histogram", "seconds", "Publish until stored on disk, retries included.", ("subject",)
)
BUS_PUBLISH_RETRIES = Metric(
    "evoline_bus_publish_retries_total", "counter", "tries", "Publishes that had to be tried again.", ("subject",)
)
BUS_ANSWERS = Metric(
    "evoline_bus_answers_total", "counter", "answers", "Answered queries; code is ok or the error's code.", ("subject", "code")
)
BUS_ANSWER_SECONDS = Metric("evoline_bus_answer_seconds", "histogram", "seconds", "Query to answer.", ("subject",))


class BusMetrics:
    """A `shared.messaging.observer.BusObserver`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._messages = BUS_MESSAGES.counter(registry)
        self._seconds = BUS_HANDLER_SECONDS.histogram(registry)
        self._redeliveries = BUS_REDELIVERIES.counter(registry)
        self._publish_seconds = BUS_PUBLISH_SECONDS.histogram(registry)
        self._publish_retries = BUS_PUBLISH_RETRIES.counter(registry)
        self._answers = BUS_ANSWERS.counter(registry)
        self._answer_seconds = BUS_ANSWER_SECONDS.histogram(registry)

    def handled(self, subject: str, outcome: str, seconds: float) -> None:
        self._messages.labels(subject, outcome).inc()
        self._seconds.labels(subject).observe(seconds)

    def redelivered(self, subject: str) -> None:
        self._redeliveries.labels(subject).inc()

    def published(self, subject: str, seconds: float) -> None:
        self._publish_seconds.labels(subject).observe(seconds)

    def publish_retried(self, subject: str) -> None:
        self._publish_retries.labels(subject).inc()

    def answered(self, subject: str, code: str, seconds: float) -> None:
        self._answers.labels(subject, code).inc()
        self._answer_seconds.labels(subject).observe(seconds)
