"""A whole guardrail in memory: its real stores on `InMemoryDatabase`, a clock that stands still, a scripted executor fleet."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.guardrail.adapters.allowances import MongoAllowances
from services.guardrail.adapters.audit_log import MongoAuditLog
from services.guardrail.adapters.budgets import MongoBudgets
from services.guardrail.adapters.custody import MongoDatasets
from services.guardrail.adapters.files import DEFAULT_POLICY, read_policy
from services.guardrail.adapters.freezes import MongoFreezes
from services.guardrail.adapters.late_notes import MongoLateNotes
from services.guardrail.adapters.mongo import MongoChanges, MongoDeployments, MongoRevisions, MongoRollbacks
from services.guardrail.adapters.oversight import MongoDelegations, MongoRegistryNotes
from services.guardrail.adapters.policies import MongoPolicies
from services.guardrail.adapters.prices import TablePrices
from services.guardrail.adapters.rollouts import MongoRollouts
from services.guardrail.adapters.scopes import MongoScopes
from services.guardrail.domain.budgets import Amounts
from services.guardrail.domain.keys import Keys
from services.guardrail.domain.policies import PolicyRecord, followed
from services.guardrail.domain.policy import Policy
from services.guardrail.ports import Guardrail, LeaseUse, Limits, ScopeUse
from services.guardrail.use_cases import decide_review, in_force, propose_change, register_dataset
from services.guardrail.use_cases.policies import signed as signed_policy
from shared.attestation import Verifier, key_id, public_pem, sign, verify_scope
from shared.audit.checkpoints import Checkpoint, TreeHead, signed
from shared.clock import Clock
from shared.errors import EvolineError
from shared.events.changes import DecideReview, ProposeChange, RegisterDataset
from shared.events.message import Message, derive_id
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Attestation, Case, GraderSpec, Usage
from shared.identity import UNSIGNED
from shared.messaging import codec
from shared.pipeline.document import Document
from shared.pipeline.facts import document_facts
from shared.pipeline.loading import load_document
from shared.pipeline.scope import check_scope
from tests.fakes.people import InMemoryIdentities, identity, signature_of
from tests.fakes.storage import InMemoryDatabase

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


@dataclass
class Bench:
    """One guardrail with everything a test looks at."""

    at: Guardrail
    clock: StillClock
    fleet: ScriptedFleet
    signer: KeySigner
    database: InMemoryDatabase
    sealed: InMemoryDatabase
    tally: Tally
    sealing: ScriptedSealing
    announcer: RecordingAnnouncer
    identities: InMemoryIdentities

    def with_policy(self, policy: Policy) -> Bench:
        at = replace(self.at, policy=policy)
        put_in_force(at, self.database)
        return replace(self, at=at)

    async def propose(
        self, document: dict[str, Any], change_id: str = "c1", *, signed: bool = True, attempt: int = 1, **fields: Any
    ) -> list[Message]:
        """Signed by its author, who becomes known where nobody of that name is."""
        command = proposal(document, change_id, **fields)
        if signed and self.identities.current().find(command.author) is None:
            self.identities.add(identity(command.author))
        registry = self.identities.current()
        signature = signature_of(registry, command.author, command, f"propose-{change_id}") if signed else UNSIGNED
        return facts(await propose_change(command, self.at, attempt=attempt, signature=signature))

    async def decide(
        self, change_id: str, decision: str = "approve", reviewer: str = "alice", message: str = "m1", **fields: Any
    ) -> list[Message]:
        """As the edge hands it on: signed by the reviewer; an approval is for the digest that is stored."""
        record = await self.at.changes.get(change_id)
        digest = {"digest": record.digest} if record and decision == "approve" else {}
        given = {"change_id": change_id, "decision": decision, "reviewer": reviewer, **digest, **fields}
        command = DecideReview.model_validate(given)
        signature = signature_of(self.identities.current(), reviewer, command, message)
        body = codec.encode(command)
        return facts(await decide_review(command, await in_force(self.at), decision_id=message, signature=signature, body=body))

    async def register(self, cases: Sequence[Case] | None = None, dataset_id: str = "tweets") -> list[Message]:
        return facts(await register_dataset(dataset(cases, dataset_id), self.at))

    async def register_with(self, cases: Sequence[Case], grader: GraderSpec) -> list[Message]:
        return facts(await register_dataset(dataset(cases, grader=grader), self.at))


def bench(
    *,
    meta_names: frozenset[str] = frozenset(("context_aware_pipeline_generator",)),
    policy: Policy | None = None,
    database: InMemoryDatabase | None = None,
) -> Bench:
    """Signs with the same key always, so that two benches that did the same tell the same facts."""
    clock = StillClock()
    signer = KeySigner(clock, Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    announcer = RecordingAnnouncer()
    fleet, tally, sealing = ScriptedFleet(signer.verifier, clock), Tally(), ScriptedSealing()
    database, sealed = database or InMemoryDatabase(), InMemoryDatabase()
    identities = InMemoryIdentities()
    at = Guardrail(
        changes=MongoChanges(database),
        revisions=MongoRevisions(database),
        deployments=MongoDeployments(database),
        datasets=MongoDatasets(database, sealed),
        allowances=MongoAllowances(database),
        budgets=MongoBudgets(database),
        sealing=sealing,
        prices=TablePrices({}),
        scopes=MongoScopes(database),
        rollbacks=MongoRollbacks(database),
        policies=MongoPolicies(database),
        freeze=MongoFreezes(database),
        rollouts=MongoRollouts(database),
        announcer=announcer,
        audit=MongoAuditLog(database),
        late_notes=MongoLateNotes(database),
        checkpoints=KeptCheckpoints(),
        runs=fleet,
        signer=signer,
        gauges=tally,
        identities=identities,
        registry_notes=MongoRegistryNotes(database),
        delegations=MongoDelegations(database),
        oversight=tally,
        clock=clock,
        policy=policy or shipped_policy(),
        meta_names=meta_names,
        limits=Limits(),
    )
    put_in_force(at, database)
    return Bench(at, clock, fleet, signer, database, sealed, tally, sealing, announcer, identities)


def put_in_force(at: Guardrail, database: InMemoryDatabase) -> None:
    """What a start does with the policy file, without waiting."""
    active = signed_policy(followed(None, at.policy, "file", "file:1", START.isoformat()), at)
    record = PolicyRecord.of(at.policy, source="file", created_at=START.isoformat())
    database.collection("active_policy").store({"_id": "active", **active.model_dump(mode="json")})
    database.collection("policies").store({"_id": record.revision, **record.model_dump(mode="json")})


@cache
def shipped_policy() -> Policy:
    """Compiled once a test run; a policy never changes."""
    return read_policy(DEFAULT_POLICY)


def facts(effects: Sequence[tuple[str, Message]]) -> list[Message]:
    return [fact for _, fact in effects]


def pipeline(prompt: str = "Say the sentiment of: {{ text }}", name: str = "triage", **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "domain": "support",
        "inputs": {"text": "string"},
        "steps": [{"name": "classify", "type": "claude", "prompt": prompt}],
        "outputs": {"answer": "{{ steps.classify.text }}"},
        **fields,
    }


def proposal(document: dict[str, Any], change_id: str = "c1", **fields: Any) -> ProposeChange:
    given = {
        "change_id": change_id,
        "kind": "revision",
        "pipeline": document.get("name", "triage"),
        "document": document,
        "domain": document.get("domain", "support"),
        "author": "generator",
        **fields,
    }
    return ProposeChange.model_validate(given)


def cases(count: int = 60, labels: Sequence[str] = ("good", "bad"), split: str = "sealed") -> list[Case]:
    """`split` cases, preceded by a few of train and dev; the label stands at the end of the text."""
    rows = [("train", 4), ("dev", 4), (split, count)]
    return [
        Case.model_validate(
            {
                "id": f"{name}-{number:04d}",
                "input": {"text": f"{name} message number {number} about something {labels[number % len(labels)]}"},
                "expected": labels[number % len(labels)],
                "split": name,
            }
        )
        for name, many in rows
        for number in range(many)
    ]


def dataset(found: Sequence[Case] | None = None, dataset_id: str = "tweets", **fields: Any) -> RegisterDataset:
    given: dict[str, Any] = {
        "dataset_id": dataset_id,
        "domain": "support",
        "cases": tuple(cases() if found is None else found),
        "grader": GraderSpec(kind="label"),
        "author": "alice",
        **fields,
    }
    return RegisterDataset.model_validate(given)


def right(inputs: dict[str, Any]) -> str:
    """The label that `cases` put at the end of the text."""
    return str(inputs["text"]).rsplit(" ", 1)[-1]


def answering(shares: dict[str, float]) -> Answerer:
    """Right on this share of cases by a word of the prompt, wrong on the rest; which cases is fixed by their number."""

    def answer(document: dict[str, Any], inputs: dict[str, Any]) -> dict[str, str]:
        prompt = document["steps"][0]["prompt"]
        share = next(value for word, value in shares.items() if word in prompt)
        number = int(inputs["text"].split(" ")[3])
        spread = number * 7 % 20 / 20
        truth = right(inputs)
        return {"answer": truth if spread < share else {"good": "bad", "bad": "good"}.get(truth, "none")}

    return answer
