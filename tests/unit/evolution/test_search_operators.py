from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared.errors import InvalidInputError
from shared.events.changes import GrantScope
from shared.events.values import Budget, Case
from shared.pipeline.loading import load_document
from shared.search.candidates import Candidate, Entry, Failure, Lent, OperatorContext
from shared.search.changes import changes
from shared.search.genome import answering_step, labels_of, steps_of, with_room
from shared.search.menu import OperatorMenu, candidate_of
from shared.search.operators import Operator, all_operators
from shared.search.operators.rewrite import rewriting_document, rewriting_inputs, rewritten
from shared.search.prompts import read_prompt, split_examples
from shared.search.roles import role_of
from tests.fakes.evolution_world import LABELS, SteppingClock, donor_document, granted, labelled_cases, seed_document
from tests.fakes.generated_documents import documents

POOL = [{"text": f"text {label}", "label": label} for label in LABELS]
LIBRARY = Path(__file__).parents[3] / "pipelines" / "library"
TEMPLATES = tuple(yaml.safe_load(file.read_text()) for file in sorted(LIBRARY.glob("*.yaml")))
FROM_TEMPLATE, FROM_DONOR = "7" * 64, "d" * 64


CONTEXT = OperatorContext(
    seed=seed_document(),
    shown=tuple(case for case in labelled_cases() if case.split == "train"),
    labels=LABELS,
    families=("claude", "gemini"),
    models=("claude:small-1", "gemini:middle-1", "claude:large-1"),
    templates=tuple(Lent(FROM_TEMPLATE, each) for each in TEMPLATES),
    donors=(Lent(FROM_DONOR, donor_document()),),
)


def free_text_document() -> dict[str, Any]:
    step = {"name": "ask", "type": "claude", "prompt": "Say how the writer feels.\n\n{{ text }}\n", "max_tokens": 48}
    return seed_document(steps=[step], outputs={"answer": "{{ steps.ask.text }}"})


def extraction_document() -> dict[str, Any]:
    schema = {"type": "object", "properties": {"amount": {"type": "number"}}, "required": ["amount"], "additionalProperties": False}
    step = {"name": "extract", "type": "claude_extract", "prompt": "Find the amount.\n\n{{ text }}\n", "schema": schema}
    return seed_document(steps=[step], outputs={"answer": "{{ steps.extract.result }}"})


def modelless_document() -> dict[str, Any]:
    nearest = {"name": "nearest", "type": "function", "function": "nearest_examples"}
    nearest["arguments"] = {"query": "{{ text }}", "examples": POOL, "k": 3}  # type: ignore[assignment]
    answers = "{{ steps.nearest.result | map(attribute='label') | list }}"
    vote = {"name": "majority", "type": "function", "function": "vote", "arguments": {"values": answers}}
    return seed_document(steps=[nearest, vote], outputs={"answer": "{{ steps.majority.result.winner }}"})


DOCUMENTS = {
    "classify": seed_document(),
    "free_text": free_text_document(),
    "extract": extraction_document(),
    "modelless": modelless_document(),
}


def mate(document: dict[str, Any], *origins: str) -> Candidate:
    return Candidate("", document, origins=origins)


def operator(name: str) -> Operator:
    return next(one for one in all_operators() if one.name == name)


def apply(name: str, document: dict[str, Any], seed: int = 1, **changes: Any) -> dict[str, Any]:
    """First offer of the operator over a few seeds; it must make one."""
    context = OperatorContext(**{**CONTEXT.__dict__, **changes})
    for number in range(seed, seed + 20):
        offer = operator(name).apply(document, context, random.Random(number))
        if offer is not None:
            return load_document(with_room(offer.document)).canonical()
    raise AssertionError(f"{name} offered nothing")


def prompt_of(document: dict[str, Any]) -> str:
    index = answering_step(document)
    assert index is not None
    return str(steps_of(document)[index]["prompt"])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(start="classify", names=["graft_template", "transfer"], number=0)
@given(
    start=st.sampled_from(sorted(DOCUMENTS)),
    names=st.lists(st.sampled_from([o.name for o in all_operators()]), max_size=8),
    number=st.integers(0, 10_000),
)
def test_any_chain_of_operators_gives_valid_documents_or_nothing(start: str, names: list[str], number: int) -> None:
    generator = random.Random(number)
    document, mates = DOCUMENTS[start], [mate(DOCUMENTS["classify"])]
    for name in names:
        before = json.dumps(document)
        offer = operator(name).apply(document, OperatorContext(**{**CONTEXT.__dict__, "mates": tuple(mates)}), generator)
        assert json.dumps(document) == before, "the parent was changed"
        if offer is not None:
            loaded = load_document(with_room(offer.document))
            assert load_document(loaded.canonical()).digest == loaded.digest
            document = loaded.canonical()
            mates.append(mate(document))


@pytest.mark.parametrize("name", [one.name for one in all_operators()])
def test_every_operator_has_an_offer_somewhere_and_is_repeatable(name: str) -> None:
    with_examples = apply("examples_add", seed_document())
    two_steps = apply("verify", seed_document())
    thinking, voting = apply("reason_first", seed_document()), apply("vote", seed_document())
    numbers = tuple(Case(id=f"n{index}", input={"text": f"{index} things"}, expected=index) for index in range(8))
    for document in (*DOCUMENTS.values(), with_examples, two_steps, thinking, voting):
        context = OperatorContext(**{**CONTEXT.__dict__, "mates": (mate(with_examples),)})
        if name == "answer_format":
            context = replace(context, labels=(), shown=numbers)
        offers = [operator(name).apply(document, context, random.Random(number)) for number in range(10)]
        assert offers == [operator(name).apply(document, context, random.Random(number)) for number in range(10)]
        if any(offers):
            return
    raise AssertionError(f"{name} offers nothing for any kind of document")


def test_added_examples_come_from_the_training_cases_with_all_labels_and_escaped_braces() -> None:
    document = apply("examples_add", seed_document())
    prompt = read_prompt(prompt_of(document))
    assert prompt is not None and prompt.shows_fixed_examples
    shown = split_examples(prompt.examples)
    assert shown and all("{{ '{' }}" in example for example in shown)
    assert {line for text in shown for line in text.splitlines() if line.startswith("Label: ")} <= {
        f"Label: {one}" for one in LABELS
    }
    assert prompt.item == "{{ text }}"


def test_the_item_stays_last_so_that_the_common_prefix_is_cached() -> None:
    for name in ("examples_add", "instruction_variant", "label_glosses", "label_emphasis"):
        assert prompt_of(apply(name, seed_document())).rstrip().endswith("{{ text }}")


def test_instruction_variants_do_not_pile_up() -> None:
    document = seed_document()
    for number in range(12):
        document = apply("instruction_variant", document, seed=number * 50)
    assert prompt_of(document).count("Decide how the writer feels") <= 1


def test_glosses_replace_each_other() -> None:
    document = seed_document()
    for number in range(8):
        document = apply("label_glosses", document, seed=number * 50)
    assert prompt_of(document).count("What the labels mean:") + prompt_of(document).count("Typical words:") <= 1


def test_a_label_is_emphasised_once_and_what_the_prompt_says_itself_stays() -> None:
    document = seed_document()
    own = "Only choose neutral for headlines and quotations.\nWhen in doubt, choose what the last sentence says."
    document["steps"][0]["prompt"] = f"Decide how the writer feels.\n{own}\n\n{{{{ text }}}}\n"
    for number in range(8):
        document = apply("label_emphasis", document, seed=number * 50)
        assert own in prompt_of(document)
    lines = [line for line in prompt_of(document).splitlines() if line.startswith(("Only choose", "When in doubt"))]
    assert len(lines) == 3, "its own two, and the latest emphasis"


def test_label_order_keeps_the_labels() -> None:
    changed = apply("label_order", seed_document())
    assert sorted(labels_of(steps_of(changed)[0])) == sorted(LABELS)
    assert labels_of(steps_of(changed)[0]) != list(LABELS)


def test_free_answers_become_labels() -> None:
    changed = apply("answer_schema", free_text_document())
    assert labels_of(steps_of(changed)[0]) == list(LABELS)
    assert changed["outputs"] == {"answer": "{{ steps.ask.result.label }}"}


def test_nearest_examples_are_looked_up_before_the_answer_and_can_be_deleted_again() -> None:
    changed = apply("nearest_examples", seed_document())
    assert [step["name"] for step in steps_of(changed)] == ["nearest", "classify"]
    assert "steps.nearest.result" in prompt_of(changed)
    shorter = apply("delete_step", changed)
    assert [step["name"] for step in steps_of(shorter)] == ["classify"]
    assert "nearest" not in prompt_of(shorter)


def test_a_vote_has_three_voices_and_reads_them_all() -> None:
    changed = apply("vote", seed_document())
    assert [step["type"] for step in steps_of(changed)] == ["claude", "claude", "claude", "function"]
    assert changed["outputs"] == {"answer": "{{ steps.majority.result.winner }}"}
    assert len(set(map(str, steps_of(changed)[-1]["arguments"]["values"]))) == 3


def test_a_pipeline_without_a_model_can_get_one() -> None:
    changed = apply("add_model_step", modelless_document())
    assert steps_of(changed)[-1]["type"] == "claude"
    assert changed["limits"]["calls"] >= 1


def test_limits_are_raised_only_where_the_steps_need_it() -> None:
    for name in ("examples_add", "nearest_examples", "instruction_variant", "step_type", "label_glosses"):
        assert apply(name, seed_document())["limits"] == seed_document()["limits"]
    assert apply("vote", seed_document())["limits"]["calls"] == 3


def test_crossover_takes_examples_of_the_mate() -> None:
    other = mate(apply("examples_add", seed_document()))
    offers = [
        operator("crossover").apply(seed_document(), OperatorContext(**{**CONTEXT.__dict__, "mates": (other,)}), random.Random(n))
        for n in range(20)
    ]
    assert any(offer and "Examples:" in prompt_of(offer.document) for offer in offers)


def test_a_cascade_asks_the_strong_model_only_where_the_cheap_one_disagrees_with_itself() -> None:
    changed = apply("cascade", seed_document())
    first, second, third = steps_of(changed)
    assert (first["model"], second["model"], third["model"]) == ("small-1", "small-1", "large-1")
    assert first["prompt"] != second["prompt"] and first["prompt"] == third["prompt"]
    assert "steps.classify.result.label != steps.classify_again.result.label" in third["when"]
    assert "else steps.classify_strong.result.label" in changed["outputs"]["answer"]
    assert apply("cascade", seed_document())["limits"]["calls"] == 3


def test_swaps_stay_among_the_providers_and_models_of_the_context() -> None:
    swapped = steps_of(apply("provider_swap", seed_document()))[0]
    assert swapped["type"] == "gemini" and swapped["schema"] == seed_document()["steps"][0]["schema"]
    models = {steps_of(apply("model_swap", seed_document(), seed=n))[0]["model"] for n in range(0, 200, 20)}
    assert models == {"small-1", "middle-1", "large-1"}
    for name in ("provider_swap", "model_swap", "cascade", "graft_template", "transfer"):
        bare = OperatorContext(seed=CONTEXT.seed, shown=CONTEXT.shown, labels=LABELS)
        assert operator(name).apply(seed_document(), bare, random.Random(1)) is None


def test_a_duplicated_thought_is_read_beside_the_first_one() -> None:
    changed = apply("duplicate_step", apply("reason_first", seed_document()))
    assert [step["name"] for step in steps_of(changed)] == ["reason", "reason_2", "classify"]
    assert "{{ steps.reason.text }}\n{{ steps.reason_2.text }}" in prompt_of(changed)


def test_a_step_never_moves_before_what_it_reads() -> None:
    voting = apply("vote", seed_document())
    for number in range(12):
        moved = operator("reorder_steps").apply(voting, CONTEXT, random.Random(number))
        assert moved is not None and [step["name"] for step in moved.document["steps"]][-1] == "majority"
        load_document(moved.document)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template["name"])
def test_every_library_template_that_fits_labels_can_be_grafted(template: dict[str, Any]) -> None:
    offer = operator("graft_template").apply(
        seed_document(), replace(CONTEXT, templates=(Lent(FROM_TEMPLATE, template),)), random.Random(1)
    )
    if not template["name"].startswith(("classify", "plain")):
        return
    assert offer is not None
    document = load_document(with_room(offer.document)).canonical()
    assert document["name"] == "tweets" and document["domain"] == "social" and "[[" not in json.dumps(document)
    assert "text" in json.dumps(document["steps"])


def test_what_is_transferred_keeps_our_task_and_their_shape() -> None:
    changed = apply("transfer", seed_document())
    think, decide = steps_of(changed)
    assert (think["name"], decide["type"], decide["max_tokens"]) == ("think", "claude_extract", 16)
    text = json.dumps(changed)
    assert "mail" not in text.replace("Say what asks for haste", "") and "urgent" not in text
    assert labels_of(decide) == list(LABELS) and "{{ steps.think.text }}" in decide["prompt"]
    assert changed["inputs"] == load_document(seed_document()).canonical()["inputs"]


def test_answers_that_are_no_labels_get_the_format_of_the_examples() -> None:
    numbers = tuple(Case(id=f"n{index}", input={"text": f"{index} things"}, expected=index) for index in range(8))
    changed = apply("answer_format", free_text_document(), labels=(), shown=numbers)
    assert steps_of(changed)[0]["schema"]["properties"] == {"answer": {"type": "number"}}
    objects = tuple(Case(id=f"o{index}", input={"text": "x"}, expected={"amount": 1.5, "who": "x"}) for index in range(4))
    shaped = apply("answer_format", free_text_document(), labels=(), shown=objects)
    fields = steps_of(shaped)[0]["schema"]["properties"]["answer"]["properties"]
    assert fields == {"amount": {"type": "number"}, "who": {"type": "string"}}
    texts = tuple(Case(id=f"t{index}", input={"text": "x"}, expected=f"free {index}") for index in range(4))
    offer = operator("answer_format").apply(free_text_document(), replace(CONTEXT, labels=(), shown=texts), random.Random(1))
    assert offer is None


def test_crossover_exchanges_the_instructions_of_steps_that_prepare() -> None:
    ours, other = apply("reason_first", seed_document()), apply("reason_first", apply("instruction_variant", seed_document()))
    assert role_of(ours, 0) == "prepares" and role_of(ours, 1) == "answers"
    offers = [operator("crossover").apply(ours, replace(CONTEXT, mates=(mate(other),)), random.Random(n)) for n in range(20)]
    assert any(offer and "instruction of reason" in offer.text for offer in offers)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(document=documents(), name=st.sampled_from([one.name for one in all_operators()]), number=st.integers(0, 1000))
def test_whatever_the_document_an_operator_yields_a_valid_one_or_nothing(document: dict[str, Any], name: str, number: int) -> None:
    parent = Entry(candidate_of(load_document(document)))
    before = json.dumps(parent.candidate.document, sort_keys=True)
    context = replace(CONTEXT, seed=parent.candidate.document, mates=(mate(seed_document()),))
    menu = OperatorMenu(all_operators(), context, None)
    child = asyncio.run(menu.propose(name, parent, (mate(seed_document()),), random.Random(number)))
    assert json.dumps(parent.candidate.document, sort_keys=True) == before
    if child is not None:
        assert child.digest != parent.candidate.digest and load_document(child.document).digest == child.digest
        assert child.parent == parent.candidate.digest and changes(parent.candidate.document, child.document)


def test_a_rewrite_keeps_the_labels_and_refuses_what_is_no_instruction() -> None:
    case = Case(id="c", input={"text": "so {{ so }}"}, expected="neutral")
    inputs = rewriting_inputs(seed_document(), [Failure(case, "positive")])
    assert inputs is not None and inputs["mistakes"] == [{"input": "so {{ so }}", "given": "positive", "right": "neutral"}]
    load_document(rewriting_document("social"))
    offer = rewritten(seed_document(), "Look at the {{ mood }} of the writer and nothing else.", CONTEXT)
    assert offer is not None
    document = load_document(offer.document)
    assert "mood" not in document.inputs, "a model's words became a template"
    assert all(label in prompt_of(document.canonical()) for label in LABELS)
    for useless in (None, 7, "", "short", "x" * 5000):
        assert rewritten(seed_document(), useless, CONTEXT) is None


async def test_the_menu_offers_nothing_outside_the_scope() -> None:
    query = GrantScope(scope_id="s", purpose="evolution", holder="evolution", domain="social", budget=Budget(runs=10, calls=1000))
    scope = granted(query, SteppingClock().moment).scope
    narrow = scope.model_copy(update={"functions": (), "step_types": ("claude",)})
    parent = Entry(candidate_of(load_document(seed_document())))
    generator = random.Random(1)
    wide, tight = OperatorMenu(all_operators(), CONTEXT, scope), OperatorMenu(all_operators(), CONTEXT, narrow)
    assert await wide.propose("nearest_examples", parent, (), generator) is not None
    assert await tight.propose("nearest_examples", parent, (), generator) is None
    assert await tight.propose("label_emphasis", parent, (), generator) is not None


async def test_an_operator_that_breaks_documents_offers_nothing() -> None:
    class Vandal:
        name: ClassVar[str] = "vandal"
        weight: ClassVar[float] = 1.0

        def apply(self, document: Any, context: OperatorContext, generator: random.Random) -> Any:
            offer = operator("label_emphasis").apply(document, context, generator)
            assert offer is not None
            offer.document["steps"][0]["prompt"] = "{{ nowhere."
            return offer

    query = GrantScope(scope_id="s", purpose="evolution", holder="evolution", domain="social", budget=Budget(runs=10, calls=1000))
    menu = OperatorMenu([Vandal()], CONTEXT, granted(query, SteppingClock().moment).scope)
    assert await menu.propose("vandal", Entry(candidate_of(load_document(seed_document()))), (), random.Random(1)) is None
    with pytest.raises(InvalidInputError):
        load_document(seed_document(steps=[{"name": "x", "type": "claude", "prompt": "{{ nowhere."}]))
