"""Change control: nothing changes by itself; every change is proposed, judged, attested or vetoed."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from shared.errors import Problem
from shared.events.message import Command, Fact, Query, Value
from shared.events.rollouts import RolloutPlan
from shared.events.values import Attestation, Budget, Digest, Domain, Identifier, PipelineName, Score

ChangeKind = Literal["revision", "promotion", "template", "policy", "maturity", "release"]
ChangeStatus = Literal["proposed", "measuring", "queued", "approved", "vetoed", "expired", "changes_requested"]
GateVerdict = Literal["certified", "canary", "rejected"]
MOST_ORIGINS = 16


class Evidence(Value):
    """What a proposal is based on. Believed by nobody: the guardrail measures again where it matters."""

    kind: Literal["trial", "search", "mining", "statement"]
    text: str = Field(max_length=4000)
    score: Score | None = None
    baseline: Score | None = None
    calls: int = 0
    seconds: float = 0.0


class ProposeChange(Command):
    """Proposes a pipeline revision, the promotion of a candidate over the stable one, a learned template, a policy or a maturity.

    `revision` creates or replaces `pipeline`; `promotion` demands the sealed gate against the stable revision. `policy`: the whole
    policy as `document`, its name as `pipeline`; it always waits for people. `maturity`: `{maturity: beta}` as `document`."""

    subject: ClassVar[str] = "cmd.guardrail.propose"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    change_id: Identifier
    kind: Literal["revision", "promotion", "template", "policy", "maturity"]
    pipeline: PipelineName
    """Name of the pipeline, of the template or of the policy."""
    document: dict[str, Any]
    domain: Domain
    author: Identifier
    """Service or person; an author never approves."""
    reason: str = Field(default="", max_length=4000)
    evidence: tuple[Evidence, ...] = Field(default=(), max_length=20)
    dataset_id: Identifier | None = None
    parent_digest: str | None = None
    """Revision that it was made from; its descendants are quarantined with it on a rollback."""
    origins: tuple[Digest, ...] = Field(default=(), max_length=MOST_ORIGINS, exclude_if=lambda origins: not origins)
    """Digests of everything else that it was made from, as templates and other pipelines whose steps it took over: it is
    quarantined with each of them. Left out where there is nothing, so that senders and receivers of before know the message."""
    deploy: bool = True
    """Make it stable when approved; False only records the attested revision."""
    rollout: RolloutPlan | None = None
    """Where a revision serves already: roll it out by this plan instead of making it stable at once. Policy may ask for one too."""
    group_id: Identifier | None = None
    """Request or evolution behind it."""
    requested_by: Identifier | None = None
    """Person on whose behalf a service proposes: that one never approves it either."""
    successor_of: Identifier | None = None
    """Change of the same author that a reviewer wanted otherwise, and that this one answers."""


class ChangeQueued(Fact):
    """Waits for people: `evoline review list`."""

    subject: ClassVar[str] = "evt.change.queued"
    owner: ClassVar[str] = "guardrail"

    change_id: str
    kind: ChangeKind
    pipeline: str
    digest: str
    author: str
    risk: float
    risk_class: str = ""
    """`low`, `medium`, `high` or `critical`."""
    risk_reasons: tuple[str, ...] = ()
    reasons: tuple[str, ...]
    group_id: str | None = None
    expires_at: str = ""


class ChangeApproved(Fact):
    subject: ClassVar[str] = "evt.change.approved"
    owner: ClassVar[str] = "guardrail"

    change_id: str
    kind: ChangeKind
    pipeline: str
    digest: str
    document: dict[str, Any]
    domain: str
    author: str
    approved_by: str
    """`policy:<rule id>` or the reviewer."""
    risk: float
    risk_reasons: tuple[str, ...] = ()
    reasons: tuple[str, ...]
    policy_revision: str
    attestation: Attestation
    group_id: str | None = None


class ChangeVetoed(Fact):
    subject: ClassVar[str] = "evt.change.vetoed"
    owner: ClassVar[str] = "guardrail"

    change_id: str
    kind: ChangeKind
    pipeline: str
    digest: str
    author: str
    vetoed_by: str
    risk: float = 0.0
    reasons: tuple[str, ...]
    problems: tuple[Problem, ...] = ()
    group_id: str | None = None


class GateFinished(Fact):
    """One look at the sealed cases.

    `certified`: better by an exact paired test; `canary`: undecided; `rejected`: shown worse, or failing."""

    subject: ClassVar[str] = "evt.gate.finished"
    owner: ClassVar[str] = "guardrail"

    change_id: str
    pipeline: str
    candidate_digest: str
    incumbent_digest: str
    verdict: GateVerdict
    candidate: Score
    incumbent: Score
    p_value: float
    """One-sided exact McNemar (0/1 grades) or paired sign-flip permutation."""
    alpha: float
    gain: float
    """As it was seen on the sealed cases. Of what just passed the test that is more often too much than too little."""
    gain_low: float
    gain_high: float
    """Interval of the gain that was seen, at confidence 1 - 2 `alpha`."""
    claim: float | None = Field(default=None, exclude_if=lambda claim: claim is None)
    """What may be claimed: the likeliest gain given that the test was passed (`shared.evidence.selection`); of an undecided
    candidate the gain as it was seen. None, and left out, where it was rejected, or a guardrail did not tell it."""
    more_cases_needed: int = 0
    """Sealed cases that a decision would take, at the seen discordance and gain; 0 where decided or hopeless."""
    reasons: tuple[str, ...] = ()
    group_id: str | None = None


class DecideReview(Command):
    """One person's word on a change: a vote for exactly the digest that was seen, a denial, a wish, or a comment.

    On a change that was approved in an emergency, `approve` confirms it and `deny` takes it back."""

    subject: ClassVar[str] = "cmd.guardrail.decide"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    change_id: Identifier
    decision: Literal["approve", "deny", "request_changes", "comment"]
    reviewer: Identifier
    """Who signs this message."""
    comment: str = Field(default="", max_length=4000)
    digest: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """Revision that the reviewer saw; an approval has to name it."""
    delegated_by: Identifier | None = None
    """Whose vote this is, where a delegation lets the reviewer give it."""
    break_glass: bool = False
    """Approve alone, in an emergency: takes the role admin and a comment, is told loudly and confirmed by somebody else later."""


class ReviewRefused(Fact):
    """A decision that does not count: unknown or closed change, or the author approving."""

    subject: ClassVar[str] = "evt.review.refused"
    owner: ClassVar[str] = "guardrail"

    change_id: str
    reviewer: str
    reason: str


class GrantScope(Query):
    """Asks for a signed trial scope.

    Answer: `GrantedScope`; a refusal is an error with reasons. The same `scope_id` gets the same scope."""

    subject: ClassVar[str] = "api.guardrail.grant_scope"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    scope_id: Identifier
    purpose: Literal["generation", "evolution", "meta"]
    holder: Identifier
    domain: Domain
    step_types: tuple[str, ...] = ()
    """Wanted step types, providers, functions; empty means all that policy allows the purpose."""
    providers: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    budget: Budget
    seconds: float = Field(default=900, gt=0, le=86_400)
    pipeline: PipelineName | None = None
    """What is searched for or made better, if it has a name already: its quota counts too."""
    group_id: Identifier | None = None
    """The request or evolution that the scope is for: its quota counts too."""
    estimate: Budget | None = None
    """What the search is expected to use at most; refused at once where that much is not left, though `budget` would be."""


class ListReviews(Query):
    """Answer: `{reviews: [{change_id, kind, pipeline, digest, author, risk, risk_reasons, reasons, diff, created_at,
    expires_at, votes, missing, role}]}`."""

    subject: ClassVar[str] = "api.guardrail.list_reviews"
    owner: ClassVar[str] = "guardrail"

    limit: int = Field(default=50, ge=1, le=500)


class ListPromotions(Query):
    """Of one pipeline, newest first, whoever proposed them. Answer: `{promotions: [{change_id, digest, parent_digest, author,
    requested_by, group_id, status, decided_by, reasons, created_at, decided_at, gate}]}`; `gate` is the look's `{verdict, gain,
    gain_low, gain_high, claim}`, null where nothing was measured on sealed cases."""

    subject: ClassVar[str] = "api.guardrail.list_promotions"
    owner: ClassVar[str] = "guardrail"

    pipeline: PipelineName
    limit: int = Field(default=50, ge=1, le=500)


class GetChange(Query):
    """Answer: the change's record with document, risk, reasons, gate, decisions, attestation."""

    subject: ClassVar[str] = "api.guardrail.get_change"
    owner: ClassVar[str] = "guardrail"

    change_id: Identifier
