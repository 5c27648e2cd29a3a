"""`Gauges` and `OversightGauges` on Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from shared.telemetry.metrics import AuditMetrics, ChangeMetrics, OversightMetrics, RolloutMetrics
from shared.telemetry.metrics.budgets import BudgetMetrics


class PrometheusGauges:
    def __init__(self, metrics: ChangeMetrics, audit: AuditMetrics, budgets: BudgetMetrics, rollouts: RolloutMetrics) -> None:
        self._metrics = metrics
        self._audit = audit
        self._budgets = budgets
        self._rollouts = rollouts

    def judged(self, kind: str, verdict: str, seconds: float) -> None:
        self._metrics.judged(kind, verdict, seconds)

    def rolled_back(self) -> None:
        self._metrics.rolled_back()

    def reviews_waiting(self, count: int) -> None:
        self._metrics.reviews_waiting.set(count)

    def audit_checked(self, *, size: int, faults: int) -> None:
        self._audit.entries.set(size)
        self._audit.faults.set(faults)

    def audit_late(self, count: int) -> None:
        self._audit.late.set(count)

    def checkpointed(self, moment: datetime) -> None:
        self._audit.checkpoint_time.set(moment.timestamp())

    def quarantined(self, revisions: int) -> None:
        self._metrics.quarantined(revisions)

    def frozen(self, count: int) -> None:
        self._metrics.freezes.set(count)

    def changes_held(self, count: int) -> None:
        self._metrics.held.set(count)

    def budget_refused(self, kind: str) -> None:
        self._budgets.refused(kind)

    def budgets_stand(self, amounts: Mapping[tuple[str, str, str, str], float], shares: Mapping[tuple[str, str], float]) -> None:
        self._budgets.stand(amounts, shares)

    def rollout_decided(self, decision: str) -> None:
        self._rollouts.decided(decision)

    def rollouts_open(self, counts: Mapping[tuple[str, float], int]) -> None:
        self._rollouts.open(counts)


class PrometheusOversight:
    def __init__(self, metrics: OversightMetrics) -> None:
        self._metrics = metrics

    def said(self, decision: str) -> None:
        self._metrics.said(decision)

    def glass(self, outcome: str) -> None:
        self._metrics.glass(outcome)

    def glass_open(self, count: int) -> None:
        self._metrics.glass_open.set(count)
