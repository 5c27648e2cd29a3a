"""How many people it takes, whose vote counts, and what voids one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.guardrail.domain.oversight import ReviewRules
from services.guardrail.domain.policy import Policy
from services.guardrail.domain.risk import class_of
from services.guardrail.use_cases import (
    decide_review,
    delegate_reviews,
    get_review,
    lapse_glass,
    list_delegations,
    note_identities,
    revoke_delegation,
)
from services.guardrail.use_cases.telling import Effects
from shared.events.changes import (
    ChangeApproved,
    ChangeQueued,
    ChangeVetoed,
    DecideReview,
    PipelineDeployed,
    PipelineRolledBack,
    ReviewRefused,
    RollbackRefused,
)
from shared.events.message import Message
from shared.events.oversight import (
    ChangesRequested,
    DelegateReviews,
    DelegationRefused,
    DelegationRevoked,
    GetReview,
    GlassBroken,
    GlassConfirmed,
    GlassLapsed,
    IdentitiesChanged,
    ListDelegations,
    ReviewRecorded,
    ReviewsDelegated,
    RevokeDelegation,
)
from shared.identity import UNSIGNED, Registry, verify_proof
from tests.fakes.guardrail import Bench, bench, facts, pipeline, shipped_policy
from tests.fakes.people import identity, key_of, signature_of

HIGH = pipeline(steps=[{"name": "classify", "type": "gemini", "prompt": "Say the sentiment of: {{ text }}"}], limits={"calls": 500})
MEDIUM = pipeline("Name the sentiment of: {{ text }}", limits={"calls": 500})


async def waiting(document: dict[str, Any] = HIGH, **fields: Any) -> Bench:
    at = bench()
    await at.propose(pipeline())
    (queued,) = await at.propose(document, "c2", **fields)
    assert isinstance(queued, ChangeQueued)
    return at


def refusal(found: list[Message]) -> str:
    (fact,) = found
    assert isinstance(fact, ReviewRefused), fact
    return fact.reason


async def stable(at: Bench) -> str:
    deployment = await at.at.deployments.get("triage")
    assert deployment is not None
    return deployment.stable


async def seen(at: Bench, change_id: str = "c2") -> dict[str, Any]:
    return await get_review(GetReview(change_id=change_id), at.at)


def other_policy(**fields: Any) -> Policy:
    return Policy.parse({**shipped_policy().document.model_dump(), **fields}, "another")


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


async def delegated(at: Bench, to: str = "eve", author: str = "alice", days: float = 1, **fields: Any) -> list[Message]:
    until = (at.clock.now() + timedelta(days=days)).isoformat()
    given = {"delegation_id": "d1", "author": author, "delegate": to, "until": until, **fields}
    return facts(await delegate_reviews(DelegateReviews.model_validate(given), at.at))


async def with_eve(document: dict[str, Any] = MEDIUM, **fields: Any) -> Bench:
    """Eve has no role of her own."""
    at = await waiting(document, **fields)
    at.identities.add(identity("eve"))
    return at


async def test_a_delegate_votes_in_anothers_place() -> None:
    at = await with_eve()
    assert "has none" not in refusal(await at.decide("c2", reviewer="eve", message="m0", delegated_by="alice"))
    (given,) = await delegated(at)
    assert isinstance(given, ReviewsDelegated)
    approved = (await at.decide("c2", reviewer="eve", message="m1", delegated_by="alice"))[0]
    assert isinstance(approved, ChangeApproved)
    record = await at.at.changes.get("c2")
    assert record is not None and record.decisions[0].delegated_by == "alice"
    (row,) = (await list_delegations(ListDelegations(), at.at))["delegations"]
    assert (row["delegator"], row["delegate"], row["scope"]) == ("alice", "eve", "*")


@pytest.mark.parametrize("scope", ["pipeline:other", "domain:finance"])
async def test_a_delegation_reaches_no_further_than_its_scope(scope: str) -> None:
    at = await with_eve()
    await delegated(at, scope=scope)
    assert "has not delegated reviews of this change" in refusal(await at.decide("c2", reviewer="eve", delegated_by="alice"))


@pytest.mark.parametrize("scope", ["pipeline:triage", "domain:support", "*"])
async def test_a_delegation_reaches_its_scope(scope: str) -> None:
    at = await with_eve()
    await delegated(at, scope=scope)
    assert isinstance((await at.decide("c2", reviewer="eve", delegated_by="alice"))[0], ChangeApproved)


async def test_a_delegation_ends_at_its_time_and_when_it_is_taken_back() -> None:
    at = await with_eve()
    await delegated(at, days=1)
    at.clock.pass_seconds(86_400)
    assert "at this time" in refusal(await at.decide("c2", reviewer="eve", message="m1", delegated_by="alice"))
    await delegated(at, delegation_id="d2")
    stranger = RevokeDelegation(delegation_id="d2", author="eve")
    (refused,) = facts(await revoke_delegation(stranger, at.at, signature=UNSIGNED))
    assert isinstance(refused, DelegationRefused) and "only alice" in refused.reason
    command = RevokeDelegation(delegation_id="d2", author="alice")
    signature = signature_of(at.identities.current(), "alice", command, "r1")
    for _ in range(2):
        (revoked,) = facts(await revoke_delegation(command, at.at, signature=signature))
        assert isinstance(revoked, DelegationRevoked)
    assert "has not delegated" in refusal(await at.decide("c2", reviewer="eve", message="m2", delegated_by="alice"))


@pytest.mark.parametrize("again", ["", "before", "after"])
async def test_a_vote_under_a_delegation_that_was_taken_back_counts_no_more(again: str) -> None:
    """`again`: another delegation to the same person, given before the vote or after it."""
    at = await with_eve(HIGH)
    await delegated(at)
    if again == "before":
        await delegated(at, delegation_id="d2")
    await at.decide("c2", reviewer="eve", message="m1", delegated_by="alice")
    at.clock.pass_seconds(1)
    command = RevokeDelegation(delegation_id="d1", author="alice")
    await revoke_delegation(command, at.at, signature=signature_of(at.identities.current(), "alice", command, "r1"))
    if again == "after":
        await delegated(at, delegation_id="d2")
    told = (await at.decide("c2", reviewer="bob", message="m2"))[0]
    if again == "before":
        assert isinstance(told, ChangeApproved)
    else:
        assert isinstance(told, ReviewRecorded) and told.voided == ("eve: alice took the delegation to eve back",)


async def test_a_vote_outlives_the_time_of_the_delegation_that_it_was_given_under() -> None:
    at = await with_eve(HIGH)
    await delegated(at, days=0.5)
    await at.decide("c2", reviewer="eve", message="m1", delegated_by="alice")
    at.clock.pass_seconds(86_400)
    assert isinstance((await at.decide("c2", reviewer="bob", message="m2"))[0], ChangeApproved)


async def test_a_delegate_may_be_written_in_capitals() -> None:
    at = await with_eve()
    (given,) = await delegated(at, to="EVE")
    assert isinstance(given, ReviewsDelegated) and given.delegate == "eve"
    assert isinstance((await at.decide("c2", reviewer="eve", delegated_by="alice"))[0], ChangeApproved)


async def test_delegations_make_no_chain_and_give_nobody_two_votes() -> None:
    at = await with_eve(HIGH)
    at.identities.add(identity("fred"))
    await delegated(at)
    chain = await delegated(at, "fred", "eve", delegation_id="d2")
    assert isinstance(chain[0], ReviewsDelegated), "whoever has no role delegates nothing with it"
    assert "does not have the role" in refusal(await at.decide("c2", reviewer="fred", message="m1", delegated_by="eve"))
    assert isinstance((await at.decide("c2", reviewer="eve", message="m2", delegated_by="alice"))[0], ReviewRecorded)
    assert "one vote" in refusal(await at.decide("c2", reviewer="alice", message="m3"))
    await delegated(at, "eve", "bob", delegation_id="d3")
    assert "one vote" in refusal(await at.decide("c2", reviewer="eve", message="m4", delegated_by="bob"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"to": "nobody"}, "no person of identities.yaml"),
        ({"to": "generator"}, "no person"),
        ({"to": "alice"}, "to themselves"),
        ({"days": -1}, "within 90 days"),
        ({"days": 91}, "within 90 days"),
        ({"until": "soon"}, "RFC 3339"),
        ({"until": "2026-11-23T12:00:00"}, "no time zone"),
    ],
)
async def test_a_delegation_that_makes_no_sense_is_refused_with_the_reason(fields: dict[str, Any], said: str) -> None:
    at = await with_eve()
    (refused,) = await delegated(at, **fields)
    assert isinstance(refused, DelegationRefused) and said in refused.reason


# Emergencies.


async def swept(at: Bench) -> list[Message]:
    told: list[Message] = []

    async def tell(effects: Effects) -> None:
        told.extend(facts(effects))

    await lapse_glass(at.at, tell)
    return told


async def broken(document: dict[str, Any] = HIGH) -> tuple[Bench, str]:
    at = await waiting(document)
    before = await stable(at)
    approved, deployed, glass = await at.decide("c2", reviewer="alice", message="m1", break_glass=True, comment="outage 7")
    assert isinstance(approved, ChangeApproved) and approved.approved_by == "break-glass:alice"
    assert isinstance(deployed, PipelineDeployed) and isinstance(glass, GlassBroken)
    return at, before


async def test_one_admin_approves_alone_in_an_emergency_and_everybody_hears_of_it() -> None:
    at, before = await broken()
    assert await stable(at) != before
    assert at.tally.glasses == ["broken"]
    entry = await at.at.audit.find("glass:c2:broken")
    assert entry is not None and (entry.actor, entry.facts["reason"]) == ("alice", "outage 7")
    assert await swept(at) == [] and at.tally.glasses_open == 1


@pytest.mark.parametrize(
    ("reviewer", "fields", "said"),
    [
        ("rita", {"comment": "x"}, "takes the role admin"),
        ("alice", {}, "reason in `comment`"),
        ("alice", {"comment": "x", "delegated_by": "bob"}, "one's own approval"),
        ("generator", {"comment": "x"}, "no person"),
    ],
)
async def test_the_glass_is_not_broken_by_anybody_or_for_nothing(reviewer: str, fields: dict[str, Any], said: str) -> None:
    at = await waiting()
    at.identities.add(identity("rita", "reviewer"))
    assert said in refusal(await at.decide("c2", reviewer=reviewer, break_glass=True, **fields))


async def test_not_even_in_an_emergency_does_an_author_approve() -> None:
    at = await waiting(author="alice")
    assert "author never approves" in refusal(await at.decide("c2", reviewer="alice", break_glass=True, comment="urgent"))


async def test_an_emergency_that_somebody_else_confirms_stays() -> None:
    at, _ = await broken()
    now = await stable(at)
    assert "has approved it already" in refusal(await at.decide("c2", reviewer="alice", message="m2"))
    (confirmed,) = await at.decide("c2", reviewer="bob", message="m3")
    assert isinstance(confirmed, GlassConfirmed) and confirmed.by == "bob"
    assert await at.decide("c2", reviewer="bob", message="m3") == [confirmed]
    at.clock.pass_seconds(48 * 3600)
    assert await swept(at) == [] and await stable(at) == now
    assert "only what is queued" in refusal(await at.decide("c2", reviewer="carol", message="m4"))


async def test_an_emergency_that_nobody_confirms_is_taken_back() -> None:
    at, before = await broken()
    bad = await stable(at)
    at.clock.pass_seconds(24 * 3600)
    told = await swept(at)
    assert [type(each) for each in told] == [PipelineRolledBack, PipelineDeployed, GlassLapsed]
    assert await stable(at) == before and await at.at.revisions.is_quarantined(bad)
    assert await swept(at) == []


async def test_a_crash_before_it_is_told_repeats_it_and_nothing_happens_twice() -> None:
    at, _ = await broken()
    at.clock.pass_seconds(24 * 3600)

    async def crash(_: Effects) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await lapse_glass(at.at, crash)
    deployment = await at.at.deployments.get("triage")
    assert len(await swept(at)) == 3
    assert await at.at.deployments.get("triage") == deployment


async def test_an_emergency_that_somebody_rejects_is_taken_back_at_once() -> None:
    at, before = await broken()
    told = await at.decide("c2", "deny", "bob", "m2", comment="not the cause")
    assert isinstance(told[-1], GlassLapsed) and told[-1].by == "bob"
    assert await stable(at) == before
    assert await at.decide("c2", "deny", "bob", "m2", comment="not the cause") == told
    assert await swept(at) == [] and await at.at.changes.with_broken_glass(1) == [], "it hides no other that is due"


async def test_the_first_revision_of_a_pipeline_is_taken_back_by_quarantine() -> None:
    at = bench()
    steps = [{"name": "keep", "type": "file_ops", "operation": "read", "path": "a.txt"}]
    await at.propose(pipeline(name="fresh", steps=steps, outputs={}), "c2")
    await at.decide("c2", reviewer="alice", break_glass=True, comment="outage")
    at.clock.pass_seconds(24 * 3600)
    told = await swept(at)
    assert isinstance(told[0], RollbackRefused) and isinstance(told[-1], GlassLapsed)
    assert await at.at.revisions.is_quarantined(told[-1].digest)


# The registry.


async def test_every_change_of_the_registry_is_on_record_with_both_hashes() -> None:
    at = bench()
    (first,) = facts(await note_identities(at.at))
    assert isinstance(first, IdentitiesChanged) and first.before_sha256 == ""
    assert await note_identities(at.at) == []
    before = at.identities.current()
    at.identities.add(identity("mallory", "admin"))
    at.identities.revoke("bob")
    (second,) = facts(await note_identities(at.at))
    assert isinstance(second, IdentitiesChanged)
    assert (second.before_sha256, second.after_sha256) == (before.sha256, at.identities.current().sha256)
    assert any(line.startswith("mallory added: person, roles admin") for line in second.changes)
    assert any(line.startswith("bob revoked") for line in second.changes)
    at.identities.registry = before
    (third,) = facts(await note_identities(at.at))
    assert isinstance(third, IdentitiesChanged) and "mallory removed" in third.changes
    at.identities.registry = Registry()
    actions = [each.action for each in await at.at.audit.entries()]
    assert actions.count("identities.changed") == 3


async def test_a_crash_between_note_and_entry_is_made_up_for() -> None:
    at = bench()
    first = await note_identities(at.at)
    await at.database.collection("audit").delete({"key": "identities:1"})
    assert await note_identities(at.at) == first


async def test_unsigned_decisions_are_for_nobody() -> None:
    at = await waiting()
    record = await at.at.changes.get("c2")
    assert record is not None
    command = DecideReview(change_id="c2", decision="approve", reviewer="alice", digest=record.digest)
    found = facts(await decide_review(command, at.at, decision_id="m", signature=UNSIGNED))
    assert "no person who signed it" in refusal(found)


async def test_the_glass_is_not_broken_for_a_policy() -> None:
    at = bench()
    content = {**shipped_policy().content, "version": 9}
    await at.propose(content, "p1", kind="policy", pipeline="default", domain="general", author="ada")
    found = await at.decide("p1", reviewer="alice", break_glass=True, comment="urgent")
    assert "takes all its votes" in refusal(found)


@pytest.mark.parametrize(("author", "said"), [("ada", "a person who signs it"), ("generator", "only people propose a policy")])
async def test_an_unsigned_policy_is_refused_whoever_it_says_it_is_from(author: str, said: str) -> None:
    at = bench()
    content = {**shipped_policy().content, "version": 9}
    (veto,) = await at.propose(content, "p1", signed=False, kind="policy", pipeline="default", domain="general", author=author)
    assert isinstance(veto, ChangeVetoed) and said in veto.reasons[0]


async def test_nobody_lowers_a_maturity_unsigned() -> None:
    at = bench()
    await at.propose(pipeline())
    for name, signed in (("beta", True), ("experimental", False)):
        found = await at.propose(
            {"maturity": name}, f"m-{name}", signed=signed, kind="maturity", pipeline="triage", domain="support", author="ada"
        )
        if signed:
            found = await at.decide(f"m-{name}")
            assert isinstance(found[0], ChangeApproved)
    assert isinstance(found[0], ChangeQueued)
