"""Document -> YAML -> document keeps the digest; comments and key order do not change it; content does."""

from __future__ import annotations

import random
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.pipeline.loading import dump_yaml, load_document
from shared.pipeline.steps import type_names
from tests.fakes.generated_documents import KINDS, documents


def test_documents_of_all_step_types_are_generated() -> None:
    assert set(KINDS) == set(type_names())


@settings(max_examples=150, deadline=None)
@given(documents())
def test_a_document_survives_yaml_and_its_canonical_form_with_its_digest(source: dict[str, Any]) -> None:
    document = load_document(source)
    assert load_document(dump_yaml(document)) == document
    assert load_document(document.canonical()).digest == document.digest
    assert load_document(document.canonical()).canonical() == document.canonical()


@settings(max_examples=60, deadline=None)
@given(documents(), st.integers())
def test_key_order_and_comments_do_not_change_a_digest(source: dict[str, Any], seed: int) -> None:
    document = load_document(source)
    text = dump_yaml(load_document(shuffled(source, random.Random(seed))))
    commented = f"# first\n---\n{text}\n# last\n"
    assert load_document(commented).digest == document.digest
    assert load_document({"workflow": source}).digest == document.digest


@settings(max_examples=60, deadline=None)
@given(documents())
def test_a_changed_prompt_changes_the_digest(source: dict[str, Any]) -> None:
    added = {"name": "added", "type": "claude", "prompt": "x"}
    source = {**source, "steps": [*source["steps"], added]}
    changed = {**source, "steps": [*source["steps"][:-1], {**added, "prompt": "x!"}]}
    assert load_document(changed).digest != load_document(source).digest


@settings(max_examples=60, deadline=None)
@given(documents())
def test_other_yaml_readers_read_the_same_document(source: dict[str, Any]) -> None:
    document = load_document(source)
    assert yaml.safe_load(dump_yaml(document)) == document.canonical()


def shuffled(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        chance.shuffle(items)
        return {key: shuffled(member, chance) for key, member in items}
    return [shuffled(member, chance) for member in value] if isinstance(value, list) else value
