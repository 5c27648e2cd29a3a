"""Metrics of runs and their steps."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from shared.telemetry.metric import FAST, SLOW, Metric

RUNS = Metric("evoline_runs_total", "counter", "runs", "Ended runs.", ("purpose", "status"))
RUN_SECONDS = Metric("evoline_run_seconds", "histogram", "seconds", "Claim to end of a run.", ("purpose",), SLOW)
RUN_QUEUED_SECONDS = Metric(
    "evoline_run_queued_seconds", "histogram", "seconds", "Command stored to run claimed.", ("purpose",), (*FAST, 30.0, 60.0)
)
RUNS_IN_FLIGHT = Metric("evoline_runs_in_flight", "gauge", "runs", "Runs that this executor holds.")
RUN_TAKEOVERS = Metric("evoline_run_takeovers_total", "counter", "runs", "Runs taken over from an executor that is gone.")
STEPS = Metric("evoline_steps_total", "counter", "steps", "Executed steps.", ("type", "status"))
STEP_SECONDS = Metric("evoline_step_seconds", "histogram", "seconds", "Duration of a step, retries included.", ("type",), SLOW)


class RunMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._runs = RUNS.counter(registry)
        self._seconds = RUN_SECONDS.histogram(registry)
        self._queued = RUN_QUEUED_SECONDS.histogram(registry)
        self._takeovers = RUN_TAKEOVERS.counter(registry)
        self._steps = STEPS.counter(registry)
        self._step_seconds = STEP_SECONDS.histogram(registry)
        self.in_flight = RUNS_IN_FLIGHT.gauge(registry)

    def finished(self, purpose: str, status: str, seconds: float) -> None:
        self._runs.labels(purpose, status).inc()
        self._seconds.labels(purpose).observe(seconds)

    def claimed(self, purpose: str, queued_seconds: float) -> None:
        self._queued.labels(purpose).observe(queued_seconds)

    def taken_over(self) -> None:
        self._takeovers.inc()

    def step(self, step_type: str, status: str, seconds: float) -> None:
        self._steps.labels(step_type, status).inc()
        self._step_seconds.labels(step_type).observe(seconds)
