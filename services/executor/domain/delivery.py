"""What a run needs to know about the delivery of its command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class CommandDelivery:
    sequence: int
    """Stream sequence of the command: which of several commands for one run this is."""
    attempt: int = 1
    sent_at: datetime | None = None
    redriven: bool = False
    """Sent again after it was given up: nobody holds the run any more."""
    outer_is_over: Callable[[], bool] | None = None
    """For a nested run: whether what it belongs to has ended, so that being cut off is its end too."""

    @property
    def may_be_known(self) -> bool:
        """Whether the run was probably claimed before; a first delivery finds out by claiming."""
        return self.attempt > 1 or self.redriven

    def queued_seconds(self, now: datetime) -> float:
        return max(0.0, (now - self.sent_at).total_seconds()) if self.sent_at else 0.0
