"""Hostile and broken YAML: a clear problem, in bounded time and memory."""

from __future__ import annotations

import time
from typing import Any

import pytest

from shared.errors import InvalidInputError
from shared.pipeline.loading import load_document
from shared.pipeline.plain_values import plain_problems
from shared.pipeline.yaml_source import MAX_CHARACTERS, read_yaml, resolve_scalar


def bomb(levels: int, width: int) -> str:
    lines = ["a0: &a0 [x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("", "the document is empty", 1),
        ("# only a comment\n", "the document is empty", 1),
        ("a: 1\nb: [1, 2\n", "flow sequence", 3),
        ("a: 1\n\tb: 2\n", "tab character", 2),
        ("a: 1\nb: 2\na: 3\n", "duplicate key `a`, first on line 1", 3),
        ("a: 1\n5: 2\n", "a key must be text, not `5`", 2),
        ("a: 1\n[1]: 2\n", "a key must be text, not a list or map", 2),
        ("a: {{ x }}\n", "a key must be text", 1),
        ("a: .nan\n", "not a finite number", 1),
        ("a: -.inf\n", "not a finite number", 1),
        ("a: 1e999\n", "too large", 1),
        ("a: 99999999999999999999\n", "too large", 1),
        ("a: " + "9" * 5000 + "\n", "too large", 1),
        ("a: !!python/object:os.system x\n", "is not allowed", 1),
        ("a: !mine x\n", "is not allowed", 1),
        ("a: 1\n---\nb: 2\n", "more than one YAML document", 2),
        ("a: &x [*x]\n", "contains itself", 1),
        ("a: *nobody\n", "unknown alias", 1),
        ("a: &x {k: 1}\nb:\n  <<: *x\n", "merge keys", 3),
        ('a: "\\ud800"\n', "", 1),
        ("a: \x00\n", "not allow", 1),
        (bomb(12, 9), "values, aliases expanded", 6),
        ("[" * 5000, "nested deeper", 1),
        ("- " * 5000, "nested deeper", 1),
        ("a:\n" + "".join("  " * n + "k:\n" for n in range(1, 300)), "nested deeper", 49),
        ("[" * 10_000, "nested deeper", 1),
        ("{a: " * 10_000, "nested deeper", 1),
        ("a: !!python/object/apply:os.system [x]\n", "is not allowed", 1),
        ("a: !!binary aGk=\n", "is not allowed", 1),
        ("a: &c [1]\nb: &c [*c]\n", "contains itself", 2),
        ("a: &x {b: &y [*x, *y]}\n", "contains itself", 1),
        ("? [a, b]\n: c\n", "a key must be text", 1),
        ("%YAML 9.9\n---\na: 1\n", "incompatible", 1),
        ("a: 'x\x01'\n", "not allow", 1),
        ("x" * (MAX_CHARACTERS + 1), "characters, at most", 0),
        ("a: " + "x" * 50_000_000, "characters, at most", 0),
    ],
)
def test_bad_text_is_a_problem_with_its_line(text: str, reason: str, line: int) -> None:
    started = time.monotonic()
    found = read_yaml(text, "f.yaml").problems
    assert found
    assert reason in found[0].reason
    assert found[0].line == line
    assert found[0].file == "f.yaml"
    assert time.monotonic() - started < 5


def test_several_faults_of_the_text_are_reported_together() -> None:
    assert len(read_yaml("a: .nan\na: 1\n7: x\n").problems) == 3


def test_a_large_flat_document_is_bounded_in_time() -> None:
    started = time.monotonic()
    assert "more than" in read_yaml("- x\n" * 250_000).problems[0].reason
    assert time.monotonic() - started < 10


def test_aliases_within_bounds_are_expanded() -> None:
    assert read_yaml("a: &x {k: [1, 2]}\nb: *x\n").value == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("12", 12),
        ("-3.5", -3.5),
        ("1e3", 1000.0),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2026-11-22", "2026-11-22"),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    assert resolve_scalar(text) == value
    assert type(resolve_scalar(text)) is type(value)


def test_lines_are_known_for_every_path() -> None:
    source = read_yaml("a: 1\nb:\n  - x\n  - c: |\n      text\n      more\n")
    assert source.lines[("b", 1, "c")] == 4
    assert source.blocks[("b", 1, "c")] == 5


@pytest.mark.parametrize(
    "value",
    [{1: 2}, {"a": float("nan")}, {"a": {1, 2}}, {"a": 2**70}, {"a": "\ud800"}, {"\ud800": 1}, {"a": b"x"}, {"a": object()}],
)
def test_maps_that_are_no_plain_json_are_refused(value: Any) -> None:
    assert plain_problems(value)
    with pytest.raises(InvalidInputError):
        load_document({"name": "p", "steps": [{"name": "a", "type": "claude", "prompt": "x"}], "outputs": value})


def test_a_map_that_contains_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["again"] = value
    assert "nested deeper" in plain_problems(value)[0].reason
