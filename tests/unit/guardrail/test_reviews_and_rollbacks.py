from __future__ import annotations

from typing import Any

import pytest

from services.guardrail.use_cases import Effects, expire_reviews, list_reviews, roll_back
from services.guardrail.use_cases.telling import outcome_key
from services.guardrail.use_cases.voting import RECORDING_SECONDS
from shared.errors import UnavailableError
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, ListReviews, ReviewRefused
from shared.events.deployments import PipelineDeployed, PipelineRolledBack, RollbackPipeline, RollbackRefused
from shared.events.message import Message
from tests.fakes.guardrail import Bench, bench, facts, pipeline

A, B, C = (f"{word} the sentiment of: {{{{ text }}}}" for word in ("Say", "Name", "Tell"))


def risky(prompt: str = B) -> dict[str, Any]:
    """Wider limits: waits for people."""
    return pipeline(prompt, limits={"calls": 500})


async def waiting() -> Bench:
    """A stable pipeline and one risky change in the queue, `c2` by the generator."""
    at = bench()
    await at.propose(pipeline(A))
    (queued,) = await at.propose(risky(), "c2")
    assert isinstance(queued, ChangeQueued)
    return at


async def decide(
    at: Bench, decision: str = "approve", reviewer: str = "alice", message: str = "m1", change_id: str = "c2"
) -> list[Message]:
    return await at.decide(change_id, decision, reviewer, message, comment="seen")


def refusal(found: list[Message]) -> str:
    (fact,) = [each for each in found if isinstance(each, ReviewRefused)]
    return fact.reason


async def rolled(at: Bench, rollback_id: str = "r1", **fields: Any) -> list[Message]:
    command = {"rollback_id": rollback_id, "pipeline": "triage", "reason": "wrong answers", "author": "alice", **fields}
    return facts(await roll_back(RollbackPipeline.model_validate(command), at.at))


async def grown() -> tuple[Bench, list[str]]:
    """Three revisions of `triage`, each made from the one before, and a template made from the last."""
    at = bench()
    digests: list[str] = []
    for number, prompt in enumerate((A, B, C)):
        approved = (await at.propose(pipeline(prompt), f"c{number}", parent_digest=digests[-1] if digests else None))[0]
        assert isinstance(approved, ChangeApproved)
        digests.append(approved.digest)
    template = pipeline("[[ instruction ]] {{ text }}", name="learned", domain="library")
    (approved,) = await at.propose(template, "t1", kind="template", author="learner", parent_digest=digests[2])
    assert isinstance(approved, ChangeApproved)
    return at, [*digests, approved.digest]


async def test_what_waits_is_listed_with_risk_reasons_and_diff() -> None:
    at = await waiting()
    (row,) = (await list_reviews(ListReviews(), at.at))["reviews"]
    assert row["change_id"] == "c2"
    assert "may use more than before" in row["risk_reasons"]
    assert "+ limits.calls: 500" in row["diff"]


async def test_a_decision_that_is_faster_than_the_audit_entry_is_tried_again() -> None:
    at = await waiting()
    (entry,) = await at.database.collection("audit").find({"key": outcome_key("c2", "queued")})
    await at.database.collection("audit").delete({"_id": entry["_id"]})
    with pytest.raises(UnavailableError, match="tried again"):
        await decide(at)
    await at.database.collection("audit").put(entry)
    assert [type(fact) for fact in await decide(at)] == [ChangeApproved, PipelineDeployed]


async def test_what_the_audit_log_never_held_as_queued_is_vetoed() -> None:
    at = await waiting()
    await at.database.collection("audit").delete({"key": outcome_key("c2", "queued")})
    at.clock.pass_seconds(RECORDING_SECONDS)
    (veto,) = await decide(at)
    assert isinstance(veto, ChangeVetoed) and "does not hold this revision" in veto.reasons[0]


async def test_an_approval_deploys_and_names_the_person() -> None:
    at = await waiting()
    approved, deployed = await decide(at)
    assert isinstance(approved, ChangeApproved) and approved.approved_by == "review:alice"
    assert isinstance(deployed, PipelineDeployed) and deployed.generation == 2
    assert (await list_reviews(ListReviews(), at.at))["reviews"] == []
    entries = await at.at.audit.entries()
    assert await at.at.audit.check() == ()
    assert next(each for each in entries if each.action == "change.approved" and each.actor == "review:alice").facts["people"]


async def test_a_denial_holds_for_the_revision_under_any_change_id() -> None:
    at = await waiting()
    (vetoed,) = await decide(at, "deny")
    assert isinstance(vetoed, ChangeVetoed) and vetoed.vetoed_by == "review:alice"
    (again,) = await at.propose(risky(), "c3")
    assert isinstance(again, ChangeVetoed) and "vetoed in change c2" in again.reasons[0]


async def test_a_redelivered_approval_tells_the_same_again() -> None:
    at = await waiting()
    assert await decide(at) == await decide(at)
    deployment = await at.at.deployments.get("triage")
    assert deployment is not None and deployment.generation == 2


async def test_a_review_ends_when_nobody_decides() -> None:
    at = await waiting()
    at.clock.pass_seconds(72 * 3600)
    found = await decide(at)
    assert isinstance(found[0], ChangeVetoed) and found[0].vetoed_by == "expiry"
    assert "ended at" in refusal(found)
    deployment = await at.at.deployments.get("triage")
    assert deployment is not None and deployment.generation == 1


async def expiries(at: Bench) -> Effects:
    told: Effects = []

    async def tell(effects: Effects) -> None:
        told.extend(effects)

    await expire_reviews(at.at, tell)
    return told


async def test_expiry_is_told_without_anybody_asking() -> None:
    at = await waiting()
    assert await expiries(at) == []
    assert at.tally.waiting == 1
    at.clock.pass_seconds(72 * 3600)
    ((effect, fact),) = await expiries(at)
    assert effect == "c2:verdict" and isinstance(fact, ChangeVetoed)
    assert await expiries(at) == []


async def test_an_expiry_that_was_not_told_before_a_crash_is_told_afterwards() -> None:
    at = await waiting()
    at.clock.pass_seconds(72 * 3600)

    async def crash(_: Effects) -> None:
        raise UnavailableError("the broker is away")

    with pytest.raises(UnavailableError):
        await expire_reviews(at.at, crash)
    ((effect, fact),) = await expiries(at)
    assert effect == "c2:verdict" and isinstance(fact, ChangeVetoed)
    assert await at.at.audit.find("change:c2:expired") is not None


async def test_a_late_decision_that_is_delivered_again_tells_the_same() -> None:
    at = await waiting()
    at.clock.pass_seconds(72 * 3600)
    first = await decide(at)
    assert await decide(at) == first
    assert isinstance(first[0], ChangeVetoed)
    assert await expiries(at) == [], "a decision that came too late has told it"


async def test_an_approval_of_something_overtaken_deploys_nothing() -> None:
    at = await waiting()
    await at.propose(pipeline(C), "c3")
    (vetoed,) = await decide(at)
    assert isinstance(vetoed, ChangeVetoed) and "propose it again" in vetoed.reasons[0]


async def test_a_rollback_goes_back_one_and_quarantines_what_descends() -> None:
    at, (first, second, third, template) = await grown()
    back, deployed = await rolled(at)
    assert isinstance(back, PipelineRolledBack) and isinstance(deployed, PipelineDeployed)
    assert (back.from_digest, back.to_digest, back.generation) == (third, second, 4)
    assert set(back.quarantined) == {third, template}
    deployment = await at.at.deployments.get("triage")
    assert deployment is not None and (deployment.stable, deployment.previous) == (second, (first,))
    for digest, status in ((first, "approved"), (second, "approved"), (third, "quarantined"), (template, "quarantined")):
        stored = await at.at.revisions.get(digest)
        assert stored is not None and stored.status == status


async def test_a_repeated_rollback_is_the_same_rollback() -> None:
    at, _ = await grown()
    once = await rolled(at)
    after = await at.at.deployments.get("triage")
    assert await rolled(at) == once
    assert after is not None and await at.at.deployments.get("triage") == after


async def test_a_rollback_to_a_named_revision_goes_there() -> None:
    at, (first, *_) = await grown()
    back = (await rolled(at, to_digest=first[:10]))[0]
    assert isinstance(back, PipelineRolledBack) and back.to_digest == first


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"pipeline": "ghost"}, "no pipeline 'ghost'"),
        ({"to_digest": "0" * 12}, "no former stable revision 000000000000"),
    ],
)
async def test_a_rollback_to_nowhere_is_refused_with_a_reason(fields: dict[str, Any], said: str) -> None:
    at, _ = await grown()
    (refused,) = await rolled(at, **fields)
    assert isinstance(refused, RollbackRefused) and said in refused.reason


async def test_a_rollback_of_the_first_revision_is_refused() -> None:
    at = bench()
    await at.propose(pipeline(A))
    (refused,) = await rolled(at)
    assert isinstance(refused, RollbackRefused) and "former ones: none" in refused.reason


async def test_a_rollback_to_a_quarantined_revision_is_refused() -> None:
    at, (first, second, *_) = await grown()
    await rolled(at)
    await rolled(at, "r2")
    deployment = await at.at.deployments.get("triage")
    assert deployment is not None and deployment.stable == first
    (refused,) = await rolled(at, "r3", to_digest=second)
    assert isinstance(refused, RollbackRefused)


async def test_what_descends_from_quarantine_is_vetoed_later_too() -> None:
    at, (*_, third, _template) = await grown()
    await rolled(at)
    (veto,) = await at.propose(pipeline("Guess: {{ text }}"), "c9", parent_digest=third)
    assert isinstance(veto, ChangeVetoed) and "descends from" in veto.reasons[0]


async def test_a_change_that_waits_cannot_pass_once_its_parent_is_quarantined() -> None:
    at, (_, _, third, _template) = await grown()
    (queued,) = await at.propose(risky("Guess: {{ text }}"), "c9", parent_digest=third)
    assert isinstance(queued, ChangeQueued)
    await rolled(at)
    (veto,) = await decide(at, change_id="c9")
    assert isinstance(veto, ChangeVetoed) and "descends from" in veto.reasons[0]


async def test_the_id_of_a_change_is_none_for_its_rollback_and_that_of_a_rollback_none_for_a_change() -> None:
    at = bench()
    await at.propose(pipeline(A))
    await at.propose(pipeline(B), "c2")
    (refused,) = await rolled(at, "c2")
    assert isinstance(refused, RollbackRefused) and "repeat with a new rollback id" in refused.reason
    assert await rolled(at, "c2") == [refused]
    done, _ = await rolled(at, "r1")
    assert isinstance(done, PipelineRolledBack)
    (vetoed,) = await at.propose(pipeline(C), "r1")
    assert isinstance(vetoed, ChangeVetoed) and "propose with another id" in vetoed.reasons[0]
    deployment = await at.at.deployments.get("triage")
    assert deployment is not None and deployment.stable == done.to_digest
