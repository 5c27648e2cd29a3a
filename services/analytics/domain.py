"""Online aggregates of runs: counts, token sums, and latency quantiles from logarithmic buckets. Pure.

A run becomes one increment (`increments`), applied to the stored aggregate by one atomic update; a report reads the aggregate back.
Buckets grow by 10%, so a quantile is right within 5% however many runs there were (as in HDR and DDSketch histograms)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.events.improvement import PipelineMeasured
from shared.events.runs import ModelUse, RunFinished, StepFact
from shared.events.values import Score

GROWTH = 1.1
SMALLEST_SECONDS = 0.0001


def bucket_of(seconds: float) -> str:
    """Name of the bucket that holds a latency; negative and tiny ones share the first."""
    return f"b{max(0, math.ceil(math.log(max(seconds, SMALLEST_SECONDS) / SMALLEST_SECONDS, GROWTH)))}"


def bucket_seconds(name: str) -> float:
    """Middle of the bucket in seconds (geometric)."""
    return float(SMALLEST_SECONDS * GROWTH ** (int(name[1:]) - 0.5))


def quantile(buckets: Mapping[str, int], q: float) -> float:
    """Latency below which the share `q` of the runs lies, in seconds; 0 without runs."""
    total = sum(buckets.values())
    seen = 0
    for name in sorted(buckets, key=lambda bucket: int(bucket[1:])):
        seen += buckets[name]
        if seen >= q * total:
            return bucket_seconds(name)
    return 0.0


def aggregate_id(pipeline: str, digest: str, purpose: str) -> str:
    return f"{pipeline}|{digest}|{purpose}"


def increments(run: RunFinished) -> dict[str, float]:
    """What one finished run adds to its aggregate: dotted field -> amount."""
    added: dict[str, float] = {
        "runs": 1,
        f"status.{run.status}": 1,
        f"latency.{bucket_of(run.latency_seconds)}": 1,
        "latency_sum": run.latency_seconds,
        "queued_sum": run.queued_seconds,
        "resumed": run.resumed,
        "calls": run.usage.calls,
        "input_tokens": run.usage.input_tokens,
        "cached_input_tokens": run.usage.cached_input_tokens,
        "output_tokens": run.usage.output_tokens,
        "cost_usd": run.usage.cost_usd,
    }
    if run.error_code:
        added[f"errors.{_field(run.error_code)}"] = 1
    for step in run.steps:
        for name, amount in _step_increments(step).items():
            added[name] = added.get(name, 0) + amount
    return {name: amount for name, amount in added.items() if amount}


def _step_increments(step: StepFact) -> dict[str, float]:
    prefix = f"steps.{_field(step.name)}"
    tokens = step.usage.input_tokens + step.usage.output_tokens
    added: dict[str, float] = {
        f"{prefix}.executions": 1,
        f"{prefix}.latency_sum": step.latency_seconds,
        f"{prefix}.tokens": tokens,
        f"{prefix}.attempts": step.attempts,
        f"{prefix}.status.{step.status}": 1,
    }
    if step.provider:
        added[f"providers.{_field(step.provider)}.calls"] = step.usage.calls
        added[f"providers.{_field(step.provider)}.tokens"] = tokens
        added[f"providers.{_field(step.provider)}.latency_sum"] = step.latency_seconds
    return added


ModelKey = tuple[str, str, str]
"""Family, provider, model as it is asked for."""


def model_increments(run: RunFinished) -> dict[ModelKey, dict[str, float]]:
    """What one finished run adds to the records of the models that its steps called. Calls that no model can be named for, because
    none was asked for by name and none answered, count nowhere."""
    added: dict[ModelKey, defaultdict[str, float]] = {}
    for use in (use for step in run.steps for use in step.models if use.model):
        amounts = added.setdefault((use.family, use.provider, use.model), defaultdict(float))
        for name, amount in _use_increments(use).items():
            amounts[name] += amount
    return {key: {name: amount for name, amount in amounts.items() if amount} for key, amounts in added.items()}


def _use_increments(use: ModelUse) -> dict[str, float]:
    """Of several calls in one step only the mean latency is known: it counts for each of them."""
    return {
        "calls": use.calls,
        "successes": min(use.successes, use.calls),
        f"latency.{bucket_of(use.latency_seconds / use.calls)}": use.calls,
        "latency_sum": use.latency_seconds,
        "tokens": use.usage.input_tokens + use.usage.output_tokens,
        "cost_usd": use.usage.cost_usd,
    }


def model_id(domain: str, key: ModelKey) -> str:
    return "|".join((domain, *key))


def model_record(counters: Mapping[str, Any]) -> dict[str, Any]:
    """One stored record as `GetModelRecords` answers it."""
    calls = int(counters["calls"])
    return {
        **{name: counters[name] for name in ("family", "provider", "model")},
        "calls": calls,
        "successes": int(counters.get("successes", 0)),
        "latency_seconds": quantile(counters.get("latency", {}), 0.5),
        "latency_p95_seconds": quantile(counters.get("latency", {}), 0.95),
        "cost_usd": counters.get("cost_usd", 0.0) / calls,
        "tokens": counters.get("tokens", 0) / calls,
    }


def _field(text: str) -> str:
    """A document field name: dots and dollars would be read as paths."""
    return text.replace(".", "_").replace("$", "_")[:80] or "none"


@dataclass(frozen=True)
class Aggregate:
    """The stored counters of one revision under one purpose."""

    counters: Mapping[str, Any]

    @property
    def runs(self) -> int:
        return int(self.counters.get("runs", 0))

    def rate(self, *statuses: str) -> float:
        found = self.counters.get("status", {})
        return sum(found.get(status, 0) for status in statuses) / self.runs if self.runs else 0.0

    def measured(self, quality: Score | None) -> PipelineMeasured:
        latency = self.counters.get("latency", {})
        return PipelineMeasured(
            pipeline=self.counters["pipeline"],
            digest=self.counters["digest"],
            purpose=self.counters["purpose"],
            runs=self.runs,
            success_rate=self.rate("succeeded"),
            error_rate=self.rate("failed", "refused"),
            degraded_rate=self.rate("degraded"),
            latency_p50_seconds=quantile(latency, 0.5),
            latency_p95_seconds=quantile(latency, 0.95),
            input_tokens=int(self.counters.get("input_tokens", 0)),
            output_tokens=int(self.counters.get("output_tokens", 0)),
            cost_usd=float(self.counters.get("cost_usd", 0.0)),
            quality=quality,
        )

    def report(self, quality: Score | None) -> dict[str, Any]:
        """`PipelineMeasured` with the steps, providers, errors and the bottleneck behind it."""
        steps = self._steps()
        return {
            **self.measured(quality).model_dump(mode="json"),
            "calls": int(self.counters.get("calls", 0)),
            "cached_input_tokens": int(self.counters.get("cached_input_tokens", 0)),
            "queued_mean_seconds": self.counters.get("queued_sum", 0.0) / self.runs if self.runs else 0.0,
            "resumed": int(self.counters.get("resumed", 0)),
            "errors": dict(self.counters.get("errors", {})),
            "providers": dict(self.counters.get("providers", {})),
            "steps": steps,
            "bottleneck": max(steps, key=lambda step: step["share_of_latency"])["name"] if steps else None,
        }

    def _steps(self) -> list[dict[str, Any]]:
        steps = self.counters.get("steps", {})
        total = sum(step.get("latency_sum", 0.0) for step in steps.values()) or 1.0
        return [
            {
                "name": name,
                "executions": step["executions"],
                "latency_mean_seconds": step.get("latency_sum", 0.0) / step["executions"],
                "share_of_latency": step.get("latency_sum", 0.0) / total,
                "tokens_mean": step.get("tokens", 0) / step["executions"],
                "attempts_mean": step.get("attempts", 0) / step["executions"],
                "status": step.get("status", {}),
            }
            for name, step in steps.items()
        ]
