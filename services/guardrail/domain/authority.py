"""Who may command what: one table, applied at the edge to every command before anything else looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shared.errors import NotAuthorizedError
from shared.events.changes import DecideReview, MeasurePipelines, ProposeChange, RegisterDataset, RollbackPipeline
from shared.events.message import Command
from shared.events.oversight import DelegateReviews, RevokeDelegation
from shared.events.quotas import CloseScope
from shared.events.recovery import FreezeSystem, QuarantineRevision, ReleaseRevision, UnfreezeSystem
from shared.events.rollouts import ControlRollout, ReportOutcome, StartRollout
from shared.identity import Identity, Signature

REVIEWER, OPERATOR, ADMIN = "reviewer", "operator", "admin"
ROLES = (REVIEWER, OPERATOR, ADMIN)
ON_BEHALF_OF_PIPELINES = ("executor", "pipeline:")
"""The executor vouches for the runs that propose in their pipeline's name."""


@dataclass(frozen=True)
class Need:
    """Any one of `roles` is enough; none: any identity. `speaker`: the field that has to name who signed."""

    roles: frozenset[str] = frozenset()
    people_only: bool = False
    unsigned_too: bool = False
    """Taken from anybody; what is unsigned counts as nobody's word."""
    delegable: bool = False
    """Somebody without the role may act for one who has it: looked up where delegations are known."""
    speaker: str = "author"


AUTHORITY: Mapping[type[Command], Need] = {
    ProposeChange: Need(unsigned_too=True),
    RegisterDataset: Need(unsigned_too=True),
    MeasurePipelines: Need(unsigned_too=True),
    DecideReview: Need(frozenset((REVIEWER, ADMIN)), people_only=True, delegable=True, speaker="reviewer"),
    DelegateReviews: Need(frozenset((REVIEWER, ADMIN)), people_only=True),
    RevokeDelegation: Need(frozenset((REVIEWER, ADMIN)), people_only=True),
    RollbackPipeline: Need(frozenset((OPERATOR, ADMIN))),
    QuarantineRevision: Need(frozenset((OPERATOR, ADMIN))),
    ReleaseRevision: Need(frozenset((OPERATOR, ADMIN))),
    FreezeSystem: Need(frozenset((OPERATOR, ADMIN))),
    UnfreezeSystem: Need(frozenset((OPERATOR, ADMIN))),
    CloseScope: Need(),
    StartRollout: Need(frozenset((OPERATOR, ADMIN))),
    ControlRollout: Need(frozenset((OPERATOR, ADMIN))),
    ReportOutcome: Need(),
}


def authorize(command: Command, signature: Signature) -> None:
    """Raises `NotAuthorizedError` with what to do, unless the table lets this sender give this command."""
    need, name = AUTHORITY[type(command)], type(command).__name__
    if signature.identity is None:
        if need.unsigned_too:
            return
        raise NotAuthorizedError(
            f"{name} is taken from nobody in particular: {signature.fault}; sign it as an identity of identities.yaml "
            "(`evoline people`; docs/identities.md shows how a plain client signs)"
        )
    _check_speaker(command, need, signature.identity)
    _check_roles(command, need, signature.identity)


def _check_speaker(command: Command, need: Need, identity: Identity) -> None:
    said = str(getattr(command, need.speaker))
    service, prefix = ON_BEHALF_OF_PIPELINES
    if said == identity.name or (identity.kind == "service" and identity.name == service and said.startswith(prefix)):
        return
    raise NotAuthorizedError(
        f"it says `{need.speaker}: {said}` but is signed by {identity.name}: whoever signs speaks for nobody else; "
        f"set `{need.speaker}` to {identity.name}"
    )


def _check_roles(command: Command, need: Need, identity: Identity) -> None:
    name = type(command).__name__
    if need.people_only and identity.kind != "person":
        raise NotAuthorizedError(f"{identity.name} is no person but a service: {name} is for people; ask one of them")
    if need.delegable and getattr(command, "delegated_by", None):
        return
    if need.roles and not need.roles & set(identity.roles):
        has = ", ".join(identity.roles) or "none"
        raise NotAuthorizedError(
            f"{name} takes the role {' or '.join(sorted(need.roles))}; {identity.name} has {has}: ask somebody who has it, "
            f"or have the registry's owner run `evoline people add {identity.name} --role ...`"
        )
