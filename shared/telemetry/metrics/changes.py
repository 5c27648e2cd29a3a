"""Metrics of changes: judged, taken back, frozen, reviewed by people, and on record."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from shared.telemetry.metric import Metric

CHANGES = Metric("evoline_changes_total", "counter", "changes", "Judged changes.", ("kind", "verdict"))
CHANGE_SECONDS = Metric("evoline_change_decision_seconds", "histogram", "seconds", "Proposal to verdict or queue.", ("kind",))
REVIEWS_WAITING = Metric("evoline_reviews_waiting", "gauge", "changes", "Changes that wait for people.")
FREEZES = Metric("evoline_freezes", "gauge", "freezes", "Freezes that stand: nothing changes within their scope.")
CHANGES_HELD = Metric("evoline_changes_held", "gauge", "changes", "Proposals that wait for the end of a freeze, 200 at most.")
QUARANTINES = Metric(
    "evoline_quarantines_total", "counter", "revisions", "Revisions that were taken out of use, descendants included."
)
ROLLBACKS = Metric("evoline_rollbacks_total", "counter", "rollbacks", "Deployments taken back.")
AUDIT_ENTRIES = Metric("evoline_audit_entries", "gauge", "entries", "Decisions in the audit log.")
AUDIT_FAULTS = Metric("evoline_audit_faults", "gauge", "faults", "What does not fit in the audit log; above 0 nothing is decided.")
AUDIT_LATE = Metric(
    "evoline_audit_late_entries",
    "gauge",
    "entries",
    "Freezes, rollbacks and quarantines done while the audit log was not sound, which it has not taken up yet.",
)
AUDIT_CHECKPOINT_TIME = Metric(
    "evoline_audit_checkpoint_timestamp_seconds",
    "gauge",
    "seconds since 1970",
    "When a signed checkpoint was last made, or found to cover the whole audit log still.",
)
REVIEW_DECISIONS = Metric(
    "evoline_review_decisions_total",
    "counter",
    "decisions",
    "What people said that counts: approve, deny, request_changes, comment.",
    ("decision",),
)
BREAK_GLASS = Metric(
    "evoline_break_glass_total",
    "counter",
    "approvals",
    "Approvals by one person in an emergency, by what became of them: broken, confirmed, rejected, lapsed.",
    ("outcome",),
)
BREAK_GLASS_OPEN = Metric(
    "evoline_break_glass_open", "gauge", "approvals", "Approvals in an emergency that nobody confirmed or took back yet."
)


class ChangeMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._changes = CHANGES.counter(registry)
        self._seconds = CHANGE_SECONDS.histogram(registry)
        self.reviews_waiting = REVIEWS_WAITING.gauge(registry)
        self._rollbacks = ROLLBACKS.counter(registry)
        self._quarantines = QUARANTINES.counter(registry)
        self.freezes = FREEZES.gauge(registry)
        self.held = CHANGES_HELD.gauge(registry)

    def judged(self, kind: str, verdict: str, seconds: float) -> None:
        self._changes.labels(kind, verdict).inc()
        self._seconds.labels(kind).observe(seconds)

    def rolled_back(self) -> None:
        self._rollbacks.inc()

    def quarantined(self, revisions: int) -> None:
        self._quarantines.inc(revisions)


class AuditMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.entries = AUDIT_ENTRIES.gauge(registry)
        self.faults = AUDIT_FAULTS.gauge(registry)
        self.late = AUDIT_LATE.gauge(registry)
        self.checkpoint_time = AUDIT_CHECKPOINT_TIME.gauge(registry)


class OversightMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._decisions = REVIEW_DECISIONS.counter(registry)
        self._glass = BREAK_GLASS.counter(registry)
        self.glass_open = BREAK_GLASS_OPEN.gauge(registry)

    def said(self, decision: str) -> None:
        self._decisions.labels(decision).inc()

    def glass(self, outcome: str) -> None:
        self._glass.labels(outcome).inc()
