"""Every metric of the system: name, unit, meaning, labels. Labels hold no ids, only small closed sets of values.

Instruments are made on a registry that the caller gives; each class is what one part of a service reports to. Durations are in
seconds, sizes in bytes, money in US dollars, shares in [0, 1].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from shared.telemetry.budget_metrics import BUDGETS, BudgetMetrics
from shared.telemetry.gain_metrics import GAINS, GainMetrics
from shared.telemetry.metric import FAST, Metric

SLOW = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Buckets of what a model or a search does, in seconds."""


SERVICE_INFO = Metric("evoline_service_info", "gauge", "1", "Always 1; which service and version this is.", ("service", "version"))

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

RUNS = Metric("evoline_runs_total", "counter", "runs", "Ended runs.", ("purpose", "status"))
RUN_SECONDS = Metric("evoline_run_seconds", "histogram", "seconds", "Claim to end of a run.", ("purpose",), SLOW)
RUN_QUEUED_SECONDS = Metric(
    "evoline_run_queued_seconds", "histogram", "seconds", "Command stored to run claimed.", ("purpose",), (*FAST, 30.0, 60.0)
)
RUNS_IN_FLIGHT = Metric("evoline_runs_in_flight", "gauge", "runs", "Runs that this executor holds.")
RUN_TAKEOVERS = Metric("evoline_run_takeovers_total", "counter", "runs", "Runs taken over from an executor that is gone.")
STEPS = Metric("evoline_steps_total", "counter", "steps", "Executed steps.", ("type", "status"))
STEP_SECONDS = Metric("evoline_step_seconds", "histogram", "seconds", "Duration of a step, retries included.", ("type",), SLOW)

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

CHANGES = Metric("evoline_changes_total", "counter", "changes", "Judged changes.", ("kind", "verdict"))
CHANGE_SECONDS = Metric("evoline_change_decision_seconds", "histogram", "seconds", "Proposal to verdict or queue.", ("kind",))
REVIEWS_WAITING = Metric("evoline_reviews_waiting", "gauge", "changes", "Changes that wait for people.")
FREEZES = Metric("evoline_freezes", "gauge", "freezes", "Freezes that stand: nothing changes within their scope.")
CHANGES_HELD = Metric("evoline_changes_held", "gauge", "changes", "Proposals that wait for the end of a freeze, 200 at most.")
QUARANTINES = Metric(
    "evoline_quarantines_total", "counter", "revisions", "Revisions that were taken out of use, descendants included."
)
ROLLBACKS = Metric("evoline_rollbacks_total", "counter", "rollbacks", "Deployments taken back.")
ROLLOUTS = Metric(
    "evoline_rollouts",
    "gauge",
    "rollouts",
    "Rollouts that are not over; state is ready, running, held, paused or watched, share is shadow or at most so many percent.",
    ("state", "share"),
)
ROLLOUT_DECISIONS = Metric(
    "evoline_rollout_decisions_total",
    "counter",
    "decisions",
    "What rollouts decided: running (begun), step, completed, rolled_back, aborted, close (the watch is over).",
    ("decision",),
)

BACKGROUND_BEGUN_AGAIN = Metric(
    "evoline_background_begun_again_total",
    "counter",
    "outages",
    "Work beside the messages that an outage of store or broker ended, and that begins again after a pause.",
    ("work",),
)
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


def catalogue() -> Iterator[Metric]:
    """All metrics, in the order of this file, then those of files of their own."""
    yield from (value for value in globals().values() if isinstance(value, Metric))
    yield from BUDGETS
    yield from GAINS


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


class RolloutMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._rollouts = ROLLOUTS.gauge(registry)
        self._decisions = ROLLOUT_DECISIONS.counter(registry)

    def decided(self, decision: str) -> None:
        self._decisions.labels(decision).inc()

    def open(self, counts: Mapping[tuple[str, float], int]) -> None:
        """(state, share of the units) -> rollouts; replaces what was told before."""
        self._rollouts.clear()
        for (state, share), count in counts.items():
            self._rollouts.labels(state, _step_of(share)).inc(count)


def _step_of(share: float) -> str:
    """The smallest of the usual steps that is not below: labels are few."""
    return "shadow" if share == 0 else next(f"{step}%" for step in (1, 5, 10, 25, 50, 100) if share <= step / 100)


class OversightMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._decisions = REVIEW_DECISIONS.counter(registry)
        self._glass = BREAK_GLASS.counter(registry)
        self.glass_open = BREAK_GLASS_OPEN.gauge(registry)

    def said(self, decision: str) -> None:
        self._decisions.labels(decision).inc()

    def glass(self, outcome: str) -> None:
        self._glass.labels(outcome).inc()


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


class BackgroundMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._begun_again = BACKGROUND_BEGUN_AGAIN.counter(registry)

    def begun_again(self, work: str) -> None:
        self._begun_again.labels(work).inc()


class Metrics:
    """All instruments of one process; a part that is never used costs nothing but its zero series."""

    def __init__(self, registry: CollectorRegistry, *, service: str, version: str) -> None:
        SERVICE_INFO.gauge(registry).labels(service, version).set(1)
        self.registry = registry
        self.bus = BusMetrics(registry)
        self.background = BackgroundMetrics(registry)
        self.runs = RunMetrics(registry)
        self.providers = ProviderMetrics(registry)
        self.changes = ChangeMetrics(registry)
        self.audit = AuditMetrics(registry)
        self.oversight = OversightMetrics(registry)
        self.budgets = BudgetMetrics(registry)
        self.rollouts = RolloutMetrics(registry)
        self.generation = GenerationMetrics(registry)
        self.evolution = EvolutionMetrics(registry)
        self.learning = LearningMetrics(registry)
        self.gains = GainMetrics(registry)
