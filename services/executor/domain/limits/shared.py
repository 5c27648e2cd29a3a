"""What executors tell each other about one limit: a small document that each changes by compare-and-set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field

HELD_SECONDS = 6.0
"""How long calls in flight of a silent executor count."""
MOST_TENANTS = 200
REMEMBERED_SECONDS = 60.0
"""Who was served longer ago than another is still told apart for so long."""


class Holding(BaseModel):
    """Calls in flight of one executor."""

    model_config = ConfigDict(frozen=True)

    calls: Mapping[str, int]
    """By tenant."""
    until: float

    @property
    def total(self) -> int:
        return sum(self.calls.values())


class SharedLimit(BaseModel):
    """Moments are seconds of wall time: the clocks of the executors have to agree to some tens of milliseconds."""

    model_config = ConfigDict(frozen=True)

    requests_empty_at: float = 0.0
    tokens_empty_at: float = 0.0
    freed_at: float = 0.0
    """When a call in flight last ended."""
    served_until: Mapping[str, float] = Field(default_factory=dict)
    """By tenant: the moment at which its fair share covers what it took."""
    waiting_until: Mapping[str, float] = Field(default_factory=dict)
    """Tenants that wait in some executor, and how long that is to be believed."""
    holdings: Mapping[str, Holding] = Field(default_factory=dict)
    """By executor."""

    def at(self, now: float) -> SharedLimit:
        """Without what is over."""
        recent = now - REMEMBERED_SECONDS
        latest = sorted(((until, tenant) for tenant, until in self.served_until.items() if until > recent), reverse=True)
        return self.model_copy(
            update={
                "served_until": {tenant: until for until, tenant in latest[:MOST_TENANTS]},
                "waiting_until": {tenant: until for tenant, until in self.waiting_until.items() if until > now},
                "holdings": {name: held for name, held in self.holdings.items() if held.until > now},
            }
        )

    def in_flight(self) -> Counter[str]:
        """By tenant, in the whole fleet."""
        calls: Counter[str] = Counter()
        for holding in self.holdings.values():
            calls.update(holding.calls)
        return calls
