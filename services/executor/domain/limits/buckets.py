"""A token bucket as one number, so that executors can change it by compare-and-set: the moment at which it was empty.

What is in it is the time since then, in seconds of the allowed rate. A minute's allowance, 99% of the limit,
plus what the bucket holds, 1%, bounds what goes in any minute."""

from __future__ import annotations

from dataclasses import dataclass

MINUTE = 60.0
AIM = 0.99
"""Of the limit: calls arrive a little earlier or later than they were let go, and clocks differ."""
CREDIT_SECONDS = 0.6
"""What the bucket holds at most: as much of a stall is caught up with. One call's worth where that is more."""
KEPT_SHARE = 0.85
"""Of the bucket, kept for tenants that had no more than their share."""


@dataclass(frozen=True)
class Bucket:
    seconds_each: float
    """One unit's share of a minute."""

    @classmethod
    def of(cls, units_a_minute: int) -> Bucket:
        return cls(MINUTE / (AIM * units_a_minute))

    @property
    def most(self) -> float:
        return max(CREDIT_SECONDS, self.seconds_each)

    def cost(self, units: int) -> float:
        return units * self.seconds_each

    def due_at(self, empty_at: float, units: int, burden: float) -> float:
        """When `units` may be taken. A `burden` of 1 leaves the kept share in the bucket, 0 may empty it; a call of more than the
        bucket holds needs it full, and what it takes beyond has to be waited for by those after it."""
        cost = self.cost(units)
        return empty_at + min(cost, self.most) + self.kept(cost) * burden

    def kept(self, cost: float) -> float:
        """Nothing where the bucket holds few calls: it could not be full and have room for a little delay."""
        return max(0.0, self.most - 2 * cost) * KEPT_SHARE

    def taken(self, empty_at: float, units: int, now: float) -> float:
        """When it is empty after that. It held one call of this size at most, or what large calls give back would run over."""
        cost = self.cost(units)
        return max(empty_at, now - max(self.most, cost)) + cost
