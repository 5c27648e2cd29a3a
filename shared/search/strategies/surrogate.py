"""What is believed of candidates after few cases each: a Bayesian linear model over traits, and each candidate's own deviation.

The mean residual r_i of candidate i over its m_i cases (grade minus the case's mean) is N(mu + x_i w, own² + noise / m_i), w is
N(0, trait²): a mixed linear model (Henderson 1975) whose candidate effects are integrated out. Draws from the posterior are
Thompson sampling for linear bandits (Agrawal and Goyal 2013, arXiv 1209.3352)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.linalg import cho_solve, cholesky, solve_triangular

from shared.search.traits import Traits

TRAIT_SPREAD = 0.06
"""Standard deviation of what a trait changes, before anything is known: six points."""
OWN_SPREAD = 0.03
"""Standard deviation of what a candidate is beside the sum of its traits."""
NOISE = 0.22
"""Variance of one grade about its case's mean; 0.25 is the most that a 0/1 grade has."""
_CASE_WEIGHT = 2.0
"""A case's mean is pulled to the mean of all as if so many more candidates had scored that."""


class Measurements:
    """All grades so far as arrays that grow: candidates by row, traits and cases by column. Failures count as 0."""

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        """By digest."""
        self.columns: dict[str, int] = {}
        """By trait."""
        self._cases: dict[str, int] = {}
        self._design, self._grades, self._met = (np.zeros((16, 16)) for _ in range(3))

    def note(self, digest: str, traits: Traits, cases: Sequence[str], grades: Sequence[float | None]) -> None:
        """Each (candidate, case) once."""
        is_new = digest not in self.rows
        row = self.rows.setdefault(digest, len(self.rows))
        names = sorted(traits)
        columns = [self.columns.setdefault(name, len(self.columns)) for name in names]
        places = [self._cases.setdefault(case, len(self._cases)) for case in cases]
        self._design = _grown(self._design, len(self.rows), len(self.columns))
        self._grades = _grown(self._grades, len(self.rows), len(self._cases))
        self._met = _grown(self._met, len(self.rows), len(self._cases))
        if is_new:
            self._design[row, columns] = [traits[name] for name in names]
        self._grades[row, places] = [grade or 0.0 for grade in grades]
        self._met[row, places] = 1.0

    @property
    def design(self) -> Any:
        return self._design[: len(self.rows), : len(self.columns)]

    def residuals(self) -> tuple[Any, Any]:
        """(mean of grade minus its case's usual grade, number of cases) a candidate."""
        grades, met = (table[: len(self.rows), : len(self._cases)] for table in (self._grades, self._met))
        seen, counts = met.sum(axis=0), met.sum(axis=1)
        level = grades.sum() / seen.sum()
        usual = (grades.sum(axis=0) + _CASE_WEIGHT * level) / (seen + _CASE_WEIGHT)
        return (grades.sum(axis=1) - met @ usual) / counts, counts


@dataclass(frozen=True)
class Beliefs:
    """Values are differences to an average candidate, in points of the grade / 100."""

    columns: dict[str, int]
    weights: Any
    root: Any
    """Cholesky factor of the posterior's precision."""
    design: Any
    own: Any
    """A candidate's own deviation, given the weights' mean, by row; and its standard deviation."""
    own_spread: Any

    def means(self) -> Any:
        """Of the measured candidates, by row."""
        return self.design @ self.weights + self.own

    def draw(self, generator: np.random.Generator) -> Draw:
        noise = generator.standard_normal(len(self.weights))
        return Draw(self, self.weights + solve_triangular(self.root, noise, lower=True, trans=1, check_finite=False), generator)


@dataclass
class Draw:
    """One world that the beliefs allow; unknown traits get an effect of their own in it, the same for all candidates."""

    beliefs: Beliefs
    weights: Any
    generator: np.random.Generator
    unknown: dict[str, float] = field(default_factory=dict)

    def values(self) -> Any:
        """Of the measured candidates, by row."""
        return self.beliefs.design @ self.weights + self.generator.normal(self.beliefs.own, self.beliefs.own_spread)

    def value(self, traits: Traits) -> float:
        """Of a candidate that was not measured yet."""
        return sum(traits[trait] * self._weight(trait) for trait in sorted(traits))

    def _weight(self, trait: str) -> float:
        if trait in self.beliefs.columns:
            return float(self.weights[self.beliefs.columns[trait]])
        if trait not in self.unknown:
            self.unknown[trait] = float(self.generator.normal(0.0, TRAIT_SPREAD))
        return self.unknown[trait]


def believed(measured: Measurements) -> Beliefs:
    """Beliefs from all grades so far, of which there is at least one."""
    design = measured.design
    residuals, counts = measured.residuals()
    variance = OWN_SPREAD**2 + NOISE / counts
    level = float(np.sum(residuals / variance) / np.sum(1.0 / variance))
    weighted = design / variance[:, None]
    precision = weighted.T @ design + np.eye(design.shape[1]) / TRAIT_SPREAD**2
    root = cholesky(precision, lower=True, check_finite=False)
    weights = cho_solve((root, True), weighted.T @ (residuals - level), check_finite=False)
    share = OWN_SPREAD**2 / variance
    own = share * (residuals - level - design @ weights)
    spread = np.sqrt(OWN_SPREAD**2 * (1.0 - share))
    return Beliefs(dict(measured.columns), weights, root, design.copy(), own, spread)


def _grown(table: Any, rows: int, columns: int) -> Any:
    """With room for that many: twice as much as before, where it is too small."""
    if rows <= table.shape[0] and columns <= table.shape[1]:
        return table
    shape = [size if need <= size else max(need, 2 * size) for need, size in zip((rows, columns), table.shape, strict=True)]
    larger = np.zeros(shape)
    larger[: table.shape[0], : table.shape[1]] = table
    return larger
