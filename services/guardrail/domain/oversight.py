"""People's votes: who may give one, which count, and what is missing. No time but the one given, no store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.guardrail.domain.authority import ADMIN
from services.guardrail.domain.descent import Record
from services.guardrail.domain.records import ChangeRecord, ReviewDecision
from services.guardrail.domain.risk import RiskClass, class_of
from shared.identity import Identity, Registry


class VoteRule(BaseModel):
    """So many approvals by people who have the role."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    votes: int = Field(default=1, ge=1, le=20)
    role: Literal["reviewer", "admin"] = "reviewer"


class ReviewRules(BaseModel):
    """What a change of each class of risk takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: VoteRule = VoteRule()
    medium: VoteRule = VoteRule()
    high: VoteRule = VoteRule(votes=2)
    critical: VoteRule = VoteRule(votes=2, role="admin")
    confirm_hours: float = Field(default=24, gt=0, le=24 * 30)
    """How long an approval in an emergency may stay without somebody else's confirmation."""

    def rule_for(self, risk: float) -> VoteRule:
        rules: dict[RiskClass, VoteRule] = {
            "low": self.low,
            "medium": self.medium,
            "high": self.high,
            "critical": self.critical,
        }
        return rules[class_of(risk)]


class Delegation(Record):
    """`delegator` lets `delegate` vote in their place. Kept for ever; `revoked` ends it early."""

    delegation_id: str
    delegator: str
    delegate: str
    scope: str
    until: str
    reason: str = ""
    at: str
    revoked: str = ""
    refused: str = ""

    def covers(self, record: ChangeRecord, now: datetime) -> bool:
        if self.revoked or self.refused or datetime.fromisoformat(self.until) <= now:
            return False
        kind, _, name = self.scope.partition(":")
        return kind == "*" or name == (record.pipeline if kind == "pipeline" else record.domain)


class RegistryNote(Record):
    """The registry as it was found, numbered; `before_sha256` is empty the first time."""

    number: int
    before_sha256: str
    after_sha256: str
    changes: tuple[str, ...]
    registry: Registry
    at: str


@dataclass(frozen=True)
class Seat:
    """Whose vote it is: the person who speaks, and where it is delegated, the one it belongs to."""

    voter: Identity
    owner: Identity

    @property
    def names(self) -> frozenset[str]:
        return frozenset((self.voter.name.casefold(), self.owner.name.casefold()))

    @property
    def keys(self) -> frozenset[str]:
        return frozenset((self.voter.key_id, self.owner.key_id))


@dataclass(frozen=True)
class Standing:
    rule: VoteRule
    counted: tuple[ReviewDecision, ...]

    @property
    def missing(self) -> int:
        return max(0, self.rule.votes - len(self.counted))


def standing(record: ChangeRecord, rules: ReviewRules) -> Standing:
    return Standing(rules.rule_for(record.risk), approvals(record))


def approvals(record: ChangeRecord) -> tuple[ReviewDecision, ...]:
    return tuple(each for each in record.decisions if each.decision == "approve" and not each.void)


def excluded_names(record: ChangeRecord) -> tuple[str, ...]:
    """Who never approves it: its author, who signed the proposal, and the person on whose behalf it was made."""
    return tuple(dict.fromkeys(name for name in (record.author, record.proposed_by, record.requested_by) if name))


def why_no_seat(seat: Seat, record: ChangeRecord, rule: VoteRule, registry: Registry) -> str:
    """Empty where this person's approval counts."""
    if reason := _interested(seat, record, registry):
        return reason
    if not {rule.role, ADMIN} & set(seat.owner.roles):
        has = ", ".join(seat.owner.roles) or "none"
        return f"an approval of this change takes the role {rule.role}; {seat.owner.name} has {has}: ask somebody who has it"
    for each in approvals(record):
        if {each.reviewer.casefold(), (each.delegated_by or "").casefold()} & seat.names or each.key_ids & seat.keys:
            return f"{each.reviewer} has approved it already: one person has one vote, whatever the name; ask somebody else"
    return ""


def _interested(seat: Seat, record: ChangeRecord, registry: Registry) -> str:
    names = excluded_names(record)
    if seat.names & {name.casefold() for name in names}:
        return "an author never approves, nor does who proposed it or had it proposed: ask somebody else"
    keys = {identity.key_id for name in names if (identity := registry.find(name))} | {record.author_key_id}
    if seat.keys & keys:
        return "an author never approves, not under a second name with the same key either: ask somebody else"
    return ""


def revoted(decisions: Iterable[ReviewDecision], registry: Registry, rule: VoteRule) -> tuple[ReviewDecision, ...]:
    """The decisions, with those approvals void whose person may not vote any more."""
    return tuple(_checked(each, registry, rule) for each in decisions)


def voided(decisions: Sequence[ReviewDecision], reason: str) -> tuple[ReviewDecision, ...]:
    """All former approvals count no more."""
    return tuple(
        each.model_copy(update={"void": reason}) if each.decision == "approve" and not each.void else each for each in decisions
    )


def _checked(decision: ReviewDecision, registry: Registry, rule: VoteRule) -> ReviewDecision:
    if decision.decision != "approve" or decision.void:
        return decision
    people = [decision.reviewer, *([decision.delegated_by] if decision.delegated_by else [])]
    found = [registry.find(name) for name in people]
    for name, identity in zip(people, found, strict=True):
        if identity is None or identity.revoked or identity.key_id not in decision.key_ids:
            return decision.model_copy(update={"void": f"the identity {name} is not good any more"})
    owner = found[-1]
    if owner is None or not {rule.role, ADMIN} & set(owner.roles):
        return decision.model_copy(update={"void": f"{people[-1]} does not have the role {rule.role} that it takes now"})
    return decision
