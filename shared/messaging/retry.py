"""How long a message that failed for now waits before it is tried again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """Limits of one subscription. Attempts are counted by the server, from 1, over all consumers of a durable.

    An error of unknown kind gets `max_attempts`; a transient one gets `transient_attempts`, about a quarter of an hour by
    default, because a store that is down for a minute is no reason to give a message up."""

    max_attempts: int = 5
    transient_attempts: int = 40
    initial_seconds: float = 0.25
    max_seconds: float = 30.0

    def delay_seconds(self, attempt: int, rng: random.Random, wished_seconds: float | None = None) -> float:
        """Exponential with full jitter in the upper half, never shorter than what the other side wished for."""
        ceiling = min(self.max_seconds, self.initial_seconds * 2.0 ** min(attempt - 1, 30))
        return max(rng.uniform(ceiling / 2, ceiling), wished_seconds or 0.0)

    def is_last(self, attempt: int, *, transient: bool) -> bool:
        limit = max(self.transient_attempts, self.max_attempts) if transient else self.max_attempts
        return attempt >= limit
