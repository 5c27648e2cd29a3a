"""Claims of promotions against what production shows, in whatever order both are heard of."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from services.learner.adapters import gains as adapter
from services.learner.adapters.gains import MongoGains
from services.learner.domain.gains import Scored, realised, sides_of
from services.learner.use_cases import (
    Gains,
    attribute,
    note_claim,
    note_report,
    note_rollout,
    note_served,
    strategies,
    tell_standing,
)
from shared.clock import SystemClock
from shared.events.changes import ChangeApproved, GateFinished
from shared.events.experiments import ExperimentFinished, VariantReport
from shared.events.gains import GainRealised, GetStrategies
from shared.events.improvement import EvolutionFinished
from shared.events.rollouts import OutcomeReported, RolloutCompleted, RolloutNumbers
from shared.events.runs import RunFinished
from shared.events.values import Attestation, Score
from tests.fakes.storage import InMemoryDatabase

SCORE = Score(mean=0.7, low=0.6, high=0.8, cases=100, grader_hash="h")
ATTESTATION = Attestation(
    kind="revision", digest="0" * 64, scope="t", domain="d", policy_revision="1", issued_at="", expires_at="", key_id="k"
)


@dataclass
class SeenGauges:
    points: dict[tuple[str, str], float] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)

    def gains(self, points: Mapping[tuple[str, str], float], outcomes: Mapping[str, int]) -> None:
        self.points, self.outcomes = dict(points), dict(outcomes)


@dataclass
class World:
    gauges: SeenGauges = field(default_factory=SeenGauges)
    facts: list[GainRealised] = field(default_factory=list)
    runs: int = 0

    def __post_init__(self) -> None:
        self.at = Gains(MongoGains(InMemoryDatabase()), self.gauges, SystemClock())

    async def serve(self, digest: str, scores: list[float], arm: str = "", *, reports_first: bool = False, units: int = 0) -> None:
        """By so many units in turn; 0: each run is its own."""
        for score in scores:
            self.runs += 1
            name, unit = f"run-{self.runs}", f"user-{self.runs % units}" if units else None
            served, reported = run(name, digest, arm, unit_id=unit), report(name, score)
            for said in (reported, served) if reports_first else (served, reported):
                noting = note_served(said, self.at) if isinstance(said, RunFinished) else note_report(said, self.at)
                self.facts += [fact for _, fact in await noting if isinstance(fact, GainRealised)]


def run(name: str, digest: str, arm: str = "", status: str = "succeeded", **fields: Any) -> RunFinished:
    fixed = {"run_id": name, "pipeline": "triage", "domain": "d", "purpose": "production", "status": status}
    return RunFinished.model_validate({**fixed, "digest": digest, "arm": arm, **fields})


def report(name: str, score: float) -> OutcomeReported:
    return OutcomeReported(run_id=name, score=score, author="alice")


def gate(gain: float = 0.2, low: float = 0.1, high: float = 0.3, change_id: str = "c1", claim: float | None = None) -> GateFinished:
    fields = {"change_id": change_id, "pipeline": "triage", "candidate_digest": "new", "incumbent_digest": "old"}
    numbers = {
        "p_value": 0.01,
        "alpha": 0.05,
        "gain": gain,
        "gain_low": low,
        "gain_high": high,
        "claim": claim,
        "verdict": "certified",
    }
    return GateFinished.model_validate({**fields, **numbers, "candidate": SCORE, "incumbent": SCORE})


def approval(change_id: str = "c1") -> ChangeApproved:
    fields = {"change_id": change_id, "kind": "promotion", "pipeline": "triage", "digest": "new", "document": {}, "domain": "d"}
    more = {"author": "evolution", "approved_by": "policy:x", "risk": 0.1, "reasons": (), "policy_revision": "1"}
    return ChangeApproved.model_validate({**fields, **more, "attestation": ATTESTATION})


def found(change_id: str = "c1", strategy: str = "climb") -> EvolutionFinished:
    return EvolutionFinished(
        evolution_id="e1", pipeline="triage", verdict="certified", change_id=change_id, strategy=strategy, operator="examples_add"
    )


def drawn(share: float, count: int, seed: int) -> list[float]:
    draw = random.Random(seed)
    return [float(draw.random() < share) for _ in range(count)]


async def promoted(**claim: Any) -> World:
    on = World()
    for fact in (gate(**claim), approval()):
        await note_claim(fact, on.at)
    await attribute(found(), on.at)
    return on


async def test_a_gain_that_production_shows_confirms_the_claim_and_is_kept_by_strategy_and_operator() -> None:
    on = await promoted()
    await on.serve("old", drawn(0.5, 300, 1))
    await on.serve("new", drawn(0.75, 300, 2))
    assert [fact.runs for fact in on.facts] == [30, 100, 300]
    last = on.facts[-1]
    assert (last.outcome, last.method, last.strategy, last.operator) == ("confirmed", "before_after", "climb", "examples_add")
    assert last.realised is not None and last.realised_low is not None and last.realised_high is not None
    assert last.realised_low < 0.25 < last.realised_high and last.claimed == 0.2
    kept = await strategies(GetStrategies(), on.at)
    (line,) = kept["strategies"]
    assert (line["strategy"], line["operator"], line["with_data"], line["outcomes"]) == (
        "climb",
        "examples_add",
        1,
        {"confirmed": 1},
    )
    assert line["realised"] == pytest.approx(last.realised) and line["claimed"] == 0.2
    assert on.gauges.points == {("climb", "claimed"): pytest.approx(20), ("climb", "realised"): pytest.approx(100 * last.realised)}


async def test_what_the_gate_claims_is_compared_and_not_what_it_saw() -> None:
    on = await promoted(claim=0.12)
    await on.serve("old", drawn(0.5, 300, 1))
    await on.serve("new", drawn(0.75, 300, 2))
    assert (on.facts[-1].claimed, on.facts[-1].seen, on.facts[-1].claimed_low) == (0.12, 0.2, 0.1)
    assert "claimed +0.120 [+0.100, +0.300], of +0.200 seen" in on.facts[-1].reasons[0]
    (line,) = (await strategies(GetStrategies(), on.at))["strategies"]
    assert (line["seen"], line["claimed"]) == (0.2, 0.12)
    assert on.gauges.points["climb", "claimed"] == pytest.approx(12)


async def test_many_runs_of_few_users_are_few_observations() -> None:
    on = await promoted()
    await on.serve("old", drawn(0.5, 300, 1), units=25)
    await on.serve("new", drawn(0.75, 100, 2), units=25)
    alone = await promoted()
    await alone.serve("old", drawn(0.5, 300, 1))
    await alone.serve("new", drawn(0.75, 100, 2))
    by_users, by_runs = on.facts[-1], alone.facts[-1]
    assert (by_users.runs, by_users.runs_before, by_users.units, by_users.units_before) == (100, 300, 25, 25)
    assert (by_runs.units, by_runs.units_before) == (100, 300)
    assert by_users.realised == pytest.approx(by_runs.realised), "all users have as many runs"
    assert _width(by_users) > 1.5 * _width(by_runs)


def test_users_with_tastes_of_their_own_raise_no_false_alarms() -> None:
    """Nothing was gained; 30 users a side send 30 runs each, and each likes what it likes."""
    draw = random.Random(7)
    claim = {"_id": "c", "pipeline": "p", "digest": "new", "incumbent": "old", "gain": 0.1, "gain_low": 0.0, "gain_high": 0.2}
    sides = {side: 900 for pair in sides_of(claim).values() for side in pair}
    alarms = {"by users": 0, "by runs": 0}
    for _ in range(200):
        tastes = [(digest, f"{digest}-{user}", draw.betavariate(0.6, 0.4)) for digest in ("new", "old") for user in range(30)]
        rows = [Scored(digest, "", float(draw.random() < taste), user) for digest, user, taste in tastes for _ in range(30)]
        alone = [replace(row, unit=str(number)) for number, row in enumerate(rows)]
        for name, scored in (("by users", rows), ("by runs", alone)):
            alarms[name] += realised(claim, scored, sides).outcome in ("confirmed", "contradicted")
    assert alarms["by users"] <= 10 < 60 < alarms["by runs"], alarms


async def test_however_many_runs_a_handful_of_users_is_no_data() -> None:
    on = await promoted()
    await on.serve("old", drawn(0.5, 300, 1), units=5)
    await on.serve("new", drawn(0.9, 300, 2), units=5)
    assert {fact.outcome for fact in on.facts} == {"no_data"}
    assert "5 users or sessions" in on.facts[-1].reasons[0]


async def test_runs_that_nobody_scored_are_counted_and_told() -> None:
    on = await promoted()
    await on.serve("old", drawn(0.5, 40, 1))
    for number in range(70):
        await note_served(run(f"unscored-{number}", "new"), on.at)
    await on.serve("new", drawn(0.9, 30, 2))
    (fact,) = on.facts
    assert (fact.runs, fact.served, fact.runs_before, fact.served_before) == (30, 100, 40, 40)
    assert "only 30 of 100 runs of it and 40 of 40 of the one before were scored" in fact.reasons[-1]


def _width(fact: GainRealised) -> float:
    assert fact.realised_low is not None and fact.realised_high is not None
    return fact.realised_high - fact.realised_low


async def test_a_claim_that_production_falls_short_of_is_told_as_contradicted() -> None:
    on = await promoted(gain=0.4, low=0.3, high=0.5)
    await on.serve("old", drawn(0.6, 300, 1))
    await on.serve("new", drawn(0.6, 300, 2))
    assert on.facts[-1].outcome == "contradicted" and "below what was claimed +0.400" in on.facts[-1].reasons[0]
    assert on.gauges.outcomes == {"contradicted": 1}


async def test_without_scored_runs_there_is_no_data_and_never_a_gain_of_zero() -> None:
    on = await promoted()
    await on.serve("new", drawn(0.9, 40, 1))
    (fact,) = on.facts
    assert (fact.outcome, fact.realised, fact.realised_low, fact.runs_before) == ("no_data", None, None, 0)
    assert "evoline report" in fact.reasons[0]
    (line,) = (await strategies(GetStrategies(), on.at))["strategies"]
    assert (line["claims"], line["with_data"], line["claimed"], line["realised"]) == (1, 0, None, None)
    assert on.gauges.points == {} and on.gauges.outcomes == {"no_data": 1}


def completed(stable: str = "old", rollout_id: str = "r1") -> RolloutCompleted:
    numbers = RolloutNumbers(pairs=50, gain=0.02, gain_low=-0.05, gain_high=0.09)
    return RolloutCompleted(rollout_id=rollout_id, pipeline="triage", canary="new", stable=stable, share=1.0, numbers=numbers)


async def test_the_arms_of_a_rollout_are_compared_where_they_have_enough_and_its_end_is_a_look() -> None:
    on = await promoted()
    await on.serve("old", drawn(0.1, 100, 9))
    await on.serve("old", drawn(0.5, 25, 1), "control")
    await on.serve("new", drawn(0.6, 25, 2), "canary")
    assert on.facts == []
    ((_, fact),) = await note_rollout(completed(), on.at)
    assert isinstance(fact, GainRealised)
    assert (fact.method, fact.runs, fact.runs_before, fact.success_gain_high) == ("rollout", 25, 25, 0.09)
    assert fact.outcome == "undecided"
    assert await note_rollout(completed(), on.at) == [(f"realised:c1:{completed().rollout_id}", fact)]
    assert await note_rollout(completed("another"), on.at) == []


async def test_no_more_looks_are_taken_than_the_level_is_shared_among() -> None:
    on = await promoted()
    await on.serve("old", drawn(0.5, 30, 1))
    await on.serve("new", drawn(0.5, 30, 2))
    for number in range(5):
        on.facts += [
            fact for _, fact in await note_rollout(completed(rollout_id=f"r{number}"), on.at) if isinstance(fact, GainRealised)
        ]
    assert [fact.success_gain for fact in on.facts] == [None, 0.02], "one for the number of runs, one for a rollout"


async def test_a_rollout_that_nobody_scored_has_no_data_but_its_successes_are_shown() -> None:
    on = await promoted()
    ((_, fact),) = await note_rollout(completed(), on.at)
    assert isinstance(fact, GainRealised)
    assert (fact.outcome, fact.realised, fact.success_gain) == ("no_data", None, 0.02)


async def test_the_order_of_facts_and_repeats_change_nothing() -> None:
    straight, turned = await promoted(), World()
    for on, first in ((straight, False), (turned, True)):
        await on.serve("old", drawn(0.5, 60, 1), reports_first=first)
        if on is turned:
            await attribute(found(), on.at)
            for fact in (approval(), gate()):
                await note_claim(fact, on.at)
        await on.serve("new", drawn(0.8, 60, 2), reports_first=first)
    assert [fact.model_dump() for fact in straight.facts] == [fact.model_dump() for fact in turned.facts] != []
    for name in [f"run-{number}" for number in range(61, 91)]:
        again = await note_report(report(name, 0.0), straight.at)
        assert again == [] or again[0][1] == straight.facts[0]


async def test_what_was_not_let_in_is_no_claim_and_failed_trial_and_nested_runs_are_told_apart() -> None:
    on = World()
    await note_claim(gate(), on.at)
    await on.serve("old", drawn(0.5, 40, 1))
    await on.serve("new", drawn(0.5, 40, 2))
    assert on.facts == []
    counted = await promoted()
    left_out: list[dict[str, Any]] = [{"purpose": "trial"}, {"parent_run_id": "p"}, {"retries": 1}, {"status": "cancelled"}]
    for number, changes in enumerate(left_out):
        await note_served(run(f"x{number}", "new", **changes), counted.at)
        await note_report(report(f"x{number}", 1.0), counted.at)
    assert await counted.at.store.count("triage", "new") == 0
    await note_served(run("failed", "new", status="failed"), counted.at)
    await note_report(report("failed", 1.0), counted.at)
    assert [row["score"] for row in await counted.at.store.outcomes("triage", ("new",))] == [0.0]


async def test_experiments_promotions_by_hand_and_unknown_strategies_have_names_of_a_closed_set() -> None:
    on = World()
    names = {"e": "experiment", "m": "manual", "x": "other"}
    for change_id in names:
        await note_claim(gate(change_id=change_id), on.at)
        await note_claim(approval(change_id), on.at)
    winner = VariantReport(label="a", origin="generated", verdict="better")
    fact = ExperimentFinished(
        experiment_id="x", pipeline="triage", outcome="certified", winner="a", variants=(winner,), change_id="e"
    )
    await attribute(fact, on.at)
    await attribute(found("x", "dreaming"), on.at)
    await on.serve("old", drawn(0.5, 40, 1))
    await on.serve("new", drawn(0.5, 30, 2))
    assert {strategy for strategy, _ in on.gauges.points} == set(names.values())
    lines = (await strategies(GetStrategies(pipeline="triage"), on.at))["strategies"]
    assert {(line["strategy"], line["operator"]) for line in lines} == {
        ("experiment", "generated"),
        ("manual", ""),
        ("dreaming", "examples_add"),
    }
    on.gauges.points = {}
    await tell_standing(on.at)
    assert on.gauges.points


async def test_what_was_too_much_to_be_compared_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_MOST_OUTCOMES", 25)
    on = await promoted()
    await on.serve("old", [1.0] * 30)
    await on.serve("new", [1.0] * 30)
    fact = on.facts[-1]
    assert (fact.runs, fact.runs_before, fact.left_out) == (25, 25, 10)
    assert any("the oldest 10 scored runs were left out" in reason for reason in fact.reasons)
