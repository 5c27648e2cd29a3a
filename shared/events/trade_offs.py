"""What a search found beside its best: candidates none of which is worse than another in everything, with their objectives."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shared.events.message import Part

ObjectiveName = Literal["quality", "cost", "latency", "robustness"]


class ObjectiveValue(Part):
    """One measured objective of one candidate. Quality and robustness are better when higher, cost and latency when lower."""

    name: ObjectiveName
    unit: str
    """`grade`, `tokens a run`, `USD a run`, `seconds a run` or `share of cases`."""
    value: float
    low: float | None = None
    """95% interval, of shares and grades."""
    high: float | None = None
    cases: int = 0
    """How many evaluations it is the mean of."""


class Member(Part):
    """One candidate of a front or a menu."""

    digest: str
    parent: str = ""
    operator: str = ""
    text: str = ""
    """What its operator changed."""
    niche: str = ""
    """Its place in the menu: size in tokens, latency and structure."""
    structure: str = ""
    objectives: tuple[ObjectiveValue, ...] = ()


class TradeOffs(Part):
    """The Pareto front of a search, and the best candidate of each niche: the menu of what could be deployed instead."""

    compared: tuple[ObjectiveName, ...] = ()
    """Objectives that decided who is on the front: those known of all candidates."""
    front: tuple[Member, ...] = ()
    """Best quality first; the most crowded ones are left out where there are many."""
    front_size: int = 0
    """With those left out."""
    menu: tuple[Member, ...] = ()
    """The best of each niche, best quality first."""
    niches: int = 0
    """With those left out."""
    beside: tuple[Member, ...] = ()
    """The seed and the best finalist, where they are neither on the front nor in the menu by the grades of the search."""
    notes: tuple[str, ...] = ()
    """Objectives that are not known, and what else a reader must know."""
    scalar_weights: dict[str, float] = Field(default_factory=dict)
    """How the final choice weighed the objectives; empty: by quality alone."""
