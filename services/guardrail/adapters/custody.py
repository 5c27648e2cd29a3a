"""Datasets: train and dev beside everything else, sealed cases in a database of their own."""

from __future__ import annotations

from collections.abc import Sequence

from services.guardrail.domain.records import Dataset, SplitCases
from shared.errors import UnavailableError
from shared.events.values import Case, Split
from shared.storage.collection import Collection, Database


class MongoDatasets:
    """One document a dataset and split; a bus message bounds a dataset's size to 1 MB, far below what a document may hold."""

    def __init__(self, database: Database, sealed: Database) -> None:
        self._datasets = database.collection("datasets")
        self._open = database.collection("cases")
        self._sealed = sealed.collection("cases")

    async def get(self, dataset_id: str) -> Dataset | None:
        found = await self._datasets.get(dataset_id)
        return Dataset.model_validate(found) if found else None

    async def add(self, dataset: Dataset, cases: SplitCases) -> Dataset:
        """Cases stand under the dataset's digest, so that a refused second version cannot mix with the first."""
        if stored := await self.get(dataset.dataset_id):
            return stored
        for split in ("train", "dev", "sealed"):
            rows = [case.model_dump(mode="json") for case in cases.of(split)]
            document = {"_id": _key(dataset, split), "dataset_id": dataset.dataset_id, "split": split, "cases": rows}
            await self._place(split).insert_once(document)
        await self._datasets.insert_once({"_id": dataset.dataset_id, **dataset.model_dump(mode="json")})
        stored = await self.get(dataset.dataset_id)
        if stored is None:
            raise UnavailableError(f"dataset {dataset.dataset_id} cannot be read back")
        return stored

    async def latest(self, domain: str | None, limit: int) -> Sequence[Dataset]:
        found = await self._datasets.find({"domain": domain} if domain else {}, sort=[("created_at", -1)], limit=limit)
        return [Dataset.model_validate(each) for each in found]

    async def cases(self, dataset_id: str, split: Split) -> tuple[Case, ...]:
        dataset = await self.get(dataset_id)
        found = await self._place(split).get(_key(dataset, split)) if dataset else None
        return tuple(Case.model_validate(row) for row in found["cases"]) if found else ()

    def _place(self, split: Split) -> Collection:
        return self._sealed if split == "sealed" else self._open


def _key(dataset: Dataset, split: Split) -> str:
    return f"{dataset.dataset_id}:{dataset.digest}:{split}"
