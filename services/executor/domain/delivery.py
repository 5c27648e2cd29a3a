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
    """Sent again after it was given up: it takes the run over from the commands that were sent before it."""
    outer_is_over: Callable[[], bool] | None = None
    """For a nested run: whether what it belongs to has ended, so that being cut off is its end too."""
    is_held: Callable[[], bool] = lambda: True
    """False once the command may have been delivered to another executor: nothing new is begun then."""

    @property
    def may_be_known(self) -> bool:
        """Whether the run was probably claimed before; a first delivery finds out by claiming."""
        return self.attempt > 1 or self.redriven

    def may_take_over(self, command_sequence: int) -> bool:
        """Whether a running run that the command of this sequence owns is this delivery's to continue.

        Of several redriven commands the latest wins, so that they do not take the run from each other in turns. A nested run is
        always its parent's: whoever holds it works for a parent that was lost."""
        if self.sequence == command_sequence or self.outer_is_over is not None:
            return True
        return self.redriven and self.sequence > command_sequence

    def queued_seconds(self, now: datetime) -> float:
        return max(0.0, (now - self.sent_at).total_seconds()) if self.sent_at else 0.0
