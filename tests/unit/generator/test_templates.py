from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from services.generator.domain.templates import Template, blanks_of, escape, fill, instantiate
from shared.errors import InvalidInputError
from shared.events.values import Case
from shared.pipeline.loading import load_document
from shared.pipeline.templates import render
from tests.unit.generator.test_understanding_requests import cases, understood

LIBRARY = sorted((Path(__file__).parents[3] / "pipelines" / "library").glob("*.yaml"))


@given(st.text(alphabet="{}%# ab'\"\n[]", max_size=40))
def test_escaped_text_renders_to_itself(text: str) -> None:
    assert render(f"<{escape(text)}>", {}) == f"<{text}>"


def test_a_whole_blank_in_a_list_is_spliced() -> None:
    assert fill({"enum": ["[[ labels ]]"], "k": 4}, {"labels": ["a", "b"]}) == {"enum": ["a", "b"], "k": 4}


def test_a_schema_blank_becomes_the_schema() -> None:
    assert fill({"schema": {"title": "[[ answer_schema ]]"}}, {"answer_schema": {"type": "object"}}) == {
        "schema": {"type": "object"}
    }


def test_a_blank_without_a_value_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match="labels"):
        fill("one of [[ labels ]]", {})


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: file.stem)
def test_every_seed_template_is_a_valid_document_as_it_stands(file: Path) -> None:
    assert load_document(file.read_text(), file=str(file)).name == file.stem


def examples_for(kind: str) -> list[Case]:
    if kind == "extract":
        return [Case(id=f"p{n}", input={"t": f"{n} EUR"}, expected={"amount": n, "currency": "EUR"}) for n in range(20)]
    if kind == "answer":
        return [Case(id=f"n{n}", input={"question": f"what is {n} + 1?"}, expected=n + 1.0) for n in range(20)]
    return cases(20, ("a", "b", "c"))


@pytest.mark.parametrize("file", LIBRARY, ids=lambda file: file.stem)
def test_every_seed_template_fills_to_a_valid_pipeline(file: Path) -> None:
    template = Template(file.stem, f"library:{file.stem}", yaml.safe_load(file.read_text()))
    kinds = [kind for kind in ("classify", "extract", "answer") if template.serves(kind)]
    assert kinds
    for kind in kinds:
        task = understood(examples_for(kind), requirements="Do {{ this }} {% right %} and {# well #}.")
        document = load_document(instantiate(template, blanks_of(task), name=task.pipeline, description="x", domain="reviews"))
        assert "[[" not in str(document.canonical())
        assert set(document.inputs) == set(task.input_names)
