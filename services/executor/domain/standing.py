"""What a freeze means for a run: searches stop, and runs that measure for the guardrail or serve go on."""

from __future__ import annotations

from collections.abc import Iterable

from shared.events.recovery import Freeze
from shared.events.values import GrantedScope

SEARCHES = frozenset(("generation", "evolution", "meta"))
"""Purposes of scopes that look for something new. The guardrail's own looks change nothing: their verdict waits instead."""


def freeze_on(freezes: Iterable[Freeze], granted: GrantedScope | None, pipeline: str, domain: str) -> Freeze | None:
    if granted is None or granted.scope.purpose not in SEARCHES:
        return None
    return next((freeze for freeze in freezes if freeze.holds(pipeline, domain, granted.scope.domain)), None)
