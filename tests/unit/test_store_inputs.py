"""Inputs from the stores: derived from what the services answer, empty where they have nothing, an error where nobody knows."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import InvalidInputError, UnavailableError
from shared.events.custody import ListDatasets, ListFeedback
from shared.events.datasets import GetDataset
from shared.events.deployments import GetPipeline, ListPipelines
from shared.events.generation import ListRequests
from shared.events.improvement import GetKnowledge, GetReport
from shared.events.message import Query
from shared.events.runs import ListRuns
from shared.store_inputs import StoreInputs, Stores, required_inputs, store_names
from tests.fakes.executor import ScriptedQuestions
from tests.specification import printed, printed_documents

EMPTY: dict[type[Query], Any] = {
    GetDataset: {"cases": []},
    GetKnowledge: {"patterns": [], "templates": []},
    GetPipeline: {"document": {}},
    GetReport: {"pipelines": [], "totals": {"runs": 0}},
    ListDatasets: {"datasets": []},
    ListFeedback: {"feedback": []},
    ListPipelines: {"pipelines": []},
    ListRequests: {"requests": []},
    ListRuns: {"runs": []},
}
REPORTS = [
    {"strategy": "template", "origin": "classify_direct", "outcome": "proposed", "trial": {"mean": 0.9}, "tokens": 10},
    {"strategy": "template", "origin": "classify_few_shot", "outcome": "outscored", "trial": {"mean": 0.7}, "tokens": 30},
    {"strategy": "synthesis", "origin": "meta:x", "outcome": "invalid", "trial": None, "tokens": 0},
]
REQUESTS = [
    {"_id": "r3", "status": "rejected", "problems": []},
    {
        "_id": "r2",
        "domain": "support",
        "requirements": "Say which team answers.",
        "constraints": {"max_calls": 3},
        "resources": {"teams": ["billing"]},
        "answer": {"candidates": REPORTS},
    },
    {"_id": "r1", "domain": "sentiment", "requirements": "Say the mood.", "constraints": {}},
]
DEPLOYED = [
    {"name": "triage", "domain": "support", "stable": "d1"},
    {"name": "mood", "domain": "sentiment", "stable": "d2"},
    {"name": "meta_learning_pipeline", "domain": "meta", "stable": "d3"},
]
REPORT = [
    {"pipeline": "mood", "digest": "d2", "purpose": "production", "runs": 8, "success_rate": 0.75, "quality": {"mean": 0.8}},
    {"pipeline": "triage", "digest": "d1", "purpose": "production", "runs": 5, "success_rate": 0.0, "quality": None},
    {
        "pipeline": "meta_learning_pipeline",
        "digest": "d3",
        "purpose": "production",
        "runs": 2,
        "success_rate": 1.0,
        "quality": None,
    },
]


def stores(domain: str | None = None, **changed: Any) -> Stores:
    answers = {**EMPTY, **{query: changed[query.__name__] for query in EMPTY if query.__name__ in changed}}
    return Stores(ScriptedQuestions(answers), domain=domain)


async def filled(name: str, at: Stores) -> Any:
    return (await StoreInputs(at).fill([name]))[name]


@pytest.mark.parametrize("stem", printed_documents())
async def test_stores_with_nothing_fill_every_required_input_of_the_printed_documents_with_nothing(stem: str) -> None:
    names = required_inputs(printed(stem).canonical())
    given = await StoreInputs(stores()).fill(names)
    assert set(given) == set(names)
    assert {name for name in names if not given[name]} >= {"requirements", "successful_pipelines", "user_feedback"} & set(names)


async def test_names_that_no_store_can_fill_are_told_all_at_once_with_those_that_can() -> None:
    with pytest.raises(InvalidInputError) as refused:
        await StoreInputs(stores()).fill(["ticket", "metrics", "mood"])
    assert [problem.path for problem in refused.value.problems] == ["inputs.ticket", "inputs.mood"]
    assert all(name in refused.value.problems[0].suggestion for name in store_names())


async def test_a_service_that_does_not_run_is_an_error_and_not_an_empty_store() -> None:
    with pytest.raises(UnavailableError):
        await filled("metrics", stores(GetReport=UnavailableError("analytics does not run")))


async def test_an_input_with_a_default_is_not_required() -> None:
    assert required_inputs({"inputs": {"a": {}, "b": {"default": 1}}}) == ("a",)


async def test_the_newest_request_says_what_is_wanted() -> None:
    at = stores(ListRequests={"requests": REQUESTS})
    names = ("requirements", "constraints", "target_domain")
    assert [await filled(name, at) for name in names] == ["Say which team answers.", {"max_calls": 3}, "support"]
    assert (await filled("resources", at))["teams"] == ["billing"]


async def test_with_a_domain_the_newest_request_of_that_domain_counts() -> None:
    at = stores("sentiment", ListRequests={"requests": REQUESTS})
    assert [await filled(name, at) for name in ("requirements", "target_domain")] == ["Say the mood.", "sentiment"]


async def test_strategies_are_those_that_drafted_candidates_with_what_became_of_them() -> None:
    at = stores(ListRequests={"requests": REQUESTS})
    metrics = {row["strategy"]: row for row in await filled("strategy_metrics", at)}
    assert metrics["template"] == {
        "strategy": "template",
        "candidates": 2,
        "proposed": 1,
        "unusable": 0,
        "trial_mean": 0.8,
        "trial_best": 0.9,
        "tokens": 40,
    }
    assert (metrics["synthesis"]["unusable"], metrics["synthesis"]["trial_mean"]) == (1, None)
    strategies = {row["strategy"]: row for row in await filled("learning_strategies", at)}
    assert strategies["template"]["origins"] == ["classify_direct", "classify_few_shot"]
    assert set(strategies) == {"synthesis", "template", "pattern_mining"}


async def test_successful_pipelines_succeeded_and_are_not_the_systems_own() -> None:
    at = stores(ListPipelines={"pipelines": DEPLOYED}, GetReport={"pipelines": REPORT}, GetPipeline={"document": {"name": "mood"}})
    (row,) = await filled("successful_pipelines", at)
    assert (row["name"], row["success_rate"], row["quality"], row["document"]) == ("mood", 0.75, 0.8, {"name": "mood"})


async def test_source_domains_are_the_others_with_what_was_learned_there() -> None:
    pattern = {"kind": "provider", "text": "claude", "lift": 0.2, "support": 4, "success_rate": 0.9, "domains": ["sentiment"]}
    at = stores(
        "support",
        ListPipelines={"pipelines": DEPLOYED},
        GetReport={"pipelines": REPORT},
        GetKnowledge={"patterns": [pattern]},
    )
    (row,) = await filled("source_domains", at)
    assert (row["domain"], [each["name"] for each in row["pipelines"]]) == ("sentiment", ["mood"])
    assert row["patterns"] == [{key: pattern[key] for key in ("kind", "text", "lift", "support", "success_rate")}]


async def test_trends_are_measured_changes_the_largest_first() -> None:
    def runs(pipeline: str, newer: list[str], older: list[str]) -> list[dict[str, Any]]:
        return [{"pipeline": pipeline, "status": status, "latency_seconds": 1.0} for status in (*newer, *older)]

    worse = runs("mood", ["failed", "failed"], ["succeeded", "succeeded"])
    same = runs("triage", ["succeeded"] * 2, ["succeeded"] * 2)
    few = runs("rare", ["failed"], ["succeeded"])
    trend = await filled("trend_analysis", stores(ListRuns={"runs": [*same, *worse, *few]}))
    assert trend["runs"] == 10
    assert [(row["pipeline"], row["success_rate_change"]) for row in trend["pipelines"]] == [("mood", -1.0), ("triage", 0.0)]


async def test_the_test_dataset_asks_for_dev_cases_of_the_newest_data_set_only() -> None:
    case = {"id": "c1", "input": {"text": "x"}, "expected": "y"}
    at = stores("support", ListDatasets={"datasets": [{"dataset_id": "tickets"}]}, GetDataset={"cases": [case]})
    assert await filled("test_dataset", at) == {"dataset_id": "tickets", "cases": [case]}
    assert isinstance(at.questions, ScriptedQuestions)
    assert at.questions.asked == [
        ListDatasets(domain="support", limit=1),
        GetDataset(dataset_id="tickets", splits=("dev",), limit=5),
    ]


async def test_user_feedback_is_what_people_wrote() -> None:
    said = {"kind": "review", "pipeline": "triage", "digest": "d", "author": "grace", "said": "deny", "text": "Rude.", "at": "2026"}
    (row,) = await filled("user_feedback", stores(ListFeedback={"feedback": [said]}))
    assert (row["text"], row["said"], row["author"]) == ("Rude.", "deny", "grace")


def test_every_name_says_what_it_is_filled_with() -> None:
    assert all(text.endswith(".") for text in store_names().values())
