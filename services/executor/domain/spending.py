"""What runs that are nested in one run may use together, however many of them run at once."""

from __future__ import annotations

from dataclasses import dataclass

from shared.events.values import Budget, Usage


@dataclass(frozen=True)
class Spending:
    """Amounts that are taken from a pool, or left in it."""

    steps: int = 0
    calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0

    def minus(self, other: Spending) -> Spending:
        return Spending(
            self.steps - other.steps, self.calls - other.calls, self.tokens - other.tokens, self.cost_usd - other.cost_usd
        )


def unused(taken: Spending, used: Usage) -> Spending:
    """What goes back to the pool after a call; its cost, which nobody knew before, is taken now."""
    return Spending(
        calls=taken.calls - used.calls, tokens=taken.tokens - used.input_tokens - used.output_tokens, cost_usd=-used.cost_usd
    )


@dataclass(frozen=True)
class Reserved:
    """Of calls, before they are made."""

    pools: tuple[str, ...]
    share: Spending
    budget: Budget | None = None
    """Of the trial's scope."""


@dataclass(frozen=True)
class SealedUse:
    """What was used under a scope that is sealed. Calls in flight count with what is reserved for them; their cost is not known."""

    runs: int
    calls: int
    tokens: int
    cost_usd: float
    open_calls: int = 0
    open_tokens: int = 0
