"""The gain on sealed cases as people read it: what was seen, and what may be claimed of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SealedGain:
    gain: float
    """As it was seen: of what passed the test more often too much than too little."""
    low: float
    high: float
    claim: float | None = None
    """None where nothing is claimed: it was rejected, or nobody told."""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> SealedGain | None:
        """From a gate's fact, or the end of a search; None where the sealed cases were not looked at."""
        if told.get("gain") is None:
            return None
        return cls(told["gain"], told.get("gain_low") or 0.0, told.get("gain_high") or 0.0, told.get("claim"))

    @property
    def best_known(self) -> float:
        """What is claimed, or what was seen where nothing is."""
        return self.gain if self.claim is None else self.claim

    def __str__(self) -> str:
        seen = f"{self.gain:+.3f} [{self.low:+.3f}, {self.high:+.3f}] seen"
        return seen if self.claim is None else f"{self.claim:+.3f} claimed, {seen}"

    @property
    def in_points(self) -> str:
        """Of 100."""
        gain, low, high = (100 * value for value in (self.gain, self.low, self.high))
        seen = f"{gain:+.1f} [{low:+.1f}, {high:+.1f}] seen"
        return seen if self.claim is None else f"{100 * self.claim:+.1f} claimed, {seen}"

    def told(self) -> dict[str, float | None]:
        return asdict(self)
