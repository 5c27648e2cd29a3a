"""The keys as the guardrail finds them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Keys:
    signing: str
    trusted: tuple[str, ...]
    revoked: tuple[str, ...]
