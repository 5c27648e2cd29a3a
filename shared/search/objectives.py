"""Objectives of measured candidates: quality, cost, latency, robustness; and the weights of the final choice among finalists.

Noise must not make a front: quality is pulled to the search's mean by few cases, latencies count in steps of about a tenth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shared.errors import InvalidInputError, Problem
from shared.events.trade_offs import ObjectiveName, ObjectiveValue
from shared.evidence.scores import CONFIDENCE_Z, score, wilson_interval
from shared.search.candidates import Archive, Entry

TOKENS, COST_USD, SECONDS = "tokens", "cost_usd", "seconds"
MEASURES = (TOKENS, COST_USD, SECONDS)
Use = Mapping[str, float]
"""What one evaluation used: `tokens`, `cost_usd`, `seconds`, those of them that are known."""
LOWER_IS_BETTER: frozenset[ObjectiveName] = frozenset(("cost", "latency"))
_PRIOR_CASES = 8.0
_LATENCY_DIGITS = 2


@dataclass(frozen=True)
class Weights:
    """What the final choice gives for the other objectives, in points of quality / 100 (0.05 is 5 points).

    `cost` and `latency`: for twice the seed's; `robustness`: for surviving all faults instead of none."""

    cost: float = 0.0
    latency: float = 0.0
    robustness: float = 0.0

    def __post_init__(self) -> None:
        wrong = {name: value for name, value in self.told.items() if not 0.0 <= value <= 1.0}
        if wrong:
            raise InvalidInputError(
                [
                    Problem(path=f"weights.{name}", reason=f"is {value}", suggestion="a number from 0 to 1")
                    for name, value in wrong.items()
                ]
            )

    @property
    def told(self) -> dict[str, float]:
        return {
            name: value
            for name, value in (("cost", self.cost), ("latency", self.latency), ("robustness", self.robustness))
            if value
        }


@dataclass(frozen=True)
class Scale:
    """How a search's objectives are read: the unit of cost, and the grade that few cases are pulled to."""

    cost_measure: str
    prior: float

    @property
    def cost_unit(self) -> str:
        return "USD a run" if self.cost_measure == COST_USD else "tokens a run"


@dataclass(frozen=True)
class Objectives:
    """`values`: as they are shown; `keys`: as they are compared, all of them better when higher."""

    values: Mapping[ObjectiveName, ObjectiveValue] = field(default_factory=dict)
    keys: Mapping[ObjectiveName, float] = field(default_factory=dict)


def scale_of(entries: Sequence[Entry]) -> Scale:
    """Cost is in dollars where any evaluation cost any, else in tokens."""
    paid = any(use.get(COST_USD, 0.0) > 0.0 for entry in entries for use in entry.uses.values())
    grades = [grade or 0.0 for entry in entries for grade in entry.grades.values()]
    return Scale(COST_USD if paid else TOKENS, math.fsum(grades) / len(grades) if grades else 0.0)


def objectives_of(entry: Entry, scale: Scale) -> Objectives:
    """Those that are known of this candidate; quality always is, of one that was measured."""
    quality = score(list(entry.grades.values()), "")
    values: dict[ObjectiveName, ObjectiveValue] = {
        "quality": ObjectiveValue(
            name="quality", unit="grade", value=quality.mean, low=quality.low, high=quality.high, cases=quality.cases
        )
    }
    keys: dict[ObjectiveName, float] = {"quality": entry.shrunk_mean(scale.prior, _PRIOR_CASES)}
    used: tuple[tuple[ObjectiveName, str, str], ...] = (
        ("cost", scale.cost_measure, scale.cost_unit),
        ("latency", SECONDS, "seconds a run"),
    )
    for name, measure, unit in used:
        if (mean := mean_use(entry, measure)) is not None:
            values[name] = ObjectiveValue(name=name, unit=unit, value=mean[0], cases=mean[1])
            keys[name] = -(_rounded(mean[0]) if name == "latency" else mean[0])
    if entry.faulted:
        survived = sum(entry.faulted.values())
        low, high = wilson_interval(survived / len(entry.faulted), len(entry.faulted), CONFIDENCE_Z)
        share = survived / len(entry.faulted)
        values["robustness"] = ObjectiveValue(
            name="robustness", unit="share of cases", value=share, low=low, high=high, cases=len(entry.faulted)
        )
        keys["robustness"] = share
    return Objectives(values, keys)


def mean_use(entry: Entry, measure: str) -> tuple[float, int] | None:
    """(mean, number of evaluations that tell it); None where none does."""
    told = [use[measure] for use in entry.uses.values() if measure in use]
    return (math.fsum(told) / len(told), len(told)) if told else None


def weighted_value(
    entry: Entry, seed: Entry, weights: Weights, scale: Scale, *, shrunk: bool = False, known: Archive | None = None
) -> float:
    """The scalar of the final choice: mean grade less what cost and latency are worth relative to the seed's, plus robustness.

    What is not known of both weighs nothing. `shrunk`: the grade is pulled to the search's mean, for few cases. `known`: where
    robustness is looked up, of entries that were made for the finals."""
    total = entry.shrunk_mean(scale.prior, _PRIOR_CASES) if shrunk else entry.mean
    for weight, measure in ((weights.cost, scale.cost_measure), (weights.latency, SECONDS)):
        ours, theirs = mean_use(entry, measure), mean_use(seed, measure)
        if weight and ours and theirs and theirs[0] > 0.0:
            total -= weight * (ours[0] / theirs[0] - 1.0)
    ours, theirs = (_endured(known[one.candidate.digest] if known else one) for one in (entry, seed))
    if weights.robustness and ours and theirs:
        total += weights.robustness * (ours[0] - theirs[0])
    return total


def _endured(entry: Entry) -> tuple[float, int] | None:
    """(share, number of cases), as `mean_use`."""
    return (sum(entry.faulted.values()) / len(entry.faulted), len(entry.faulted)) if entry.faulted else None


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.{_LATENCY_DIGITS}g}")
