"""A whole guardrail in memory: its real stores on `InMemoryDatabase`, a clock that stands still, a scripted executor fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from services.guardrail.domain.policies import PolicyRecord, followed
from services.guardrail.domain.policy import Policy
from services.guardrail.ports import Guardrail, Limits
from services.guardrail.use_cases import decide_review, in_force, propose_change, register_dataset
from services.guardrail.use_cases.policies import signed as signed_policy
from shared.events.changes import DecideReview, ProposeChange
from shared.events.datasets import RegisterDataset
from shared.events.message import Message
from shared.events.values import Case, GraderSpec
from shared.identity import UNSIGNED
from shared.messaging import codec
from tests.fakes.guardrail_ports import (
    START,
    Answerer,
    KeptCheckpoints,
    KeySigner,
    RecordingAnnouncer,
    ScriptedFleet,
    ScriptedSealing,
    StillClock,
    Tally,
)
from tests.fakes.people import InMemoryIdentities, identity, signature_of
from tests.fakes.storage import InMemoryDatabase


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
