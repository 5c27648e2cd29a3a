"""Which operator next: a discounted Thompson bandit over realised gain per cost."""

from __future__ import annotations

import random
from collections.abc import Mapping

_FULL_REWARD_GAIN = 0.15
"""A gain of 15 points on a minibatch, or more, is a full success: above that it is mostly luck."""


class OperatorBandit:
    """Beta posterior an operator, all counts fading by `discount` a step (Raj and Kalyani 2017, arXiv 1707.09727).

    Rewards are fractions of a success, added as in Agrawal and Goyal (2012). Prior weights are the operators' own."""

    def __init__(self, weights: Mapping[str, float], discount: float = 0.95) -> None:
        self._discount = discount
        self._prior = {name: weight for name, weight in sorted(weights.items()) if weight > 0}
        self._won = dict.fromkeys(self._prior, 0.0)
        self._lost = dict.fromkeys(self._prior, 0.0)

    def __len__(self) -> int:
        return len(self._prior)

    def choose(self, generator: random.Random, without: frozenset[str] = frozenset()) -> str | None:
        """None where every operator is in `without`."""
        draws = {
            name: generator.betavariate(weight + self._won[name], 2.0 + self._lost[name])
            for name, weight in self._prior.items()
            if name not in without
        }
        return max(draws, key=lambda name: (draws[name], name)) if draws else None

    def reward(self, operator: str, gain: float, cost: float = 1.0) -> None:
        """`gain`: child minus parent on the shared cases; `cost`: evaluations spent, 1 for a usual minibatch."""
        for name in self._prior:
            self._won[name] *= self._discount
            self._lost[name] *= self._discount
        if operator in self._prior:
            share = min(1.0, max(0.0, gain) / _FULL_REWARD_GAIN) / max(1.0, cost)
            self._won[operator] += share
            self._lost[operator] += 1 - share
