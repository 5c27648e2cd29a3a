"""`docs/language.md` is current, names everything that the language has, and its examples are documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evoline.reference.page import MARK, PAGE, renewed
from evoline.reference.step_sections import EXAMPLES
from shared.pipeline.document import COMMON_KEYS, Limits
from shared.pipeline.functions import function_catalogue
from shared.pipeline.loading import load_document
from shared.pipeline.steps import step_type, type_names
from shared.pipeline.template_filters import FILTERS, TESTS
from shared.pipeline.walk import walk
from shared.store_inputs import store_names

EXAMPLE_FILES = sorted(EXAMPLES.glob("*.yaml"))


def test_the_reference_is_current() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == renewed(written), "run: python -m evoline.reference"


def test_a_page_without_the_mark_is_not_overwritten() -> None:
    with pytest.raises(ValueError, match="no mark"):
        renewed("# By hand\n")


def test_everything_of_the_language_is_named_in_the_reference() -> None:
    generated = PAGE.read_text(encoding="utf-8").partition(MARK)[2]
    options = {field.alias or name for kind in type_names() for name, field in step_type(kind).options.model_fields.items()}
    names = {*options, *COMMON_KEYS, *Limits.model_fields, *FILTERS, *TESTS, *store_names()}
    assert {name for name in names if f"`{name}`" not in generated} == set()
    headings = set(re.findall(r"^### (\w+)$", generated, re.MULTILINE))
    assert {*type_names(), *function_catalogue()} <= headings


def test_written_out_documents_of_the_reference_are_valid() -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    documents = [block for block in blocks if re.search(r"^name:", block, re.MULTILINE)]
    assert len(documents) == len(type_names()) + 1
    assert all(load_document(block).steps for block in documents)


@pytest.mark.parametrize("path", EXAMPLE_FILES, ids=lambda path: path.stem)
def test_an_example_shows_the_step_type_that_it_is_named_after(path: Path) -> None:
    document = load_document(path.read_text(encoding="utf-8"), file=str(path))
    assert path.stem in {step.type for step in walk(document.steps)}
    assert document.name == f"example_{path.stem}"


def test_every_step_type_has_an_example() -> None:
    assert {path.stem for path in EXAMPLE_FILES} == set(type_names())
