"""Search strategies behind one Protocol, and the finalists' round that follows each of them. Pure: all effects are arguments."""

from __future__ import annotations

from shared.search.strategies.climb import Climb
from shared.search.strategies.finalists import FinalRound, run_finals
from shared.search.strategies.genetic import Genetic
from shared.search.strategies.strategy import Arena, Proposer, SearchOverError, Strategy

__all__ = ["Arena", "Climb", "FinalRound", "Genetic", "Proposer", "SearchOverError", "Strategy", "run_finals"]
