from __future__ import annotations

from typing import Any

import pytest

from services.generator.domain.task import Task, understand
from shared.errors import InvalidInputError
from shared.events.generation import GeneratePipeline
from shared.events.values import Case, Constraints, GraderSpec


def cases(count: int = 12, labels: tuple[str, ...] = ("good", "bad")) -> list[Case]:
    return [Case(id=f"c{n}", input={"text": f"sentence {n}"}, expected=labels[n % len(labels)]) for n in range(count)]


def request(**changes: Any) -> GeneratePipeline:
    fields: dict[str, Any] = {"request_id": "r1", "requirements": "Say whether the text is good or bad.", "domain": "reviews"}
    return GeneratePipeline.model_validate({**fields, **changes})


def understood(given: list[Case], /, **changes: Any) -> Task:
    return understand(request(**changes), given, None)


def problems_of(given: list[Case], /, **changes: Any) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as caught:
        understood(given, **changes)
    return {problem.path: problem.reason for problem in caught.value.problems}


def test_few_distinct_strings_are_a_classification() -> None:
    task = understood(cases())
    assert task.kind == "classify"
    assert task.labels == ("good", "bad")
    assert task.input_names == ("text",)


def test_trial_cases_are_never_shown() -> None:
    task = understood(cases(40))
    assert not {case.id for case in task.shown} & {case.id for case in task.trials}
    assert len(task.shown) + len(task.trials) == 40


def test_a_dev_split_is_what_candidates_are_tried_on() -> None:
    split = [case.model_copy(update={"split": "dev" if n % 2 else "train"}) for n, case in enumerate(cases(20, ("a", "b", "c")))]
    assert {case.split for case in understood(split).trials} == {"dev"}


def test_sealed_cases_are_neither_shown_nor_tried() -> None:
    split = [*cases(20), Case(id="s", input={"text": "secret"}, expected="good", split="sealed")]
    task = understood(split)
    assert "s" not in {case.id for case in (*task.shown, *task.trials)}


def test_every_prefix_of_the_trials_holds_all_classes() -> None:
    task = understood(cases(60, ("a", "b", "c")))
    assert {case.expected for case in task.trials[:3]} == {"a", "b", "c"}


def test_too_few_examples_are_refused_with_a_next_step() -> None:
    assert "at least 6" in problems_of(cases(3))["examples"]


def test_one_class_is_refused() -> None:
    single = [case.model_copy(update={"expected": "good"}) for case in cases()]
    assert "one class" in problems_of(single, grader={"kind": "label"})["examples"]


def test_unlabelled_examples_are_all_named() -> None:
    broken = cases()
    broken[2] = broken[2].model_copy(update={"expected": None})
    broken[5] = broken[5].model_copy(update={"expected": ""})
    assert {"examples[2].expected", "examples[5].expected"} <= set(problems_of(broken))


def test_the_same_input_with_two_labels_is_a_contradiction() -> None:
    broken = [*cases(), Case(id="again", input={"text": "sentence 0"}, expected="bad")]
    assert "contradicts examples[0]" in problems_of(broken)["examples[12].expected"]


def test_examples_with_different_fields_are_refused() -> None:
    broken = [*cases(), Case(id="odd", input={"body": "x"}, expected="bad")]
    assert "examples[12].input" in problems_of(broken)


def test_inline_examples_and_a_dataset_contradict() -> None:
    assert "dataset_id" in problems_of(cases(), examples=tuple(cases()), dataset_id="d1")


def test_a_budget_that_allows_no_trial_is_refused() -> None:
    assert "constraints.generation_calls" in problems_of(cases(), constraints=Constraints(generation_calls=0))


def test_an_unknown_provider_is_refused() -> None:
    assert "constraints.providers[0]" in problems_of(cases(), constraints=Constraints(providers=("gpt",)))


def test_a_grader_that_cannot_read_the_labels_is_refused() -> None:
    assert "wants a number" in problems_of(cases(), grader=GraderSpec(kind="numeric"))["examples[0].expected"]


def test_an_extraction_schema_allows_null_where_examples_do() -> None:
    examples = [
        Case(id=f"p{n}", input={"t": str(n)}, expected={"amount": n / 2, "currency": None if n % 2 else "$"}) for n in range(8)
    ]
    task = understood(examples)
    assert task.kind == "extract"
    assert set(task.answer_schema["properties"]["currency"]["type"]) == {"string", "null"}
    assert task.answer_schema["required"] == ["amount", "currency"]


def test_the_default_name_is_a_pipeline_name() -> None:
    task = understand(request(request_id="R:1.x-" + "9" * 90, domain="a-b"), cases(), None)
    assert task.pipeline.startswith("a_b_r_1_x_9")
    assert len(task.pipeline) <= 63
