"""Metrics of what generates, searches and learns."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from shared.telemetry.metric import SLOW, Metric

GENERATION_SECONDS = Metric(
    "evoline_generation_seconds", "histogram", "seconds", "Request to verdict of a generated pipeline.", ("outcome",), SLOW
)
CANDIDATES = Metric("evoline_candidates_total", "counter", "candidates", "Candidates of requests.", ("strategy", "outcome"))
EVOLUTION_EVALUATIONS = Metric(
    "evoline_evolution_evaluations_total",
    "counter",
    "evaluations",
    "Runs of a candidate on one case; outcome is run, cached or failed.",
    ("strategy", "outcome"),
)
EVOLUTIONS = Metric("evoline_evolutions_total", "counter", "searches", "Ended searches.", ("strategy", "verdict"))
EVOLUTION_GAIN = Metric(
    "evoline_evolution_gain_points", "gauge", "points", "Gain of the last certified change, in points of 100.", ("strategy",)
)
PATTERNS_MINED = Metric("evoline_patterns_mined", "gauge", "patterns", "Patterns found by the last mining.")
TEMPLATES_LEARNED = Metric("evoline_templates_learned_total", "counter", "templates", "Learned templates that were approved.")


class GenerationMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = GENERATION_SECONDS.histogram(registry)
        self._candidates = CANDIDATES.counter(registry)

    def finished(self, outcome: str, seconds: float) -> None:
        self._seconds.labels(outcome).observe(seconds)

    def candidate(self, strategy: str, outcome: str) -> None:
        self._candidates.labels(strategy, outcome).inc()


class EvolutionMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._evaluations = EVOLUTION_EVALUATIONS.counter(registry)
        self._searches = EVOLUTIONS.counter(registry)
        self._gain = EVOLUTION_GAIN.gauge(registry)

    def evaluated(self, strategy: str, outcome: str, count: int = 1) -> None:
        self._evaluations.labels(strategy, outcome).inc(count)

    def finished(self, strategy: str, verdict: str) -> None:
        self._searches.labels(strategy, verdict).inc()

    def certified(self, strategy: str, gain: float) -> None:
        """`gain` is a difference of mean scores in [-1, 1]."""
        self._gain.labels(strategy).set(100.0 * gain)


class LearningMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.patterns_mined = PATTERNS_MINED.gauge(registry)
        self._templates = TEMPLATES_LEARNED.counter(registry)

    def template_learned(self) -> None:
        self._templates.inc()
