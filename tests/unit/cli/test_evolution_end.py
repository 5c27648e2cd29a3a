"""How the end of an evolution is told."""

from __future__ import annotations

import pytest

from evoline.cli.evolving import print_evolution
from shared.errors import Problem
from shared.events.improvement import EvolutionFinished


def test_a_refusal_is_told_once_and_without_scores_that_nobody_measured(capsys: pytest.CaptureFixture[str]) -> None:
    problem = Problem(path="evaluations", reason="a budget of 3 is too small", suggestion="allow at least 48")
    refused = EvolutionFinished(
        evolution_id="evolution-1", pipeline="mood", verdict="refused", reasons=(str(problem),), problems=(problem,)
    )
    print_evolution(refused)
    told = capsys.readouterr().out
    assert told.count("allow at least 48") == 1
    assert "search:" not in told
