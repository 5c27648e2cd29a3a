"""What others hear: facts on the bus, numbers in monitoring."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from shared.events.message import Message


class Announcer(Protocol):
    async def announce(self, fact: Message, *, cause: str, effect: str) -> None:
        """The same cause and effect again is the same message."""
        ...


class Gauges(Protocol):
    """What the guardrail tells its monitoring."""

    def judged(self, kind: str, verdict: str, seconds: float) -> None:
        """`seconds` from the proposal to this verdict."""
        ...

    def rolled_back(self) -> None: ...
    def reviews_waiting(self, count: int) -> None: ...
    def audit_checked(self, *, size: int, faults: int) -> None:
        """`faults` of the last look at the log; not 0 closes it."""
        ...

    def audit_late(self, count: int) -> None:
        """Entries that wait for the log to be sound."""
        ...

    def checkpointed(self, moment: datetime) -> None:
        """When the newest checkpoint was signed, or confirmed as still covering the whole log."""
        ...

    def quarantined(self, revisions: int) -> None: ...
    def frozen(self, count: int) -> None:
        """Freezes that stand."""
        ...

    def changes_held(self, count: int) -> None: ...

    def budget_refused(self, kind: str) -> None: ...
    def budgets_stand(self, amounts: Mapping[tuple[str, str, str, str], float], shares: Mapping[tuple[str, str], float]) -> None:
        """Today's sums by (kind, service, resource, state), and the fullest account's share by (kind, service)."""
        ...

    def rollout_decided(self, decision: str) -> None: ...
    def rollouts_open(self, counts: Mapping[tuple[str, float], int]) -> None:
        """(state, share) -> how many rollouts that are not over."""
        ...


class OversightGauges(Protocol):
    """What people do, as monitoring sees it."""

    def said(self, decision: str) -> None: ...
    def glass(self, outcome: str) -> None:
        """`broken`, `confirmed`, `rejected` or `lapsed`."""
        ...

    def glass_open(self, count: int) -> None: ...
