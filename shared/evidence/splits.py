"""Which split a case belongs to: by hash, so that it never moves, whatever else is added to the dataset."""

from __future__ import annotations

import hashlib
import math

from shared.errors import InvalidInputError
from shared.events.values import Split

DEFAULT_SHARES = (0.4, 0.3, 0.3)
_SPLITS: tuple[Split, ...] = ("train", "dev", "sealed")


def assign_split(dataset_id: str, case_id: str, shares: tuple[float, float, float] = DEFAULT_SHARES) -> Split:
    """Split of a case by SHA-256 of (dataset, case). `shares` of train, dev and sealed add up to 1, else `InvalidInputError`."""
    if min(shares) < 0 or not math.isclose(math.fsum(shares), 1.0, abs_tol=1e-9):
        raise InvalidInputError(f"the shares of train, dev and sealed add up to 1, not {shares}")
    digest = hashlib.sha256(f"split\x00{dataset_id}\x00{case_id}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    for split, end in zip(_SPLITS, (shares[0], shares[0] + shares[1]), strict=False):
        if position < end:
            return split
    return "sealed"
