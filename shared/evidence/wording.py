"""Numbers of tests as people read them."""

from __future__ import annotations

_SMALLEST_PLAIN = 0.001


def chance(p_value: float) -> str:
    """Never `0.0000`, which no exact test gives: `0.0312`, and below a thousandth `1.2e-10`."""
    return f"{p_value:.4f}" if p_value >= _SMALLEST_PLAIN or p_value == 0.0 else f"{p_value:.1e}"
