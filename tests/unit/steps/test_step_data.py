"""`data_transform`, `function`, `file_ops`: work without a model."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors import InvalidInputError, NotFoundError, StepLimitError
from shared.pipeline.document import Step
from shared.pipeline.steps import step_type
from tests.fakes.step_context import ScriptedStepContext, run_step

ROWS = [
    {"name": "Ann", "team": "red", "points": 3},
    {"name": "Bob", "team": "blue", "points": 5},
    {"name": "Cid", "team": "red", "points": None},
    {"name": "Dee", "team": "red", "points": 1.5},
]


async def transform(*operations: Any, rows: Any = ROWS, **names: Any) -> Any:
    context = ScriptedStepContext(names={"rows": rows, **names})
    return (await run_step(context, type="data_transform", input="{{ rows }}", operations=list(operations))).value


async def test_a_query_is_jmespath() -> None:
    context = ScriptedStepContext(names={"rows": ROWS})
    result = await run_step(context, type="data_transform", input={"rows": "{{ rows }}"}, query="rows[?points > `2`].name")
    assert (result.value, result.text, result.status) == (["Ann", "Bob"], '["Ann", "Bob"]', "ok")
    assert await transform({"query": "[0].name"}) == "Ann"


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"filter": "points"}, ["Ann", "Bob", "Dee"]),
        ({"op": "filter", "where": "team == 'blue'"}, ["Bob"]),
        ({"sort": "points"}, ["Cid", "Dee", "Ann", "Bob"]),
        ({"sort": {"by": ["team", "points"], "descending": True}}, ["Ann", "Dee", "Cid", "Bob"]),
        ({"limit": 2}, ["Ann", "Bob"]),
        ({"unique": "team"}, ["Ann", "Bob"]),
    ],
)
async def test_each_operation_on_rows(operation: dict[str, Any], expected: list[str]) -> None:
    assert await transform(operation, {"map": "name"}) == expected


async def test_map_keeps_a_place_for_every_row() -> None:
    assert await transform({"map": "points"}) == [3, 5, None, 1.5]


async def test_group_keeps_the_order_of_first_sight() -> None:
    groups = await transform({"group": "team"})
    assert [(group["key"], [row["name"] for row in group["rows"]]) for group in groups] == [
        ("red", ["Ann", "Cid", "Dee"]),
        ("blue", ["Bob"]),
    ]


async def test_join_merges_rows_that_agree() -> None:
    teams = [{"team": "red", "color": "#f00", "name": "lost"}, {"id": "blue", "team": None}]
    inner = await transform({"join": {"with": "{{ teams }}", "on": "team"}}, teams=teams)
    assert [(row["name"], row["color"]) for row in inner] == [("Ann", "#f00"), ("Cid", "#f00"), ("Dee", "#f00")]
    left = await transform({"op": "join", "with": teams, "left_on": "team", "right_on": "id", "how": "left"})
    assert [row["name"] for row in left] == ["Ann", "Bob", "Cid", "Dee"] and left[1]["id"] == "blue"


async def test_aggregate_measures_all_or_each_group() -> None:
    measures = {
        "n": {"function": "count"},
        "known": {"function": "count", "of": "points"},
        "total": {"function": "sum", "of": "points"},
        "mean": {"function": "mean", "of": "points"},
        "middle": {"function": "median", "of": "points"},
        "most": {"function": "max", "of": "points"},
        "least": {"function": "min", "of": "points"},
        "one": {"function": "first", "of": "name"},
        "end": {"function": "last", "of": "name"},
        "teams": {"function": "distinct", "of": "team"},
        "names": {"function": "list", "of": "name"},
    }
    whole = await transform({"aggregate": {"measures": measures}})
    assert (whole["n"], whole["known"], whole["total"], round(whole["mean"], 6), whole["middle"]) == (4, 3, 9.5, 3.166667, 3)
    assert (whole["most"], whole["least"], whole["one"], whole["end"], whole["teams"], len(whole["names"])) == (
        5,
        1.5,
        "Ann",
        "Dee",
        ["red", "blue"],
        4,
    )
    groups = await transform({"op": "aggregate", "by": "team", "measures": {"total": {"function": "sum", "of": "points"}}})
    assert groups == [{"key": "red", "total": 4.5}, {"key": "blue", "total": 5}]
    empty = await transform({"aggregate": {"measures": measures}}, rows=[])
    assert (empty["n"], empty["total"], empty["mean"], empty["one"], empty["teams"]) == (0, 0, None, None, [])


@pytest.mark.parametrize("copies", [10, 10_001])
async def test_the_same_answer_at_ten_rows_and_at_ten_thousand_and_one(copies: int) -> None:
    rows = [{"id": number, "group": number % 3, "value": 0.25} for number in range(copies)]
    random.Random(copies).shuffle(rows)
    measures = {"n": {"function": "count"}, "mean": {"function": "mean", "of": "value"}, "last": {"function": "last", "of": "id"}}
    steps = [{"filter": "group == `1`"}, {"sort": "id"}, {"aggregate": {"measures": measures}}]
    wanted = [number for number in range(copies) if number % 3 == 1]
    assert await transform(*steps, rows=rows) == {"n": len(wanted), "mean": 0.25, "last": wanted[-1]}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False, width=16)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(values=st.lists(JSON, max_size=8), seed=st.integers(0, 99))
def test_any_json_values_have_one_order(values: list[Any], seed: int) -> None:
    from shared.pipeline.functions.rows import order_key, sort

    rows = [{"v": value} for value in values]
    shuffled = rows[:]
    random.Random(seed).shuffle(shuffled)
    keys = [[order_key(row["v"]) for row in sort(each, ["v"], descending=False)] for each in (rows, shuffled)]
    assert keys[0] == keys[1]


async def test_true_and_one_are_different_groups_and_one_and_one_point_zero_are_the_same() -> None:
    groups = await transform({"group": "v"}, rows=[{"v": 1}, {"v": True}, {"v": 1.0}, {"v": "1"}])
    assert [len(group["rows"]) for group in groups] == [2, 1, 1]


async def test_data_of_the_wrong_shape_is_refused() -> None:
    for operation in ({"filter": "a"}, {"sort": "a"}, {"limit": 1}):
        with pytest.raises(InvalidInputError, match="needs a list, not dict"):
            await transform(operation, rows={"a": 1})
    with pytest.raises(InvalidInputError, match="sum needs numbers"):
        await transform({"aggregate": {"measures": {"x": {"function": "sum", "of": "name"}}}})
    with pytest.raises(InvalidInputError, match="rows that are maps"):
        await transform({"join": {"with": [1], "on": "@"}}, rows=[1])
    with pytest.raises(InvalidInputError, match="abs"):
        await transform({"map": "abs(name)"})


@pytest.mark.parametrize("expression", ["(" * 3990, "[" * 1900 + "@" + "]" * 1900, "!" * 3000 + "a", "`" + "[" * 3900 + "`"])
def test_expressions_nested_without_bound_are_refused_before_the_run(expression: str) -> None:
    with pytest.raises(ValidationError, match="nested too deeply"):
        Step.model_validate({"name": "s", "type": "data_transform", "input": [1], "query": expression})


@pytest.mark.parametrize(
    ("rows", "expression"),
    [
        ([{"a": 1}, {"a": "x"}], "max_by(@, &a)"),
        ("s", "@ > `1`"),
        ([1], "[::0]"),
        ([10**400, 1.5], "sum(@)"),
        ([1, "a"], "sort(@)"),
        ({"a": 1}, "unknown(@)"),
        ([1], "@" + "|@" * 1990),
    ],
)
async def test_rows_that_do_not_fit_an_expression_are_an_error_of_the_data(rows: Any, expression: str) -> None:
    with pytest.raises(InvalidInputError):
        await transform({"query": expression}, rows=rows)


@pytest.mark.parametrize("function", ["sum", "mean", "median"])
@pytest.mark.parametrize("values", [[10**400, 1.5], [1e308, 1e308]])
async def test_numbers_beyond_what_can_be_added_are_an_error_never_infinite(function: str, values: list[float]) -> None:
    with pytest.raises(InvalidInputError, match="too large"):
        await transform({"aggregate": {"measures": {"x": {"function": function, "of": "@"}}}}, rows=values)


async def test_one_and_one_point_zero_are_the_same_inside_a_row_too() -> None:
    assert await transform({"unique": "@"}, rows=[{"v": [1]}, {"v": [1.0]}, {"v": [True]}]) == [{"v": [1]}, {"v": [True]}]


async def test_a_join_that_explodes_is_stopped() -> None:
    rows = [{"k": 1}] * 1500
    with pytest.raises(StepLimitError) as caught:
        await transform({"join": {"with": rows, "on": "k"}}, rows=rows)
    assert caught.value.limit == "max_rows"


@pytest.mark.parametrize(
    "keys",
    [
        {"input": 1},
        {"query": "a"},
        {"input": 1, "query": "a["},
        {"input": 1, "operations": [{"explode": "a"}]},
        {"input": 1, "operations": [{"op": "filter", "where": "a", "more": 1}]},
        {"input": 1, "operations": [{"join": {"with": []}}]},
        {"input": 1, "operations": [{"join": {"with": [], "on": "a", "left_on": "b"}}]},
        {"input": 1, "operations": [{"aggregate": {"measures": {"x": {"function": "sum"}}}}]},
        {"input": 1, "operations": [{"aggregate": {"measures": {}}}]},
    ],
)
def test_operations_that_make_no_sense_are_refused_before_the_run(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Step.model_validate({"name": "s", "type": "data_transform", **keys})


def test_short_and_long_forms_are_one_step_and_round_trip() -> None:
    short = Step.model_validate({"name": "s", "type": "data_transform", "input": "{{ a }}", "operations": [{"filter": "x"}]})
    long = {"name": "s", "type": "data_transform", "input": "{{ a }}", "operations": [{"op": "filter", "where": "x"}]}
    assert short == Step.model_validate(long) == Step.model_validate(short.flat())
    join = {
        "name": "s",
        "type": "data_transform",
        "input": "{{ a }}",
        "operations": [{"join": {"with": "{{ b }}", "on": "k"}}, {"map": "{{x: x}"[1:]}],
    }
    step = Step.model_validate(join)
    assert Step.model_validate(step.flat()) == step
    assert step_type("data_transform").templates(step.options) == (("input", "{{ a }}"), ("operations[0].with", "{{ b }}"))


async def test_a_function_step_gives_the_functions_result() -> None:
    context = ScriptedStepContext(names={"n": 6})
    result = await run_step(
        context, type="function", function="arithmetic", arguments={"expression": "x * 7", "variables": {"x": "{{ n }}"}}
    )
    assert (result.value, result.text, result.status, result.usage.calls) == (42, "42", "ok", 0)


async def test_constants_are_never_read_as_templates() -> None:
    context = ScriptedStepContext(names={"text": "say {{ hi }}"})
    examples = [{"text": "say {{ hi }}", "label": "braces"}, {"text": "other", "label": "none"}]
    keys = {"constants": {"examples": examples, "k": 1}, "arguments": {"query": "{{ text }}"}}
    result = await run_step(context, type="function", function="nearest_examples", **keys)
    assert result.value == [{"text": "say {{ hi }}", "label": "braces", "similarity": 1.0}]
    step = Step.model_validate({"name": "s", "type": "function", "function": "nearest_examples", **keys})
    assert step_type("function").templates(step.options) == (("arguments.query", "{{ text }}"),)
    assert step_type("function").functions(step.options) == ("nearest_examples",)


async def test_wrong_arguments_and_unknown_functions_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="expression"):
        await run_step(ScriptedStepContext(), type="function", function="arithmetic", arguments={"formula": "1"})
    with pytest.raises(NotFoundError, match="no function"):
        await run_step(ScriptedStepContext(), type="function", function="format_disk")
    with pytest.raises(ValidationError, match="both in"):
        Step.model_validate(
            {"name": "s", "type": "function", "function": "vote", "arguments": {"values": []}, "constants": {"values": []}}
        )


@pytest.fixture
def context(tmp_path: Path) -> ScriptedStepContext:
    return ScriptedStepContext(workspace=tmp_path / "run", names={"name": "a", "found": {"x": [1]}})


async def test_files_are_written_read_listed_and_copied(context: ScriptedStepContext) -> None:
    written = await run_step(context, type="file_ops", operation="write", path="out/{{ name }}.json", content="{{ found }}")
    assert written.value == "out/a.json"
    assert (await run_step(context, type="file_ops", operation="read", path="out/a.json")).value == '{"x": [1]}'
    assert (await run_step(context, type="file_ops", operation="read", path="./out/a.json", format="json")).value == {"x": [1]}
    assert (await run_step(context, type="file_ops", operation="copy", path="out/a.json", to="b/c.json")).value == "b/c.json"
    assert (await run_step(context, type="file_ops", operation="list")).value == ["b/c.json", "out/a.json"]
    assert (await run_step(context, type="file_ops", operation="list", path="b")).value == ["b/c.json"]


async def test_a_written_file_replaces_the_old_one_and_leaves_nothing_behind(context: ScriptedStepContext) -> None:
    for text in ("a much longer text", "short"):
        await run_step(context, type="file_ops", operation="write", path="a.txt", content=text)
    assert (context.workspace / "a.txt").read_text() == "short"
    assert [path.name for path in context.workspace.iterdir()] == ["a.txt"]


OUTSIDE = ["../x", "a/../../x", "/etc/passwd", "a/..", "..", "a\\..\\x", "a\0b", "~/../../x", "x" * 300, "/".join("a" * 20)]


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize("operation", ["read", "write", "list", "copy"])
async def test_paths_out_of_the_workspace_are_refused(context: ScriptedStepContext, operation: str, path: str) -> None:
    keys = {"write": {"content": "x"}, "copy": {"to": "ok"}}.get(operation, {})
    with pytest.raises(InvalidInputError):
        await run_step(context, type="file_ops", operation=operation, path=path, **keys)
    with pytest.raises((InvalidInputError, NotFoundError)):
        await run_step(context, type="file_ops", operation="copy", path="gone", to=path)


async def test_links_are_refused_wherever_they_stand(context: ScriptedStepContext, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key").write_text("hidden")
    context.workspace.mkdir()
    (context.workspace / "folder").symlink_to(secret)
    (context.workspace / "file").symlink_to(secret / "key")
    os.link(secret / "key", context.workspace / "hard")
    for path in ("folder/key", "file", "hard"):
        with pytest.raises(InvalidInputError):
            await run_step(context, type="file_ops", operation="read", path=path)
    for path in ("folder/new", "file"):
        with pytest.raises(InvalidInputError):
            await run_step(context, type="file_ops", operation="write", path=path, content="x")
    assert (await run_step(context, type="file_ops", operation="list")).value == ["hard"]
    assert (secret / "key").read_text() == "hidden" and not (secret / "new").exists()


async def test_writing_over_a_hard_link_leaves_the_other_name_alone(context: ScriptedStepContext, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("theirs")
    context.workspace.mkdir()
    os.link(outside, context.workspace / "mine")
    await run_step(context, type="file_ops", operation="write", path="mine", content="ours")
    assert outside.read_text() == "theirs"


async def test_pipes_and_folders_are_no_files(context: ScriptedStepContext) -> None:
    (context.workspace / "folder").mkdir(parents=True)
    os.mkfifo(context.workspace / "pipe")
    for path in ("folder", "pipe"):
        with pytest.raises(InvalidInputError):
            await run_step(context, type="file_ops", operation="read", path=path)
        with pytest.raises(InvalidInputError):
            await run_step(context, type="file_ops", operation="write", path=path, content="x")


async def test_missing_files_large_files_and_wrong_content_say_what_they_are(context: ScriptedStepContext) -> None:
    for path in ("gone", "gone/too"):
        with pytest.raises(NotFoundError):
            await run_step(context, type="file_ops", operation="read", path=path)
    with pytest.raises(StepLimitError):
        await run_step(context, type="file_ops", operation="write", path="big", content="x" * 11, max_bytes=10)
    await run_step(context, type="file_ops", operation="write", path="big", content="x" * 11)
    with pytest.raises(StepLimitError):
        await run_step(context, type="file_ops", operation="read", path="big", max_bytes=10)
    with pytest.raises(InvalidInputError, match="not JSON"):
        await run_step(context, type="file_ops", operation="read", path="big", format="json")
    (context.workspace / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidInputError, match="UTF-8"):
        await run_step(context, type="file_ops", operation="read", path="binary")


@pytest.mark.parametrize(
    "keys",
    [
        {"operation": "delete", "path": "a"},
        {"operation": "read"},
        {"operation": "write", "path": "a"},
        {"operation": "copy", "path": "a"},
        {"operation": "read", "path": "a", "to": "b"},
        {"operation": "read", "path": "a", "content": "b"},
    ],
)
def test_file_operations_that_make_no_sense_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Step.model_validate({"name": "s", "type": "file_ops", **keys})
