"""What is saved by giving both arms the same inputs: hard cases are hard for both, and pairing takes that out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.evidence.effects import paired_differences
from shared.evidence.outcomes import Outcome


@dataclass(frozen=True)
class PairingSaving:
    """Variances are of one case's contribution: divide by the number of cases for that of the mean gain."""

    outcome: Outcome
    unpaired_variance: float
    paired_variance: float

    @property
    def cases_saved(self) -> float:
        """Share of cases that pairing saves at equal precision: 0 none, 1 all, negative where the grades disagree."""
        return 1 - self.paired_variance / self.unpaired_variance if self.unpaired_variance > 0 else 0.0


def pairing_saving(candidate: Sequence[float], incumbent: Sequence[float]) -> PairingSaving:
    """var(a - b) = var(a) + var(b) - 2 cov(a, b) against var(a) + var(b) (common random numbers: Law, Simulation Modeling and
    Analysis, 11.2). Fewer than two cases: `no_data`. Raises `InvalidInputError`: unpaired or outside [0, 1]."""
    differences = paired_differences(candidate, incumbent)
    if differences is None:
        return PairingSaving("not_finite", 0.0, 0.0)
    if len(differences) < 2:
        return PairingSaving("no_data", 0.0, 0.0)
    unpaired = np.var(np.asarray(candidate), ddof=1) + np.var(np.asarray(incumbent), ddof=1)
    return PairingSaving("ok", float(unpaired), float(np.var(np.asarray(differences), ddof=1)))
