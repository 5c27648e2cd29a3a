"""Children of one or two parents: crossover with a rate, then mutations with a rate a gene."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.search.candidates import Candidate, Entry
from shared.search.genome import prompted_steps, steps_of
from shared.search.strategies.strategy import Proposer

CROSSOVER = "crossover"
_GENES_A_STEP = 6
"""Instruction, label order, examples, prompt order, type, numbers."""


def genes_of(document: Mapping[str, Any]) -> int:
    """How many genes a document has; what has no steps counts as one step."""
    return _GENES_A_STEP * max(1, len(prompted_steps(document))) + len(steps_of(document))


@dataclass(frozen=True)
class Breeding:
    proposer: Proposer
    random: random.Random
    crossover_rate: float
    mutation_rate: float

    async def offspring(self, mother: Entry, father: Entry) -> Candidate | None:
        crosses = CROSSOVER in self.proposer.operators and self.random.random() < self.crossover_rate
        if crosses and mother is not father:
            child = await self.proposer.propose(CROSSOVER, mother, (father.candidate,), self.random)
            if child is not None:
                return await self.mutant(Entry(child), at_least=0, asking=False)
        return await self.mutant(mother, at_least=1)

    async def mutant(self, parent: Entry, *, at_least: int, asking: bool = True) -> Candidate | None:
        """Mutates every gene with the mutation rate, one random operator a mutation; None where nothing came of it.

        `asking`: the parent was measured, so a model or the caller may be asked about it; about what comes of it nobody is."""
        genes = genes_of(parent.candidate.document)
        mutations = max(at_least, sum(self.random.random() < self.mutation_rate for _ in range(genes)))
        current = parent
        for _ in range(mutations):
            weights = self._weights(asking=asking and current is parent)
            if not weights:
                break
            operator = self.random.choices(list(weights), list(weights.values()))[0]
            child = await self.proposer.propose(operator, current, (), self.random)
            current = Entry(_descended(child, parent, crossed=not asking)) if child is not None else current
        return None if current is parent and at_least else current.candidate

    def _weights(self, *, asking: bool) -> dict[str, float]:
        without = {CROSSOVER} if asking else {CROSSOVER, *self.proposer.costly}
        return {name: weight for name, weight in sorted(self.proposer.operators.items()) if name not in without}


def _descended(child: Candidate, parent: Entry, *, crossed: bool) -> Candidate:
    """Of several changes in a row the descent is from the one in the archive; what mutates a crossing is still a crossing."""
    former = parent.candidate
    if not crossed:
        return replace(child, parent=former.digest)
    return replace(child, parent=former.parent, operator=former.operator, text=f"{former.text}; {child.text}")
