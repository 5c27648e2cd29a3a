"""What an experiment says of the least gain that its cases show."""

from __future__ import annotations

import hashlib

import pytest

from services.evolution.domain.experiment_plan import seen_detectable_gain
from services.evolution.ports import LabelledCases
from shared.events.runs import ExecuteRun, RunFinished
from shared.events.values import Case, GraderSpec
from shared.evidence.planning import detectable_gain
from tests.fakes.evolution_world import finished
from tests.unit.evolution.test_experimenting import command, ended, lab, variant

FIELDS = [f"field_{number}" for number in range(20)]


def test_of_right_and_wrong_answers_it_is_the_exact_tests() -> None:
    stable, better = [0.0, 1.0] * 30, [0.0, 1.0] * 20 + [1.0, 1.0] * 10
    assert seen_detectable_gain(stable, [better], 1, 0.05) == pytest.approx(detectable_gain(60, 1 / 6, 0.05, 0.8))
    assert seen_detectable_gain(stable, [], 1, 0.05) is None
    alone, among = seen_detectable_gain(stable, [better], 1, 0.05), seen_detectable_gain(stable, [better], 4, 0.05)
    assert alone is not None and among is not None and alone < among


def test_of_graded_answers_that_differ_by_little_it_is_little() -> None:
    stable = [0.5 + (index % 7) / 100 for index in range(60)]
    other = [grade + (0.02 if index % 2 else -0.02) for index, grade in enumerate(stable)]
    found = seen_detectable_gain(stable, [other], 1, 0.05)
    assert found is not None and found < 0.05 < (detectable_gain(60, 1.0, 0.05, 0.8) or 0.0)


async def test_an_experiment_on_graded_answers_says_so() -> None:
    expected = dict.fromkeys(FIELDS, 1)
    cases = tuple(
        Case.model_validate(
            {"id": f"dev-{number}", "input": {"text": f"text {number}"}, "expected": {**expected, "id": number}, "split": "dev"}
        )
        for number in range(60)
    )
    on = lab(cases=cases)
    grader = GraderSpec(kind="json_fields", options={"fields": FIELDS})
    on.world.custodian.data["tweets3"] = LabelledCases("tweets3", "social", grader, cases)

    def answers(order: ExecuteRun) -> RunFinished:
        """Each wrong in a field or two, here and there."""
        if order.purpose == "meta":
            return finished(order, "failed", None)
        draw = hashlib.sha256(f"{order.document}:{order.case_id}".encode()).digest()
        wrong = {FIELDS[draw[0] % 20], FIELDS[draw[1] % 20]}
        return finished(order, "succeeded", {"answer": {name: 0 if name in wrong else 1 for name in FIELDS}})

    on.world.runs.answers = answers
    told = await ended(on, command(variant("other", 50, "please")))
    assert told.detectable_gain is not None and told.detectable_gain < 0.05
