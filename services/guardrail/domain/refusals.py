"""How many refusals of one signer the audit log takes: the first ones of each kind and minute, and then how many more there were.

Whoever may ask may ask a thousand times a second for what is refused; each as an entry, which stays for ever, would drown it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

ENTRIES_A_MINUTE = 5


@dataclass(frozen=True)
class Uncounted:
    """What a minute had beyond the entries that it got."""

    signer: str
    kind: str
    """What was refused: a command's or question's subject."""
    minute: str
    """RFC 3339 to the minute, UTC."""
    refusals: int


@dataclass
class Refusals:
    """Of one process. What it has not told when it dies is not in the log; the metrics have counted it."""

    name: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    """Of the process: several may count the same minute."""
    _counts: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def is_to_be_told(self, signer: str, kind: str, now: datetime) -> bool:
        """Whether this one gets an entry of its own."""
        key = (signer, kind, _minute(now))
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key] <= ENTRIES_A_MINUTE

    def over(self, now: datetime) -> Iterator[Uncounted]:
        """Once for each minute that is over and had more than it was given; again where whoever tells it failed to."""
        present = _minute(now)
        for key in [each for each in self._counts if each[-1] != present]:
            more = self._counts.get(key, 0) - ENTRIES_A_MINUTE
            if more > 0:
                yield Uncounted(*key, refusals=more)
            self._counts.pop(key, None)


def _minute(now: datetime) -> str:
    return now.isoformat()[:16]
