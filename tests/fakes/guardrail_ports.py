"""What a guardrail in memory stands on: a clock, a key, a fleet of executors, gauges, checkpoints, who announces."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.guardrail.domain.budgets import Amounts
from services.guardrail.domain.keys import Keys
from services.guardrail.ports import LeaseUse, ScopeUse
from shared.attestation import Verifier, key_id, public_pem, sign, verify_scope
from shared.audit.checkpoints import Checkpoint, TreeHead, signed
from shared.clock import Clock
from shared.errors import EvolineError
from shared.events.message import Message, derive_id
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Attestation, Usage
from shared.pipeline.document import Document
from shared.pipeline.facts import document_facts
from shared.pipeline.loading import load_document
from shared.pipeline.scope import check_scope

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


Answerer = Callable[[dict[str, Any], dict[str, Any]], Any]
"""(document, inputs) -> outputs; an exception it raises fails the run."""


class StillClock:
    """Moves only when told to."""

    def __init__(self) -> None:
        self._now = START

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.pass_seconds(seconds)

    def pass_seconds(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)


@dataclass
class KeySigner:
    clock: StillClock
    key: Ed25519PrivateKey

    @property
    def verifier(self) -> Verifier:
        return Verifier(public_pem(self.key.public_key()))

    def sign(self, attestation: Attestation) -> Attestation:
        return sign(self.key, attestation)

    def sign_head(self, head: TreeHead) -> Checkpoint:
        return signed(self.key, head)

    def ring(self) -> Keys:
        return Keys(key_id(self.key.public_key()), self.verifier.key_ids, ())

    def check(self, attestation: Attestation, *, kind: str, digest: str) -> None:
        self.verifier.verify(attestation, kind=kind, digest=digest, now=self.clock.now())


class ScriptedFleet:
    """Executors that verify scopes as real ones do, remember finished runs by id, and answer by `answer`."""

    def __init__(self, verifier: Verifier, clock: Clock) -> None:
        self._verifier = verifier
        self._clock = clock
        self.answer: Answerer = lambda document, inputs: {"answer": ""}
        self.commands: list[ExecuteRun] = []
        self.is_degraded: Callable[[dict[str, Any]], bool] = lambda document: False
        """Whether a document's answers are not those of the model that it asks."""
        self.lost: set[str] = set()
        """Case ids whose runs never end."""
        self._ended: dict[str, RunFinished] = {}
        self._documents: dict[str, Document] = {}

    async def run_all(
        self,
        commands: Sequence[ExecuteRun],
        *,
        max_in_flight: int,
        deadline_seconds: float,
        on_finished: Callable[[RunFinished], None] | None = None,
    ) -> dict[str, RunFinished]:
        for command in commands:
            if command.run_id not in self._ended and command.case_id not in self.lost:
                self.commands.append(command)
                self._ended[command.run_id] = self._run(command)
        return {each.run_id: self._ended[each.run_id] for each in commands if each.run_id in self._ended}

    def _loaded(self, source: dict[str, Any]) -> Document:
        """A look at cases runs the same two documents many times."""
        key = json.dumps(source, sort_keys=True)
        if key not in self._documents:
            self._documents[key] = load_document(source)
        return self._documents[key]

    def ended(self, run_ids: Sequence[str]) -> list[RunFinished]:
        return [self._ended[run_id] for run_id in run_ids if run_id in self._ended]

    def _run(self, command: ExecuteRun) -> RunFinished:
        assert command.document is not None and command.scope is not None, "sealed runs carry document and scope"
        document = self._loaded(command.document)
        finished = RunFinished(
            run_id=command.run_id,
            pipeline=document.name,
            digest=document.digest,
            domain=document.domain,
            purpose=command.purpose,
            status="succeeded",
            usage=Usage(calls=1, input_tokens=90, output_tokens=10, cost_usd=0.001),
            latency_seconds=0.5,
        )
        try:
            verify_scope(self._verifier, command.scope.scope, command.scope.attestation, now=self._clock.now())
            if check_scope(document_facts(document), command.scope.scope):
                return finished.model_copy(update={"status": "refused", "error_code": "out_of_scope"})
            status = "degraded" if self.is_degraded(command.document) else "succeeded"
            return finished.model_copy(update={"status": status, "outputs": self.answer(command.document, command.inputs)})
        except (EvolineError, ZeroDivisionError) as error:
            return finished.model_copy(update={"status": "failed", "error": str(error)})


class ScriptedSealing:
    """Executors' counts by scope; an exception stands for executors that do not answer."""

    def __init__(self) -> None:
        self.uses: dict[str, ScopeUse | Exception] = {}
        self.sealed: list[str] = []
        self.leases: dict[str, LeaseUse] = {}

    async def seal(self, scope_id: str) -> ScopeUse:
        use = self.uses.get(scope_id, ScopeUse(Amounts()))
        if isinstance(use, Exception):
            raise use
        self.sealed.append(scope_id)
        return use

    async def count_lease(self, lease_id: str) -> LeaseUse:
        return self.leases.get(lease_id, LeaseUse(Amounts(), 0))


class Tally:
    """`Gauges` and `OversightGauges` that remember."""

    def __init__(self) -> None:
        self.decisions: list[str] = []
        self.glasses: list[str] = []
        self.glasses_open = 0
        self.verdicts: list[tuple[str, str]] = []
        self.rollbacks = 0
        self.waiting = 0
        self.faults = 0
        self.late = 0
        self.checkpointed_at: datetime | None = None
        self.freezes = 0
        self.quarantines = 0
        self.held = 0
        self.budget_refusals: list[str] = []
        self.amounts: dict[tuple[str, str, str, str], float] = {}
        self.shares: dict[tuple[str, str], float] = {}
        self.rollout_decisions: list[str] = []
        self.open: dict[tuple[str, float], int] = {}

    def judged(self, kind: str, verdict: str, seconds: float) -> None:
        self.verdicts.append((kind, verdict))

    def rolled_back(self) -> None:
        self.rollbacks += 1

    def reviews_waiting(self, count: int) -> None:
        self.waiting = count

    def quarantined(self, revisions: int) -> None:
        self.quarantines += revisions

    def frozen(self, count: int) -> None:
        self.freezes = count

    def changes_held(self, count: int) -> None:
        self.held = count

    def budget_refused(self, kind: str) -> None:
        self.budget_refusals.append(kind)

    def budgets_stand(self, amounts: Mapping[tuple[str, str, str, str], float], shares: Mapping[tuple[str, str], float]) -> None:
        self.amounts, self.shares = dict(amounts), dict(shares)

    def said(self, decision: str) -> None:
        self.decisions.append(decision)

    def glass(self, outcome: str) -> None:
        self.glasses.append(outcome)

    def glass_open(self, count: int) -> None:
        self.glasses_open = count

    def audit_checked(self, *, size: int, faults: int) -> None:
        self.faults = faults

    def audit_late(self, count: int) -> None:
        self.late = count

    def checkpointed(self, moment: datetime) -> None:
        self.checkpointed_at = moment

    def rollout_decided(self, decision: str) -> None:
        self.rollout_decisions.append(decision)

    def rollouts_open(self, counts: Mapping[tuple[str, float], int]) -> None:
        self.open = dict(counts)


class KeptCheckpoints:
    """`Checkpoints` in memory."""

    def __init__(self) -> None:
        self.kept: list[Checkpoint] = []

    def latest(self) -> Checkpoint | None:
        return max(self.kept, key=lambda each: each.head.size, default=None)

    def all(self) -> Sequence[Checkpoint]:
        return tuple(self.kept)

    def add(self, checkpoint: Checkpoint) -> None:
        self.kept.append(checkpoint)


class RecordingAnnouncer:
    """`Announcer` that keeps what is said, once an id as the broker does."""

    def __init__(self) -> None:
        self.said: dict[str, Message] = {}

    async def announce(self, fact: Message, *, cause: str, effect: str) -> None:
        self.said.setdefault(derive_id(cause, effect), fact)
