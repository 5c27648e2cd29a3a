"""How much risk kinds of difference carry: one table of weights, one score, four classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

DiffKind = Literal[
    "prompt_text",
    "parameter",
    "retry",
    "edges",
    "contract",
    "step_added",
    "step_removed",
    "new_step_type",
    "new_provider",
    "new_model",
    "new_function",
    "nested_pipeline",
    "nested_change",
    "wider_limits",
    "wider_step_bounds",
    "less_validation",
    "error_handling",
    "hidden_text",
    "new_dataset",
    "new_domain",
    "file_access",
    "deployment_step",
    "new_pipeline",
    "new_template",
    "meta_pipeline",
    "policy",
    "maturity",
]
RiskClass = Literal["low", "medium", "high", "critical"]
RISK: Mapping[DiffKind, tuple[float, str]] = {
    "prompt_text": (0.10, "prompt text changes"),
    "parameter": (0.10, "parameters change"),
    "retry": (0.10, "attempts or waits between them change"),
    "new_template": (0.10, "a new template"),
    "step_added": (0.15, "steps are added"),
    "step_removed": (0.15, "steps are removed"),
    "wider_step_bounds": (0.15, "a step may do or take more than before"),
    "edges": (0.15, "the order or the conditions of steps change"),
    "new_pipeline": (0.20, "a new pipeline"),
    "nested_change": (0.20, "a pipeline written inside it changes"),
    "new_dataset": (0.20, "is measured on another dataset"),
    "new_step_type": (0.25, "uses a step type that it did not use"),
    "error_handling": (0.25, "failures of steps are handled in another way"),
    "contract": (0.30, "inputs or outputs change, which callers rely on"),
    "new_model": (0.30, "names a model that it did not name"),
    "less_validation": (0.35, "answers are checked less, or against something else"),
    "new_provider": (0.40, "calls a provider that it did not call"),
    "new_function": (0.40, "calls a function that it did not call"),
    "nested_pipeline": (0.40, "runs other pipelines that it did not run"),
    "wider_limits": (0.40, "may use more than before"),
    "maturity": (0.40, "is trusted with more than before"),
    "hidden_text": (0.45, "holds characters that people cannot see or cannot tell apart"),
    "new_domain": (0.50, "moves to another domain"),
    "file_access": (0.50, "reads or writes files"),
    "deployment_step": (0.60, "proposes deployments by itself"),
    "meta_pipeline": (0.80, "is one of the system's own pipelines"),
    "policy": (0.90, "changes the rules that every change is judged by"),
}
"""Kind -> (weight, reason). Weights are judged chances of harm, joined as if independent: 1 - product of (1 - weight)."""
CLASSES: tuple[tuple[float, RiskClass], ...] = ((0.85, "critical"), (0.60, "high"), (0.25, "medium"), (0.0, "low"))
"""Least score of each class, highest first."""


@dataclass(frozen=True)
class Risk:
    score: float
    """In [0, 1]."""
    reasons: tuple[str, ...]
    """Heaviest first."""

    @property
    def risk_class(self) -> RiskClass:
        return class_of(self.score)


def class_of(score: float) -> RiskClass:
    return next(name for least, name in CLASSES if score >= least)


def risk_of_kinds(kinds: Iterable[DiffKind]) -> Risk:
    """Grows with every kind and stays below 1."""
    found = ordered(set(kinds))
    score = 1.0 - math.prod(1.0 - RISK[kind][0] for kind in found)
    return Risk(round(score, 4), tuple(RISK[kind][1] for kind in found))


def ordered(kinds: Iterable[DiffKind]) -> tuple[DiffKind, ...]:
    """Heaviest first."""
    return tuple(sorted(kinds, key=lambda kind: (-RISK[kind][0], kind)))
