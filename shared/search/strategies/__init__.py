"""Search strategies behind one Protocol, and the finalists' round that follows each of them. Pure: all effects are arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from shared.search.plan import FINALISTS
from shared.search.strategies.best_of import BestOf
from shared.search.strategies.climb import Climb
from shared.search.strategies.finalists import FinalRound, run_finals
from shared.search.strategies.genetic import Genetic
from shared.search.strategies.gepa_search import GepaSearch
from shared.search.strategies.guided import Guided
from shared.search.strategies.strategy import Arena, KnowsUse, Proposer, SearchOverError, Strategy, note_uses

FINALIST_COUNT = FINALISTS - 1
"""Challengers of the seed in the finalists' round."""
STRATEGIES: Mapping[str, Callable[[], Strategy]] = {
    "climb": Climb,
    "genetic": Genetic,
    "best_of": BestOf,
    "guided": Guided,
    "gepa": GepaSearch,
}
"""By name, with their usual numbers."""

__all__ = [
    "FINALIST_COUNT",
    "STRATEGIES",
    "Arena",
    "BestOf",
    "Climb",
    "FinalRound",
    "Genetic",
    "GepaSearch",
    "Guided",
    "KnowsUse",
    "Proposer",
    "SearchOverError",
    "Strategy",
    "note_uses",
    "run_finals",
]
