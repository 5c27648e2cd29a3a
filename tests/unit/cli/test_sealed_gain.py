"""What is said of a gain on sealed cases."""

from __future__ import annotations

from evoline.sealed_gain import SealedGain


def test_seen_and_claimed_are_told_apart_and_what_claims_nothing_says_only_what_was_seen() -> None:
    gate = {"gain": 0.12, "gain_low": 0.03, "gain_high": 0.2}
    claimed, seen = SealedGain.of({**gate, "claim": 0.08}), SealedGain.of(gate)
    assert str(claimed) == "+0.080 claimed, +0.120 [+0.030, +0.200] seen"
    assert str(seen) == "+0.120 [+0.030, +0.200] seen"
    assert claimed is not None and claimed.in_points == "+8.0 claimed, +12.0 [+3.0, +20.0] seen"
    assert SealedGain.of({"gain": None, "claim": None}) is None
