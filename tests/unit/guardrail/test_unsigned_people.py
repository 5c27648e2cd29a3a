"""Who people are: every change of the registry is on record, and what nobody signed is nobody's."""

from __future__ import annotations

import pytest

from services.guardrail.use_cases import decide_review, note_identities
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, DecideReview
from shared.events.oversight import IdentitiesChanged
from shared.identity import UNSIGNED, Registry
from tests.fakes.guardrail import bench, facts, pipeline, shipped_policy
from tests.fakes.people import identity
from tests.fakes.reviewing import refusal, waiting


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
