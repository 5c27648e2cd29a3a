"""Planted landscapes: tasks whose true quality is known for every candidate, so that a search can be judged by the truth.

A candidate is a map of genes to alleles, written as texts. Five families; positions, alleles and sizes of effects are drawn from
the landscape's number, so that a strategy tuned on some landscapes is judged on others."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

GENES = 12
ALLELES = 4
Genes = Mapping[str, str]
Quality = Callable[[Genes], float]
NAMES = tuple(f"gene_{index:02d}" for index in range(GENES))
SEED: Genes = dict.fromkeys(NAMES, "0")


@dataclass(frozen=True)
class Landscape:
    family: str
    number: int
    quality: Quality
    """Expected score of a candidate over cases."""
    flip: float = 0.3
    """Share of cases on which a candidate has luck of its own instead of the case's."""
    cost: Quality = lambda genes: 0.0
    """What is taken off a right answer; 0 where cost does not count."""

    def score(self, genes: Genes, case: str) -> float:
        """The same for the same genes and case; its mean over all cases is `quality`."""
        mark = ",".join(genes[name] for name in NAMES)
        own = _uniform(f"{self.number}:luck:{case}:{mark}") < self.flip
        draw = _uniform(f"{self.number}:own:{case}:{mark}") if own else _uniform(f"{self.number}:case:{case}")
        price = 1.0 - self.cost(genes)
        return price if draw < self.quality(genes) / price else 0.0


def flat(number: int, *, flip: float, level: float = 0.6) -> Landscape:
    """Nothing helps and nothing hurts."""
    return Landscape("flat", number, lambda genes: level, flip)


def additive(number: int) -> Landscape:
    """Four genes help in one allele and hurt in another; the other eight do nothing."""
    draw = _drawing("additive", number)
    good = {name: (_allele(draw), draw.uniform(0.05, 0.11)) for name in draw.sample(NAMES, 4)}

    def quality(genes: Genes) -> float:
        gains = (size if genes[name] == allele else -0.04 if genes[name] != "0" else 0.0 for name, (allele, size) in good.items())
        return _bounded(0.45 + sum(gains))

    return Landscape("additive", number, quality)


def epistatic(number: int) -> Landscape:
    """Two pairs that help much only together; one of each pair helps a little alone."""
    draw = _drawing("epistatic", number)
    names = draw.sample(NAMES, 5)
    alleles = {name: _allele(draw) for name in names}
    sizes = (draw.uniform(0.15, 0.2), draw.uniform(0.1, 0.15))

    def quality(genes: Genes) -> float:
        has = [genes[name] == alleles[name] for name in names]
        pairs = sizes[0] * (has[0] and has[1]) + sizes[1] * (has[2] and has[3])
        return _bounded(0.45 + pairs + 0.04 * has[0] + 0.04 * has[2] + 0.05 * has[4])

    return Landscape("epistatic", number, quality)


def deceptive(number: int) -> Landscape:
    """Small steps lead up a small hill; a higher one is two steps away, through a valley of 3 points."""
    draw = _drawing("deceptive", number)
    names = draw.sample(NAMES, 5)
    alleles = {name: _allele(draw) for name in names}
    size = draw.uniform(0.22, 0.3)

    def quality(genes: Genes) -> float:
        has = [genes[name] == alleles[name] for name in names]
        far = size if has[3] and has[4] else -0.03 * (has[3] or has[4])
        return _bounded(0.45 + 0.05 * sum(has[:3]) + far)

    return Landscape("deceptive", number, quality)


def trade_off(number: int) -> Landscape:
    """Six genes help, each at a price that is taken off every right answer; only some are worth it."""
    draw = _drawing("trade_off", number)
    good = {name: (_allele(draw), draw.uniform(0.04, 0.12), draw.uniform(0.0, 0.08)) for name in draw.sample(NAMES, 6)}

    def cost(genes: Genes) -> float:
        return min(0.5, sum(price for name, (allele, _, price) in good.items() if genes[name] == allele))

    def quality(genes: Genes) -> float:
        right = _bounded(0.45 + sum(size for name, (allele, size, _) in good.items() if genes[name] == allele))
        return right * (1.0 - cost(genes))

    return Landscape("trade_off", number, quality, cost=cost)


FAMILIES: Mapping[str, Callable[[int], Landscape]] = {
    "additive": additive,
    "epistatic": epistatic,
    "deceptive": deceptive,
    "trade_off": trade_off,
}


def mutated(genes: Genes, gene: str, generator: random.Random) -> dict[str, str]:
    """The proposer of all competitors: another allele of one gene."""
    others = [str(allele) for allele in range(ALLELES) if str(allele) != genes[gene]]
    return {**genes, gene: generator.choice(others)}


def best_quality(landscape: Landscape, generator: random.Random, climbs: int = 6) -> float:
    """The best known truth: exhaustive pairwise ascent on the true quality, from the seed and from random starts."""
    starts = [SEED, *({name: str(generator.randrange(ALLELES)) for name in NAMES} for _ in range(climbs))]
    return max(_ascended(landscape.quality, start) for start in starts)


def _ascended(quality: Quality, genes: Genes) -> float:
    best = quality(genes)
    while True:
        better = max((_pairwise(genes)), key=quality)
        if quality(better) <= best:
            return best
        genes, best = better, quality(better)


def _pairwise(genes: Genes) -> list[dict[str, str]]:
    singles = [{**genes, name: str(allele)} for name in NAMES for allele in range(ALLELES)]
    return [
        {**one, name: str(allele)}
        for one in singles[::1]
        for name in NAMES
        for allele in range(ALLELES)
        if one[name] != str(allele)
    ]


def _allele(draw: random.Random) -> str:
    return str(draw.randrange(1, ALLELES))


def _bounded(quality: float) -> float:
    return min(0.97, max(0.03, quality))


def _drawing(family: str, number: int) -> random.Random:
    return random.Random(f"{family}:{number}")


def _uniform(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64
