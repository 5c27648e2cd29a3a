"""Every durable boundary of the executor, broken in every way: whatever stops, lies or comes twice, a run ends as it would have.

The boundaries are found by running the scenarios with recorders around every write, publish and acknowledgement; that they are all
is checked in `test_crash_matrix_is_whole.py`."""

from __future__ import annotations

import pytest

from tests.fakes.crash_play import Then, called_too_often, gist, ledger_problems, places, play
from tests.fakes.crash_scenarios import SCENARIOS, Scenario
from tests.fakes.durable_boundaries import Fault

WAYS: dict[str, tuple[Fault, Then]] = {
    "crash before": ("stops before", "dies"),
    "crash after": ("stops after", "dies"),
    "refused": ("refused", "goes on"),
    "executed but reported as time-out": ("timed out", "goes on"),
    "duplicate delivery": ("noted", "copy comes"),
    "late redelivery, before": ("stops before", "wakes late"),
    "late redelivery, after": ("stops after", "wakes late"),
    "late redelivery, amid": ("stops before", "wakes amid"),
}
ERRORS: tuple[Fault, ...] = ("refused", "timed out")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_a_scenario_ends_as_it_says_when_nothing_breaks(scenario: Scenario) -> None:
    played = await play(scenario)
    assert played.problems == []
    assert (played.end.status if played.end else "") == scenario.status


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_whatever_breaks_at_any_boundary_a_run_ends_as_it_would_have(scenario: Scenario, way: str) -> None:
    fault, then = WAYS[way]
    reference = await play(scenario)
    failures = {}
    for place in places(reference):
        if fault in ERRORS and place.name == "provider.call":
            continue
        # A submission that is not heard of may be made again: providers tell whose batch it is only once it has ended.
        spare = 1 if fault.startswith("stops") or (place.name == "provider.submit" and fault in ERRORS) else 0
        played = await play(scenario, place, fault, then)
        problems = [*played.problems, *called_too_often(played, reference, spare)]
        problems += await ledger_problems(played, reference)
        if gist(played) != gist(reference):
            problems.append(f"ended as {gist(played)} instead of {gist(reference)}")
        if problems:
            failures[place] = problems
    assert not failures
