"""Changes and rollouts under everything that people, services, clocks and crashes do to them, in any order."""

from __future__ import annotations

import copy
from collections import Counter
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from services.guardrail.domain.records import ChangeRecord, Deployment
from shared.events.changes import DecideReview, ProposeChange
from shared.events.deployments import RollbackPipeline
from shared.events.oversight import DelegateReviews
from shared.events.recovery import FreezeSystem, QuarantineRevision, ReleaseRevision, UnfreezeSystem
from shared.events.rollouts import ControlRollout, StartRollout
from tests.fakes.guardrail import pipeline, proposal, shipped_policy
from tests.machine.crashing import Break
from tests.machine.invariants import check_approvals, check_audited, check_ended, check_frozen, check_served
from tests.machine.world import PLAN, World

NAMES = ("triage", "summary")
PEOPLE = ("alice", "bob", "carol")
AUTHORS = ("generator", "alice", "bob")
WORDS = ("Say", "Name", "Tell", "State")
RISKS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"limits": {"calls": 500}},
    {"limits": {"calls": 500}, "steps": [{"name": "classify", "type": "gemini", "prompt": "Say it: {{ text }}"}]},
)
"""Two that go through on their own, one for a person, one for two."""

REACHED = {"medium approved", "policy approved", "rollout completed", "crashed"}
names, people, authors = st.sampled_from(NAMES), st.sampled_from(PEOPLE), st.sampled_from(AUTHORS)
numbers = st.integers(min_value=0, max_value=30)


class GuardrailMachine(RuleBasedStateMachine):
    steps = 0
    reached: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.begin(NAMES)
        self.before: dict[str, Deployment] = {}
        self.frozen: set[str] = set()
        self.count = 0

    def fresh(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def digest(self, number: int, name: str = "") -> str | None:
        """Of any revision that was proposed, or of an approved one of this pipeline that does not serve."""
        serving = {each.stable for each in self.world.deployments().values()} if name else set()
        revisions = [each for each in self.world.changes() if each.digest and each.kind == "revision"]
        found = [each.digest for each in revisions if not name or (each.pipeline == name and each.status == "approved")]
        found = [each for each in found if each not in serving]
        return found[number % len(found)] if found else None

    @rule(
        name=names,
        word=st.sampled_from(WORDS),
        risk=st.sampled_from(RISKS),
        author=authors,
        deploy=st.booleans(),
        child=st.booleans(),
        number=numbers,
        planned=st.booleans(),
        signed=st.sampled_from((True, True, True, False)),
    )
    def propose(self, name: str, word: str, risk: dict[str, Any], author: str, number: int, **how: bool) -> None:
        document = pipeline(f"{word} what {number % 7} is: {{{{ text }}}}", name, **risk)
        fields = {
            "author": author,
            "deploy": how["deploy"],
            "parent_digest": self.digest(number) if how["child"] else None,
            "rollout": PLAN if how["planned"] else None,
        }
        self.world.send(proposal(document, self.fresh("c"), **fields), author, signed=how["signed"])

    @rule(name=names, word=st.sampled_from(WORDS), number=numbers)
    def promote(self, name: str, word: str, number: int) -> None:
        document = pipeline(f"{word} what {number % 7} is: {{{{ text }}}}", name)
        self.world.send(proposal(document, self.fresh("c"), kind="promotion", dataset_id="tweets", rollout=PLAN), "generator")

    @rule(name=names, kind=st.sampled_from(("policy", "maturity", "template")), number=numbers, author=authors)
    def propose_another_kind(self, name: str, kind: str, number: int, author: str) -> None:
        policy = {**copy.deepcopy(shipped_policy().content), "version": 3 + self.count}
        documents = {
            "policy": ("default", policy),
            "maturity": (name, {"maturity": ("experimental", "beta")[number % 2]}),
            "template": (f"learned{number}", pipeline(name=f"learned{number}")),
        }
        called, document = documents[kind]
        given = {"change_id": self.fresh("c"), "kind": kind, "pipeline": called, "document": document, "author": author}
        self.world.send(ProposeChange.model_validate({**given, "domain": "support"}), author)

    def waiting(self, number: int) -> ChangeRecord | None:
        found = [each for each in self.world.changes() if each.status == "queued" or (each.glass and each.glass.status == "open")]
        return found[number % len(found)] if found else None

    @rule(
        number=numbers,
        person=people,
        lender=st.none() | people,
        glass=st.booleans(),
        decision=st.sampled_from(("approve", "approve", "approve", "deny", "request_changes", "comment")),
        right=st.integers(0, 9),
    )
    def decide(self, number: int, person: str, lender: str | None, decision: str, **how: Any) -> None:
        record = self.waiting(number)
        if record is None:
            return
        given = {
            "change_id": record.change_id,
            "decision": decision,
            "reviewer": person,
            "comment": "because",
            "digest": record.digest if how["right"] else "0" * 64,
            "delegated_by": None if number % 3 else lender,
            "break_glass": how["glass"] and decision == "approve",
        }
        self.world.send(DecideReview.model_validate(given), person)

    @rule(number=numbers)
    def approve_by_two(self, number: int) -> None:
        for person in ("bob", "carol", "dora"):
            if record := self.waiting(number):
                given = {"change_id": record.change_id, "decision": "approve", "reviewer": person, "digest": record.digest}
                self.world.send(DecideReview.model_validate(given), person)

    @rule(author=people, delegate=people, hours=st.integers(1, 100))
    def delegate(self, author: str, delegate: str, hours: int) -> None:
        until = (self.world.at.clock.now() + timedelta(hours=hours)).isoformat()
        self.world.send(DelegateReviews(delegation_id=self.fresh("d"), author=author, delegate=delegate, until=until), author)

    @rule(name=names, author=people)
    def roll_back(self, name: str, author: str) -> None:
        self.world.send(RollbackPipeline(rollback_id=self.fresh("b"), pipeline=name, reason="bad", author=author), author)

    @rule(name=names, number=numbers, author=people, serving=st.booleans())
    def quarantine(self, name: str, number: int, author: str, serving: bool) -> None:
        if digest := self.digest(number, name if number % 2 else ""):
            given = {"quarantine_id": self.fresh("q"), "pipeline": name, "digest": digest, "reason": "bad", "author": author}
            self.world.send(QuarantineRevision.model_validate({**given, "even_if_serving": serving}), author)

    @rule(name=names, number=numbers, author=people)
    def release(self, name: str, number: int, author: str) -> None:
        if digest := self.digest(number):
            given = {"change_id": self.fresh("c"), "pipeline": name, "digest": digest, "reason": "good", "author": author}
            self.world.send(ReleaseRevision.model_validate(given), author)

    @rule(name=st.none() | names, author=people)
    def freeze(self, name: str | None, author: str) -> None:
        scope = {"scope": "pipeline", "pipeline": name} if name else {"scope": "all"}
        given = {"freeze_id": self.fresh("f"), "reason": "incident", "author": author, **scope}
        self.world.send(FreezeSystem.model_validate(given), author)

    @rule(author=people)
    def unfreeze(self, author: str) -> None:
        self.frozen = set()
        self.world.send(UnfreezeSystem(unfreeze_id=self.fresh("u"), author=author), author)

    @rule(name=names, number=numbers, author=people)
    def start_rollout(self, name: str, number: int, author: str) -> None:
        if digest := self.digest(number, name if number % 5 else ""):
            given = {"rollout_id": self.fresh("r"), "pipeline": name, "digest": digest, "plan": PLAN, "author": author}
            self.world.send(StartRollout.model_validate(given), author)

    @rule(
        number=numbers,
        author=people,
        verb=st.sampled_from(("pause", "resume", "resume", "approve_step", "approve_step", "complete_now", "abort")),
    )
    def control_rollout(self, number: int, author: str, verb: str) -> None:
        if found := self.world.rollouts():
            given = {"rollout_id": found[number % len(found)].rollout_id, "verb": verb, "author": author, "reason": "so"}
            self.world.send(ControlRollout.model_validate(given), author)

    @rule(number=numbers, good=st.sampled_from((True, True, False)))
    def run_pipelines(self, number: int, good: bool) -> None:
        if found := self.world.rollouts():
            for arm in ("canary", "control") * 3:
                status = "succeeded" if good or arm == "control" else "failed"
                self.world.observe(found[number % len(found)], arm, status)

    @rule(minutes=st.sampled_from((1, 10, 60, 1500, 5000)))
    def pass_time(self, minutes: int) -> None:
        self.world.bench.clock.pass_seconds(minutes * 60)
        self.world.sweep()

    @rule()
    def sweep(self) -> None:
        self.world.sweep()

    @rule(writes=st.integers(1, 8), how=st.sampled_from(("before", "after", "race")))
    def break_at_a_write(self, writes: int, how: Break) -> None:
        """Of whatever comes next."""
        self.world.break_next(writes, how)

    @precondition(lambda self: self.world.sent)
    @rule(number=st.integers(0, 10_000))
    def deliver_again(self, number: int) -> None:
        self.world.deliver(self.world.sent[number % len(self.world.sent)])

    @precondition(lambda self: self.world.unacknowledged)
    @rule()
    def deliver_what_failed(self) -> None:
        self.world.deliver(self.world.unacknowledged[0])

    @invariant()
    def nothing_gets_past(self) -> None:
        type(self).steps += 1
        changes, deployments = self.world.changes(), self.world.deployments()
        check_approvals(self.world, changes)
        check_served(self.world, changes, deployments)
        check_frozen(self.frozen, self.before, deployments)
        board = self.world.run(self.world.at.freeze.read())
        self.before, self.frozen = deployments, {name for name in NAMES if board.holding(name, "support")}

    def teardown(self) -> None:
        try:
            self.settle()
            check_ended(self.world)
            check_audited(self.world)
            self.note_what_was_reached()
        finally:
            self.world.close()

    def note_what_was_reached(self) -> None:
        for record in self.world.changes():
            self.reached[f"{record.kind} {record.status}"] += 1
            self.reached[f"{record.risk_class} {record.status}"] += 1
            if record.glass:
                self.reached[f"glass {record.glass.status}"] += 1
        for each in self.world.rollouts(unclosed_only=False):
            self.reached[f"rollout {each.state}"] += 1
        self.reached["crashed"] += self.world.crashes

    def settle(self) -> None:
        """Everything is delivered, nothing is frozen, people answer, and time passes."""
        self.world.fuse.clear()
        self.frozen = set()
        # A freeze that failed comes again before the end of all freezes, and what that lets through after it.
        self.deliver_all()
        self.world.send(UnfreezeSystem(unfreeze_id=self.fresh("u"), author="alice"), "alice")
        self.deliver_all()
        self.world.sweep()
        # A vote may have waited for the sweep that tells the audit log of what is voted on.
        self.deliver_all()
        assert self.world.unacknowledged == [], "a command is never acknowledged"
        self.world.sweep()
        for _ in range(12):
            if not (found := self.world.rollouts()):
                break
            for each in found:
                self.carry_on(each.rollout_id)
            self.world.bench.clock.pass_seconds(3600)
            self.world.sweep()
        for _ in range(3):
            self.world.bench.clock.pass_seconds(100 * 3600)
            self.world.sweep()
        self.nothing_gets_past()

    def deliver_all(self) -> None:
        for sent in (*self.world.unacknowledged, *self.world.unacknowledged):
            self.world.deliver(sent)

    def carry_on(self, rollout_id: str) -> None:
        for verb in ("resume", "approve_step"):
            given = {"rollout_id": rollout_id, "verb": verb, "author": "dora"}
            self.world.send(ControlRollout.model_validate(given), "dora")
        record = self.world.run(self.world.at.rollouts.get(rollout_id))
        assert record is not None
        for arm in ("canary", "control") * 4:
            self.world.observe(record, arm, "succeeded")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(4))
def test_nothing_unapproved_takes_effect_and_nothing_gets_stuck_over_20000_steps(part: int) -> None:
    machine = type(f"Part{part}", (GuardrailMachine,), {"steps": 0, "reached": Counter()})
    assert issubclass(machine, GuardrailMachine)
    quick = settings(
        max_examples=60,
        stateful_step_count=100,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=tuple(HealthCheck),
        print_blob=True,
    )
    run_state_machine_as_test(seed(part)(machine), settings=quick)
    assert machine.steps >= 5_000
    assert not REACHED - set(machine.reached), "the machine does not get where it should look"
