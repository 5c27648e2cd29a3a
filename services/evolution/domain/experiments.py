"""What is remembered of an experiment, and the facts that end it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.evolution.domain.records import Decision, decided, opened, refused, told_as
from services.evolution.domain.variants import STABLE, Entrant
from shared.errors import Problem
from shared.events.experiments import ExperimentFinished, StartExperiment, StopExperiment, VariantReport
from shared.events.rollouts import RolloutAborted, RolloutCompleted, RolloutRolledBack
from shared.evidence import score
from shared.evidence.variants import Compared, Comparison

Ended = RolloutCompleted | RolloutRolledBack | RolloutAborted
ROLLOUT_OUTCOMES: Mapping[type[Ended], str] = {
    RolloutCompleted: "rolled_out",
    RolloutRolledBack: "rolled_back",
    RolloutAborted: "rollout_aborted",
}
FINAL = "rolled_back"
"""A revision may be taken back after its rollout was completed; nothing comes after that."""


def new_record(command: StartExperiment, now: str) -> dict[str, Any]:
    """Status: `measuring`, `proposed`, `rolling_out`, then `finished`."""
    return {**opened(command.experiment_id, command, now), **attempt(1, now)}


def attempt(number: int, now: str) -> dict[str, Any]:
    """What begins anew where an experiment that was refused is ordered again."""
    fresh = {"answer": None, "made": None, "scope_at": None, "worked_seconds": 0.0}
    return {"status": "measuring", "attempt": number, "began_at": now, **fresh}


def refusal(
    command: StartExperiment, problems: Sequence[Problem], variants: Sequence[VariantReport], seconds: float
) -> ExperimentFinished:
    return ExperimentFinished(
        experiment_id=command.experiment_id,
        pipeline=command.pipeline,
        outcome="refused",
        variants=tuple(variants),
        alpha=command.alpha,
        **refused(problems, seconds),
    )


def stopped(record: Mapping[str, Any], command: StopExperiment, seconds: float) -> ExperimentFinished:
    return ExperimentFinished(
        experiment_id=record["_id"],
        pipeline=record["pipeline"],
        outcome="stopped",
        stable_digest=(record.get("stable") or {}).get("digest", ""),
        alpha=record["command"]["alpha"],
        reasons=(f"stopped by {command.author}: {command.reason}",),
        seconds=seconds,
    )


def reports(
    stable_digest: str,
    grades: Mapping[str, Sequence[float | None]],
    found: Sequence[Entrant],
    comparison: Comparison,
    grader_hash: str,
) -> tuple[VariantReport, ...]:
    """The stable revision first, then the variants in their order. `grades` by label."""
    compared = {each.label: each for each in comparison.variants}
    baseline = VariantReport(
        label=STABLE, digest=stable_digest, origin="stable", score=score(grades[STABLE], grader_hash), verdict="baseline"
    )
    measured = [_report(entrant, compared.get(entrant.label), grades.get(entrant.label, ()), grader_hash) for entrant in found]
    return (baseline, *measured)


def mean_use(uses: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Of the runs of which it is known; empty where it is of none."""
    known = [use for use in uses if use]
    return {name: sum(use[name] for use in known) / len(known) for name in (known[0] if known else ())}


def unmeasured(found: Sequence[Entrant]) -> tuple[VariantReport, ...]:
    return tuple(_report(entrant, None, (), "") for entrant in found)


def _report(entrant: Entrant, found: Compared | None, grades: Sequence[float | None], grader_hash: str) -> VariantReport:
    known: dict[str, Any] = {"label": entrant.label, "origin": entrant.origin, "problems": entrant.problems}
    if entrant.candidate is None:
        return VariantReport(**known, verdict="invalid", reasons=tuple(str(problem) for problem in entrant.problems))
    known |= {"digest": entrant.candidate.digest, "score": score(grades, grader_hash) if grades else None}
    if found is None:
        failed = (f"it failed on each of its first {len(grades)} cases",) if grades else ()
        return VariantReport(**known, verdict="failing" if grades else "undecided", reasons=failed)
    return VariantReport(
        **known,
        gain=found.gain,
        gain_low=found.gain_low,
        gain_high=found.gain_high,
        p_value=found.p_better,
        p_adjusted=found.p_adjusted,
        p_worse=found.p_worse,
        more_cases_needed=found.more_cases_needed,
        verdict=found.standing,
        reasons=found.reasons,
    )


def concluded(record: Mapping[str, Any], decision: Decision, change: Mapping[str, Any], seconds: float) -> ExperimentFinished:
    """What the guardrail decided about the winner. `change` is the guardrail's record of it."""
    gate: Mapping[str, Any] = record.get("gate") or change.get("gate") or {}
    found = decided(record["pending"], gate, decision, seconds, str(change.get("rollout_id") or ""))
    return ExperimentFinished.model_validate({**found, "outcome": told_as(decision, gate)})


def rolled(answer: Mapping[str, Any], fact: Ended) -> ExperimentFinished:
    """How the winner's rollout ended, beside everything that was said before."""
    reasons = [*answer.get("reasons", ()), *([fact.reason] if fact.reason else ())]
    return ExperimentFinished.model_validate(
        {
            **answer,
            "outcome": ROLLOUT_OUTCOMES[type(fact)],
            "rollout_id": fact.rollout_id,
            "deployed": isinstance(fact, RolloutCompleted),
            "reasons": list(dict.fromkeys(reasons)),
        }
    )
