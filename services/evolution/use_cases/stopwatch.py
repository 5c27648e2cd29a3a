"""The time that an order may take: only while somebody works on it. What waits for a service that is down loses nothing of it.

Kept with what is told of the order, so that a process that dies takes along no more than what it did since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.clock import Clock

WORKED = "worked_seconds"
"""In the record of an evolution or an experiment."""


@dataclass(frozen=True)
class Stopwatch:
    ordered_at: datetime
    """When the order was first taken up."""
    began: datetime
    """When work would have begun, had nothing interrupted it."""
    allowed_seconds: float
    clock: Clock

    @classmethod
    def of(cls, record: Mapping[str, Any], allowed_seconds: float, clock: Clock, since: str = "created_at") -> Stopwatch:
        """Goes on from what the record says was worked before."""
        before = timedelta(seconds=float(record.get(WORKED, 0.0)))
        return cls(datetime.fromisoformat(record[since]), clock.now() - before, allowed_seconds, clock)

    def worked(self) -> float:
        """Seconds, those before an interruption included."""
        return (self.clock.now() - self.began).total_seconds()

    def left(self) -> float:
        return max(0.0, self.allowed_seconds - self.worked())

    def elapsed(self) -> float:
        """Seconds since the order was first taken up, interruptions included."""
        return (self.clock.now() - self.ordered_at).total_seconds()

    def deadline(self, share: float = 1.0) -> datetime:
        """When this share of the allowed time is used up, if nothing interrupts from now on."""
        return self.began + timedelta(seconds=self.allowed_seconds * share)

    def kept(self) -> dict[str, float]:
        return {WORKED: round(self.worked(), 3)}
