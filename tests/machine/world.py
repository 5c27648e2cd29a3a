"""One guardrail in memory, driven as its edge drives it: every command has an id and a signature, fails, comes again."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from services.guardrail import use_cases
from services.guardrail.adapters.mongo import MongoChanges
from services.guardrail.domain.authority import authorize
from services.guardrail.domain.records import ChangeRecord, Deployment
from services.guardrail.domain.rollout import RolloutRecord
from services.guardrail.use_cases import HeldChanges, Pace, Place
from shared.errors import PermanentError, TransientError
from shared.events.changes import DecideReview, ProposeChange
from shared.events.deployments import RollbackPipeline
from shared.events.message import Command, Message
from shared.events.oversight import DelegateReviews
from shared.events.recovery import FreezeSystem, QuarantineRevision, ReleaseRevision, UnfreezeSystem
from shared.events.rollouts import ControlRollout, RolloutPlan, RolloutStep, StartRollout
from shared.events.runs import RunFinished
from shared.identity import UNSIGNED, Signature
from shared.messaging import codec
from tests.fakes.guardrail import Bench, answering, bench, cases, pipeline, proposal
from tests.fakes.people import signature_of
from tests.machine.crashing import Break, Crash, CrashingDatabase, Fuse

T = TypeVar("T")
PLAN = RolloutPlan(
    steps=(
        RolloutStep(share=0.1, minutes=1, sample=3),
        RolloutStep(share=0.5, minutes=1, sample=3, approval=True),
        RolloutStep(share=1.0),
    ),
    watch_runs=20,
)


@dataclass(frozen=True)
class Sent:
    """A command as it lies in the stream."""

    command: Command
    message_id: str
    sequence: int
    signature: Signature


class World:
    def __init__(self) -> None:
        self.fuse = Fuse()
        self.bench: Bench = bench(database=CrashingDatabase(self.fuse))
        self.at = self.bench.at
        self.loop = asyncio.new_event_loop()
        self.sent: list[Sent] = []
        self.unacknowledged: list[Sent] = []
        self.refusals: list[str] = []
        self.crashes = 0
        self.attested: set[tuple[str, str, str]] = set()
        """Attestations that were checked: (signature, kind, digest)."""
        self._runs = 0
        self._changes: dict[str, ChangeRecord] = {}
        self._begin_process()
        self.bench.fleet.answer = answering({"Say": 0.7, "Name": 1.0, "Tell": 0.1, "State": 0.7})
        self.run(self.bench.register(cases(24)))

    def begin(self, names: Sequence[str]) -> None:
        """Something serves under each name, and two approved revisions stand beside it."""
        for name in names:
            for word, deploy in (("Say", True), ("State", False), ("Tell", False)):
                document = pipeline(f"{word} it: {{{{ text }}}}", name)
                self.send(proposal(document, f"begin-{name}-{word.lower()}", deploy=deploy), "generator")

    def close(self) -> None:
        self.loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def _begin_process(self) -> None:
        """What a process has in memory is gone after a crash."""
        self.at = replace(self.at, changes=MongoChanges(self.bench.database))
        self.pace = Pace(self.at)
        self.held = HeldChanges(self.at, self._tell_held)

    async def _tell_held(self, cause: str, effects: Sequence[tuple[str, Message]]) -> None:
        """Told where the facts are published; a test looks at what is stored."""

    async def _tell(self, effects: Sequence[tuple[str, Message]]) -> None:
        """As `_tell_held`."""

    def send(self, command: Command, by: str = "", *, signed: bool = True) -> None:
        number = len(self.sent) + 1
        message_id = f"m{number}"
        registry = self.bench.identities.current()
        signature = signature_of(registry, by, command, message_id) if signed else UNSIGNED
        sent = Sent(command, message_id, number, signature)
        self.sent.append(sent)
        self.deliver(sent)

    def deliver(self, sent: Sent) -> None:
        """What fails for now stays in the stream; what is refused for good is buried."""
        done = self.attempt(lambda: self._handled(sent))
        if done and sent in self.unacknowledged:
            self.unacknowledged.remove(sent)
        if not done and sent not in self.unacknowledged:
            self.unacknowledged.append(sent)

    def attempt(self, work: Callable[[], Awaitable[Any]]) -> bool:
        """False where it has to be tried again."""
        try:
            self.loop.run_until_complete(work())
        except Crash:
            self.crashes += 1
            self._begin_process()
            return False
        except TransientError:
            return False
        except PermanentError as error:
            self.refusals.append(repr(error))
            return True
        return True

    async def _handled(self, sent: Sent) -> None:
        authorize(sent.command, sent.signature)
        self.at.audit.require_sound()
        effects = await _HANDLERS[type(sent.command)](self, sent, await use_cases.in_force(self.at))
        await use_cases.audit_refusals(sent.command, effects, self.at, message_id=sent.message_id)

    def break_next(self, writes: int, how: Break) -> None:
        self.fuse.set(writes, how)

    def sweep(self) -> None:
        """What the service does by itself every few seconds."""
        for work in (self.held.round, self._advance, self._expire, self._lapse):
            self.attempt(work)

    async def _advance(self) -> None:
        await use_cases.advance_all(self.at)

    async def _expire(self) -> None:
        await use_cases.expire_reviews(await use_cases.in_force(self.at), self._tell)

    async def _lapse(self) -> None:
        await use_cases.lapse_glass(self.at, self._tell)

    def observe(self, rollout: RolloutRecord, arm: str, status: str) -> None:
        self._runs += 1
        given = {
            "run_id": f"run-{self._runs}",
            "pipeline": rollout.pipeline,
            "digest": rollout.canary if arm == "canary" else rollout.stable,
            "domain": "support",
            "purpose": "production",
            "status": status,
            "latency_seconds": 1.0,
            "arm": arm,
            "rollout_id": rollout.rollout_id,
            "finished_at": f"2026-11-22T12:00:00.{self._runs % 1000:03d}",
        }
        fact = RunFinished.model_validate(given)
        self.attempt(lambda: use_cases.observe_run(fact, self.pace))

    def changes(self) -> list[ChangeRecord]:
        """All of them, oldest first. Each version is read once: whoever writes counts it up."""
        stored = {each["_id"]: each for name in ("proposals", "changes") for each in self.bench.database.collection(name).raw()}
        return [self._change(each) for each in stored.values()]

    def _change(self, document: Mapping[str, Any]) -> ChangeRecord:
        known = self._changes.get(document["_id"])
        if known is None or known.version != document["version"]:
            known = self._changes[document["_id"]] = ChangeRecord.model_validate(copy.deepcopy(document))
        return known

    def deployments(self) -> dict[str, Deployment]:
        return {each.pipeline: each for each in self.run(self.at.deployments.all(100))}

    def rollouts(self, *, unclosed_only: bool = True) -> Sequence[RolloutRecord]:
        return self.run(self.at.rollouts.latest(None, unclosed_only=unclosed_only, limit=1000))


async def _propose(world: World, sent: Sent, at: Any) -> Any:
    place = Place(sent.message_id, sent.sequence)
    return await use_cases.propose_change(sent.command, at, attempt=3, place=place, signature=sent.signature)  # type: ignore[arg-type]


async def _decide(world: World, sent: Sent, at: Any) -> Any:
    body = codec.encode(sent.command)
    command: Any = sent.command
    return await use_cases.decide_review(command, at, decision_id=sent.message_id, signature=sent.signature, body=body)


async def _release(world: World, sent: Sent, at: Any) -> Any:
    command: Any = sent.command
    return await use_cases.release_revision(command, at, message_id=sent.message_id, signature=sent.signature)


async def _control(world: World, sent: Sent, at: Any) -> Any:
    command: Any = sent.command
    return await use_cases.control_rollout(command, at, message_id=sent.message_id)


def _plain(use_case: Any) -> Callable[[World, Sent, Any], Awaitable[Any]]:
    async def handled(world: World, sent: Sent, at: Any) -> Any:
        return await use_case(sent.command, at)

    return handled


_HANDLERS: dict[type[Command], Callable[[World, Sent, Any], Awaitable[Any]]] = {
    ProposeChange: _propose,
    DecideReview: _decide,
    ReleaseRevision: _release,
    RollbackPipeline: _plain(use_cases.roll_back),
    DelegateReviews: _plain(use_cases.delegate_reviews),
    FreezeSystem: _plain(use_cases.freeze_system),
    UnfreezeSystem: _plain(use_cases.unfreeze_system),
    QuarantineRevision: _plain(use_cases.quarantine_revision),
    StartRollout: _plain(use_cases.start_rollout),
    ControlRollout: _control,
}
