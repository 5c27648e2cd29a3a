"""Who may stop what others ordered. Pure.

The guardrail's own commands have their table in `services/guardrail/domain/authority.py`. Stops are not in it: they are sent to
evolution, which alone knows who ordered a search, and services never import each other."""

from __future__ import annotations

from shared.errors import NotAuthorizedError
from shared.events.experiments import StopExperiment
from shared.events.improvement import StopEvolution
from shared.identity import Signature

STOPPERS = frozenset(("operator", "admin"))
"""Roles whose bearers may stop what somebody else ordered."""


def require_stopper(command: StopEvolution | StopExperiment, ordered_by: str, signature: Signature) -> None:
    """Raises `NotAuthorizedError` with what to do, unless it is signed by its author, who ordered it or has the role."""
    name, who = type(command).__name__, signature.identity
    if who is None:
        raise NotAuthorizedError(
            f"{name} is taken from nobody in particular: {signature.fault}; sign it as an identity of identities.yaml"
        )
    if who.name != command.author:
        raise NotAuthorizedError(
            f"it says `author: {command.author}` but is signed by {who.name}: whoever signs speaks for nobody else; "
            f"set `author` to {who.name}"
        )
    if who.name != ordered_by and not STOPPERS & set(who.roles):
        raise NotAuthorizedError(
            f"{name} takes whoever ordered it ({ordered_by}), or the role {' or '.join(sorted(STOPPERS))}; {who.name} has "
            f"{', '.join(who.roles) or 'none'}: ask somebody who has it"
        )
