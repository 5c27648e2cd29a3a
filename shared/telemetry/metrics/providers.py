"""Metrics of calls to models."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from shared.telemetry.metric import FAST, SLOW, Metric

PROVIDER_CALLS = Metric(
    "evoline_provider_calls_total",
    "counter",
    "calls",
    "Attempts at a model; outcome is ok or the error's kind.",
    ("provider", "model", "outcome"),
)
PROVIDER_SECONDS = Metric(
    "evoline_provider_call_seconds", "histogram", "seconds", "Duration of one attempt.", ("provider", "model"), SLOW
)
PROVIDER_TOKENS = Metric(
    "evoline_provider_tokens_total",
    "counter",
    "tokens",
    "Tokens; direction is input (cached ones included), cached_input or output.",
    ("provider", "model", "direction"),
)
PROVIDER_COST = Metric(
    "evoline_provider_cost_usd_total", "counter", "US dollars", "Cost by the price table.", ("provider", "model")
)
PROVIDER_WAIT_SECONDS = Metric(
    "evoline_provider_wait_seconds",
    "histogram",
    "seconds",
    "Asked for a call to permitted: slots, limits, pauses, turns of other tenants. Model is the limit's; * for all.",
    ("provider", "model"),
    (*FAST, 30.0, 60.0),
)
PROVIDER_NOT_PERMITTED = Metric(
    "evoline_provider_not_permitted_total",
    "counter",
    "calls",
    "Calls that were given up before they were made; reason is late, paused or unavailable.",
    ("provider", "model", "reason"),
)
PROVIDER_PAUSES = Metric(
    "evoline_provider_pauses_total", "counter", "pauses", "Answers that asked for a pause (Retry-After).", ("provider", "model")
)


@dataclass(frozen=True)
class Tokens:
    """`input` includes the cached ones."""

    input: int = 0
    cached_input: int = 0
    output: int = 0


class ProviderMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._calls = PROVIDER_CALLS.counter(registry)
        self._seconds = PROVIDER_SECONDS.histogram(registry)
        self._tokens = PROVIDER_TOKENS.counter(registry)
        self._cost = PROVIDER_COST.counter(registry)
        self._waits = PROVIDER_WAIT_SECONDS.histogram(registry)
        self._not_permitted = PROVIDER_NOT_PERMITTED.counter(registry)
        self._pauses = PROVIDER_PAUSES.counter(registry)

    def called(self, provider: str, model: str, outcome: str, seconds: float) -> None:
        self._calls.labels(provider, model, outcome).inc()
        self._seconds.labels(provider, model).observe(seconds)

    def waited(self, provider: str, model: str, seconds: float) -> None:
        self._waits.labels(provider, model).observe(seconds)

    def not_permitted(self, provider: str, model: str, reason: str) -> None:
        self._not_permitted.labels(provider, model, reason).inc()

    def paused(self, provider: str, model: str) -> None:
        self._pauses.labels(provider, model).inc()

    def used(self, provider: str, model: str, tokens: Tokens, cost_usd: float) -> None:
        for direction in ("input", "cached_input", "output"):
            self._tokens.labels(provider, model, direction).inc(getattr(tokens, direction))
        self._cost.labels(provider, model).inc(cost_usd)
