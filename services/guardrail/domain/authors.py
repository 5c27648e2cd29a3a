"""Names under which the system itself acts."""

from __future__ import annotations

SERVICES = frozenset(
    ("generator", "executor", "analytics", "learner", "evolution", "guardrail", "console", "evoline", "anonymous", "default")
)
"""Oversight is by people, so none of these reviews anything, activates a policy or lowers a maturity on its own."""


def is_person(name: str) -> bool:
    return name.casefold() not in SERVICES
