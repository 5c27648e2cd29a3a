"""What a rollout does next. Guards roll back, signals pause, doubts hold; up it goes only where `may_advance` finds nothing.

Pure: (record, moment) -> record, perhaps with an intent. Whoever has the record decides the same."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from scipy import special

from services.guardrail.domain.descent import Record
from services.guardrail.domain.rollout import (
    Begin,
    RolloutRecord,
    Watch,
    ratio_of_arms,
    seconds_since,
    signal_ratio,
)
from services.guardrail.domain.rollout_evidence import (
    ALPHA_BROKEN,
    ALPHA_QUALITY,
    ALPHA_SUCCESS,
    ALPHA_WATCH,
    SIZING,
    Counts,
    Evidence,
)
from shared.events.rollouts import SHADOW, WHOLE
from shared.evidence.betting import start_test

REFERENCE_LEVEL = 0.005
"""Chance that the bound of the former revision's success lies above it."""
REFERENCE_RUNS = 30
"""Runs of the former revision below which there is nothing to compare with."""
LEAST_REFERENCE = 0.02
"""A former revision that hardly ever succeeded is nothing to go back to."""

WaitKind = Literal["time", "sample", "frozen", "mismatch", "no_data", "undecided", "approval"]
HOLDS = ("frozen", "mismatch", "no_data", "undecided", "approval")
"""Waits that are told: without somebody or something the rollout stays."""


@dataclass(frozen=True)
class Wait:
    kind: WaitKind
    text: str


class Signal(Record):
    name: Literal["latency", "cost", "runs"]
    text: str


def decided(record: RolloutRecord, now: datetime, frozen: str = "") -> RolloutRecord:
    """`frozen`: why the whole system stands still; empty where it does not. Guards act all the same."""
    moment = now.isoformat()
    if record.intent is not None or record.closed:
        return record
    if record.state == "completed":
        return _watched(record, now)
    if not record.is_open:
        return record
    if record.state == "ready":
        return record if frozen else record.intending("open", record.reason or "approved for a rollout", moment)
    if alarm := record.evidence.alarm:
        return record.intending("roll_back", alarm_text(record.evidence, alarm), moment)
    if record.every.alarm == "tripwire":
        return record.intending("abort", _unjudged(record, "tripwire"), moment)
    if record.state == "paused":
        return record
    if signal := _signal(record):
        return paused(record, signal.text, moment, signal=signal.name)
    wait = may_advance(record, now, frozen)
    if wait is not None:
        return record.model_copy(update={"waits_for": wait.text, "held": wait.kind if wait.kind in HOLDS else ""})
    last = record.plan.steps[record.step + 1].share == WHOLE
    reason = f"every gate of {percent(record.present.share)} is passed"
    return record.intending("complete" if last else "step", reason, moment)


def may_advance(record: RolloutRecord, now: datetime, frozen: str = "") -> Wait | None:
    """The one place that says whether a rollout may go up: None, or the first thing that it waits for."""
    step, since = record.present, seconds_since(record.step_since, now)
    if frozen:
        return Wait("frozen", f"the system is frozen: {frozen}")
    ratio = ratio_of_arms(record)
    if ratio.outcome == "mismatch":
        arms = f"{record.evidence.canary.runs} canary and {record.evidence.control.runs} control"
        return Wait("mismatch", f"the arms are not equally large ({arms} runs, p = {ratio.p_value:.1g}): nothing measured counts")
    if since < step.minutes * 60:
        return Wait("time", f"{step.minutes - since / 60:.1f} more minutes at {percent(step.share)}")
    missing = step.sample - sample_of_step(record)
    if missing > 0:
        what = "shadow runs" if step.share == SHADOW else "runs an arm"
        return Wait("no_data", f"{missing} more {what}: {step.sample} are asked for, and the time of the step is over")
    if undecided := _not_shown(record):
        return Wait("undecided", undecided)
    if step.approval and not record.approved_by:
        return Wait("approval", f"a person's approval: `{approval_of(record)}`")
    return None


def sample_of_step(record: RolloutRecord) -> int:
    """Runs of the smaller arm since the step began; of a shadow step, pairs."""
    seen, begin = record.every, record.begin
    if record.present.share == SHADOW:
        return seen.shadow_runs - begin.shadow
    return min(seen.canary.runs - begin.canary, seen.control.runs - begin.control)


def stepped(record: RolloutRecord, step: int, at: str) -> RolloutRecord:
    """At the begin of a step."""
    seen = record.every
    begin = Begin(canary=seen.canary.runs, control=seen.control.runs, shadow=seen.shadow_runs)
    fresh = {"held": "", "waits_for": "", "approved_by": ""}
    return record.model_copy(update={"state": "running", "step": step, "step_since": at, "begin": begin, **fresh})


def paused(record: RolloutRecord, reason: str, at: str, *, signal: str = "") -> RolloutRecord:
    """Stays at its share. Going on accepts the signal that paused it."""
    accepted = (*record.accepted, signal) if signal else record.accepted
    waits = f"a person to go on: `evoline rollout resume {record.rollout_id}`"
    update = {"state": "paused", "paused_for": reason, "accepted": accepted, "waits_for": waits}
    return record.model_copy(update=update).noted(f"paused: {reason}", at)


def begin_watch(record: RolloutRecord, at: str) -> Watch | None:
    """None where no watch is wanted, or where the former revision did too little, or too badly, to compare with."""
    former = record.evidence.control
    runs, successes = former.runs + record.evidence.outside.runs, former.successes + record.evidence.outside.successes
    if not record.plan.watch_runs or runs < REFERENCE_RUNS:
        return None
    reference = float(special.betaincinv(max(successes, 1e-9), runs - successes + 1, REFERENCE_LEVEL))
    if reference < LEAST_REFERENCE:
        return None
    return Watch(reference=reference, test=start_test(min(reference, 0.999), SIZING), since=at)


def alarm_text(seen: Evidence, alarm: str) -> str:
    if alarm == "tripwire":
        others = Counts(runs=seen.control.runs + seen.outside.runs, hard=seen.control.hard + seen.outside.hard)
        said = f"{seen.canary.hard} of {seen.canary.runs} canary runs failed, {others.hard} of {others.runs} others"
        return f"the canary is broken: {said} (p = {seen.p_broken:.1g}, limit {ALPHA_BROKEN})"
    tests, limit = (seen.success, ALPHA_SUCCESS) if alarm == "success" else (seen.quality, ALPHA_QUALITY)
    what = "successes" if alarm == "success" else "reported outcomes"
    mean = tests.differences.mean
    return f"shown worse: {what} differ by {mean:+.3f} over {tests.pairs} pairs (p = {tests.p_worse:.1g}, limit {limit})"


def _unjudged(record: RolloutRecord, alarm: str) -> str:
    """All runs say so, and those that say something new do not."""
    few = record.evidence.canary.runs
    return f"{alarm_text(record.every, alarm)}, all of them of {few} users or sessions, too few to judge the revision by"


def approval_of(record: RolloutRecord) -> str:
    """The command that approves the present step, and no other one."""
    return f"evoline rollout approve {record.rollout_id} --step {record.step + 1}"


def percent(share: float) -> str:
    return "the shadow" if share == SHADOW else f"{share:.0%}"


def _watched(record: RolloutRecord, now: datetime) -> RolloutRecord:
    watch, moment = record.watch, now.isoformat()
    if watch is None:
        return record.intending("close", "nothing is watched", moment)
    runs, tested = watch.runs, watch.test.past
    if watch.p_worse <= ALPHA_WATCH:
        mean = tested.total / tested.count
        against = f"{mean:.3f} of {tested.count} runs succeed, at least {watch.reference:.3f} did with the former one"
        return record.intending("roll_back", f"worse after completion: {against} (p = {watch.p_worse:.1g})", moment)
    if runs >= record.plan.watch_runs:
        return record.intending("close", f"{runs} runs were watched", moment)
    if seconds_since(watch.since, now) >= record.plan.watch_hours * 3600:
        return record.intending("close", f"watched for {record.plan.watch_hours:g} hours", moment)
    return record.model_copy(update={"waits_for": f"the watch after completion: {runs} of {record.plan.watch_runs} runs"})


def _signal(record: RolloutRecord) -> Signal | None:
    if (alarm := record.every.alarm) and "runs" not in record.accepted:
        return Signal(name="runs", text=_unjudged(record, alarm))
    canary, control = record.evidence.canary, record.evidence.control
    measured: tuple[tuple[Literal["latency", "cost"], float | None, bool, float], ...] = (
        (
            "latency",
            *signal_ratio(canary.log_seconds, control.log_seconds, record.plan.latency_ratio),
            record.plan.latency_ratio,
        ),
        ("cost", *signal_ratio(canary.log_cost, control.log_cost, record.plan.cost_ratio), record.plan.cost_ratio),
    )
    for name, ratio, is_above, limit in measured:
        if is_above and ratio is not None and name not in record.accepted:
            return Signal(name=name, text=f"{name} is {ratio:.2f} times the stable revision's, above {limit:g}")
    return None


def _not_shown(record: RolloutRecord) -> str:
    """What is not shown yet of "no worse than by the step's margin"; empty where nothing is missing."""
    margin, seen = record.present.margin, record.evidence
    if margin is None:
        return ""
    shown = seen.success.margin_shown(seen.margins)
    if (shown or math.inf) > margin:
        return f"successes to be shown at most {margin:g} below the stable revision's ({seen.success.pairs} pairs)"
    if record.plan.requires_quality and (seen.quality.margin_shown(seen.margins) or math.inf) > margin:
        return f"reported outcomes to be shown at most {margin:g} below the stable revision's ({seen.quality.pairs} pairs)"
    return ""
