"""From the guardrail: labelled cases that may be shown, and what people said about changes."""

from __future__ import annotations

from typing import Any

from shared.events.custody import ListDatasets, ListFeedback
from shared.events.datasets import GetDataset
from shared.store_inputs.stores import Stores, chosen


async def test_dataset(at: Stores) -> dict[str, Any]:
    """Dev cases of the newest data set of the domain that is asked about; never sealed ones. No case where there is none."""
    datasets = await at.rows(ListDatasets(domain=at.domain, limit=1), "datasets")
    if not datasets:
        return {"cases": []}
    dataset_id = datasets[0]["dataset_id"]
    cases = await at.rows(GetDataset(dataset_id=dataset_id, splits=("dev",), limit=at.most), "cases")
    return {"dataset_id": dataset_id, "cases": cases}


async def user_feedback(at: Stores) -> list[dict[str, Any]]:
    """What people wrote when they decided on changes or rolled pipelines back, newest first."""
    rows = await at.rows(ListFeedback(limit=at.most * 4), "feedback")
    return [chosen(each, "pipeline", "kind", "said", "text", "author", "at") for each in rows][: at.most * 2]
