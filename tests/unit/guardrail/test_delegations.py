"""Votes in another's place: how far a delegation reaches, and when it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from services.guardrail.use_cases import delegate_reviews, list_delegations, revoke_delegation
from shared.events.changes import ChangeApproved
from shared.events.message import Message
from shared.events.oversight import (
    DelegateReviews,
    DelegationRefused,
    DelegationRevoked,
    ListDelegations,
    ReviewRecorded,
    ReviewsDelegated,
    RevokeDelegation,
)
from shared.identity import UNSIGNED
from tests.fakes.guardrail import Bench, facts
from tests.fakes.people import identity, signature_of
from tests.fakes.reviewing import HIGH, MEDIUM, refusal, waiting


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
