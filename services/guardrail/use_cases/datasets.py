"""Custody of labelled cases: registered once, split by hash, the sealed ones out of everybody's reach."""

from __future__ import annotations

from typing import Any

from services.guardrail.domain.audit import AuditNote
from services.guardrail.domain.datasets import dataset_digest, dataset_problems, split_cases
from services.guardrail.domain.records import Dataset
from services.guardrail.ports import Guardrail
from services.guardrail.use_cases.telling import Effects
from shared.errors import InvalidInputError, NotFoundError, Problem
from shared.events.custody import ListDatasets
from shared.events.datasets import DatasetRefused, DatasetRegistered, GetDataset, RegisterDataset
from shared.evidence.graders import grader_hash


async def register_dataset(command: RegisterDataset, at: Guardrail) -> Effects:
    """The same id with the same cases is a no-op that is answered again; with other cases it is refused."""
    cases = split_cases(command.dataset_id, command.cases)
    if problems := dataset_problems(command, cases):
        return [("refused", DatasetRefused(dataset_id=command.dataset_id, problems=problems))]
    digest = dataset_digest(command.domain, command.grader, cases)
    stored = await at.datasets.add(
        Dataset(
            dataset_id=command.dataset_id,
            digest=digest,
            domain=command.domain,
            grader=command.grader,
            grader_hash=grader_hash(command.grader),
            counts={"train": len(cases.train), "dev": len(cases.dev), "sealed": len(cases.sealed)},
            source=command.source,
            license=command.license,
            author=command.author,
            created_at=at.clock.now().isoformat(),
        ),
        cases,
    )
    if stored.digest != digest:
        other = Problem(
            path="dataset_id",
            reason=f"{command.dataset_id!r} is registered already, with other cases, domain or grader",
            suggestion="choose another id: a dataset never changes, or scores on it would mean nothing",
        )
        return [("refused", DatasetRefused(dataset_id=command.dataset_id, problems=(other,)))]
    await at.audit.append(_note(stored))
    return [("registered", _registered(stored))]


async def get_dataset(query: GetDataset, at: Guardrail) -> dict[str, Any]:
    """Raises `InvalidInputError` where sealed cases are asked for, `NotFoundError`."""
    if "sealed" in query.splits:
        raise InvalidInputError(
            Problem(
                path="splits",
                reason="sealed cases are shown to nobody",
                suggestion="ask for train and dev; measure on the sealed ones",
            )
        )
    dataset = await at.datasets.get(query.dataset_id)
    if dataset is None:
        raise NotFoundError(f"there is no dataset {query.dataset_id!r}; `--dataset FILE` registers one")
    cases = [case for split in dict.fromkeys(query.splits) for case in await at.datasets.cases(query.dataset_id, split)]
    return {
        "dataset_id": dataset.dataset_id,
        "domain": dataset.domain,
        "grader": dataset.grader.model_dump(mode="json"),
        "grader_hash": dataset.grader_hash,
        "counts": dict(dataset.counts),
        "cases": [case.model_dump(mode="json") for case in cases[: query.limit]],
    }


async def list_datasets(query: ListDatasets, at: Guardrail) -> dict[str, Any]:
    shown = {"dataset_id", "domain", "counts", "grader", "source", "license", "author", "created_at"}
    found = await at.datasets.latest(query.domain, query.limit)
    return {"datasets": [each.model_dump(mode="json", include=shown) for each in found]}


def _registered(dataset: Dataset) -> DatasetRegistered:
    return DatasetRegistered(
        dataset_id=dataset.dataset_id,
        digest=dataset.digest,
        domain=dataset.domain,
        train=dataset.counts["train"],
        dev=dataset.counts["dev"],
        sealed=dataset.counts["sealed"],
        grader_hash=dataset.grader_hash,
    )


def note_key(dataset_id: str) -> str:
    return f"dataset:{dataset_id}"


def _note(dataset: Dataset) -> AuditNote:
    return AuditNote(
        key=note_key(dataset.dataset_id),
        at=dataset.created_at,
        action="dataset.registered",
        actor=dataset.author,
        subject=dataset.dataset_id,
        digest=dataset.digest,
        facts={"counts": dict(dataset.counts), "grader_hash": dataset.grader_hash, "source": dataset.source},
    )
