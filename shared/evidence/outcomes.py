"""What a computation may come to besides a number: nothing to judge, a broken split, or values that are no numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from shared.errors import InvalidInputError

Outcome = Literal["ok", "no_data", "mismatch", "not_finite"]
"""Only `ok` is evidence. `no_data`: too little to say anything. `mismatch`: what was seen contradicts what was assumed (a split
that is not as assigned, values that no constant mean explains). `not_finite`: a NaN or an infinity came in, and nothing
is concluded."""


def all_finite(values: Sequence[float]) -> bool:
    return all(math.isfinite(value) for value in values)


def require_level(alpha: float) -> None:
    """Raises `InvalidInputError` unless `alpha` is in (0, 0.5)."""
    if not 0.0 < alpha < 0.5:
        raise InvalidInputError(f"alpha is in (0, 0.5), not {alpha}")


def require_range(value: float, low: float, high: float, what: str) -> None:
    """Raises `InvalidInputError` for a finite value outside [low, high]: a bound that does not hold voids the guarantee."""
    if not low <= value <= high:
        raise InvalidInputError(f"{what} is in [{low:g}, {high:g}], not {value}")
