"""What is believed of candidates after few cases each: a Bayesian linear model over traits, and each candidate's own deviation.

The mean residual r_i of candidate i over its m_i cases (grade minus the case's mean) is N(mu + x_i w, own² + noise / m_i), w is
N(0, trait²): a mixed linear model (Henderson 1975) whose candidate effects are integrated out. Draws from the posterior are
Thompson sampling for linear bandits (Agrawal and Goyal 2013, arXiv 1209.3352)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from shared.search.candidates import Entry
from shared.search.traits import Traits

TRAIT_SPREAD = 0.06
"""Standard deviation of what a trait changes, before anything is known: six points."""
OWN_SPREAD = 0.03
"""Standard deviation of what a candidate is beside the sum of its traits."""
NOISE = 0.22
"""Variance of one grade about its case's mean; 0.25 is the most that a 0/1 grade has."""
_CASE_WEIGHT = 2.0
"""A case's mean is pulled to the mean of all as if so many more candidates had scored that."""


@dataclass(frozen=True)
class Beliefs:
    """Values are differences to an average candidate, in points of the grade / 100."""

    index: dict[str, int]
    weights: Any
    root: Any
    """Cholesky factor of the posterior's precision."""
    own: dict[str, tuple[float, float]]
    """Digest -> (mean, standard deviation) of the candidate's own deviation, given the weights' mean."""

    def mean(self, traits: Traits, digest: str = "") -> float:
        known = sum(float(self.weights[self.index[trait]]) * share for trait, share in traits.items() if trait in self.index)
        return known + self.own.get(digest, (0.0, 0.0))[0]

    def draw(self, generator: np.random.Generator) -> Draw:
        noise = generator.standard_normal(len(self.weights))
        return Draw(self, self.weights + np.linalg.solve(self.root.T, noise), generator)


@dataclass
class Draw:
    """One world that the beliefs allow; unknown traits get an effect of their own in it, the same for all candidates."""

    beliefs: Beliefs
    weights: Any
    generator: np.random.Generator
    unknown: dict[str, float] = field(default_factory=dict)

    def value(self, traits: Traits, digest: str = "") -> float:
        total = 0.0
        for trait in sorted(traits):
            total += traits[trait] * self._weight(trait)
        if digest in self.beliefs.own:
            mean, spread = self.beliefs.own[digest]
            total += float(self.generator.normal(mean, spread))
        return total

    def _weight(self, trait: str) -> float:
        if trait in self.beliefs.index:
            return float(self.weights[self.beliefs.index[trait]])
        if trait not in self.unknown:
            self.unknown[trait] = float(self.generator.normal(0.0, TRAIT_SPREAD))
        return self.unknown[trait]


def believed(entries: Sequence[Entry], traits: Sequence[Traits]) -> Beliefs:
    """Beliefs from all grades so far. `traits` are those of `entries`, in the same order; each entry has at least one grade."""
    index = {trait: position for position, trait in enumerate(sorted(set().union(*traits)))}
    residuals, counts = _residuals(entries)
    design = np.zeros((len(entries), len(index)))
    for row, present in enumerate(traits):
        design[row, [index[trait] for trait in present]] = list(present.values())
    variance = OWN_SPREAD**2 + NOISE / counts
    level = float(np.sum(residuals / variance) / np.sum(1.0 / variance))
    weighted = design / variance[:, None]
    precision = weighted.T @ design + np.eye(len(index)) / TRAIT_SPREAD**2
    root = np.linalg.cholesky(precision)
    weights = np.linalg.solve(precision, weighted.T @ (residuals - level))
    rest = residuals - level - design @ weights
    share = OWN_SPREAD**2 / variance
    spread = np.sqrt(OWN_SPREAD**2 * (1.0 - share))
    own = {entry.candidate.digest: (float(share[i] * rest[i]), float(spread[i])) for i, entry in enumerate(entries)}
    return Beliefs(index, weights, root, own)


def _residuals(entries: Sequence[Entry]) -> tuple[Any, Any]:
    """(mean of grade minus its case's mean, number of cases) an entry. Failures count as 0."""
    sums: dict[str, float] = {}
    seen: dict[str, int] = {}
    for entry in entries:
        for case, grade in entry.grades.items():
            sums[case] = sums.get(case, 0.0) + (grade or 0.0)
            seen[case] = seen.get(case, 0) + 1
    level = math.fsum(sums.values()) / sum(seen.values())
    usual = {case: (sums[case] + _CASE_WEIGHT * level) / (seen[case] + _CASE_WEIGHT) for case in sums}
    means = [sum((grade or 0.0) - usual[case] for case, grade in entry.grades.items()) / len(entry.grades) for entry in entries]
    return np.array(means), np.array([float(len(entry.grades)) for entry in entries])
