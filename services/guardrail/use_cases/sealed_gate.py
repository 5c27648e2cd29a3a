"""One look of a candidate and the stable revision at the sealed cases, paid from the pipeline's error budget."""

from __future__ import annotations

from collections.abc import Sequence

from services.guardrail.domain.datasets import SPLITS, dataset_digest
from services.guardrail.domain.diff import Revision
from services.guardrail.domain.gate import GateReport, alpha_of_look, copied_cases, judge
from services.guardrail.domain.records import ChangeRecord, Dataset, SplitCases
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.datasets import note_key
from services.guardrail.use_cases.judging import Dossier, revision_of
from services.guardrail.use_cases.sealed_runs import Look, graded, take
from shared.errors import PermanentError
from shared.events.changes import GateFinished
from shared.events.values import Case
from shared.evidence.graders import grader_hash


class GateRefusedError(PermanentError):
    """There is nothing that the candidate could be measured on, or no error budget left to do it."""

    code = "gate_refused"


async def pass_gate(record: ChangeRecord, dossier: Dossier, at: Guardrail, *, patient: bool) -> GateFinished:
    """Raises `GateRefusedError`; `UnavailableError` where runs did not end and the look may be tried again."""
    dataset = await _dataset(record, at)
    cases = await at.datasets.cases(dataset.dataset_id, "sealed")
    if copied := copied_cases(record.document, cases):
        raise GateRefusedError(f"the document holds the text of {len(copied)} sealed cases: it has seen what it must not know")
    assert dossier.stable is not None, "a promotion without a stable revision was vetoed before"
    if dossier.stable.domain != record.domain:
        raise GateRefusedError(f"the stable revision is of domain {dossier.stable.domain!r}: both cannot run in one trial")
    revisions = {"candidate": Revision(dossier.document, dossier.facts), "incumbent": revision_of(dossier.stable)}
    for label, revision in revisions.items():
        _require_inputs(label, revision, dataset, cases)
    alpha = await _alpha(record, dataset, at)
    look = Look(record.change_id, "gate", record.domain, revisions, cases)
    runs = await take(look, at, patient=patient)
    arms = {label: graded(revisions[label].document.digest, runs[label], cases, dataset.grader) for label in revisions}
    report = judge(arms["candidate"], arms["incumbent"], cases, dataset.grader, at.policy.document.gate, alpha)
    return _finished(record, report)


async def _dataset(record: ChangeRecord, at: Guardrail) -> Dataset:
    dataset = await at.datasets.get(record.dataset_id or "")
    if dataset is None:
        raise GateRefusedError(f"there is no dataset {record.dataset_id!r}; register it first (`--dataset FILE` does)")
    if dataset.domain != record.domain:
        raise GateRefusedError(f"dataset {dataset.dataset_id} is of domain {dataset.domain!r}, the pipeline of {record.domain!r}")
    if grader_hash(dataset.grader) != dataset.grader_hash:
        raise GateRefusedError(f"the grader of dataset {dataset.dataset_id} is not the one that was registered")
    await _require_unchanged(dataset, at)
    return dataset


def _require_inputs(label: str, revision: Revision, dataset: Dataset, cases: Sequence[Case]) -> None:
    """What no case gives would have every run refused: a look at the sealed cases, and a part of the error budget, for nothing."""
    required = {name for name, schema in revision.document.inputs.items() if "default" not in schema}
    given = {name for case in cases for name in case.input}
    if missing := sorted(required - given):
        raise GateRefusedError(
            f"the {label} needs the inputs {missing}, dataset {dataset.dataset_id} gives {sorted(given)}; "
            "name a dataset made for this pipeline"
        )


async def _require_unchanged(dataset: Dataset, at: Guardrail) -> None:
    """Grader, labels and splits are those of which the audit log says that they were registered."""
    held = {split: await at.datasets.cases(dataset.dataset_id, split) for split in SPLITS}
    noted = await at.audit.find(note_key(dataset.dataset_id))
    digest = dataset_digest(dataset.domain, dataset.grader, SplitCases.model_validate(held))
    if noted is None or not digest == dataset.digest == noted.digest:
        raise GateRefusedError(
            f"dataset {dataset.dataset_id} is not what was registered: grader, cases or labels were edited since; register it anew"
        )


async def _alpha(record: ChangeRecord, dataset: Dataset, at: Guardrail) -> float:
    rule = at.policy.document.gate
    account = f"{record.pipeline}:{dataset.dataset_id}"
    alpha = await at.allowances.reserve_alpha(account, record.change_id, lambda looks, spent: alpha_of_look(rule, looks, spent))
    if alpha <= 0.0:
        raise GateRefusedError(
            f"{record.pipeline} has spent its error budget of {rule.alpha_total:g} on dataset {dataset.dataset_id}; "
            "register a dataset with fresh sealed cases"
        )
    return alpha


def _finished(record: ChangeRecord, report: GateReport) -> GateFinished:
    probes = ", ".join(f"{name} {mean:.3f}" for name, mean in sorted(report.probes.items()))
    return GateFinished(
        change_id=record.change_id,
        pipeline=record.pipeline,
        candidate_digest=record.digest,
        incumbent_digest=record.incumbent_digest,
        verdict=report.verdict,
        candidate=report.candidate,
        incumbent=report.incumbent,
        p_value=report.test.p_value_better,
        alpha=report.alpha,
        gain=report.test.gain,
        gain_low=report.test.gain_low,
        gain_high=report.test.gain_high,
        claim=report.claim,
        more_cases_needed=report.more_cases_needed,
        reasons=(*report.reasons, f"shortcuts: {probes}"),
        group_id=record.group_id,
    )
