"""The published JSON Schema is current and agrees with the loader on the documents that we ship."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from shared.pipeline.json_schema import language_schema, written
from shared.pipeline.yaml_source import read_yaml
from tests.specification import printed_documents

EDITOR_LINE = "# yaml-language-server: $schema="
ROOT = Path(__file__).parents[3]
SHIPPED = sorted(path for path in (ROOT / "pipelines").rglob("*.yaml"))


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(language_schema())


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
    return [error.message for error in validator().iter_errors(read_yaml(text).value)]


@pytest.mark.parametrize(
    "step",
    [
        {"name": "a", "type": "claude", "promt": "x"},
        {"name": "a", "type": "cluade", "prompt": "x"},
        {"name": "a", "type": "claude", "prompt": "x", "max_tokens": 0},
        {"name": "A B", "type": "claude", "prompt": "x"},
        {"type": "claude", "prompt": "x"},
        {"name": "a", "type": "claude_batch", "prompts": ["x"], "max_parallel": 0},
        {"name": "a", "type": "for_loop", "items": [1], "steps": [{"name": "b", "type": "claude", "promt": "x"}]},
        {"name": "a", "type": "claude", "prompt": "x", "on_error": {"fallback": {"type": "claude", "promt": "x"}}},
        {"name": "a", "type": "claude", "prompt": "x", "retry": {"attempts": 2}},
        {"name": "a", "type": "pipeline_deployer", "config": {"pipeline": "p", "deployment_strategy": "at_once"}},
    ],
)
def test_wrong_steps_do_not_fit_the_schema(step: dict[str, Any]) -> None:
    judge = validator()
    assert not judge.is_valid({"name": "p", "steps": [step]})


@pytest.mark.parametrize(
    "change",
    [{"limits": {"second": 1}}, {"execution": "parallel"}, {"steps": []}, {"inputs": {"a": "strin"}}, {"name": "P"}, {"extra": 1}],
    ids=lambda change: next(iter(change)),
)
def test_wrong_documents_do_not_fit_the_schema(change: dict[str, Any]) -> None:
    right = {"name": "p", "steps": [{"name": "a", "type": "claude", "prompt": "x"}]}
    judge = validator()
    assert judge.is_valid(right)
    assert not judge.is_valid({**right, **change})


def test_a_fallback_needs_no_name_and_keys_say_what_they_mean() -> None:
    fallback = {"type": "gemini", "prompt": "x"}
    step = {"name": "a", "type": "claude", "prompt": "x", "on_error": {"fallback": fallback}}
    assert validator().is_valid({"name": "p", "steps": [step]})
    definitions = language_schema()["$defs"]
    assert "skipped" in definitions["fallback"]["properties"]["when"]["description"]
    assert "Provider calls" in definitions["limits"]["properties"]["calls"]["description"]


def test_shipped_documents_that_name_the_schema_name_the_published_file() -> None:
    named = [(path, line) for path in SHIPPED if (line := path.read_text(encoding="utf-8").splitlines()[0]).startswith(EDITOR_LINE)]
    assert len(named) >= 19
    for path, line in named:
        assert (path.parent / line.removeprefix(EDITOR_LINE)).resolve() == ROOT / "pipelines" / "schema.json"


def test_the_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(language_schema())
