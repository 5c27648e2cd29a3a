"""Error as money: every look at the same sealed cases spends from one budget, and without money there is no look."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from shared.errors import InvalidInputError


@dataclass(frozen=True)
class SpendingRule:
    """Alpha-spending: the n-th look (from 0) costs `first * factor**n`, never more than what is left of `total`.

    By the union bound the chance that any of the looks certifies something worthless is at most `total`, whatever the looks have
    in common (Lan and DeMets 1983 for the idea; the geometric rule is that of the sealed gate). Nothing is ever earned back, as
    alpha-investing (Foster and Stine 2008) would: it bounds a rate of false discoveries, the gate bounds their existence."""

    total: float
    first: float
    least: float
    """A look that could spend only less than this could show nothing, so it is refused."""
    factor: float = 0.5

    def __post_init__(self) -> None:
        if not (0 < self.total < 1 and 0 < self.first <= 1 and self.least > 0 and 0 < self.factor <= 1):
            raise InvalidInputError("total in (0, 1), first and factor in (0, 1], least above 0")


@dataclass(frozen=True)
class Look:
    key: str
    """What it was a look for, such as a change's id: the same key never pays twice."""
    alpha: float


@dataclass(frozen=True)
class AlphaLedger:
    rule: SpendingRule
    looks: tuple[Look, ...] = ()

    @property
    def spent(self) -> float:
        return math.fsum(look.alpha for look in self.looks)

    @property
    def balance(self) -> float:
        return max(0.0, self.rule.total - self.spent)

    @property
    def next_alpha(self) -> float:
        """What the next look would spend; 0 means refused."""
        return alpha_of_next_look(self.rule, len(self.looks), self.spent)


def alpha_of_next_look(rule: SpendingRule, looks_before: int, spent: float) -> float:
    alpha = min(rule.first * rule.factor**looks_before, rule.total - spent)
    return alpha if alpha >= rule.least else 0.0


def spend(ledger: AlphaLedger, key: str) -> tuple[AlphaLedger, float]:
    """The ledger after the look and the alpha it may use. A known key gets what it paid before; 0 is a refusal, never recorded."""
    for look in ledger.looks:
        if look.key == key:
            return ledger, look.alpha
    alpha = ledger.next_alpha
    if alpha <= 0.0:
        return ledger, 0.0
    return replace(ledger, looks=(*ledger.looks, Look(key, alpha))), alpha
