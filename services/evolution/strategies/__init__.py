"""Search strategies behind one Protocol, and the finalists' round that follows each of them. Pure: all effects are arguments."""

from __future__ import annotations

from services.evolution.strategies.climb import Climb
from services.evolution.strategies.finalists import FinalRound, run_finals
from services.evolution.strategies.genetic import Genetic
from services.evolution.strategies.strategy import Arena, Proposer, SearchOverError, Strategy

__all__ = ["Arena", "Climb", "FinalRound", "Genetic", "Proposer", "SearchOverError", "Strategy", "run_finals"]
