"""A quarantine at every moment of what puts a revision into service, and that at every moment of a quarantine.

Nothing quarantined serves at the end, or is tried; and a quarantine's answer is what was done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from services.guardrail.adapters.audit_log import MongoAuditLog
from services.guardrail.domain.records import Deployment
from services.guardrail.domain.turns import Turns
from services.guardrail.ports import LostRaceError
from services.guardrail.use_cases import quarantine_revision, release_revision, roll_back
from services.guardrail.use_cases.queries import get_pipeline
from services.guardrail.use_cases.rollouts.advancing import advance_all
from services.guardrail.use_cases.rollouts.starting import start_rollout
from shared.errors import UnavailableError
from shared.events.changes import ChangeApproved
from shared.events.deployments import GetPipeline, PipelineDeployed, PipelineRolledBack, RollbackPipeline
from shared.events.message import Message
from shared.events.recovery import QuarantineRefused, QuarantineRevision, ReleaseRevision, RevisionQuarantined
from shared.events.rollouts import RolloutPlan, RolloutStep, StartRollout
from shared.pipeline.loading import load_document
from tests.fakes.guardrail import Bench, bench, facts, pipeline
from tests.machine.interleaving import InterleavedDatabase

AT_ONCE = RolloutPlan(steps=(RolloutStep(share=0.5, minutes=0, sample=0), RolloutStep(share=1.0)), watch_runs=0)
NEW = pipeline("Say the tone of: {{ text }}")
MOST_OPERATIONS = 400
Work = Callable[[], Awaitable[Any]]


class Race:
    """A pipeline that serves, and another revision of it that is to serve. Two guardrails share the store: one is interrupted, the
    other interrupts it."""

    def __init__(self) -> None:
        self.database = InterleavedDatabase()
        self.bench: Bench = bench(database=self.database)
        at = replace(self.bench.at, audit=MongoAuditLog(self.database), turns=Turns())
        self.other = replace(self.bench, at=at)
        self.new = load_document(NEW).digest
        self.answers: list[Message] = []

    async def begin(self) -> None:
        await self.bench.propose(pipeline())
        (fact, *_) = await self.bench.propose(NEW, "c2", deploy=False)
        assert isinstance(fact, ChangeApproved)

    async def deployment(self) -> Deployment:
        found = await self.bench.at.deployments.get("triage")
        assert found is not None
        return found

    async def change(self, by: Bench) -> None:
        """Deploys at once. The revision is known before, as one that is proposed again is."""
        await again(lambda: by.propose(NEW, "c3"))

    async def roll_out(self, by: Bench) -> None:
        command = StartRollout(rollout_id="r1", pipeline="triage", digest=self.new, plan=AT_ONCE, author="ada")
        await again(lambda: start_rollout(command, by.at))
        await self.look(by)

    async def look(self, by: Bench) -> None:
        for _ in range(3):
            self.bench.clock.pass_seconds(60)
            await advance_all(by.at)

    async def quarantine(self, by: Bench) -> None:
        command = QuarantineRevision(quarantine_id="q1", pipeline="triage", digest=self.new, reason="it insults", author="alice")
        self.answers += facts(await again(lambda: quarantine_revision(command, by.at)))

    async def roll_back(self, by: Bench) -> None:
        command = RollbackPipeline(rollback_id="b1", pipeline="triage", reason="it insults", author="alice")
        self.answers += facts(await again(lambda: roll_back(command, by.at)))

    async def interrupted(self, operation: int, first: Actor, second: Actor) -> bool:
        """False where `first` takes fewer operations."""
        self.database.between(operation, lambda: second(self, self.other))
        await first(self, self.bench)
        return self.database.is_done

    async def check(self) -> None:
        """After everybody looked once more."""
        await self.look(self.bench)
        serving, is_out = await self.deployment(), await self.bench.at.revisions.is_quarantined(self.new)
        answer = self.answers[0]
        assert isinstance(answer, RevisionQuarantined if is_out else QuarantineRefused), answer
        assert not (is_out and self.new in (serving.stable, serving.canary, serving.shadow)), serving
        assert self.new not in serving.previous or not is_out
        assert is_out or serving.stable == self.new, "what was refused because it serves does serve"
        told = [each for each in self.answers if isinstance(each, PipelineDeployed)]
        assert all((each.digest, each.generation <= serving.generation) == (serving.stable, True) for each in told)
        assert await self.bench.at.audit.check() == ()


Actor = Callable[[Race, Bench], Awaitable[None]]
PUTS_IN_SERVICE = {"rollout": Race.roll_out, "change": Race.change}


async def again(work: Work) -> Any:
    """As a delivery does it that lost a race."""
    for _ in range(50):
        try:
            return await work()
        except LostRaceError:
            continue
    raise AssertionError("it loses its race for ever")


@pytest.mark.parametrize("how", PUTS_IN_SERVICE)
async def test_a_quarantine_at_any_moment_of_what_puts_a_revision_into_service(how: str) -> None:
    assert await _every_moment(PUTS_IN_SERVICE[how], Race.quarantine) > 10


@pytest.mark.parametrize("how", PUTS_IN_SERVICE)
async def test_what_puts_a_revision_into_service_at_any_moment_of_its_quarantine(how: str) -> None:
    assert await _every_moment(Race.quarantine, PUTS_IN_SERVICE[how]) > 5


async def _every_moment(first: Actor, second: Actor) -> int:
    """`second` before each operation of `first`; returns how many there are."""
    for operation in range(1, MOST_OPERATIONS):
        race = Race()
        await race.begin()
        if not await race.interrupted(operation, first, second):
            return operation - 1
        await race.check()
    raise AssertionError(f"more than {MOST_OPERATIONS} operations")


async def test_a_revision_that_is_proposed_again_while_it_is_rolled_back_does_not_serve_again() -> None:
    """Judged before the mark of the rollback, deployed behind its compare-and-set."""
    for operation in range(1, MOST_OPERATIONS):
        race = Race()
        await race.begin()
        await race.change(race.bench)
        if not await race.interrupted(operation, Race.roll_back, propose_again):
            break
        serving = await race.deployment()
        assert not await race.bench.at.revisions.is_quarantined(serving.stable), f"at operation {operation}"
        (told,) = (each for each in race.answers if isinstance(each, PipelineDeployed))
        assert told.digest == serving.stable
        assert told.generation > serving.causes.get("c4", 0), f"at operation {operation}: told is what was before the other change"
    assert operation > 5


@pytest.mark.parametrize("is_redelivered", [False, True])
async def test_a_rollback_that_goes_back_twice_says_so_twice(is_redelivered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bad revision becomes stable again before its mark, and what the rollback went back to is quarantined by then."""
    race = Race()
    await race.begin()
    first = (await race.deployment()).stable
    (middle, *_) = await race.bench.propose(pipeline("Name: {{ text }}"), "c5")
    await race.change(race.bench)
    assert isinstance(middle, ChangeApproved)
    at, mark = race.bench.at, race.bench.at.revisions.quarantine

    async def late(digest: str, **fields: Any) -> None:
        if digest == race.new and fields["cause"] == "r1" and (await race.deployment()).stable == middle.digest:
            await propose_again(race, race.other)
            quarantine = QuarantineRevision(quarantine_id="q9", pipeline="triage", digest=middle.digest, reason="x", author="bob")
            await again(lambda: quarantine_revision(quarantine, race.other.at))
        await mark(digest, **fields)

    monkeypatch.setattr(at.revisions, "quarantine", late)
    wish = RollbackPipeline(rollback_id="r1", pipeline="triage", reason="wrong", author="alice")
    told = facts(await again(lambda: roll_back(wish, at)))
    if is_redelivered:
        assert facts(await roll_back(wish, at)) == told
    serving = await race.deployment()
    back, deployed = told
    assert isinstance(back, PipelineRolledBack) and isinstance(deployed, PipelineDeployed)
    assert (back.to_digest, deployed.digest, serving.stable) == (first, first, first)
    assert (back.generation, deployed.generation) == (serving.causes["r1/again"],) * 2
    entries = [each for each in await at.audit.entries() if each.action == "pipeline.rolled_back"]
    assert [(each.digest, each.facts["generation"]) for each in entries] == [
        (middle.digest, serving.causes["r1"]),
        (first, serving.causes["r1/again"]),
    ]
    assert "became stable again" in entries[1].facts["reason"]
    shown = await get_pipeline(GetPipeline(pipeline="triage"), at)
    assert (shown["rolled_back"]["rollback_id"], shown["rolled_back"]["to_digest"]) == ("r1", first)
    (approved, *_) = await race.bench.propose(pipeline("Weigh: {{ text }}"), "r1:again")
    assert isinstance(approved, ChangeApproved)
    assert (await race.deployment()).stable == approved.digest


async def test_a_quarantine_that_is_told_late_names_what_it_went_back_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends between what it moved and the audit log, and another change is deployed before the redelivery."""
    race = Race()
    await race.begin()
    first, at = (await race.deployment()).stable, race.bench.at
    mark, append = at.revisions.quarantine, at.audit.append

    async def late(digest: str, **fields: Any) -> None:
        monkeypatch.setattr(at.revisions, "quarantine", mark)
        await race.change(race.other)
        await mark(digest, **fields)

    async def dies(*_: Any) -> Any:
        monkeypatch.setattr(at.audit, "append", append)
        raise UnavailableError("the process ends here")

    monkeypatch.setattr(at.revisions, "quarantine", late)
    monkeypatch.setattr(at.audit, "append", dies)
    with pytest.raises(UnavailableError, match="ends here"):
        await race.quarantine(race.bench)
    back = await race.deployment()
    (approved, *_) = await race.other.propose(pipeline("Name: {{ text }}"), "quarantine:q1")
    await race.quarantine(race.bench)
    _, told = race.answers
    assert isinstance(told, PipelineDeployed) and isinstance(approved, ChangeApproved)
    assert (told.digest, told.generation) == (first, back.generation)
    assert (await race.deployment()).stable == approved.digest
    (entry,) = [each for each in await at.audit.entries() if each.action == "revision.quarantined"]
    assert (entry.facts["went_back_to"], entry.facts["generation"]) == (first, back.generation)


@pytest.mark.parametrize("change_id", ["b1:fence", "b1:again", "q1:fence", "quarantine:q1"])
async def test_a_change_that_is_called_like_a_cause_of_a_rollback_or_quarantine_is_deployed(change_id: str) -> None:
    race = Race()
    await race.begin()
    await race.change(race.bench)
    await race.roll_back(race.bench)
    await race.quarantine(race.bench)
    (approved, *_) = await race.bench.propose(pipeline("Name: {{ text }}"), change_id)
    assert isinstance(approved, ChangeApproved)
    assert (await race.deployment()).stable == approved.digest


async def propose_again(race: Race, by: Bench) -> None:
    await again(lambda: by.propose(NEW, "c4"))


async def test_an_ancestor_that_is_quarantined_between_the_vote_and_the_release_keeps_its_child_out() -> None:
    """At every moment of the vote that releases the child."""
    for operation in range(1, MOST_OPERATIONS):
        race = Race()
        await race.begin()
        (child, *_) = await race.bench.propose(pipeline("Name: {{ text }}"), "c4", parent_digest=race.new, deploy=False)
        assert isinstance(child, ChangeApproved)
        out = QuarantineRevision(quarantine_id="q0", pipeline="triage", digest=child.digest, reason="x", author="alice")
        await quarantine_revision(out, race.bench.at)
        wish = ReleaseRevision(change_id="rel1", pipeline="triage", digest=child.digest, reason="it was not it", author="alice")
        await release_revision(wish, race.bench.at)
        if not await race.interrupted(operation, released, Race.quarantine):
            break
        assert await race.bench.at.revisions.is_quarantined(race.new)
        assert await race.bench.at.revisions.is_quarantined(child.digest), f"released at operation {operation}"
        revision = await race.bench.at.revisions.get(child.digest)
        assert revision is not None and revision.status == "quarantined"
    assert operation > 10


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_quarantine_at_every_moment_of_a_release_and_that_at_every_moment_of_a_quarantine(is_first: bool) -> None:
    """Of the same revision. Executors go by the revision's status where a run names a pipeline."""
    for operation in range(1, MOST_OPERATIONS):
        race = await _with_release()
        actors = (released, Race.quarantine) if is_first else (Race.quarantine, released)
        if not await race.interrupted(operation, *actors):
            break
        await _check_release(race, f"at operation {operation}")
    assert operation > 10


async def test_a_release_that_is_told_late_leaves_a_later_quarantine_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends between the release and the record of it, and the revision is quarantined anew before the redelivery."""
    race = await _with_release()
    at = race.bench.at

    async def dies(*_: Any) -> Any:
        monkeypatch.undo()
        raise UnavailableError("the process ends here")

    release = at.revisions.release

    async def released_and_dead(*given: Any) -> None:
        await release(*given)
        monkeypatch.setattr(at.revisions, "why_quarantined", dies)

    monkeypatch.setattr(at.revisions, "release", released_and_dead)
    with pytest.raises(UnavailableError, match="ends here"):
        await released(race, race.bench)
    await race.quarantine(race.other)
    await released(race, race.bench)
    mark, change = await at.revisions.why_quarantined(race.new), await at.changes.get("rel1")
    assert mark is not None and mark["cause"] == "q1"
    assert change is not None and change.status == "vetoed" and "quarantined again meanwhile (it insults)" in change.reasons[0]
    await _check_release(race, "afterwards")


async def _with_release() -> Race:
    """The revision is quarantined, and its release waits for a vote."""
    race = Race()
    await race.begin()
    out = QuarantineRevision(quarantine_id="q0", pipeline="triage", digest=race.new, reason="x", author="alice")
    await quarantine_revision(out, race.bench.at)
    wish = ReleaseRevision(change_id="rel1", pipeline="triage", digest=race.new, reason="it was not it", author="alice")
    await release_revision(wish, race.bench.at)
    return race


async def _check_release(race: Race, when: str) -> None:
    revision = await race.bench.at.revisions.get(race.new)
    change = await race.bench.at.changes.get("rel1")
    is_out = await race.bench.at.revisions.is_quarantined(race.new)
    assert revision is not None and change is not None
    assert (revision.status == "quarantined") == is_out, when
    assert is_out or change.applied, when


async def released(_: Race, by: Bench) -> None:
    await again(lambda: by.decide("rel1", "approve", "bob", "d1"))
