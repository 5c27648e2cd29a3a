"""Who may command what, and ask for what gives something away: tables, applied at the edge before anything else looks at it.

These are the guardrail's. Who may stop a search or an experiment stands in `services/evolution/domain/authority.py`, for evolution
takes those commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import NotAuthorizedError
from shared.events.changes import DecideReview, GrantScope, ProposeChange
from shared.events.datasets import MeasurePipelines, RegisterDataset
from shared.events.deployments import RollbackPipeline
from shared.events.message import Command, Query
from shared.events.oversight import DelegateReviews, RevokeDelegation
from shared.events.quotas import CloseScope, LeaseQuota, ReportUse
from shared.events.recovery import FreezeSystem, QuarantineRevision, ReleaseRevision, UnfreezeSystem
from shared.events.rollouts import ControlRollout, ReportOutcome, StartRollout
from shared.identity import Identity, Signature

REVIEWER, OPERATOR, ADMIN, REPORTER, SEARCHER = "reviewer", "operator", "admin", "reporter", "searcher"
ROLES = (REVIEWER, OPERATOR, ADMIN, REPORTER, SEARCHER)
SEARCHES = frozenset(("generator", "evolution", "learner", "executor"))
"""Our services that run trials; one of somebody else's takes the role `searcher`."""
ON_BEHALF_OF_PIPELINES = ("executor", "pipeline:")
"""The executor vouches for the runs that propose, or ask for trial scopes, in their pipeline's name."""


@dataclass(frozen=True)
class Need:
    """Any one of `roles` is enough, or to be one of `services`; neither: any identity. `speaker`: the field that has to name who
    signed; empty where no field says it."""

    roles: frozenset[str] = frozenset()
    services: frozenset[str] = frozenset()
    """By name: these are registered by whoever sets the system up."""
    people_only: bool = False
    services_only: bool = False
    unsigned_too: bool = False
    """Taken from anybody; what is unsigned counts as nobody's word."""
    delegable: bool = False
    """Somebody without the role may act for one who has it: looked up where delegations are known."""
    speaker: str = "author"


AUTHORITY: Mapping[type[Command], Need] = {
    ProposeChange: Need(unsigned_too=True),
    RegisterDataset: Need(),
    MeasurePipelines: Need(),
    DecideReview: Need(frozenset((REVIEWER, ADMIN)), people_only=True, delegable=True, speaker="reviewer"),
    DelegateReviews: Need(frozenset((REVIEWER, ADMIN)), people_only=True),
    RevokeDelegation: Need(frozenset((REVIEWER, ADMIN)), people_only=True),
    RollbackPipeline: Need(frozenset((OPERATOR, ADMIN))),
    QuarantineRevision: Need(frozenset((OPERATOR, ADMIN))),
    ReleaseRevision: Need(frozenset((OPERATOR, ADMIN))),
    FreezeSystem: Need(frozenset((OPERATOR, ADMIN))),
    UnfreezeSystem: Need(frozenset((OPERATOR, ADMIN))),
    CloseScope: Need(frozenset((SEARCHER,)), SEARCHES, services_only=True),
    StartRollout: Need(frozenset((OPERATOR, ADMIN))),
    ControlRollout: Need(frozenset((OPERATOR, ADMIN))),
    ReportOutcome: Need(frozenset((REPORTER, REVIEWER, OPERATOR, ADMIN))),
}
QUESTIONS: Mapping[type[Query], Need] = {
    GrantScope: Need(frozenset((SEARCHER,)), SEARCHES, services_only=True, speaker="holder"),
    LeaseQuota: Need(services=frozenset(("executor",)), services_only=True, speaker=""),
    ReportUse: Need(services=frozenset(("executor",)), services_only=True, speaker=""),
}
"""Those that only tell something are answered to whoever the broker lets ask."""


def authorize(message: Command | Query, signature: Signature) -> None:
    """Raises `NotAuthorizedError` with what to do, unless the tables let this sender give this command, or ask this."""
    need, name = need_of(message), type(message).__name__
    if signature.identity is None:
        if need.unsigned_too:
            return
        raise NotAuthorizedError(
            f"{name} is taken from nobody in particular: {signature.fault}; sign it as an identity of identities.yaml "
            "(`evoline people`; docs/identities.md shows how a plain client signs)"
        )
    _check_speaker(message, need, signature.identity)
    _check_roles(message, need, signature.identity)


def need_of(message: Command | Query) -> Need:
    return AUTHORITY[type(message)] if isinstance(message, Command) else QUESTIONS[type(message)]


def _check_speaker(message: Command | Query, need: Need, identity: Identity) -> None:
    said = str(getattr(message, need.speaker)) if need.speaker else identity.name
    service, prefix = ON_BEHALF_OF_PIPELINES
    if said == identity.name or (identity.kind == "service" and identity.name == service and said.startswith(prefix)):
        return
    raise NotAuthorizedError(
        f"it says `{need.speaker}: {said}` but is signed by {identity.name}: whoever signs speaks for nobody else; "
        f"set `{need.speaker}` to {identity.name}"
    )


def _check_roles(message: Command | Query, need: Need, identity: Identity) -> None:
    name = type(message).__name__
    if need.people_only and identity.kind != "person":
        raise NotAuthorizedError(f"{identity.name} is no person but a service: {name} is for people; ask one of them")
    if need.services_only and identity.kind != "service":
        raise NotAuthorizedError(f"{identity.name} is no service but a person: {name} is for services that run trials or runs")
    if need.delegable and getattr(message, "delegated_by", None):
        return
    if not (need.roles or need.services) or identity.name in need.services or need.roles & set(identity.roles):
        return
    raise NotAuthorizedError(_lacking(name, need, identity))


def _lacking(name: str, need: Need, identity: Identity) -> str:
    has = ", ".join(identity.roles) or "none"
    wanted = [f"the role {' or '.join(sorted(need.roles))}"] if need.roles else []
    if need.services:
        wanted.append(f"one of the services {', '.join(sorted(need.services))}")
    return (
        f"{name} takes {', or '.join(wanted)}; {identity.name} has {has}: ask somebody who has it, "
        f"or have the registry's owner run `evoline people add {identity.name} --role ...`"
    )
