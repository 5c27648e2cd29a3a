"""Metrics of budgets. One series a kind of account and resource, never one an account: their names are ids of users' things."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from shared.telemetry.metric import Metric

BUDGET_AMOUNT = Metric(
    "evoline_budget_amount",
    "gauge",
    "of the resource",
    "Today's sums over all accounts of a kind; state is used, reserved or limit. Service is the account's where kind is service.",
    ("kind", "service", "resource", "state"),
)
BUDGET_SHARE = Metric(
    "evoline_budget_full_share",
    "gauge",
    "share",
    "Of the fullest account of a kind, what is used or reserved of its tightest limit.",
    ("kind", "service"),
)
BUDGET_REFUSALS = Metric(
    "evoline_budget_refusals_total", "counter", "refusals", "Searches and leases of production quotas that did not fit.", ("kind",)
)


class BudgetMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._amount = BUDGET_AMOUNT.gauge(registry)
        self._share = BUDGET_SHARE.gauge(registry)
        self._refusals = BUDGET_REFUSALS.counter(registry)

    def refused(self, kind: str) -> None:
        self._refusals.labels(kind).inc()

    def stand(self, amounts: Mapping[tuple[str, str, str, str], float], shares: Mapping[tuple[str, str], float]) -> None:
        """All of today's, by the labels in their order; what is not in it is over."""
        self._amount.clear()
        self._share.clear()
        for labels, amount in amounts.items():
            self._amount.labels(*labels).set(amount)
        for kind, share in shares.items():
            self._share.labels(*kind).set(share)
