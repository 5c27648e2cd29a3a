"""From the guardrail's deployments and analytics' record of them: what is there, and what works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.events.answers import reading
from shared.events.deployments import GetPipeline, ListPipelines
from shared.events.improvement import GetKnowledge, GetReport
from shared.pipeline.functions import function_catalogue
from shared.pipeline.steps import type_names
from shared.store_inputs.requests import target_domain
from shared.store_inputs.stores import META_DOMAIN, Questions, Stores, chosen


async def deployed_pipelines(questions: Questions, domain: str | None = None) -> list[dict[str, Any]]:
    """`{name, domain, runs, success_rate, quality}` of every deployed pipeline, the best measured first."""
    deployed = (await questions.ask(ListPipelines(limit=1000)))["pipelines"]
    report = (await questions.ask(GetReport(purpose="production", limit=500)))["pipelines"]
    with reading(ListPipelines):
        return _measured(deployed, report, domain)


def _measured(deployed: list[dict[str, Any]], report: list[dict[str, Any]], domain: str | None) -> list[dict[str, Any]]:
    measured = {(row["pipeline"], row["digest"]): row for row in report}
    rows = [
        {"name": each["name"], "domain": each.get("domain"), **_record(measured.get((each["name"], each.get("stable"))))}
        for each in deployed
        if domain is None or each.get("domain") == domain
    ]
    return sorted(rows, key=lambda row: (row["success_rate"] or 0.0, row["quality"] or 0.0, row["runs"]), reverse=True)


async def document_of(questions: Questions, pipeline: str) -> Any:
    return (await questions.ask(GetPipeline(pipeline=pipeline))).get("document")


async def successful_pipelines(at: Stores) -> list[dict[str, Any]]:
    """Deployed pipelines that succeeded in production, best first, with their documents; the system's own are left out."""
    rows = [
        row for row in await deployed_pipelines(at.questions, at.domain) if row["success_rate"] and row["domain"] != META_DOMAIN
    ]
    return [{**row, "document": await document_of(at.questions, row["name"])} for row in rows[: at.most]]


async def current_capabilities(at: Stores) -> dict[str, Any]:
    """Deployed pipelines with their record, and the step types and functions that pipelines are made of."""
    rows = await deployed_pipelines(at.questions, at.domain)
    pipelines = [chosen(row, "name", "domain", "runs", "success_rate", "quality") for row in rows]
    return {"pipelines": pipelines, "step_types": sorted(type_names()), "functions": sorted(function_catalogue())}


async def source_domains(at: Stores) -> list[dict[str, Any]]:
    """Every other domain with its deployed pipelines and the strongest patterns that the learner counted there."""
    target = await target_domain(at)
    rows = await deployed_pipelines(at.questions)
    domains = sorted({str(row["domain"]) for row in rows} - {target, META_DOMAIN, "None"})
    return [await _domain(domain, rows, at) for domain in domains[: at.most]]


async def _domain(domain: str, rows: list[dict[str, Any]], at: Stores) -> dict[str, Any]:
    own = [chosen(row, "name", "runs", "success_rate", "quality") for row in rows if row["domain"] == domain]
    patterns = await at.rows(GetKnowledge(domain=domain, limit=at.most), "patterns")
    known = [chosen(each, "kind", "text", "lift", "support", "success_rate") for each in patterns]
    return {"domain": domain, "pipelines": own[: at.most], "patterns": known}


def _record(row: Mapping[str, Any] | None) -> dict[str, Any]:
    quality = (row or {}).get("quality")
    return {
        "runs": row["runs"] if row else 0,
        "success_rate": row["success_rate"] if row else None,
        "quality": quality["mean"] if quality else None,
    }
