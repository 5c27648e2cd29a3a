"""Whether and when a failed attempt at a step is repeated."""

from __future__ import annotations

import random

from shared.errors import ProviderError
from shared.pipeline.document import Retry


def wait_seconds(retry: Retry | None, error: Exception, attempt: int, rng: random.Random) -> float | None:
    """Seconds until the next attempt, None where there is none: exponential, with jitter in the upper half.

    Only provider errors of the kinds that the step names are repeated. A Retry-After is honoured; where it is longer than the
    step would ever wait, the step fails at once."""
    if retry is None or not isinstance(error, ProviderError) or error.kind not in retry.on or attempt >= retry.max_attempts:
        return None
    ceiling = min(retry.max_seconds, retry.initial_seconds * 2.0 ** (attempt - 1))
    wait = rng.uniform(ceiling / 2, ceiling)
    wished = error.retry_after_seconds or 0.0
    return max(wait, wished) if wished <= retry.max_seconds else None
