"""What every competitor is given and gives back, and the one evaluation server that counts for all of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bench.evolution.planted import NAMES, SEED, Genes, Landscape, mutated

Evaluate = Callable[[Mapping[str, str], str], float]
"""(candidate, case) -> score."""
Propose = Callable[[Mapping[str, str], str | None], dict[str, str]]
"""(parent, component or None for any) -> a new candidate."""


class OverBudgetError(Exception):
    """An evaluation beyond the budget was asked for; nothing of it was made."""


@dataclass
class EvaluationServer:
    """Every (candidate, case) is made and counted once, for all competitors alike; what would go beyond the budget is refused."""

    evaluate: Evaluate
    budget: int
    spent: int = 0
    known: dict[tuple[str, str], float] = field(default_factory=dict)

    def scores(self, candidate: Mapping[str, str], cases: Sequence[str]) -> list[float]:
        mark = json.dumps(dict(candidate), sort_keys=True)
        new = [case for case in dict.fromkeys(cases) if (mark, case) not in self.known]
        if self.spent + len(new) > self.budget:
            raise OverBudgetError(f"{self.budget - self.spent} evaluations left, {len(new)} asked for")
        self.spent += len(new)
        for case in new:
            self.known[mark, case] = self.evaluate(candidate, case)
        return [self.known[mark, case] for case in cases]


@dataclass(frozen=True)
class Problem:
    """`seed`, cases and proposer are the same for all competitors; `number` seeds all their choices."""

    evaluate: Evaluate
    seed: Mapping[str, str]
    train: tuple[str, ...]
    dev: tuple[str, ...]
    sealed: tuple[str, ...]
    budget: int
    number: int
    propose: Callable[[], Propose]
    """A new proposer with choices of its own, seeded."""


@dataclass(frozen=True)
class Found:
    best: dict[str, str]
    claim: float
    """Gain over the seed as the competitor itself reports it."""
    evaluations: int
    verdict: str = ""
    steps: tuple[tuple[int, dict[str, str]], ...] = ()
    """(evaluations so far, what it would give if it ended here), where the competitor says it."""


class Competitor(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    def solve(self, problem: Problem) -> Found: ...


def landscape_problem(landscape: Landscape, budget: int, *, dev: int = 50, sealed: int = 200) -> Problem:
    number = landscape.number
    train, held, hidden = (
        tuple(f"{split}-{index}" for index in range(count)) for split, count in (("train", dev), ("dev", dev), ("sealed", sealed))
    )
    return Problem(landscape.score, SEED, train, held, hidden, budget, number, lambda: another_allele(number))


def another_allele(number: int) -> Propose:
    """The proposer of all competitors: another allele of one gene."""
    generator = random.Random(f"proposer:{number}")

    def propose(parent: Genes, component: str | None) -> dict[str, str]:
        return mutated(parent, component or generator.choice(NAMES), generator)

    return propose
