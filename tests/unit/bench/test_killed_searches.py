"""The bench of killed searches in small: real processes, real SIGKILLs, the outcome of a search that nobody killed."""

from __future__ import annotations

from bench.evolution import kills


def test_killed_searches_end_as_one_that_nobody_killed_and_pay_nothing_twice() -> None:
    trials = list(kills.run(6, 3, ("climb",), rhythm=(3,)))
    assert sum(len(trial.at_calls) for trial in trials) == 6
    assert {trial.workers for trial in trials} == {1, 4}
    for trial in trials:
        assert trial.same, trial
        assert (trial.over_budget, trial.counted_twice, trial.paid_again) == (0, 0, 0), trial
        assert trial.cut <= trial.workers * len(trial.at_calls), trial
    assert "| 6 of 6 kills |" in kills.report(trials, 3, 1.0)
