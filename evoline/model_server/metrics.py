"""What the model server counts, as Prometheus text."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from evoline.model_server.chat import Spent
from evoline.model_server.slots import SlotPool

SECONDS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


class ModelServerMetrics:
    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._calls = Counter(
            "evoline_model_calls", "Calls by wire format and outcome", ("format", "outcome"), registry=self._registry
        )
        self._seconds = Histogram(
            "evoline_model_call_seconds", "From request to whole answer, waiting included", buckets=SECONDS, registry=self._registry
        )
        self._tokens = Counter(
            "evoline_model_tokens", "Tokens by kind: evaluated, cached, generated", ("kind",), registry=self._registry
        )
        self._busy = Gauge("evoline_model_slots_busy", "Slots that generate now", registry=self._registry)
        self._waiting = Gauge("evoline_model_calls_waiting", "Calls that wait for a slot", registry=self._registry)

    def watch(self, slots: SlotPool) -> None:
        self._busy.set_function(lambda: slots.busy)
        self._waiting.set_function(lambda: slots.waiting)

    def ended(self, wire_format: str, outcome: str, seconds: float) -> None:
        """`outcome`: ok, disconnected, or why the call was refused."""
        self._calls.labels(wire_format, outcome).inc()
        self._seconds.observe(seconds)

    def spent(self, spent: Spent) -> None:
        self._tokens.labels("evaluated").inc(spent.input_tokens - spent.cached_tokens)
        self._tokens.labels("cached").inc(spent.cached_tokens)
        self._tokens.labels("generated").inc(spent.output_tokens)

    def text(self) -> bytes:
        return generate_latest(self._registry)
