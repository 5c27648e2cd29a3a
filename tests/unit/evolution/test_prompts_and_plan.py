from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidInputError
from shared.search.plan import MINIMUM_EVALUATIONS, interleaved, plan_evolution
from shared.search.prompts import Prompt, escape, is_dynamic, join_examples, read_prompt, split_examples
from tests.fakes.evolution_world import labelled_cases

WITH_EXAMPLES = "Label it.\nOne of: a, b.\n\nExamples:\nfirst\nLabel: a\n\nsecond\nLabel: b\n\nNow this one:\n{{ text }}\n"


def test_a_prompt_with_examples_is_read_into_its_genes_and_written_back() -> None:
    prompt = read_prompt(WITH_EXAMPLES)
    assert prompt == Prompt("Label it.\nOne of: a, b.", "{{ text }}", "first\nLabel: a\n\nsecond\nLabel: b")
    assert prompt.text() == WITH_EXAMPLES
    assert split_examples(prompt.examples) == ["first\nLabel: a", "second\nLabel: b"]


def test_a_prompt_with_looked_up_examples_is_not_taken_for_fixed_ones() -> None:
    block = "{% for example in steps.nearest.result %}{{ example.text }}\nLabel: {{ example.label }}\n{% endfor %}"
    prompt = read_prompt(f"Label it.\n\nSimilar examples:\n{block}\nNow this one:\n{{{{ text }}}}\n")
    assert prompt is not None and not prompt.shows_fixed_examples
    assert prompt.head == "Similar examples:" and "steps.nearest" in prompt.examples


def test_item_first_and_instruction_first_are_told_apart() -> None:
    last, first = read_prompt("Label it.\n\n{{ text }}\n"), read_prompt("{{ text }}\n\nLabel it.\n")
    assert last is not None and first is not None
    assert (last.item_first, first.item_first) == (False, True)
    assert read_prompt(first.text()) == first


@pytest.mark.parametrize("text", ["no item at all", "Label {{ text }} now", "{{ text }}"])
def test_prompts_that_cannot_be_taken_apart_are_left_alone(text: str) -> None:
    assert read_prompt(text) is None


words = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=30).map(str.strip)


@given(st.lists(words, min_size=1, max_size=4))
def test_any_text_can_be_shown_as_an_example_without_becoming_a_template(texts: list[str]) -> None:
    examples = [escape(f"{text}\nLabel: a") for text in texts]
    assert not any(is_dynamic(example) for example in examples)
    prompt = Prompt("Do it.", "{{ text }}", join_examples(examples))
    again = read_prompt(prompt.text())
    assert again is not None and again.shows_fixed_examples


def test_plan_divides_cases_and_budget_without_overlap() -> None:
    plan = plan_evolution(labelled_cases(dev=60), 200, seed=1)
    assert len(plan.search_cases) == len(plan.fresh_cases) == 30
    assert not set(plan.search_cases) & set(plan.fresh_cases)
    assert plan.search_evaluations + plan.final_evaluations == 200
    assert all(case.startswith("dev-") for case in plan.search_cases + plan.fresh_cases)
    assert plan == plan_evolution(tuple(reversed(labelled_cases(dev=60))), 200, seed=1)
    assert plan != plan_evolution(labelled_cases(dev=60), 200, seed=2)


def test_every_prefix_has_about_the_whole_share_of_each_label() -> None:
    order = interleaved([case for case in labelled_cases(dev=90) if case.split == "dev"], seed=3)
    for size in (6, 12, 30, 60):
        counts = Counter(case.expected for case in order[:size])
        assert max(counts.values()) - min(counts.values()) <= 2


def test_too_small_a_budget_and_too_few_cases_are_told_together() -> None:
    with pytest.raises(InvalidInputError) as caught:
        plan_evolution(labelled_cases(dev=3), MINIMUM_EVALUATIONS - 1, seed=1)
    assert [problem.path for problem in caught.value.problems] == ["dataset_id", "evaluations"]
