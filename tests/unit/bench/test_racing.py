"""The racing benchmark in reduced size: fixed seeds, the default race."""

from __future__ import annotations

from bench.evolution.racing import shares
from shared.search.strategies import Genetic


async def test_a_generation_of_fifty_costs_a_third_at_most_and_seldom_loses_a_best_that_stands_out() -> None:
    cost, losses = await shares(Genetic().race, 0.3, 60)
    assert cost <= 0.3
    assert losses <= 3


async def test_a_best_that_is_ahead_by_twenty_points_is_lost_in_at_most_five_percent() -> None:
    _, losses = await shares(Genetic().race, 0.2, 120)
    assert losses <= 6


async def test_a_best_that_hardly_differs_is_lost_more_often() -> None:
    _, close = await shares(Genetic().race, 0.02, 40)
    _, apart = await shares(Genetic().race, 0.3, 40)
    assert close > apart
