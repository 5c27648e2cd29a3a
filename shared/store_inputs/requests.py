"""From the generator's requests: what was asked for last."""

from __future__ import annotations

from typing import Any

from shared.events.custody import ListDatasets
from shared.events.generation import ListRequests
from shared.pipeline.functions import function_catalogue
from shared.store_inputs.stores import MOST_REQUESTS, Stores, chosen


async def requirements(at: Stores) -> str:
    """The newest request's own words; empty where nobody asked for anything."""
    return str((await newest_request(at)).get("requirements", ""))


async def constraints(at: Stores) -> dict[str, Any]:
    """The newest request's constraints."""
    return dict((await newest_request(at)).get("constraints") or {})


async def resources(at: Stores) -> dict[str, Any]:
    """The newest request's own facts, the data sets in custody and the functions that pipelines may call."""
    given = (await newest_request(at)).get("resources") or {}
    datasets = await at.rows(ListDatasets(domain=at.domain, limit=at.most), "datasets")
    named = [chosen(each, "dataset_id", "domain", "counts") for each in datasets]
    return {**given, "datasets": named, "functions": sorted(function_catalogue())}


async def target_domain(at: Stores) -> str:
    """The domain that is asked about, else the newest request's."""
    return at.domain or str((await newest_request(at)).get("domain", ""))


async def newest_request(at: Stores) -> dict[str, Any]:
    """Of the domain that is asked about; a rejected request names none and asks for nothing."""
    rows = await at.rows(ListRequests(limit=MOST_REQUESTS), "requests")
    fitting = (row for row in rows if row.get("domain") and at.domain in (None, row["domain"]))
    return next(fitting, {})
