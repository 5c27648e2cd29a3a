"""What people do in the review queue: votes, comments, delegations."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, cast

from evoline.client.talk import Talk, hold
from shared.errors import InvalidInputError
from shared.events import Command, Fact
from shared.events.changes import ChangeApproved, ChangeQueued, ChangeVetoed, DecideReview, ReviewRefused
from shared.events.oversight import (
    ChangesRequested,
    DelegateReviews,
    DelegationRefused,
    DelegationRevoked,
    GetReview,
    GlassConfirmed,
    GlassLapsed,
    ReviewRecorded,
    ReviewsDelegated,
    RevokeDelegation,
)
from shared.messaging.bus import Bus

Said = ChangeApproved | ChangeVetoed | ChangeQueued | ReviewRecorded | ChangesRequested | GlassConfirmed | GlassLapsed
"""What a decision leads to: the verdict, or that it is recorded and more people must agree."""
SAID = (ChangeApproved, ChangeVetoed, ChangeQueued, ReviewRecorded, ChangesRequested, GlassConfirmed, GlassLapsed)


class Reviews:
    """Every method raises InvalidInputError where the guardrail refuses, UnavailableError where nothing is told in time."""

    def __init__(self, bus: Bus, *, author: str) -> None:
        self._bus = bus
        self._author = author

    async def look(self, change_id: str) -> dict[str, Any]:
        """Everything that a reviewer has to see."""
        return await self._bus.ask(GetReview(change_id=change_id))

    async def decide(self, change_id: str, decision: str, *, timeout_seconds: float = 60, **wish: Any) -> Said:
        """`wish`: comment, digest, delegated_by, break_glass. An approval without digest is for what is stored now."""
        if decision == "approve" and not wish.get("digest"):
            wish["digest"] = (await self.look(change_id))["digest"]
        command = DecideReview.model_validate({"change_id": change_id, "decision": decision, "reviewer": self._author, **wish})
        return cast("Said", await self._answer(command, "change_id", (*SAID, ReviewRefused), timeout_seconds))

    async def delegate(self, delegate: str, *, scope: str, until: datetime, reason: str = "") -> ReviewsDelegated:
        command = DelegateReviews(
            delegation_id=f"delegation-{uuid.uuid4().hex[:12]}",
            author=self._author,
            delegate=delegate,
            scope=scope,
            until=until.isoformat(),
            reason=reason,
        )
        return cast("ReviewsDelegated", await self._answer(command, "delegation_id", (ReviewsDelegated, DelegationRefused)))

    async def revoke(self, delegation_id: str) -> DelegationRevoked:
        command = RevokeDelegation(delegation_id=delegation_id, author=self._author)
        return cast("DelegationRevoked", await self._answer(command, "delegation_id", (DelegationRevoked, DelegationRefused)))

    async def _answer(self, command: Command, key: str, ends: tuple[type[Fact], ...], seconds: float = 30) -> Fact:
        value = getattr(command, key)
        talk = Talk(
            key=value,
            command=command,
            ends=ends,
            belongs=lambda fact: getattr(fact, key, "") == value,
            timeout_seconds=seconds,
            look_later=f"evoline review show {value}" if key == "change_id" else "evoline review delegations",
        )
        fact = await hold(self._bus, talk)
        if isinstance(fact, ReviewRefused | DelegationRefused):
            raise InvalidInputError(fact.reason)
        return fact
