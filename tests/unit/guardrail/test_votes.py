"""How many people it takes, whose vote counts, and what voids one."""

from __future__ import annotations

import pytest

from services.guardrail.domain.oversight import ReviewRules
from services.guardrail.domain.risk import class_of
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, DecideReview, ReviewRefused
from shared.events.deployments import PipelineDeployed
from shared.events.oversight import ChangesRequested, ReviewRecorded
from shared.identity import verify_proof
from tests.fakes.guardrail import bench, pipeline
from tests.fakes.people import identity, key_of
from tests.fakes.reviewing import MEDIUM, other_policy, refusal, seen, stable, waiting


async def test_a_risky_change_takes_two_people() -> None:
    at = await waiting()
    before = await stable(at)
    (first,) = await at.decide("c2", reviewer="alice", message="m1")
    assert isinstance(first, ReviewRecorded) and (first.votes, first.missing, first.role) == (1, 1, "reviewer")
    assert await stable(at) == before
    approved, deployed = await at.decide("c2", reviewer="bob", message="m2")
    assert isinstance(approved, ChangeApproved) and approved.approved_by == "review:alice,bob"
    assert isinstance(deployed, PipelineDeployed)


@pytest.mark.parametrize(
    ("risk", "wanted"), [(0.0, ("low", 1)), (0.25, ("medium", 1)), (0.6, ("high", 2)), (0.79, ("high", 2)), (0.85, ("critical", 2))]
)
def test_the_class_of_a_risk_says_how_many(risk: float, wanted: tuple[str, int]) -> None:
    rules = ReviewRules()
    assert (class_of(risk), rules.rule_for(risk).votes) == wanted


async def test_what_is_riskiest_takes_two_admins() -> None:
    at = bench()
    at.identities.add(identity("rita", "reviewer"))
    steps = [{"name": "keep", "type": "file_ops", "operation": "read", "path": "a.txt"}]
    await at.propose(pipeline(name="context_aware_pipeline_generator", steps=steps, outputs={}), "c2")
    assert "takes the role admin; rita has reviewer" in refusal(await at.decide("c2", reviewer="rita"))
    assert isinstance((await at.decide("c2", reviewer="alice", message="m1"))[0], ReviewRecorded)
    assert isinstance((await at.decide("c2", reviewer="bob", message="m2"))[0], ChangeApproved)


async def test_one_denial_ends_it_whatever_was_approved_before() -> None:
    at = await waiting()
    await at.decide("c2", reviewer="alice", message="m1")
    (veto,) = await at.decide("c2", "deny", "bob", "m2", comment="no")
    assert isinstance(veto, ChangeVetoed) and veto.vetoed_by == "review:bob"


async def test_what_a_reviewer_sees_is_whole() -> None:
    at = await waiting(requested_by="carol")
    await at.decide("c2", "comment", "dora", "m0", comment="why Gemini?")
    await at.decide("c2", reviewer="alice", message="m1")
    found = await seen(at)
    assert (found["votes"], found["needed"], found["missing"], found["risk_class"]) == (["alice"], 2, 1, "high")
    assert found["excluded"] == ["generator", "carol"]
    assert [each["comment"] for each in found["decisions"]] == ["why Gemini?", ""]
    assert found["diff"] and found["risk_reasons"] and found["reasons"]


async def test_a_comment_decides_nothing_and_says_something() -> None:
    at = await waiting()
    assert "set `comment`" in refusal(await at.decide("c2", "comment", "alice", "m0"))
    (said,) = await at.decide("c2", "comment", "alice", "m1", comment="hm")
    assert isinstance(said, ReviewRecorded) and (said.votes, said.missing) == (0, 2)
    assert isinstance((await at.decide("c2", reviewer="alice", message="m2"))[0], ReviewRecorded), "a comment is no vote"


async def test_a_change_that_is_sent_back_is_answered_by_its_author_with_a_successor() -> None:
    at = await waiting(MEDIUM)
    assert "says which" in refusal(await at.decide("c2", "request_changes", "alice", "m0"))
    (back,) = await at.decide("c2", "request_changes", "alice", "m1", comment="lower the limit")
    assert isinstance(back, ChangesRequested) and (back.author, back.comment) == ("generator", "lower the limit")
    assert "only what is queued" in refusal(await at.decide("c2", reviewer="bob", message="m2"))
    mended = pipeline("Name the sentiment of: {{ text }}", limits={"calls": 400})
    (stranger,) = await at.propose(mended, "c3", successor_of="c2", author="bob")
    assert isinstance(stranger, ChangeVetoed) and "only generator, its author" in stranger.reasons[0]
    (unknown,) = await at.propose(mended, "c4", successor_of="c9")
    assert isinstance(unknown, ChangeVetoed) and "no reviewer wanted that one otherwise" in unknown.reasons[0]
    (queued,) = await at.propose(mended, "c5", successor_of="c2")
    assert isinstance(queued, ChangeQueued)
    assert (await seen(at, "c5"))["successor_of"] == "c2"


async def test_another_policy_voids_the_votes_given_before_and_says_so() -> None:
    at = await waiting()
    await at.decide("c2", reviewer="alice", message="m1")
    at = at.with_policy(other_policy(version=2))
    (recorded,) = await at.decide("c2", reviewer="bob", message="m2")
    assert isinstance(recorded, ReviewRecorded) and (recorded.votes, recorded.missing) == (1, 1)
    assert recorded.voided == ("alice: another policy is in force since",)
    approved = (await at.decide("c2", reviewer="alice", message="m3"))[0]
    assert isinstance(approved, ChangeApproved) and approved.policy_revision == at.at.policy.revision


async def test_another_incumbent_ends_the_review_and_says_what_became_of_the_votes() -> None:
    at = await waiting()
    await at.decide("c2", reviewer="alice", message="m1")
    await at.propose(pipeline("Tell the sentiment of: {{ text }}"), "c3")
    (veto,) = await at.decide("c2", reviewer="bob", message="m2")
    assert isinstance(veto, ChangeVetoed) and "1 approval(s) given before are void" in veto.reasons[0]


@pytest.mark.parametrize("what", ["revoked", "lost the role", "has another key"])
async def test_who_may_not_vote_any_more_has_not_voted(what: str) -> None:
    at = await waiting()
    await at.decide("c2", reviewer="alice", message="m1")
    if what == "revoked":
        at.identities.revoke("alice")
    else:
        at.identities.add(identity("alice") if what == "lost the role" else identity("alice", "admin", key=key_of("new")))
    (recorded,) = await at.decide("c2", reviewer="bob", message="m2")
    assert isinstance(recorded, ReviewRecorded) and recorded.votes == 1 and recorded.voided[0].startswith("alice: ")


async def test_every_vote_can_be_proved_from_the_record_and_from_the_audit_log() -> None:
    at = await waiting()
    await at.decide("c2", reviewer="alice", message="m1")
    await at.decide("c2", reviewer="bob", message="m2")
    record = await at.at.changes.get("c2")
    assert record is not None
    registry = at.identities.current()
    for each, message in zip(record.decisions, ("m1", "m2"), strict=True):
        entry = await at.at.audit.find(f"review:c2:{message}")
        signer = registry.find(each.reviewer)
        assert entry is not None and signer is not None and each.proof is not None
        assert verify_proof(signer.key, each.proof) and each.proof.message_id == message
        assert entry.facts["vote"]["proof"] == each.proof.model_dump(mode="json")
        assert DecideReview.model_validate_json(each.body).digest == record.digest


async def test_a_redelivered_vote_counts_once_and_tells_the_same() -> None:
    at = await waiting()
    first = await at.decide("c2", reviewer="alice", message="m1")
    assert await at.decide("c2", reviewer="alice", message="m1") == first
    assert (await seen(at))["votes"] == ["alice"]
    ended = await at.decide("c2", reviewer="bob", message="m2")
    assert await at.decide("c2", reviewer="bob", message="m2") == ended


async def test_an_expired_review_says_how_far_it_came() -> None:
    at = await waiting()
    await at.decide("c2", reviewer="alice", message="m1")
    at.clock.pass_seconds(72 * 3600)
    veto, refused = await at.decide("c2", reviewer="bob", message="m2")
    assert isinstance(veto, ChangeVetoed) and "1 of 2 approvals were given" in veto.reasons[0]
    assert isinstance(refused, ReviewRefused) and "propose" in refused.reason


# Delegation.


# Emergencies.


# The registry.
