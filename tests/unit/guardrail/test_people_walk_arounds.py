"""Attempts to get something approved in somebody else's name. Each goes the whole way of the edge, and has to fail closed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.guardrail.domain.authority import authorize
from services.guardrail.use_cases import decide_review, delegate_reviews, roll_back
from shared.errors import NotAuthorizedError
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, DecideReview, ReviewRefused
from shared.events.deployments import RollbackPipeline
from shared.events.message import Message
from shared.events.oversight import DelegateReviews, ReviewRecorded
from shared.identity import MessageSigner
from shared.identity.signing import SIGNATURE, SIGNED_AT, SIGNER, check_signature
from shared.messaging import codec
from tests.fakes.guardrail import Bench, bench, facts, pipeline
from tests.fakes.people import identity, key_of

RISKY = pipeline("Name the sentiment of: {{ text }}", limits={"calls": 500})


@dataclass(frozen=True)
class Wire:
    """What travels: whoever sees it can send it again, changed or not."""

    body: bytes
    headers: dict[str, str]
    message_id: str
    subject: str = DecideReview.subject
    stored_at: datetime = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def vote(at: Bench, digest: str, by: str = "alice", message_id: str = "m1", **fields: Any) -> Wire:
    given = {"change_id": "q1", "decision": "approve", "reviewer": by, "digest": digest, **fields}
    body = codec.encode(DecideReview.model_validate(given))
    signed = MessageSigner(by, key_of(by)).sign(DecideReview.subject, message_id, body, Wire.stored_at)
    return Wire(body, signed, message_id)


async def received(at: Bench, wire: Wire) -> list[Message]:
    """As the edge does it: verify, authorize, handle."""
    command = codec.decode(DecideReview, wire.body)
    signature = check_signature(
        wire.headers,
        subject=wire.subject,
        message_id=wire.message_id,
        body=wire.body,
        stored_at=wire.stored_at,
        registry=at.identities.current(),
    )
    authorize(command, signature)
    return facts(await decide_review(command, at.at, decision_id=wire.message_id, signature=signature, body=wire.body))


async def queued(document: dict[str, Any] = RISKY, **fields: Any) -> tuple[Bench, str]:
    """A stable pipeline and a change that waits; the digest of what waits."""
    at = bench()
    await at.propose(pipeline())
    (fact,) = await at.propose(document, "q1", **fields)
    assert isinstance(fact, ChangeQueued)
    return at, fact.digest


async def generation(at: Bench) -> int:
    deployment = await at.at.deployments.get("triage")
    return deployment.generation if deployment else 0


async def refused(at: Bench, wire: Wire, said: str) -> None:
    """Nothing is served that was not served before, and the change waits as it did."""
    before = await generation(at)
    try:
        (fact,) = await received(at, wire)
    except NotAuthorizedError as error:
        reason = str(error)
    else:
        assert isinstance(fact, ReviewRefused), fact
        reason = fact.reason
    assert said in reason
    assert await generation(at) == before
    record = await at.at.changes.get("q1")
    assert record is not None and not [each for each in record.decisions if each.decision == "approve"]


async def test_the_honest_way_works() -> None:
    at, digest = await queued()
    assert isinstance((await received(at, vote(at, digest)))[0], ChangeApproved)


async def test_self_approval() -> None:
    at, digest = await queued(author="alice")
    await refused(at, vote(at, digest, "alice"), "author never approves")


async def test_self_approval_of_what_a_service_proposed_on_ones_behalf() -> None:
    at, digest = await queued(requested_by="alice")
    await refused(at, vote(at, digest, "alice"), "had it proposed")


async def test_self_approval_under_a_second_name_with_the_same_key() -> None:
    at, digest = await queued(author="alice")
    at.identities.add(identity("anna", "admin", key=key_of("alice")))
    wire = vote(at, digest, "anna")
    again = MessageSigner("anna", key_of("alice")).sign(wire.subject, wire.message_id, wire.body, wire.stored_at)
    await refused(at, replace(wire, headers=again), "second name with the same key")


async def test_self_approval_by_a_delegate() -> None:
    at, digest = await queued(author="eve")
    until = (at.clock.now() + timedelta(days=1)).isoformat()
    given = DelegateReviews(delegation_id="d", author="alice", delegate="eve", until=until)
    await delegate_reviews(given, at.at)
    await refused(at, vote(at, digest, "eve", delegated_by="alice"), "author never approves")


async def test_self_approval_through_a_delegate() -> None:
    """The author lends her vote to somebody who would not mind."""
    at, digest = await queued(author="alice")
    until = (at.clock.now() + timedelta(days=1)).isoformat()
    await delegate_reviews(DelegateReviews(delegation_id="d", author="alice", delegate="bob", until=until), at.at)
    await refused(at, vote(at, digest, "bob", delegated_by="alice"), "author never approves")


async def test_approval_by_a_service_with_every_role() -> None:
    at, digest = await queued()
    at.identities.add(identity("evolution", "reviewer", "operator", "admin", kind="service"))
    await refused(at, vote(at, digest, "evolution"), "no person")


async def test_approval_by_nobody() -> None:
    at, digest = await queued()
    await refused(at, replace(vote(at, digest), headers={}), "not signed")


async def test_approval_by_a_stranger_and_by_a_person_without_the_role() -> None:
    at, digest = await queued()
    await refused(at, vote(at, digest, "mallory"), "does not know")
    at.identities.add(identity("mallory", "operator"))
    await refused(at, vote(at, digest, "mallory"), "takes the role admin or reviewer")


async def test_approval_by_a_revoked_person() -> None:
    at, digest = await queued()
    at.identities.revoke("alice")
    await refused(at, vote(at, digest), "was revoked")


async def test_a_forged_signer_header() -> None:
    at, digest = await queued()
    forged = vote(at, digest, "mallory")
    await refused(at, replace(forged, headers={**forged.headers, SIGNER: "alice"}), "not one by alice")


async def test_a_key_of_ones_own_under_anothers_name() -> None:
    at, digest = await queued()
    wire = vote(at, digest)
    own = MessageSigner("alice", Ed25519PrivateKey.generate()).sign(wire.subject, wire.message_id, wire.body, wire.stored_at)
    await refused(at, replace(wire, headers=own), "not one by alice")


async def test_ones_own_signature_under_anothers_vote() -> None:
    at, digest = await queued()
    wire = vote(at, digest, "alice")
    own = MessageSigner("bob", key_of("bob")).sign(wire.subject, wire.message_id, wire.body, wire.stored_at)
    await refused(at, replace(wire, headers=own), "speaks for nobody else")


async def test_a_body_swapped_under_a_valid_signature() -> None:
    at, digest = await queued()
    comment, approval = vote(at, digest, decision="comment", comment="hm"), vote(at, digest)
    await refused(at, replace(comment, body=approval.body), "not one by alice")


async def test_a_signature_moved_to_another_subject_or_id() -> None:
    at, digest = await queued()
    await refused(at, replace(vote(at, digest), message_id="m9"), "not one by alice")
    rollback = RollbackPipeline(rollback_id="r", pipeline="triage", reason="x", author="alice")
    wire = vote(at, digest)
    body = codec.encode(rollback)
    moved = MessageSigner("alice", key_of("alice")).sign(RollbackPipeline.subject, wire.message_id, body, wire.stored_at)
    await refused(at, replace(wire, headers=moved), "not one by alice")


async def test_an_old_signature_and_one_from_the_future() -> None:
    at, digest = await queued()
    wire = vote(at, digest)
    await refused(at, replace(wire, stored_at=wire.stored_at + timedelta(minutes=11)), "send it again")
    await refused(at, replace(wire, stored_at=wire.stored_at - timedelta(minutes=10)), "check the clocks")
    pushed = {**wire.headers, SIGNED_AT: (wire.stored_at + timedelta(minutes=11)).isoformat()}
    await refused(at, replace(wire, headers=pushed, stored_at=wire.stored_at + timedelta(minutes=11)), "not one by alice")


async def test_a_vote_for_another_revision_or_for_none() -> None:
    at, _ = await queued()
    await refused(at, vote(at, "0" * 64), "look at it again")
    await refused(at, vote(at, ""), "names the revision that was seen")


async def test_two_votes_by_one_person() -> None:
    steps = [{"name": "classify", "type": "gemini", "prompt": "Say the sentiment of: {{ text }}"}]
    at, digest = await queued(pipeline(steps=steps, limits={"calls": 500}))
    assert isinstance((await received(at, vote(at, digest)))[0], ReviewRecorded)
    (second,) = await received(at, vote(at, digest, message_id="m2"))
    assert isinstance(second, ReviewRefused) and "one vote" in second.reason
    at.identities.add(identity("anna", "reviewer", key=key_of("alice")))
    body_by_anna = vote(at, digest, "anna", "m3")
    headers = MessageSigner("anna", key_of("alice")).sign(DecideReview.subject, "m3", body_by_anna.body, body_by_anna.stored_at)
    (third,) = await received(at, replace(body_by_anna, headers=headers))
    assert isinstance(third, ReviewRefused) and "whatever the name" in third.reason
    assert await generation(at) == 1


async def test_a_captured_approval_replayed_after_a_denial() -> None:
    at, digest = await queued()
    captured = vote(at, digest)
    await at.decide("q1", "deny", "bob", "m2")
    (fact,) = await received(at, captured)
    assert isinstance(fact, ReviewRefused) and "only what is queued" in fact.reason
    assert await generation(at) == 1


async def test_a_captured_approval_replayed_on_another_change_of_the_same_revision() -> None:
    """Vetoed as overtaken, proposed again: the approval of the first does not count for the second."""
    at, digest = await queued()
    captured = vote(at, digest)
    await at.propose(pipeline("Tell the sentiment of: {{ text }}"), "c3")
    (veto,) = await received(at, captured)
    assert isinstance(veto, ChangeVetoed)
    (again,) = await at.propose(RISKY, "q2")
    assert isinstance(again, ChangeQueued) and again.digest == digest
    before = await generation(at)
    assert await received(at, captured) == [veto], "a repeat, told again"
    swapped = replace(captured, body=captured.body.replace(b'"q1"', b'"q2"'))
    with pytest.raises(NotAuthorizedError, match="not one by alice"):
        await received(at, swapped)
    record = await at.at.changes.get("q2")
    assert record is not None and record.decisions == () and await generation(at) == before


async def test_a_captured_approval_replayed_on_the_successor_of_what_was_sent_back() -> None:
    at, digest = await queued()
    captured = vote(at, digest)
    await at.decide("q1", "request_changes", "bob", "m2", comment="lower")
    (successor,) = await at.propose(RISKY, "q2", successor_of="q1")
    assert isinstance(successor, ChangeQueued)
    (fact,) = await received(at, captured)
    assert isinstance(fact, ReviewRefused) and "changes_requested" in fact.reason


async def test_a_captured_vote_that_was_voided_does_not_come_back() -> None:
    steps = [{"name": "classify", "type": "gemini", "prompt": "Say the sentiment of: {{ text }}"}]
    at, digest = await queued(pipeline(steps=steps, limits={"calls": 500}))
    captured = vote(at, digest)
    await received(at, captured)
    at.identities.add(identity("alice"))
    await at.decide("q1", reviewer="bob", message="m2")
    with pytest.raises(NotAuthorizedError):
        await received(at, captured)
    at.identities.add(identity("alice", "reviewer"))
    await received(at, captured)
    record = await at.at.changes.get("q1")
    assert record is not None and record.status == "queued"
    assert [each.void != "" for each in record.decisions] == [True, False]


async def test_an_approval_replayed_after_a_rollback() -> None:
    at, digest = await queued()
    captured = vote(at, digest)
    await received(at, captured)
    await roll_back(RollbackPipeline(rollback_id="r", pipeline="triage", reason="bad", author="alice"), at.at)
    before = await generation(at)
    await received(at, captured)
    assert await generation(at) == before


async def test_an_unsigned_proposal_in_a_services_name_is_nobodys_word() -> None:
    at = bench()
    (fact,) = await at.propose(pipeline(), "c1", signed=False, author="generator")
    assert isinstance(fact, ChangeQueued) and "nobody answers for it: it is not signed" in fact.reasons[0]
    record = await at.at.changes.get("c1")
    assert record is not None and not record.author_verified and record.proposed_by == ""


async def test_an_unsigned_promotion_spends_nothing_of_the_sealed_cases() -> None:
    at = bench()
    await at.propose(pipeline(), dataset_id="tweets")
    await at.register()
    (veto,) = await at.propose(RISKY, "p1", signed=False, kind="promotion", dataset_id="tweets")
    assert isinstance(veto, ChangeVetoed) and "answer for it" in veto.reasons[0]
    assert at.fleet.commands == []


async def test_a_signature_without_a_header_is_none() -> None:
    at, digest = await queued()
    wire = vote(at, digest)
    for name in (SIGNER, SIGNATURE, SIGNED_AT):
        await refused(at, replace(wire, headers={key: value for key, value in wire.headers.items() if key != name}), "")
