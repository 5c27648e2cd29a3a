"""Every message of the system. `catalogue()` lists them; `docs/events.md` and `docs/asyncapi.json` are generated from it."""

from __future__ import annotations

from shared.events import (
    audit,
    changes,
    custody,
    datasets,
    deployments,
    experiments,
    gains,
    generation,
    improvement,
    lineage,
    operations,
    oversight,
    policies,
    quotas,
    recovery,
    rollouts,
    runs,
    transfer,
)
from shared.events.message import Command, Fact, Message, Part, Query, Value, derive_id

MODULES = (
    audit,
    changes,
    custody,
    datasets,
    deployments,
    experiments,
    gains,
    generation,
    improvement,
    lineage,
    operations,
    oversight,
    policies,
    quotas,
    recovery,
    rollouts,
    runs,
    transfer,
)
"""Where messages that travel are defined."""

__all__ = ["Command", "Fact", "Message", "Part", "Query", "Value", "catalogue", "derive_id"]


def catalogue() -> tuple[type[Message], ...]:
    """All message classes that travel alone, sorted by subject."""
    found = {
        member
        for module in MODULES
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Message) and "subject" in vars(member)
    }
    return tuple(sorted(found, key=lambda message: message.subject))
