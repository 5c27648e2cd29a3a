"""The published JSON Schema is current and agrees with the loader on the documents that we ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shared.pipeline.json_schema import language_schema, written
from shared.pipeline.yaml_source import read_yaml
from tests.specification import printed_documents

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "pipelines" / "meta").glob("*.yaml"))


def test_the_published_file_is_current() -> None:
    published = (ROOT / "pipelines" / "schema.json").read_text(encoding="utf-8")
    assert published == written(language_schema()), "run: python -m shared.pipeline.json_schema pipelines/schema.json"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_documents_that_load_fit_the_schema(path: Path) -> None:
    assert misfits(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("stem", printed_documents())
def test_printed_documents_fit_the_schema(stem: str) -> None:
    assert misfits(printed_documents()[stem]) == []


def misfits(text: str) -> list[str]:
    return [error.message for error in Draft202012Validator(language_schema()).iter_errors(read_yaml(text).value)]


@pytest.mark.parametrize(
    "step",
    [
        {"name": "a", "type": "claude", "promt": "x"},
        {"name": "a", "type": "cluade", "prompt": "x"},
        {"name": "a", "type": "claude", "prompt": "x", "max_tokens": 0},
        {"name": "A B", "type": "claude", "prompt": "x"},
        {"type": "claude", "prompt": "x"},
    ],
)
def test_wrong_steps_do_not_fit_the_schema(step: dict[str, Any]) -> None:
    validator = Draft202012Validator(language_schema())
    assert not validator.is_valid({"name": "p", "steps": [step]})


def test_the_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(language_schema())
