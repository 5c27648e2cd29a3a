"""Activating a policy: always by people, by one compare-and-set, followed by every process, and never by the back door."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from services.guardrail.domain.policy import Policy
from services.guardrail.ports import LoadedPolicy
from services.guardrail.use_cases import get_policy as answer_get_policy
from services.guardrail.use_cases import in_force, list_policies, seed_policy
from services.guardrail.use_cases import test_policy as try_policy
from shared.errors import ConfigurationError, InvalidInputError, UnavailableError
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, ReviewRefused
from shared.events.message import Message
from shared.events.policies import GetPolicy, ListPolicies, PolicyActivated, TestPolicy
from tests.fakes.guardrail import Bench, bench, facts, pipeline, shipped_policy

ALLOW_ALL = [{"id": "all", "effect": "allow", "when": "true", "reason": "everything goes"}]
VETO_ALL = [{"id": "none", "effect": "veto", "when": "true", "reason": "nothing goes"}]


def other(**changes: Any) -> dict[str, Any]:
    """The shipped policy as a new version."""
    return {**copy.deepcopy(shipped_policy().content), "version": 9, **changes}


async def proposed(at: Bench, document: dict[str, Any], change_id: str = "pol1", author: str = "ada") -> list[Message]:
    """As the policy `default`, under the policy that is in force."""
    fields: dict[str, Any] = {"kind": "policy", "pipeline": "default", "domain": "general", "author": author}
    return await at.propose(document, change_id, **fields)


async def decided(at: Bench, change_id: str = "pol1", decision: str = "approve", reviewer: str = "grace") -> list[Message]:
    """Two admins: `reviewer` is the second one to approve."""
    if decision == "approve":
        first = await at.decide(change_id, decision, "alice", f"{change_id}-alice")
        if isinstance(first[0], ChangeVetoed):
            return first
    return await at.decide(change_id, decision, reviewer, f"{change_id}-{reviewer}")


async def now(at: Bench) -> Policy:
    return (await in_force(at.at)).policy


def reasons(found: list[Message]) -> str:
    fact = found[0]
    assert isinstance(fact, ChangeVetoed | ChangeQueued)
    return "; ".join(fact.reasons)


async def test_a_policy_is_in_force_after_people_approved_it_and_its_activation_is_told_and_audited() -> None:
    at = bench()
    (queued,) = await proposed(at, other())
    assert isinstance(queued, ChangeQueued) and queued.risk_class == "critical"
    assert (await now(at)).document.version == shipped_policy().document.version
    approved, activated = await decided(at)
    assert isinstance(approved, ChangeApproved) and isinstance(activated, PolicyActivated)
    assert (activated.version, activated.previous_revision) == (9, shipped_policy().revision)
    assert (await now(at)).document.version == 9
    entries = await at.at.audit.entries()
    assert [each.action for each in entries] == [
        "change.queued",
        "review.approve",
        "review.approve",
        "change.approved",
        "policy.activated",
    ]
    assert await at.at.audit.check() == ()


async def test_no_policy_can_lift_the_review_of_a_policy() -> None:
    at = bench(policy=Policy.parse(other(rules=ALLOW_ALL), "all"))
    (queued,) = await proposed(at, other())
    assert isinstance(queued, ChangeQueued)
    assert "policy-needs-people" in reasons([queued]) and "everything goes" in reasons([queued])


@pytest.mark.parametrize("author", ["generator", "Evolution", "learner", "guardrail", "anonymous", "console"])
async def test_a_policy_proposed_by_a_service_is_vetoed(author: str) -> None:
    at = bench(policy=Policy.parse(other(rules=ALLOW_ALL), "all"))
    found = await proposed(at, other(), author=author)
    assert isinstance(found[0], ChangeVetoed) and "only people propose a policy" in reasons(found)
    assert isinstance((await decided(at))[0], ReviewRefused)
    assert (await now(at)).revision == at.at.policy.revision


@pytest.mark.parametrize("reviewer", ["ada", "ADA", "generator", "evolution"])
async def test_neither_author_nor_service_approves_a_policy(reviewer: str) -> None:
    at = bench()
    await proposed(at, other())
    assert isinstance((await decided(at, reviewer=reviewer))[0], ReviewRefused)
    assert (await now(at)).revision == shipped_policy().revision


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"policy": "default"}, "rules"),
        (other(rules=[{"id": "x", "effect": "veto", "when": "change.knd == 'a'", "reason": "r"}]), "did you mean `change.kind`?"),
        (other(policy="another"), "is named 'another'"),
        (other(surprise=1), "surprise"),
        (other(description="x" * 250_000), "larger than"),
        (shipped_policy().content, "no change"),
    ],
)
async def test_a_policy_that_cannot_be_used_is_vetoed_with_the_place(document: dict[str, Any], said: str) -> None:
    found = await proposed(bench(), document)
    assert isinstance(found[0], ChangeVetoed) and said in reasons(found)


async def test_changes_are_judged_by_the_policy_that_is_in_force_at_that_moment() -> None:
    at = bench()
    await proposed(at, other(rules=VETO_ALL))
    await decided(at)
    (vetoed,) = await at.propose(pipeline(), "c-after")
    assert isinstance(vetoed, ChangeVetoed) and vetoed.vetoed_by == "policy:none"


async def test_every_other_process_follows_at_its_next_decision() -> None:
    at = bench()
    other_process = replace(at.at, loaded=LoadedPolicy())
    assert (await in_force(other_process)).policy.document.version == shipped_policy().document.version
    await proposed(at, other())
    await decided(at)
    assert (await in_force(other_process)).policy.document.version == 9


async def test_a_policy_that_vetoes_everything_does_not_keep_people_from_going_back() -> None:
    at = bench()
    await proposed(at, other(rules=VETO_ALL))
    await decided(at)
    assert isinstance((await proposed(at, other(version=10), "pol2"))[0], ChangeVetoed)
    (queued,) = await proposed(at, shipped_policy().content, "pol3")
    assert isinstance(queued, ChangeQueued) and "was in force before" in reasons([queued])
    await decided(at, "pol3")
    assert (await now(at)).revision == shipped_policy().revision


async def test_a_policy_approved_after_another_became_active_is_not_put_in_force() -> None:
    at = bench()
    await proposed(at, other(), "pol1")
    await proposed(at, other(version=10), "pol2")
    await decided(at, "pol2")
    (late,) = await decided(at, "pol1")
    assert isinstance(late, ChangeVetoed) and "replaced meanwhile" in reasons([late])
    assert (await now(at)).document.version == 10


async def test_an_approval_that_is_delivered_twice_activates_once() -> None:
    at = bench()
    await proposed(at, other())
    first = await decided(at)
    assert await decided(at) == first
    active = await at.at.policies.active()
    assert active is not None and active.generation == 2


async def test_a_denied_policy_stays_out_under_any_change_id() -> None:
    at = bench()
    await proposed(at, other())
    await decided(at, decision="deny")
    found = await proposed(at, other(), "pol2")
    assert isinstance(found[0], ChangeVetoed) and "vetoed in change pol1" in reasons(found)


async def test_a_policy_changed_in_the_store_while_it_was_queued_is_not_activated() -> None:
    at = bench()
    await proposed(at, other())
    changes = at.database.collection("changes")
    await changes.update_if({"_id": "pol1"}, {"$set": {"document": other(rules=ALLOW_ALL)}})
    (vetoed,) = await decided(at)
    assert isinstance(vetoed, ChangeVetoed) and "changed after it was queued" in reasons([vetoed])
    assert (await now(at)).revision == shipped_policy().revision


async def forged(at: Bench, **fields: Any) -> None:
    await at.database.collection("active_policy").update_if({"_id": "active"}, {"$set": fields})


async def stored_lax_policy(at: Bench) -> Policy:
    lax = Policy.parse(other(rules=ALLOW_ALL), "lax")
    document = {"_id": lax.revision, "revision": lax.revision, "policy": "default", "version": 9, "document": lax.content}
    at.database.collection("policies").store({**document, "source": "change", "created_at": "2026-11-22T00:00:00+00:00"})
    return lax


@pytest.mark.parametrize("unsigned", [True, False])
async def test_writing_to_the_store_activates_nothing(unsigned: bool) -> None:
    at = bench()
    lax = await stored_lax_policy(at)
    await forged(at, revision=lax.revision, generation=2, **({"attestation": None} if unsigned else {}))
    with pytest.raises(UnavailableError, match="was not activated by a guardrail"):
        await in_force(at.at)
    with pytest.raises(ConfigurationError, match="EVOLINE_GUARDRAIL_POLICY_RESET"):
        await seed_policy(at.at)


async def test_a_policy_edited_in_the_store_is_not_judged_by() -> None:
    at = bench()
    await proposed(at, other())
    await decided(at)
    active = await at.at.policies.active()
    assert active is not None
    edited = {"document": other(rules=ALLOW_ALL)}
    await at.database.collection("policies").update_if({"_id": active.revision}, {"$set": edited})
    with pytest.raises(UnavailableError, match="was changed in the store"):
        await in_force(replace(at.at, loaded=LoadedPolicy()))


async def test_without_a_policy_nothing_is_judged() -> None:
    at = bench()
    await at.database.collection("active_policy").delete({"_id": "active"})
    with pytest.raises(UnavailableError, match="no policy is in force"):
        await in_force(at.at)


async def test_a_store_that_was_set_back_is_noticed() -> None:
    at = bench()
    before = await at.database.collection("active_policy").get("active")
    await proposed(at, other())
    await decided(at)
    await in_force(at.at)
    assert before is not None
    at.database.collection("active_policy").store(before)
    with pytest.raises(UnavailableError, match="the store was set back"):
        await in_force(at.at)


@pytest.mark.parametrize("is_removed", [False, True])
async def test_a_restart_does_not_believe_a_store_that_was_set_back(is_removed: bool) -> None:
    at = bench()
    await seed_policy(at.at)
    stored = at.database.collection("active_policy")
    before = await stored.get("active")
    await proposed(at, other())
    await decided(at)
    assert before is not None
    await stored.delete({"_id": "active"})
    if not is_removed:
        stored.store(before)
    restarted = replace(at.at, loaded=LoadedPolicy())
    with pytest.raises(ConfigurationError, match=r"was set back.*EVOLINE_GUARDRAIL_POLICY_RESET"):
        await seed_policy(restarted)
    (told,) = facts(await seed_policy(restarted, reset=True))
    assert isinstance(told, PolicyActivated) and told.generation == 3
    assert await at.at.audit.find("policy:3") is not None
    assert await seed_policy(restarted) == [("policy:3", told)]


async def test_a_restart_follows_its_file_until_people_activate_something_else() -> None:
    at = bench()
    assert [type(fact) for fact in facts(await seed_policy(at.at))] == [PolicyActivated]
    newer = replace(at.at, policy=Policy.parse(other(), "newer"))
    (told,) = facts(await seed_policy(newer))
    assert isinstance(told, PolicyActivated) and (told.version, told.generation) == (9, 2)
    assert facts(await seed_policy(newer)) == [told]
    await proposed(replace(at, at=await in_force(newer)), other(version=10))
    await decided(at)
    assert await seed_policy(newer) == [] and (await now(at)).document.version == 10
    await seed_policy(newer, reset=True)
    assert (await now(at)).document.version == 9


async def test_all_versions_stay_and_the_one_in_force_is_marked() -> None:
    at = bench()
    await proposed(at, other())
    at.clock.pass_seconds(5)
    await decided(at)
    rows = (await list_policies(ListPolicies(), at.at))["policies"]
    assert [(row["version"], row["active"]) for row in rows] == [(9, True), (shipped_policy().document.version, False)]
    assert (rows[0]["author"], rows[0]["approved_by"]) == ("ada", "review:alice,grace")
    former = await answer_get_policy(GetPolicy(revision=shipped_policy().revision[:12]), at.at)
    assert former["document"] == shipped_policy().content and former["previous"] == [shipped_policy().revision]


async def test_a_policy_is_tried_on_what_was_judged_before() -> None:
    at = bench()
    await at.propose(pipeline(), "c1")
    await at.propose(pipeline(name="weapon", domain="weapons"), "c2")
    await at.propose(pipeline(steps=[]), "c3")
    await proposed(at, other(), "pol1")
    stricter = [{"id": "slow", "effect": "review", "when": "change.kind == 'revision'", "reason": "people look at everything"}]
    found = await try_policy(TestPolicy(document=other(rules=[*stricter, *ALLOW_ALL])), at.at)
    rows = {row["change_id"]: (row["was"], row["would"]) for row in found["rows"]}
    assert rows == {"c1": ("allow", "review"), "c2": ("veto", "review"), "pol1": ("review", "review")}
    assert [row["change_id"] for row in found["rows"]][-1] == "pol1", "what changes comes first"
    assert (found["judged"], found["changed"], found["unchanged"]) == (3, 2, 1)
    assert found["counts"] == {"allow -> review": 1, "veto -> review": 1, "review -> review": 1}
    assert found["skipped"] == [{"change_id": "c3", "reason": "a check refused it before any rule was asked, and would again"}]


async def test_the_policy_that_judged_says_the_same_again() -> None:
    at = bench()
    for number, document in enumerate((pipeline(), pipeline("Name it: {{ text }}"), pipeline(limits={"calls": 1500}, name="big"))):
        await at.propose(document, f"c{number}")
    found = await try_policy(TestPolicy(document=shipped_policy().content), at.at)
    assert (found["judged"], found["changed"]) == (3, 0)
    assert all(row["was_by"] == row["would_by"] for row in found["rows"])


async def test_testing_is_bounded_and_says_what_is_wrong() -> None:
    at = bench()
    for number in range(4):
        await at.propose(pipeline(name=f"p{number}"), f"c{number}")
        at.clock.pass_seconds(3600)
    assert (await try_policy(TestPolicy(document=shipped_policy().content, last=2), at.at))["judged"] == 2
    since = await try_policy(TestPolicy(document=shipped_policy().content, since="2026-11-22T13:30:00+00:00"), at.at)
    assert [row["change_id"] for row in since["rows"]] == ["c3", "c2"]
    with pytest.raises(InvalidInputError, match="rules"):
        await try_policy(TestPolicy(document={"policy": "x"}), at.at)


async def test_a_record_without_a_name_that_the_policy_asks_for_is_not_guessed_at() -> None:
    at = bench()
    await at.propose(pipeline())
    await at.database.collection("changes").update_if({"_id": "c1"}, {"$unset": {"names.risk.class": ""}})
    asking = [{"id": "a", "effect": "review", "when": "risk.class == 'high'", "reason": "r"}]
    found = await try_policy(TestPolicy(document=other(rules=asking)), at.at)
    assert found["skipped"] == [{"change_id": "c1", "reason": "it was judged before rules could see risk.class"}]
    assert (await try_policy(TestPolicy(document=other(rules=ALLOW_ALL)), at.at))["judged"] == 1


@pytest.mark.parametrize("since", ["2026-11-22T14:30:00+01:00", "2026-11-22T13:30:00Z"])
async def test_times_of_any_zone_mean_the_same(since: str) -> None:
    at = bench()
    for number in range(4):
        await at.propose(pipeline(name=f"p{number}"), f"c{number}")
        at.clock.pass_seconds(3600)
    found = await try_policy(TestPolicy(document=shipped_policy().content, since=since), at.at)
    assert [row["change_id"] for row in found["rows"]] == ["c3", "c2"]


async def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="is no time"):
        await try_policy(TestPolicy(document=shipped_policy().content, since="2026-13-45"), bench().at)


async def test_older_records_say_that_they_cannot_be_asked_again() -> None:
    at = bench()
    await at.propose(pipeline())
    await at.database.collection("changes").update_if({"_id": "c1"}, {"$set": {"names": {}}})
    found = await try_policy(TestPolicy(document=shipped_policy().content), at.at)
    assert found["not_replayable"] == 1 and "before the guardrail kept" in found["skipped"][0]["reason"]
