"""Planted landscapes: searches over genes whose true quality is known, without models or documents."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.search.candidates import Candidate, Entry
from shared.search.strategies.strategy import SearchOverError

Genes = tuple[int, ...]


@dataclass(frozen=True)
class Landscape:
    """`quality` maps genes to the true share of right answers; `flip`: the share of a candidate's own luck in a case."""

    name: str
    quality: Callable[[Genes], float]
    genes: int = 12
    alleles: int = 3
    flip: float = 0.3

    def grade(self, genes: Genes, case: str) -> float:
        """0 or 1, always the same for the same genes and case; its expectation over cases is the quality."""
        own = _uniform(f"{self.name}:luck:{case}:{genes}") < self.flip
        draw = _uniform(f"{self.name}:own:{case}:{genes}") if own else _uniform(f"{self.name}:case:{case}")
        return float(draw < self.quality(genes))

    def seed(self) -> Candidate:
        return candidate((0,) * self.genes)


def flat(level: float = 0.6, flip: float = 0.3) -> Landscape:
    """Nothing helps: every candidate is exactly as good as the seed."""
    return Landscape("flat", lambda genes: level, flip=flip)


def additive() -> Landscape:
    """Four genes help by 8 points each in one allele and hurt by 4 in the other; the rest does nothing."""
    return Landscape("additive", lambda genes: 0.45 + sum((0.0, 0.08, -0.04)[gene] for gene in genes[:4]))


def epistatic() -> Landscape:
    """Two genes help only together."""
    return Landscape(
        "epistatic", lambda genes: 0.45 + 0.25 * (genes[0] == 1 and genes[1] == 1) + 0.06 * (genes[2] == 1) + 0.02 * (genes[0] == 1)
    )


def deceptive() -> Landscape:
    """Small steps lead up a small hill; the higher one is two steps through a valley of 3 points."""
    return Landscape(
        "deceptive",
        lambda genes: (
            0.45 + 0.05 * sum(gene == 1 for gene in genes[:3]) + (0.3 if genes[3] == genes[4] == 2 else -0.03 * (genes[3] == 2))
        ),
    )


def candidate(genes: Genes, parent: str = "", operator: str = "seed") -> Candidate:
    digest = hashlib.sha256(json.dumps(genes).encode()).hexdigest()
    return Candidate(digest, {"genes": list(genes)}, parent, operator)


def genes_of(one: Candidate | Mapping[str, Any]) -> Genes:
    document = one.document if isinstance(one, Candidate) else one
    return tuple(document["genes"])


@dataclass
class LandscapeArena:
    """Counts as the real evaluations do: each (candidate, case) once, refused before it would overshoot."""

    landscape: Landscape
    budget: int
    spent: int = 0
    paid: set[tuple[str, str]] = field(default_factory=set)

    @property
    def remaining(self) -> int:
        return self.budget - self.spent

    async def measure(self, candidates: Sequence[Candidate], cases: Sequence[str]) -> list[list[float | None]]:
        new = {(one.digest, case) for one in candidates for case in cases} - self.paid
        if len(new) > self.remaining:
            raise SearchOverError("evaluations", "the budget is used up")
        self.spent += len(new)
        self.paid |= new
        return [[self.landscape.grade(genes_of(one), case) for case in cases] for one in candidates]


class GeneProposer:
    """One operator a gene, and crossover."""

    def __init__(self, landscape: Landscape) -> None:
        self._landscape = landscape

    @property
    def operators(self) -> Mapping[str, float]:
        return {**{f"gene_{index:02d}": 1.0 for index in range(self._landscape.genes)}, "crossover": 1.0}

    @property
    def costly(self) -> frozenset[str]:
        return frozenset()

    async def propose(self, operator: str, parent: Entry, mates: Sequence[Candidate], generator: random.Random) -> Candidate | None:
        genes = list(genes_of(parent.candidate))
        if operator == "crossover":
            if not mates:
                return None
            other = genes_of(generator.choice(list(mates)))
            genes = [generator.choice(pair) for pair in zip(genes, other, strict=True)]
        else:
            genes[int(operator[-2:])] = generator.randrange(self._landscape.alleles)
        child = candidate(tuple(genes), parent.candidate.digest, operator)
        return None if child.digest == parent.candidate.digest else child


def _uniform(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
