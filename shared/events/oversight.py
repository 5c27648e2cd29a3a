"""People over the system: what reviewers said, delegations, approvals in an emergency, and who may sign."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from shared.events.message import Command, Fact, Query
from shared.events.values import Identifier


class ReviewRecorded(Fact):
    """A vote or comment that counts but does not end the review."""

    subject: ClassVar[str] = "evt.review.recorded"
    owner: ClassVar[str] = "guardrail"

    change_id: str
    pipeline: str
    digest: str
    reviewer: str
    decision: Literal["approve", "comment"]
    comment: str = ""
    votes: int
    """Approvals that count now."""
    missing: int
    """Further approvals that it takes."""
    role: str
    """Role that an approval of this change takes."""
    voided: tuple[str, ...] = ()
    """Former approvals that do not count any more, each with the reason."""


class ChangesRequested(Fact):
    """Ends a review: the author proposes a successor that names this change (`successor_of`)."""

    subject: ClassVar[str] = "evt.review.changes_requested"
    owner: ClassVar[str] = "guardrail"

    change_id: str
    pipeline: str
    digest: str
    author: str
    reviewer: str
    comment: str
    group_id: str | None = None


class GlassBroken(Fact):
    """One person approved alone, in an emergency. Somebody else has to confirm it in time, or it is taken back."""

    subject: ClassVar[str] = "evt.review.glass_broken"
    owner: ClassVar[str] = "guardrail"

    change_id: str
    pipeline: str
    digest: str
    by: str
    reason: str
    confirm_until: str


class GlassConfirmed(Fact):
    subject: ClassVar[str] = "evt.review.glass_confirmed"
    owner: ClassVar[str] = "guardrail"

    change_id: str
    pipeline: str
    digest: str
    by: str


class GlassLapsed(Fact):
    """An approval in an emergency that nobody confirmed in time, or that somebody rejected: taken back and quarantined."""

    subject: ClassVar[str] = "evt.review.glass_lapsed"
    owner: ClassVar[str] = "guardrail"

    change_id: str
    pipeline: str
    digest: str
    by: str
    """Who rejected it; `expiry` where nobody confirmed it."""
    reason: str


class DelegateReviews(Command):
    """Lets `delegate` vote in the author's place, within a scope and until a moment. Not passed on, never for its own changes."""

    subject: ClassVar[str] = "cmd.guardrail.delegate"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    delegation_id: Identifier
    author: Identifier
    """Whose votes are delegated."""
    delegate: Identifier
    scope: str = Field(default="*", pattern=r"^(\*|(pipeline|domain):[a-z][a-z0-9_-]{0,62})$")
    """`*`, `pipeline:NAME` or `domain:NAME`."""
    until: str
    """RFC 3339 with a time zone; at most 90 days ahead."""
    reason: str = Field(default="", max_length=2000)


class RevokeDelegation(Command):
    subject: ClassVar[str] = "cmd.guardrail.revoke_delegation"
    owner: ClassVar[str] = "guardrail"
    signed: ClassVar[bool] = True

    delegation_id: Identifier
    author: Identifier


class ReviewsDelegated(Fact):
    subject: ClassVar[str] = "evt.review.delegated"
    owner: ClassVar[str] = "guardrail"

    delegation_id: str
    delegator: str
    delegate: str
    scope: str
    until: str


class DelegationRevoked(Fact):
    subject: ClassVar[str] = "evt.review.delegation_revoked"
    owner: ClassVar[str] = "guardrail"

    delegation_id: str
    delegator: str
    delegate: str
    by: str


class DelegationRefused(Fact):
    subject: ClassVar[str] = "evt.review.delegation_refused"
    owner: ClassVar[str] = "guardrail"

    delegation_id: str
    reason: str


class IdentitiesChanged(Fact):
    """The registry of identities is another than before."""

    subject: ClassVar[str] = "evt.identities.changed"
    owner: ClassVar[str] = "guardrail"

    before_sha256: str
    """Empty the first time."""
    after_sha256: str
    changes: tuple[str, ...]


class ListDelegations(Query):
    """Answer: `{delegations: [{delegation_id, delegator, delegate, scope, until, revoked, at, reason}]}`, newest first."""

    subject: ClassVar[str] = "api.guardrail.list_delegations"
    owner: ClassVar[str] = "guardrail"

    limit: int = Field(default=50, ge=1, le=500)


class GetReview(Query):
    """Answer: what a reviewer has to see: `{change_id, status, pipeline, digest, document, diff, risk, risk_class, risk_reasons,
    reasons, gate, author, author_verified, decisions, votes, missing, role, excluded, expires_at, glass, successor_of}`."""

    subject: ClassVar[str] = "api.guardrail.get_review"
    owner: ClassVar[str] = "guardrail"

    change_id: Identifier
