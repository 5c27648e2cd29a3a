"""One rollout as it is kept: what is rolled out, how far it is, what was seen, and what it is about to do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence, Set
from datetime import datetime
from typing import Any, Literal

from services.guardrail.domain.descent import Record
from services.guardrail.domain.records import Deployment, ServedRollout
from services.guardrail.domain.rollout_evidence import Counts, Evidence, Observation, observed, start_evidence
from shared.events.message import derive_id
from shared.events.rollouts import (
    SHADOW,
    WHOLE,
    ArmNumbers,
    RolloutNumbers,
    RolloutPlan,
    RolloutState,
    RolloutStep,
)
from shared.evidence.assignment import comparison_shares
from shared.evidence.asymptotic import Running, asymptotic_gain, asymptotic_mean
from shared.evidence.betting import EProcess, observe_all
from shared.evidence.sample_ratio import SampleRatio, sample_ratio

ALPHA_SIGNAL = 0.01
HISTORY = 100
HEARD = 100

Phase = Literal["open", "watch"]
"""A unit counts once in each: up to its end a rollout is compared with the stable revision, then with what that one did."""
IntentKind = Literal["open", "step", "complete", "roll_back", "abort", "close"]


class Intent(Record):
    """Written before anything is done, so that whoever comes after a crash does exactly this."""

    kind: IntentKind
    reason: str
    author: str = "guardrail"
    at: str
    cause: str = ""
    """Of the change of the deployment. Empty in one from a version before, which named it otherwise."""


class Line(Record):
    at: str
    text: str


class Untold(Record):
    """A fact that is to be published under the number that it has among the rollout's facts."""

    number: int
    subject: str
    body: dict[str, Any]


class Watch(Record):
    """The new stable revision against what the former one did: `reference` is a lower bound of its success."""

    reference: float
    test: EProcess
    """Of the first run of each unit."""
    since: str
    repeats: int = 0
    """Runs of units that the test had already."""

    @property
    def runs(self) -> int:
        return self.test.past.count + self.repeats

    @property
    def p_worse(self) -> float:
        return math.exp(-self.test.best_below)


class Begin(Record):
    """What had been seen when the present step began."""

    canary: int = 0
    control: int = 0
    shadow: int = 0


class RolloutRecord(Record):
    """`version` counts the writes: the store refuses one on an older state."""

    rollout_id: str
    pipeline: str
    domain: str
    author: str
    reason: str = ""
    change_id: str = ""
    stable: str
    canary: str
    plan: RolloutPlan
    state: RolloutState = "ready"
    step: int = 0
    step_since: str = ""
    begin: Begin = Begin()
    evidence: Evidence
    """Of the first outcome of each unit: what decides."""
    by_runs: Evidence | None = None
    """Of every outcome; None while no unit came twice, since both are the same then."""
    watch: Watch | None = None
    intent: Intent | None = None
    moves: int = 0
    """Intents carried out."""
    held: str = ""
    """Kind of the hold that was told."""
    waits_for: str = ""
    paused_for: str = ""
    accepted: tuple[str, ...] = ()
    """Signals that a person accepted."""
    approved_by: str = ""
    """Who approved the present step."""
    last_batch: tuple[str, ...] = ()
    """Outcomes counted by the last write; those before are marked in the store."""
    untold: tuple[Untold, ...] = ()
    facts: int = 0
    history: tuple[Line, ...] = ()
    heard: tuple[str, ...] = ()
    """Ids of the last messages by which people steered: one that comes again steers no more."""
    quarantined: tuple[str, ...] = ()
    closed: bool = False
    """Nothing will happen any more."""
    cleared: bool = False
    """The outcomes that it counted are not kept any more; its numbers and its history are."""
    version: int = 0
    created_at: str
    ended_at: str = ""

    @property
    def salt(self) -> str:
        """Of pipeline and revision: whoever had the canary has it again when its rollout is started anew."""
        return derive_id(self.pipeline, self.canary)

    @property
    def present(self) -> RolloutStep:
        return self.plan.steps[self.step]

    @property
    def share(self) -> float:
        if self.state == "completed":
            return WHOLE
        return self.present.share if self.state in ("running", "paused") else 0.0

    @property
    def every(self) -> Evidence:
        """Of all runs, however many one unit sent."""
        return self.by_runs or self.evidence

    @property
    def phase(self) -> Phase:
        return "watch" if self.state == "completed" else "open"

    @property
    def is_open(self) -> bool:
        return self.state in ("ready", "running", "paused")

    def cause(self) -> str:
        """Names the next change of the deployment."""
        assert self.intent is not None, "a deployment moves by intent only"
        return self.intent.cause or f"{self.rollout_id}:{self.moves}"

    def noted(self, text: str, at: str) -> RolloutRecord:
        return self.model_copy(update={"history": (*self.history, Line(at=at, text=text))[-HISTORY:]})

    def hearing(self, message_id: str) -> RolloutRecord:
        return self.model_copy(update={"heard": (*self.heard, message_id)[-HEARD:]})

    def intending(self, kind: IntentKind, reason: str, at: str, author: str = "guardrail") -> RolloutRecord:
        # No id of a change has a slash: one that was called like a cause would be taken for done.
        cause = f"{self.rollout_id}/{self.moves}"
        return self.model_copy(update={"intent": Intent(kind=kind, reason=reason, author=author, at=at, cause=cause)})


def new_rollout(serving: Deployment, canary: str, plan: RolloutPlan, now: str, **fields: Any) -> RolloutRecord:
    margins = [step.margin for step in plan.steps if step.margin is not None]
    return RolloutRecord(
        pipeline=serving.pipeline,
        domain=serving.domain,
        stable=serving.stable,
        canary=canary,
        plan=plan,
        evidence=start_evidence(margins),
        created_at=now,
        **fields,
    )


def counted(record: RolloutRecord, seen: Sequence[Observation], again: Set[str] = frozenset()) -> RolloutRecord:
    """The record with more outcomes. After completion those of the new stable revision are watched. `again`: ids of those whose
    unit was counted before."""
    batch = {"last_batch": tuple(each.id for each in seen)}
    first = [each for each in seen if each.id not in again]
    if record.is_open:
        evidence = {"evidence": observed(record.evidence, first)}
        if record.by_runs is not None or len(first) < len(seen):
            evidence["by_runs"] = observed(record.every, seen)
        return record.model_copy(update={**batch, **evidence})
    if record.watch is None:
        return record.model_copy(update=batch)
    values, repeats = _watchable(first), len(_watchable(seen)) - len(_watchable(first))
    test = {"test": observe_all(record.watch.test, values), "repeats": record.watch.repeats + repeats}
    return record.model_copy(update={**batch, "watch": record.watch.model_copy(update=test)})


def _watchable(seen: Iterable[Observation]) -> list[float]:
    return [each.value for each in seen if each.kind == "run" and each.arm == "canary"]


def served(record: RolloutRecord, step: RolloutStep) -> dict[str, Any]:
    """What the deployment says while the rollout is at `step`."""
    shadow = step.share == SHADOW
    rollout = ServedRollout(
        rollout_id=record.rollout_id,
        salt=record.salt,
        share=step.share,
        shadow_share=record.plan.shadow_share if shadow else 0.0,
        shadow_runs=record.plan.shadow_runs,
    )
    return {"canary": record.canary, "shadow": record.canary if shadow else None, "rollout": rollout}


def ratio_of_arms(record: RolloutRecord) -> SampleRatio:
    """Up to half of the units both arms are equally large at every share, so all steps count together."""
    seen = record.evidence
    shares = comparison_shares(0.5)
    return sample_ratio((seen.canary.runs, seen.control.runs), shares)


def signal_ratio(canary: Running, control: Running, limit: float) -> tuple[float | None, bool]:
    """(canary over control in geometric mean, whether it is shown to be above `limit`)."""
    if not (canary.count and control.count):
        return None, False
    found = asymptotic_gain(canary, control, ALPHA_SIGNAL, side="lower")
    return math.exp(canary.mean - control.mean), found.low > math.log(limit)


def numbers(record: RolloutRecord) -> RolloutNumbers:
    seen = record.evidence
    gain = asymptotic_mean(seen.success.differences, 0.05)
    known = seen.success.pairs > 0
    return RolloutNumbers(
        canary=_arm(record.every.canary, seen.canary),
        control=_arm(record.every.control, seen.control),
        pairs=seen.success.pairs,
        gain=gain.mean if known else None,
        gain_low=gain.low if gain.outcome == "ok" else None,
        gain_high=gain.high if gain.outcome == "ok" else None,
        margin_shown=seen.success.margin_shown(seen.margins),
        p_worse=seen.success.p_worse,
        p_worse_quality=seen.quality.p_worse,
        quality_pairs=seen.quality.pairs,
        p_broken=seen.p_broken,
        sample_ratio_p=ratio_of_arms(record).p_value,
        latency_ratio=signal_ratio(seen.canary.log_seconds, seen.control.log_seconds, record.plan.latency_ratio)[0],
        cost_ratio=signal_ratio(seen.canary.log_cost, seen.control.log_cost, record.plan.cost_ratio)[0],
        shadow_runs=record.every.shadow_runs,
        watch_runs=record.watch.runs if record.watch else 0,
        p_watch=record.watch.p_worse if record.watch else 1.0,
    )


def seconds_since(moment: str, now: datetime) -> float:
    return (now - datetime.fromisoformat(moment)).total_seconds()


def _arm(counts: Counts, first: Counts) -> ArmNumbers:
    return ArmNumbers(
        units=first.runs,
        runs=counts.runs,
        successes=counts.successes,
        hard_failures=counts.hard,
        seconds=math.exp(counts.log_seconds.mean) if counts.log_seconds.count else 0.0,
        cost_usd=math.exp(counts.log_cost.mean) if counts.log_cost.count else 0.0,
    )
