"""While the system is frozen nothing takes effect, nothing that was accepted is lost, and the order stays."""

from __future__ import annotations

from typing import Any

import pytest

from services.guardrail.ports import LostRaceError
from services.guardrail.use_cases import (
    Effects,
    HeldChanges,
    Place,
    attest_shipped,
    expire_reviews,
    freeze_system,
    get_freezes,
    grant_scope,
    holding,
    list_reviews,
    propose_change,
    roll_back,
    unfreeze_system,
)
from services.guardrail.use_cases.applying import deployed
from shared.errors import FrozenError
from shared.events.changes import ChangeApproved, ChangeVetoed, GrantScope, ListReviews, ReviewRefused
from shared.events.deployments import PipelineDeployed, PipelineRolledBack, RollbackPipeline
from shared.events.message import Message
from shared.events.recovery import ChangeHeld, FreezeRefused, FreezeSystem, GetFreezes, SystemFrozen, SystemUnfrozen, UnfreezeSystem
from shared.events.values import Budget
from shared.pipeline.loading import load_document
from tests.fakes.guardrail import Bench, answering, bench, cases, facts, pipeline, proposal
from tests.fakes.people import signed_proposal


async def freeze(at: Bench, freeze_id: str = "f1", **fields: Any) -> list[Message]:
    command = FreezeSystem.model_validate({"freeze_id": freeze_id, "reason": "incident 7", "author": "alice", **fields})
    return facts(await freeze_system(command, at.at))


async def unfreeze(at: Bench, freeze_id: str | None = None, unfreeze_id: str = "u1") -> list[Message]:
    return facts(await unfreeze_system(UnfreezeSystem(unfreeze_id=unfreeze_id, freeze_id=freeze_id, author="alice"), at.at))


async def propose(at: Bench, text: str, sequence: int, **fields: Any) -> list[Message]:
    command = proposal(pipeline(f"{text}: {{{{ text }}}}", **fields), f"c{sequence}")
    return facts(await propose_change(command, at.at, place=Place(f"m{sequence}", sequence), signature=signed_proposal(command)))


async def drained(at: Bench) -> list[tuple[str, str, Message]]:
    told: list[tuple[str, str, Message]] = []

    async def tell(cause: str, effects: Effects) -> None:
        told.extend((cause, effect, fact) for effect, fact in effects)

    held = HeldChanges(at.at, tell)
    while await held.round():
        pass
    return told


async def serving(at: Bench, name: str = "triage") -> str:
    deployment = await at.at.deployments.get(name)
    return deployment.stable if deployment else ""


async def test_what_is_proposed_during_a_freeze_takes_effect_in_its_order_afterwards() -> None:
    at = bench()
    await propose(at, "Say", 1)
    before = await serving(at)
    (frozen,) = await freeze(at)
    assert isinstance(frozen, SystemFrozen)
    for number in range(2, 8):
        (held,) = await propose(at, f"Say {number}", number)
        assert isinstance(held, ChangeHeld) and held.freeze_id == "f1"
    assert await serving(at) == before
    assert await drained(at) == []
    assert at.tally.freezes == 1 and at.tally.held == 6
    (ended,) = await unfreeze(at)
    assert isinstance(ended, SystemUnfrozen) and ended.freeze_ids == ("f1",)
    told = await drained(at)
    assert [(cause, effect) for cause, effect, _ in told] == [
        (f"m{number}", effect) for number in range(2, 8) for effect in ("verdict", "deployed")
    ]
    moved = [fact for _, _, fact in told if isinstance(fact, PipelineDeployed)]
    assert [fact.previous_digest for fact in moved] == [before, *(fact.digest for fact in moved[:-1])]
    assert await serving(at) == moved[-1].digest
    assert await drained(at) == [] and at.tally.freezes == 0
    assert await at.at.audit.check() == ()


async def test_a_repeat_of_what_is_held_changes_nothing() -> None:
    at = bench()
    await freeze(at)
    assert await propose(at, "Say", 1) == await propose(at, "Say", 1)
    await unfreeze(at)
    told = await drained(at)
    assert len([fact for *_, fact in told if isinstance(fact, ChangeApproved)]) == 1
    repeated = await propose(at, "Say", 1)
    assert repeated == [fact for *_, fact in told]


async def test_a_crash_between_verdict_and_telling_tells_it_later() -> None:
    at = bench()
    await freeze(at)
    await propose(at, "Say", 1)
    await unfreeze(at)

    async def crash(cause: str, effects: Effects) -> None:
        raise ConnectionError("the broker is gone")

    await HeldChanges(at.at, crash).round()
    assert await serving(at)
    assert [type(fact) for *_, fact in await drained(at)] == [ChangeApproved, PipelineDeployed]


async def test_the_same_freeze_and_the_same_unfreeze_count_once() -> None:
    at = bench()
    assert await freeze(at) == await freeze(at)
    await freeze(at, "f2", scope="domain", domain="billing")
    first = await unfreeze(at, "f1")
    assert await unfreeze(at, "f1") == first
    assert isinstance(first[0], SystemUnfrozen) and first[0].still == ("f2",)
    (late,) = await freeze(at)  # the id of the first, after it was ended
    assert isinstance(late, FreezeRefused) and "nothing is frozen by it; repeat with a new id" in late.reason
    (other,) = await freeze(at, "f2", scope="domain", domain="support")
    assert isinstance(other, FreezeRefused) and "f2 is a freeze of billing already" in other.reason
    assert [each["freeze_id"] for each in (await get_freezes(GetFreezes(), at.at))["freezes"]] == ["f2"]
    entries = await at.at.audit.entries()
    assert [entry.action for entry in entries] == ["system.frozen", "system.frozen", "system.unfrozen"]


async def test_an_unfreeze_that_is_called_like_a_freeze_says_that_it_ended_nothing() -> None:
    at = bench()
    await freeze(at)
    (refused,) = await unfreeze(at, unfreeze_id="f1")
    assert isinstance(refused, FreezeRefused) and "that of a freeze" in refused.reason and "another id" in refused.reason
    assert [each["freeze_id"] for each in (await get_freezes(GetFreezes(), at.at))["freezes"]] == ["f1"]
    assert isinstance((await unfreeze(at))[0], SystemUnfrozen)


async def test_what_a_freeze_keeps_hides_nothing_that_is_free_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "ROUND", 2)
    at = bench()
    await freeze(at)
    await freeze(at, "f2", scope="pipeline", pipeline="triage")
    for number in range(1, 6):
        await propose(at, f"Say {number}", number)
    await propose(at, "Weigh", 6, name="billing")
    assert await drained(at) == [] and at.tally.held == 6
    await unfreeze(at, "f1")
    assert [cause for cause, effect, _ in await drained(at) if effect == "verdict"] == ["m6"]
    assert await serving(at, "billing") and not await serving(at)
    await unfreeze(at, unfreeze_id="u2")
    assert [cause for cause, effect, _ in await drained(at) if effect == "verdict"] == [f"m{number}" for number in range(1, 6)]


async def test_changes_that_a_freeze_keeps_are_read_once_and_not_every_second() -> None:
    at = bench()
    await freeze(at)
    await propose(at, "Say", 1)
    look, looks = at.at.changes.held, 0

    async def held(limit: int) -> Any:
        nonlocal looks
        looks += 1
        return await look(limit)

    async def tell(cause: str, effects: Effects) -> None:
        raise AssertionError("nothing is free")

    at.at.changes.held = held  # type: ignore[method-assign]
    changes = HeldChanges(at.at, tell)
    for _ in range(holding.LOOK_AGAIN):
        assert await changes.round() == 0
    assert looks == 2


async def test_an_unknown_freeze_cannot_be_ended() -> None:
    at = bench()
    await freeze(at)
    (refused,) = await unfreeze(at, "f9")
    assert isinstance(refused, FreezeRefused) and "those that stand: f1" in refused.reason


@pytest.mark.parametrize(
    "fields", [{"scope": "pipeline"}, {"scope": "all", "domain": "support"}, {"scope": "domain", "pipeline": "triage"}]
)
def test_a_freeze_names_what_it_freezes(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="goes with"):
        FreezeSystem.model_validate({"freeze_id": "f", "reason": "r", "author": "a", **fields})


@pytest.mark.parametrize("fields", [{"scope": "pipeline", "pipeline": "triage"}, {"scope": "domain", "domain": "support"}])
async def test_a_freeze_of_a_part_leaves_the_rest_alone(fields: dict[str, str]) -> None:
    at = bench()
    await freeze(at, **fields)
    assert isinstance((await propose(at, "Say", 1))[0], ChangeHeld)
    other = pipeline(name="billing", domain="finance")
    assert isinstance((await at.propose(other, "c2"))[0], ChangeApproved)


async def test_no_trial_scope_is_granted_while_frozen() -> None:
    at = bench()
    wish = GrantScope(
        scope_id="s1", purpose="evolution", holder="evolution", domain="support", budget=Budget(runs=1, calls=1, tokens=1)
    )
    await freeze(at)
    with pytest.raises(FrozenError, match=r"incident 7.*evoline unfreeze"):
        await grant_scope(wish, at.at)
    await unfreeze(at)
    assert (await grant_scope(wish, at.at)).scope.scope_id == "s1"


async def test_a_rollback_works_during_a_freeze() -> None:
    at = bench()
    await propose(at, "Say", 1)
    good = await serving(at)
    await propose(at, "Shout", 2)
    await freeze(at)
    command = RollbackPipeline(rollback_id="r1", pipeline="triage", reason="bad", author="alice")
    assert isinstance(facts(await roll_back(command, at.at))[0], PipelineRolledBack)
    assert await serving(at) == good


async def test_an_approval_during_a_freeze_does_not_count_and_a_denial_does() -> None:
    at = bench()
    await propose(at, "Say", 1)
    await at.propose(pipeline(limits={"calls": 500}), "q1")
    await at.propose(pipeline(limits={"calls": 501}), "q2")
    await freeze(at)
    (refused,) = await at.decide("q1", reviewer="bob", message="d1")
    assert isinstance(refused, ReviewRefused) and "frozen" in refused.reason
    (vetoed,) = await at.decide("q2", "deny", "bob", "d2")
    assert isinstance(vetoed, ChangeVetoed)
    at.clock.pass_seconds(at.at.policy.document.review_hours * 3600 + 1)
    told: Effects = []

    async def tell(effects: Effects) -> None:
        told.extend(effects)

    await expire_reviews(at.at, tell)
    assert told == []
    await unfreeze(at)
    await expire_reviews(at.at, tell)
    assert told


async def test_reviews_that_expired_during_a_freeze_hide_none_that_came_after_them() -> None:
    at = bench()
    await propose(at, "Say", 1)
    await propose(at, "Weigh", 2, name="billing", domain="finance")
    for number in range(3):
        await at.propose(pipeline(limits={"calls": 500 + number}), f"q{number}")
    await freeze(at, scope="domain", domain="support")
    at.clock.pass_seconds(at.at.policy.document.review_hours * 3600 + 1)
    await at.propose(pipeline(limits={"calls": 500}, name="billing", domain="finance"), "late")
    shown = (await list_reviews(ListReviews(limit=2), at.at))["reviews"]
    assert [each["change_id"] for each in shown] == ["late"]
    at.clock.pass_seconds(at.at.policy.document.review_hours * 3600 + 1)
    told: Effects = []

    async def tell(effects: Effects) -> None:
        told.extend(effects)

    await expire_reviews(at.at, tell, limit=2)
    assert [effect for effect, _ in told] == ["late:verdict"]


async def test_a_change_whose_look_at_sealed_cases_outlasts_the_beginning_of_a_freeze_is_held() -> None:
    at = bench()
    await at.register(cases(60))
    await propose(at, "Say", 1)
    before = await serving(at)
    at.fleet.answer = answering({"Say": 0.6, "Name": 1.0})
    look = at.fleet.run_all

    async def freezing_meanwhile(*given: Any, **named: Any) -> Any:
        await freeze(at)
        return await look(*given, **named)

    at.fleet.run_all = freezing_meanwhile  # type: ignore[method-assign]
    command = proposal(pipeline("Name it: {{ text }}"), "p1", kind="promotion", dataset_id="tweets")
    (held,) = facts(await propose_change(command, at.at, place=Place("m2", 2), signature=signed_proposal(command)))
    assert isinstance(held, ChangeHeld) and await serving(at) == before
    looked = len(at.fleet.commands)
    await unfreeze(at)
    told = await drained(at)
    assert [effect for _, effect, _ in told] == ["gate", "verdict", "deployed"]
    assert len(at.fleet.commands) == looked
    assert await serving(at) != before


async def test_what_was_judged_before_a_freeze_loses_its_compare_and_set() -> None:
    at = bench()
    await propose(at, "Say", 1)
    await at.propose(pipeline(limits={"calls": 500}), "q1")
    record = await at.at.changes.get("q1")
    assert record is not None
    seen = await at.at.deployments.get("triage")
    await freeze(at)

    # A process that read the deployment, and was stopped until after the freeze.
    with pytest.raises(LostRaceError):
        await deployed(record, seen, at.at)


async def test_what_ships_during_a_freeze_is_told_afterwards_each_under_its_own_name() -> None:
    at = bench()
    await freeze(at)
    documents = [load_document(pipeline(name=name, domain="meta")) for name in ("context_aware_pipeline_generator", "other_meta")]
    assert [type(fact) for fact in facts(await attest_shipped(documents, at.at))] == [ChangeHeld, ChangeHeld]
    await unfreeze(at)
    told = await drained(at)
    assert sorted(type(fact).__name__ for *_, fact in told) == ["ChangeApproved"] * 2 + ["PipelineDeployed"] * 2
    assert len({(cause, effect) for cause, effect, _ in told}) == 4
    at_start = await attest_shipped(documents, at.at)
    assert at_start == [] and await serving(at, "other_meta")
