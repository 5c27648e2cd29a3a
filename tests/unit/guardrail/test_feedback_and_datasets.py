"""What the guardrail tells about people's words and about the data sets in its custody."""

from __future__ import annotations

from services.guardrail.use_cases import list_datasets, list_feedback, roll_back
from shared.events.custody import ListDatasets, ListFeedback
from shared.events.deployments import RollbackPipeline
from tests.fakes.guardrail import bench, pipeline
from tests.fakes.people import identity


async def test_comments_of_reviews_and_reasons_of_rollbacks_are_feedback_newest_first() -> None:
    at = bench(meta_names=frozenset(("triage",)))
    at.identities.add(identity("grace", "admin"))
    for number, (decision, comment) in enumerate([("approve", "Clear."), ("deny", ""), ("deny", "Rude to customers.")]):
        await at.propose(pipeline(f"Prompt {number}: {{{{ text }}}}"), f"c{number}")
        at.clock.pass_seconds(60)
        if decision == "approve":  # one of the system's own pipelines: two admins
            await at.decide(f"c{number}", decision, "alice", f"a{number}")
        await at.decide(f"c{number}", decision, "grace", f"d{number}", comment=comment)
    await at.propose(pipeline("Other: {{ text }}", name="other"), "c9")
    refused = RollbackPipeline(rollback_id="r1", pipeline="other", reason="Worse on Mondays.", author="ada")
    await roll_back(refused, at.at)
    told = (await list_feedback(ListFeedback(), at.at))["feedback"]
    assert [(row["kind"], row["said"], row["text"]) for row in told] == [
        ("review", "deny", "Rude to customers."),
        ("review", "approve", "Clear."),
    ]
    assert (told[0]["pipeline"], told[0]["author"]) == ("triage", "grace")
    assert [row["text"] for row in (await list_feedback(ListFeedback(limit=1), at.at))["feedback"]] == ["Rude to customers."]


async def test_a_rollback_that_happened_is_feedback() -> None:
    at = bench()
    await at.propose(pipeline("One: {{ text }}"), "c1")
    await at.propose(pipeline("One, please: {{ text }}"), "c2")
    await roll_back(RollbackPipeline(rollback_id="r1", pipeline="triage", reason="Worse on Mondays.", author="ada"), at.at)
    (row,) = (await list_feedback(ListFeedback(), at.at))["feedback"]
    assert (row["kind"], row["text"], row["author"], row["pipeline"]) == ("rollback", "Worse on Mondays.", "ada", "triage")


async def test_datasets_are_listed_newest_first_by_domain_without_their_cases() -> None:
    at = bench()
    await at.register(dataset_id="old")
    at.clock.pass_seconds(60)
    await at.register(dataset_id="new")
    found = (await list_datasets(ListDatasets(domain="support"), at.at))["datasets"]
    assert [row["dataset_id"] for row in found] == ["new", "old"]
    assert found[0]["counts"] == {"train": 4, "dev": 4, "sealed": 60}
    assert "cases" not in found[0]
    assert (await list_datasets(ListDatasets(domain="law"), at.at)) == {"datasets": []}
