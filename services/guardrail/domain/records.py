"""What the guardrail keeps: changes, revisions, deployments, datasets. Frozen; a change of state is a new record."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_serializer

from services.guardrail.domain.descent import Descended, Record
from services.guardrail.domain.maturity import Maturity
from shared.errors import Problem
from shared.events.changes import ChangeKind, ChangeStatus, Evidence, GateFinished, ProposeChange
from shared.events.rollouts import RolloutPlan
from shared.events.values import Attestation, Case, GraderSpec, Split
from shared.identity import UNSIGNED, Proof, Signature

SHIPPED_AUTHOR = "evoline"
SHIPPED_APPROVER = "policy:shipped"
SHIPPED_PREFIX = "shipped-"
"""Of change ids."""


class ReviewDecision(Record):
    """What one person said. `decision_id` is the message's id, so that a redelivery is told from a second decision.

    `proof` and `body` are the signed message: with the registry's key anyone can verify later who said so."""

    decision_id: str
    reviewer: str
    decision: Literal["approve", "deny", "request_changes", "comment"]
    comment: str = ""
    at: str
    digest: str = ""
    delegated_by: str | None = None
    break_glass: bool = False
    key_ids: frozenset[str] = frozenset()
    """Of the reviewer, and of whom the vote belongs to."""
    policy_revision: str = ""
    missing: int = 0
    """Approvals that were missing after this one."""
    void: str = ""
    """Why an approval does not count any more."""
    proof: Proof | None = None
    body: str = ""

    @field_serializer("key_ids")
    def _sorted(self, value: frozenset[str]) -> list[str]:
        return sorted(value)


class BrokenGlass(Record):
    """An approval by one person in an emergency. `lapsing`: about to be taken back, until that is done."""

    by: str
    reason: str
    at: str
    confirm_until: str
    status: Literal["open", "confirmed", "lapsing", "lapsed"] = "open"
    ended_by: str = ""
    ended_reason: str = ""


UNWRITTEN = -1
"""Version of a record that the store does not hold yet: its first save is an insertion."""


class ChangeRecord(Descended):
    """A proposed change from the first look to its end. `version` counts the writes: the store refuses one on an older state."""

    change_id: str
    kind: ChangeKind
    pipeline: str
    domain: str
    author: str
    reason: str = ""
    document: dict[str, Any]
    """As proposed until it is judged; then canonical."""
    evidence: tuple[Evidence, ...] = ()
    dataset_id: str | None = None
    deploy: bool = True
    rollout: RolloutPlan | None = None
    """Deployed by this rollout, not at once, where a revision serves already."""
    group_id: str | None = None
    status: ChangeStatus = "proposed"
    version: int = 0
    created_at: str
    digest: str = ""
    """Empty where the document never became valid."""
    incumbent_digest: str = ""
    """The stable revision that the change was judged against; empty where there was none."""
    policy_revision: str = ""
    risk: float = 0.0
    risk_class: str = ""
    risk_reasons: tuple[str, ...] = ()
    diff: tuple[str, ...] = ()
    names: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """What the rules saw when they last judged it, without the lines of the diff; empty where they never did."""
    rule_effect: str = ""
    """What they said then: `allow`, `review` or `veto`."""
    decided_by_rule: str = ""
    gate: GateFinished | None = None
    decided_by: str = ""
    """`policy:<rule>`, `check`, `gate`, `review:<person>` or `expiry`."""
    reasons: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    bars_digest: bool = False
    """A veto that holds for this digest under any change id: a person's, or one by the sealed gate."""
    decisions: tuple[ReviewDecision, ...] = ()
    expires_at: str = ""
    decided_at: str = ""
    attestation: Attestation | None = None
    applied: bool = False
    """Revision written and, where wanted, deployed: what follows is only telling."""
    generation: int = 0
    previous_digest: str = ""
    author_verified: bool = False
    """Whether a registered identity signed the proposal."""
    author_fault: str = ""
    """Why the author is not verified."""
    author_is_person: bool = False
    author_key_id: str = ""
    proposed_by: str = ""
    """The identity that signed it."""
    requested_by: str | None = None
    successor_of: str | None = None
    releases: str = ""
    """Cause of the quarantine that a release ends."""
    glass: BrokenGlass | None = None
    cause: str = ""
    """Message whose handling tells the outcome; ids of facts derive from it."""
    sequence: int = 0
    """The proposal's place in the stream: changes of one pipeline are judged in this order."""
    held_by: str = ""
    """Freeze during which it came; until what followed is told."""
    rollout_id: str = ""
    """Where it was not deployed at once."""
    untold: bool = False
    """It expired while nobody asked, and that was not told yet."""

    @classmethod
    def opened(cls, command: ProposeChange, now: str, signature: Signature = UNSIGNED) -> ChangeRecord:
        """Not stored yet: what is decided at once is written once, with its verdict."""
        fields = command.model_dump(exclude={"deploy"})
        signed = signature_fields(signature)
        deploy = command.deploy and command.kind != "template"
        return cls.model_validate({**fields, **signed, "deploy": deploy, "created_at": now, "version": UNWRITTEN})

    @property
    def is_open(self) -> bool:
        return self.status in ("proposed", "measuring")

    @property
    def is_held(self) -> bool:
        """Waits for the end of a freeze before it is judged, or before it takes effect."""
        return bool(self.held_by) and (self.is_open or (self.status == "approved" and not self.applied))

    @property
    def attested_kind(self) -> Literal["revision", "template", "policy", "maturity"]:
        return "revision" if self.kind == "promotion" or self.kind == "release" else self.kind


def signature_fields(signature: Signature) -> dict[str, Any]:
    """What a change's record keeps of who signed the proposal."""
    identity = signature.identity
    return {
        "author_verified": identity is not None,
        "author_fault": signature.fault,
        "author_key_id": identity.key_id if identity else "",
        "author_is_person": identity is not None and identity.kind == "person",
        "proposed_by": signature.signer,
    }


class RevisionRecord(Descended):
    """An approved document. Executors read this shape."""

    digest: str
    kind: Literal["revision", "template"] = "revision"
    pipeline: str
    domain: str
    document: dict[str, Any]
    attestation: Attestation
    status: Literal["approved", "quarantined"] = "approved"
    change_id: str
    author: str
    approved_by: str
    dataset_id: str | None = None
    created_at: str


class ServedRollout(Record):
    """What executors need of a rollout. A unit's arm follows from salt, unit and share alone."""

    rollout_id: str
    salt: str
    share: float
    """Of the units that get the canary; 1 after completion, while the new stable revision is watched."""
    shadow_share: float = 0.0
    """Of the production runs that are repeated on `shadow`."""
    shadow_runs: int = 0
    """The most of them."""


class Deployment(Record):
    """What serves a pipeline's name. Every change of it is one compare-and-set on `generation`. Executors read this shape."""

    pipeline: str
    domain: str
    author: str
    stable: str
    maturity: Maturity = "experimental"
    """Every revision of the pipeline has it; raising it is a change of its own."""
    canary: str | None = None
    shadow: str | None = None
    """Repeats a share of the production runs; nobody uses what it answers."""
    rollout: ServedRollout | None = None
    previous: tuple[str, ...] = ()
    """Former stable revisions, newest last."""
    generation: int = 1
    updated_at: str
    causes: dict[str, int] = Field(default_factory=dict)
    """Change or rollback id -> generation that it made; the latest `REMEMBERED_CAUSES`, so that a repeat is recognised."""
    went_back: dict[str, str] = Field(default_factory=dict)
    """Cause among these -> the former revision that it made stable in place of one that was taken out; a repeat tells the same."""


REMEMBERED_CAUSES = 50
KEPT_PREVIOUS = 50


def redeployed(now_serving: Deployment, digest: str, cause: str, at: str) -> Deployment:
    """The deployment after `digest` becomes stable because of `cause`. A rollout over the former stable revision ends with it."""
    previous = (*(each for each in now_serving.previous if each != digest), now_serving.stable)
    without = {"canary": None, "shadow": None, "rollout": None}
    return moved(now_serving, cause, at, stable=digest, previous=previous[-KEPT_PREVIOUS:], **without)


def moved(now_serving: Deployment, cause: str, at: str, **update: Any) -> Deployment:
    """The next generation of a deployment, made by `cause`."""
    generation = now_serving.generation + 1
    kept = dict(list(now_serving.causes.items())[-(REMEMBERED_CAUSES - 1) :])
    went_back = {each: digest for each, digest in now_serving.went_back.items() if each in kept}
    counted = {"generation": generation, "updated_at": at, "causes": {**kept, cause: generation}, "went_back": went_back}
    return now_serving.model_copy(update={**update, **counted})


class RollbackRecord(Record):
    """The intent is written before the deployment changes, the outcome after it."""

    rollback_id: str
    pipeline: str
    author: str
    reason: str
    from_digest: str = ""
    to_digest: str = ""
    quarantined: tuple[str, ...] = ()
    generation: int = 0
    again_to: str = ""
    """Where it went back to a second time: `from_digest` had become stable again before it was quarantined."""
    again_generation: int = 0
    refused: str = ""
    done: bool = False
    at: str

    @property
    def end(self) -> tuple[str, int]:
        """What it made stable last, and the generation that this was."""
        return (self.again_to, self.again_generation) if self.again_generation else (self.to_digest, self.generation)


class Dataset(Record):
    """Open part of a dataset; its sealed cases are in another database."""

    dataset_id: str
    digest: str
    domain: str
    grader: GraderSpec
    grader_hash: str
    counts: dict[Split, int]
    source: str = ""
    license: str = ""
    author: str
    created_at: str


class SplitCases(Record):
    """Cases by split, every case with its split filled in."""

    train: tuple[Case, ...]
    dev: tuple[Case, ...]
    sealed: tuple[Case, ...]

    def of(self, split: Split) -> tuple[Case, ...]:
        return {"train": self.train, "dev": self.dev, "sealed": self.sealed}[split]
