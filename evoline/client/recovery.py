"""Stopping and taking back: one method a verb."""

from __future__ import annotations

from typing import Any, TypeVar

from evoline.client.talk import Talk, hold
from shared.errors import InvalidInputError, Problem
from shared.events import Command, Fact
from shared.events.changes import ChangeQueued, ChangeVetoed
from shared.events.recovery import (
    FreezeRefused,
    FreezeSystem,
    GetFreezes,
    QuarantineRefused,
    QuarantineRevision,
    ReleaseRevision,
    RevisionQuarantined,
    SystemFrozen,
    SystemUnfrozen,
    UnfreezeSystem,
)
from shared.messaging.bus import Bus

F = TypeVar("F", bound=Fact)


class Recovery:
    """Every method raises InvalidInputError where the command does not count, UnavailableError where nothing is told in time."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def freeze(self, command: FreezeSystem, *, timeout_seconds: float = 30) -> SystemFrozen:
        return await self._told(command, "freeze_id", command.freeze_id, SystemFrozen, timeout_seconds)

    async def unfreeze(self, command: UnfreezeSystem, *, timeout_seconds: float = 30) -> SystemUnfrozen:
        return await self._told(command, "unfreeze_id", command.unfreeze_id, SystemUnfrozen, timeout_seconds)

    async def quarantine(self, command: QuarantineRevision, *, timeout_seconds: float = 30) -> RevisionQuarantined:
        return await self._told(command, "quarantine_id", command.quarantine_id, RevisionQuarantined, timeout_seconds)

    async def release(self, command: ReleaseRevision, *, timeout_seconds: float = 30) -> ChangeQueued:
        """Raises InvalidInputError too where it is vetoed."""
        return await self._told(command, "change_id", command.change_id, ChangeQueued, timeout_seconds)

    async def freezes(self) -> dict[str, Any]:
        return await self._bus.ask(GetFreezes())

    async def _told(self, command: Command, field: str, value: str, end: type[F], seconds: float) -> F:
        talk = Talk(
            key=value,
            command=command,
            ends=(end, FreezeRefused, QuarantineRefused, ChangeVetoed),
            belongs=lambda fact: value in (getattr(fact, field, ""), getattr(fact, "request_id", "")),
            timeout_seconds=seconds,
        )
        fact = await hold(self._bus, talk)
        if isinstance(fact, ChangeVetoed):
            raise InvalidInputError([Problem(reason=reason) for reason in fact.reasons])
        if isinstance(fact, FreezeRefused | QuarantineRefused):
            raise InvalidInputError(fact.reason)
        assert isinstance(fact, end), f"{type(fact).__name__} ended what {end.__name__} should"
        return fact
