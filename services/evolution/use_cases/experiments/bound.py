"""What every use case of experiments works with."""

from __future__ import annotations

from dataclasses import dataclass

from services.evolution.ports import Experiments, Promotions
from services.evolution.use_cases.bound import Evolution

META_PIPELINE = "pipeline_ab_testing"


@dataclass(frozen=True)
class Laboratory:
    """Evolution's ports, from which experiments measure as searches do, and their own."""

    evolution: Evolution
    experiments: Experiments
    promotions: Promotions
