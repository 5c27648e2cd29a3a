"""Which revisions were promoted, by whom, and what came of it."""

from __future__ import annotations

from services.guardrail.use_cases import list_promotions
from shared.events.changes import ListPromotions
from tests.fakes.guardrail import pipeline
from tests.unit.guardrail.test_change_flow import NEW, promotable, promoted


async def test_promotions_of_a_pipeline_are_listed_with_who_did_what_and_what_the_sealed_cases_showed() -> None:
    at = await promotable({"Say": 0.8, "Name": 0.85})
    await promoted(at)
    await at.propose(pipeline(NEW), "p2", kind="promotion", author="alice", dataset_id="nowhere")
    rows = {row["change_id"]: row for row in (await list_promotions(ListPromotions(pipeline="triage"), at.at))["promotions"]}
    assert set(rows) == {"p1", "p2"}, "a revision that was only proposed is none"
    assert (rows["p1"]["author"], rows["p1"]["status"], rows["p1"]["gate"]["verdict"]) == ("evolution", "vetoed", "canary")
    assert rows["p1"]["gate"]["gain"] == rows["p1"]["gate"]["claim"] and "document" not in rows["p1"]
    assert (rows["p2"]["author"], rows["p2"]["decided_by"], rows["p2"]["gate"]) == ("alice", "gate", None)
    assert (await list_promotions(ListPromotions(pipeline="others"), at.at))["promotions"] == []
