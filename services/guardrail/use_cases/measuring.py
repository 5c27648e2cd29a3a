"""Held-out scores of documents and deployed revisions: metered looks at the sealed cases, without a verdict."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from services.guardrail.domain.audit import AuditEntry, AuditNote, evidence_hash
from services.guardrail.domain.diff import Revision
from services.guardrail.domain.gate import Arm
from services.guardrail.domain.policy import ScopeRule
from services.guardrail.domain.records import Dataset
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.queries import resolved
from services.guardrail.use_cases.sealed_runs import Look, graded, take
from services.guardrail.use_cases.telling import Effects
from shared.errors import InvalidInputError, PermanentError, Problem
from shared.events.datasets import MeasurePipelines, PipelinesMeasured
from shared.events.runs import RunFinished
from shared.events.values import Budget, Case, TrialScope
from shared.evidence.paired import paired_test
from shared.evidence.scores import score
from shared.evidence.verdicts import HARM_ALPHA
from shared.pipeline.facts import document_facts
from shared.pipeline.loading import load_document
from shared.pipeline.scope import check_scope


async def measure_pipelines(command: MeasurePipelines, at: Guardrail, *, attempt: int = 1) -> Effects:
    """Idempotent by measure id: finished runs are not made again, the look is counted, and audited, once. The id of another
    measurement is refused: or looks would be taken under it that nobody counts."""
    measured = await _measured(command, at, attempt=attempt)
    entry = await at.audit.append(_note(command, measured, at))
    if not measured.problems and not _is_of(entry, command, measured.digests):
        # The other one ended between the first look at the log and this.
        measured = _refused(command, InvalidInputError(_taken(command)))
    return [("measured", measured)]


async def _measured(command: MeasurePipelines, at: Guardrail, *, attempt: int) -> PipelinesMeasured:
    started = at.clock.monotonic()
    try:
        dataset = await _dataset(command, at)
        revisions = await _revisions(command, dataset.domain, at)
        await _count_look(command, {label: each.document.digest for label, each in revisions.items()}, at)
    except PermanentError as error:
        return _refused(command, error)
    cases = _chosen(await at.datasets.cases(command.dataset_id, "sealed"), command.cases)
    look = Look(command.measure_id, "measure", dataset.domain, revisions, cases)
    runs = await take(look, at, patient=attempt < at.limits.patient_attempts)
    arms = {label: graded(revisions[label].document.digest, runs[label], cases, dataset.grader) for label in revisions}
    return PipelinesMeasured(
        measure_id=command.measure_id,
        dataset_id=command.dataset_id,
        scores={label: score(arm.grades, dataset.grader_hash) for label, arm in arms.items()},
        digests={label: arm.digest for label, arm in arms.items()},
        differences=_differences(arms),
        usage={label: _usage(found) for label, found in runs.items()},
        seconds=at.clock.monotonic() - started,
    )


def _refused(command: MeasurePipelines, error: PermanentError) -> PipelinesMeasured:
    problems = error.problems if isinstance(error, InvalidInputError) else (Problem(reason=str(error)),)
    return PipelinesMeasured(measure_id=command.measure_id, dataset_id=command.dataset_id, scores={}, digests={}, problems=problems)


def _key(command: MeasurePipelines) -> str:
    """Of the entry of what was measured under this id."""
    return f"measure:{command.measure_id}"


def _note(command: MeasurePipelines, measured: PipelinesMeasured, at: Guardrail) -> AuditNote:
    reasons = [str(problem) for problem in measured.problems]
    scores = {label: {"mean": found.mean, "cases": found.cases} for label, found in measured.scores.items()}
    # A refusal leaves the id's own entry to what is measured under it later.
    refusal = f":refused:{evidence_hash([command.model_dump(mode='json'), reasons])[:32]}" if reasons else ""
    return AuditNote(
        key=f"{_key(command)}{refusal}",
        at=at.clock.now().isoformat(),
        action="measure.refused" if reasons else "dataset.measured",
        actor=command.author,
        subject=command.dataset_id,
        policy_revision=at.policy.revision,
        facts={
            "measure_id": command.measure_id,
            "digests": dict(measured.digests),
            "wanted_cases": command.cases,
            "scores": scores,
            "reasons": reasons,
        },
    )


def _is_of(entry: AuditEntry, command: MeasurePipelines, digests: Mapping[str, str]) -> bool:
    """Whether this entry is of exactly this look."""
    noted = (entry.subject, entry.facts.get("digests"), entry.facts.get("wanted_cases"))
    return noted == (command.dataset_id, dict(digests), command.cases)


def _taken(command: MeasurePipelines) -> Problem:
    reason = f"{command.measure_id} is the id of another measurement"
    return Problem(path="measure_id", reason=reason, suggestion="choose another id: each look at sealed cases is counted")


async def _dataset(command: MeasurePipelines, at: Guardrail) -> Dataset:
    dataset = await at.datasets.get(command.dataset_id)
    if dataset is None:
        raise InvalidInputError(Problem(path="dataset_id", reason=f"there is no dataset {command.dataset_id!r}"))
    return dataset


async def _revisions(command: MeasurePipelines, domain: str, at: Guardrail) -> dict[str, Revision]:
    problems: list[Problem] = []
    found: dict[str, Revision] = {}
    rule = at.policy.document.scopes.get("measure")
    if rule is None:
        raise InvalidInputError("policy allows no measurements")
    for label, wanted in command.pipelines.items():
        try:
            found[label] = await _revision(wanted, _bounds(rule, domain), at)
        except InvalidInputError as error:
            problems += [each.model_copy(update={"path": f"pipelines.{label}.{each.path}".rstrip(".")}) for each in error.problems]
        except PermanentError as error:
            problems.append(Problem(path=f"pipelines.{label}", reason=str(error)))
    if problems:
        raise InvalidInputError(problems)
    return found


async def _revision(wanted: Mapping[str, Any] | str, bounds: TrialScope, at: Guardrail) -> Revision:
    """A reference is resolved once, here. Documents and revisions alike must lie inside what policy lets measurements run."""
    document = load_document((await resolved(wanted, at)).document if isinstance(wanted, str) else wanted)
    facts = document_facts(document)
    if problems := check_scope(facts, bounds):
        raise InvalidInputError(problems)
    return Revision(document, facts)


def _bounds(rule: ScopeRule, domain: str) -> TrialScope:
    return TrialScope(
        scope_id="bounds",
        purpose="measure",
        holder="guardrail",
        domain=domain,
        step_types=rule.step_types,
        providers=rule.providers,
        functions=rule.functions,
        budget=rule.budget,
        expires_at="",
    )


async def _count_look(command: MeasurePipelines, digests: Mapping[str, str], at: Guardrail) -> None:
    """Once for each id and what is looked at with it. Raises `InvalidInputError`."""
    former = await at.audit.find(_key(command))
    if former is not None and not _is_of(former, command, digests):
        raise InvalidInputError(_taken(command))
    most = at.policy.document.gate.sealed_looks_a_day
    account = f"looks:{command.dataset_id}:{at.clock.now().date().isoformat()}"
    look = f"{command.measure_id}:{evidence_hash([digests, command.cases])}"
    if not await at.allowances.reserve(account, look, Budget(runs=1), Budget(runs=most)):
        reason = f"dataset {command.dataset_id} was looked at {most} times today, which is all that policy allows"
        raise InvalidInputError(
            Problem(path="dataset_id", reason=reason, suggestion="wait until tomorrow, or measure on dev cases")
        )


def _chosen(cases: Sequence[Case], wanted: int) -> tuple[Case, ...]:
    """Always the same ones for the same number, and not the first by name."""
    return tuple(sorted(cases, key=lambda case: hashlib.sha256(case.id.encode()).digest())[:wanted])


def _differences(arms: Mapping[str, Arm]) -> dict[str, tuple[float, float, float]]:
    (_, first), *others = arms.items()
    tests = {label: paired_test(arm.grades, first.grades, HARM_ALPHA / 2) for label, arm in others}
    return {label: (test.gain, test.gain_low, test.gain_high) for label, test in tests.items()}


def _usage(runs: Sequence[RunFinished | None]) -> dict[str, float]:
    """Sums over the measured runs; latencies of the runs that ended, in seconds."""
    ended = [run for run in runs if run is not None]
    latencies = sorted(run.latency_seconds for run in ended)
    return {
        "calls": float(sum(run.usage.calls for run in ended)),
        "tokens": float(sum(run.usage.input_tokens + run.usage.output_tokens for run in ended)),
        "cost_usd": sum(run.usage.cost_usd for run in ended),
        "seconds_p50": _quantile(latencies, 0.5),
        "seconds_p95": _quantile(latencies, 0.95),
    }


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank; 0 for nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
