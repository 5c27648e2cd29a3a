"""The function catalogue: what each function gives, and what it refuses."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from shared.errors import InvalidInputError, NotFoundError
from shared.pipeline.functions import call_pure, function_catalogue, validate_arguments

STORES = {
    "aggregate_metrics",
    "check_component_health",
    "detect_degradation",
    "recent_runs",
    "successful_pipelines",
    "get_pipeline",
    "mine_patterns",
}
PURE = {"nearest_examples", "regex_extract", "parse_json", "vote", "arithmetic", "lookup_table"}


def refused(name: str, **arguments: Any) -> str:
    with pytest.raises(InvalidInputError) as caught:
        call_pure(name, arguments)
    return str(caught.value)


def test_the_catalogue_is_whole_typed_and_described() -> None:
    catalogue = function_catalogue()
    assert {name for name, spec in catalogue.items() if spec.pure is None} == STORES
    assert {name for name, spec in catalogue.items() if spec.pure} == PURE
    for name, spec in catalogue.items():
        Draft202012Validator.check_schema(dict(spec.parameters))
        assert spec.name == name and spec.description.endswith(".") and spec.parameters["additionalProperties"] is False


def test_unknown_functions_and_arguments_are_refused_with_every_problem() -> None:
    with pytest.raises(NotFoundError, match="arithmetic"):
        call_pure("format_disk", {})
    assert "answered from the stores" in refused("mine_patterns")
    text = refused("vote", values=3, color=1)
    assert "values" in text and "color" in text


@pytest.mark.parametrize("types", ["latency", ["latency", "token_usage", "error_rate", "success_rate"]])
def test_metrics_may_be_asked_for_as_the_specification_writes_them(types: Any) -> None:
    validate_arguments(function_catalogue()["aggregate_metrics"], {"metrics_types": types})
    with pytest.raises(InvalidInputError):
        validate_arguments(function_catalogue()["aggregate_metrics"], {"metrics_types": "colour"})


EXAMPLES = [
    {"text": "my card was charged twice", "label": "billing"},
    {"text": "the app crashes when I open it", "label": "bug"},
    {"text": "how do I reset my password", "label": "account"},
    {"text": "refund the double charge on my card", "label": "billing"},
]


def test_nearest_examples_come_nearest_first_with_their_similarity() -> None:
    found = call_pure("nearest_examples", {"examples": EXAMPLES, "query": "charged two times on my card", "k": 2})
    assert [each["label"] for each in found] == ["billing", "billing"]
    assert 0 < found[1]["similarity"] <= found[0]["similarity"] <= 1
    assert set(found[0]) == {"text", "label", "similarity"}


def test_nearest_examples_may_come_last_and_spread_over_labels() -> None:
    query = "card charge"
    last = call_pure("nearest_examples", {"examples": EXAMPLES, "query": query, "k": 3, "order": "nearest_last"})
    first = call_pure("nearest_examples", {"examples": EXAMPLES, "query": query, "k": 3})
    assert last == first[::-1]
    spread = call_pure("nearest_examples", {"examples": EXAMPLES, "query": query, "k": 3, "per_label": 1})
    assert sorted(each["label"] for each in spread) == ["account", "billing", "bug"]
    assert "per_label" in refused("nearest_examples", examples=[{"text": "x"}], query="x", per_label=1)


def test_examples_may_be_shaped_like_cases() -> None:
    cases = [{"id": str(n), "input": {"text": each["text"]}, "expected": each["label"]} for n, each in enumerate(EXAMPLES)]
    found = call_pure("nearest_examples", {"examples": cases, "query": {"text": "password reset"}, "k": 1})
    assert found[0]["expected"] == "account"
    named = call_pure(
        "nearest_examples", {"examples": [{"a": "x y", "b": "q"}, {"a": "q", "b": "x y"}], "query": "x y", "k": 1, "field": "b"}
    )
    assert named[0]["b"] == "x y"
    assert "lacks the field" in refused("nearest_examples", examples=[{"a": "x"}], query="x", field="b")


def test_a_query_like_nothing_gives_the_first_examples_with_no_similarity() -> None:
    found = call_pure("nearest_examples", {"examples": EXAMPLES, "query": "", "k": 2})
    assert [(each["label"], each["similarity"]) for each in found] == [("billing", 0.0), ("bug", 0.0)]


@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=8), query=st.text(max_size=30))
def test_similarity_is_bounded_repeatable_and_whole_for_the_same_text(texts: list[str], query: str) -> None:
    arguments = {"examples": [{"text": text} for text in [*texts, query]], "query": query, "k": 100}
    found = call_pure("nearest_examples", arguments)
    assert found == call_pure("nearest_examples", arguments)
    assert all(0 <= each["similarity"] <= 1 for each in found) and len(found) == len(texts) + 1
    same = [each["similarity"] for each in found if each["text"] == query]
    assert same[0] in (0.0, 1.0)


def test_four_hundred_examples_are_searched_quickly() -> None:
    examples = [
        {"text": f"ticket {n} about topic {n % 17} " + "words and more words " * 20, "label": str(n % 17)} for n in range(400)
    ]
    call_pure("nearest_examples", {"examples": examples, "query": "topic 3"})
    began = time.perf_counter()
    found = call_pure("nearest_examples", {"examples": examples, "query": "ticket 20 about topic 3", "k": 6})
    assert time.perf_counter() - began < 0.5
    assert found[0]["text"].startswith("ticket 20 about topic 3")


def test_regex_extract_finds_the_first_or_all_matches() -> None:
    assert call_pure("regex_extract", {"text": "a 12 b 34", "pattern": r"\d+"}) == "12"
    assert call_pure("regex_extract", {"text": "a 12 b 34", "pattern": r"(?P<n>\d)\d", "find_all": True, "group": "n"}) == [
        "1",
        "3",
    ]
    assert call_pure("regex_extract", {"text": "none", "pattern": r"\d+"}) is None
    assert call_pure("regex_extract", {"text": "none", "pattern": r"\d+", "find_all": True}) == []
    assert (
        call_pure(
            "regex_extract", {"text": "x\nTotal: 5", "pattern": r"^total: (\d)", "ignore_case": True, "multiline": True, "group": 1}
        )
        == "5"
    )


def test_a_pattern_that_would_explode_elsewhere_is_answered_at_once() -> None:
    began = time.perf_counter()
    assert call_pure("regex_extract", {"text": "a" * 50_000 + "!", "pattern": "(a+)+$"}) is None
    assert time.perf_counter() - began < 2


def test_regex_extract_refuses_what_it_cannot_bound() -> None:
    assert "bad pattern" in refused("regex_extract", text="x", pattern="(")
    assert "look-around" in refused("regex_extract", text="x", pattern="(?=x)")
    assert "bad pattern" in refused("regex_extract", text="x", pattern="((((x{100}){100}){100}){100})")
    assert "no group 2" in refused("regex_extract", text="x", pattern="(x)", group=2)
    assert "no group 'y'" in refused("regex_extract", text="x", pattern="(x)", group="y")
    assert "10000 matches" in refused("regex_extract", text="x" * 10_001, pattern="x", find_all=True)
    assert "pattern" in refused("regex_extract", text="x", pattern="x" * 1001)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("Here:\n```json\n[1, 2]\n```", [1, 2]),
        ('The answer {is} {"a": [1]} ok', {"a": [1]}),
        (" 7 ", 7),
        ('"x"', "x"),
    ],
)
def test_parse_json_finds_the_value(text: str, value: Any) -> None:
    assert call_pure("parse_json", {"text": text}) == value


@pytest.mark.parametrize(
    "text", ["", "no json", "NaN", '{"a": Infinity}', '{"a": 1e999}', "{" * 5000, "[" * 100_000, '{"a": 1', "1" * 5000]
)
def test_parse_json_refuses_what_is_no_json(text: str) -> None:
    assert "parse_json" in refused("parse_json", text=text)


@pytest.mark.parametrize("text", ["x" + "[" * 200 + "1," * 990_000, "```json\n" * 200_000, "{" * 1_900_000, "``` " * 450_000])
def test_parse_json_does_not_read_a_long_text_from_every_bracket_on(text: str) -> None:
    began = time.process_time()
    assert "parse_json" in refused("parse_json", text=text)
    assert time.process_time() - began < 5


def test_parse_json_checks_a_schema() -> None:
    schema = {"type": "object", "required": ["a"]}
    assert call_pure("parse_json", {"text": '{"a": 1}', "schema": schema}) == {"a": 1}
    assert "does not fit" in refused("parse_json", text="{}", schema=schema)
    assert "not a JSON Schema" in refused("parse_json", text="{}", schema={"type": "thing"})


def vote(values: list[Any], **more: Any) -> dict[str, Any]:
    result: dict[str, Any] = call_pure("vote", {"values": values, **more})
    return result


def test_vote_gives_the_majority() -> None:
    assert vote(["spam", "ham", "Spam ", None]) == {"winner": "spam", "share": 0.666667, "votes": 3, "tied": False}
    assert vote(["Spam", "spam", "ham", "ham", "ham"], normalize=False)["winner"] == "ham"
    assert vote([{"a": 1}, {"a": 1}, [2]])["winner"] == {"a": 1}
    assert vote([True, 1, 1])["winner"] == 1 and vote([True, True, 1])["winner"] is True


@pytest.mark.parametrize(("tie", "winner"), [("first", "b"), ("last", "a"), ("smallest", "a"), ("none", None)])
def test_a_tie_is_said_and_broken_by_its_rule(tie: str, winner: str | None) -> None:
    assert vote(["b", "a", "a", "b"], tie=tie) == {"winner": winner, "share": 0.5, "votes": 4, "tied": True}


def test_votes_may_be_fields_with_weights() -> None:
    near = [{"label": "x", "similarity": 0.9}, {"label": "y", "similarity": 0.3}, {"label": "y", "similarity": 0.3}]
    assert vote(near, key="label")["winner"] == "y"
    assert vote(near, key="label", weight="similarity") == {"winner": "x", "share": 0.6, "votes": 3, "tied": False}
    assert vote([], default="none at all") == {"winner": "none at all", "share": 0.0, "votes": 0, "tied": False}
    assert vote([{"label": "x", "w": 0}], key="label", weight="w")["winner"] is None
    assert vote(["a", "b"], tie="none", default="?")["winner"] == "?"
    for wrong in (-1, "1", True, None):
        assert "weight" in refused("vote", values=[{"l": "x", "w": wrong}], key="l", weight="w")
    assert "need maps" in refused("vote", values=["x"], key="l")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * -3", -9),
        ("7 // 2 + 7 % 2", 4),
        ("2 ** 10", 1024),
        ("1 / 4", 0.25),
        ("max(1, 2, abs(-3))", 3),
        ("round(2.567, 1)", 2.6),
        ("sqrt(16)", 4.0),
        ("sum(1, 2)", 3),
        ("0.1 + 0.2", 0.1 + 0.2),
    ],
)
def test_arithmetic_computes(expression: str, value: float) -> None:
    assert call_pure("arithmetic", {"expression": expression}) == value


def test_arithmetic_knows_named_numbers() -> None:
    assert call_pure("arithmetic", {"expression": "price * n", "variables": {"price": 2.5, "n": 4}}) == 10
    assert "unknown name `x`" in refused("arithmetic", expression="x + 1", variables={"y": 1})


BOMBS = [
    "9 ** 9 ** 9",
    "9 ** 99999",
    "(9 ** 999) ** 999",
    "2.0 ** 9999",
    "9 ** 1200 * 9 ** 1200",
    "1 / 0",
    "1 % 0",
    "sqrt(-1)",
    "(-1) ** 0.5",
    "-" * 900 + "1",
    "(" * 400 + "1" + ")" * 400,
    "__import__('os')",
    "().__class__",
    "[1 for x in (1,)]",
    "lambda: 1",
    "'a' * 9",
    "True",
    "1 if 1 else 2",
    "1 < 2",
    "abs",
    "round(1.5, ndigits=0)",
    "min()",
    "1 +",
    "1; 2",
    "1e999",
]


@pytest.mark.parametrize("expression", BOMBS)
def test_arithmetic_refuses_everything_else_at_once(expression: str) -> None:
    began = time.perf_counter()
    assert "arithmetic" in refused("arithmetic", expression=expression)
    assert time.perf_counter() - began < 1


@given(st.text(max_size=60))
def test_no_text_makes_arithmetic_do_anything_but_compute_or_refuse(expression: str) -> None:
    try:
        value = call_pure("arithmetic", {"expression": expression})
    except InvalidInputError:
        return
    assert isinstance(value, int | float)


def test_lookup_table_finds_by_key_or_by_field() -> None:
    assert call_pure("lookup_table", {"table": {"a": 1, "7": "x", "true": "yes"}, "key": "a"}) == 1
    assert call_pure("lookup_table", {"table": {"7": "x"}, "key": 7}) == "x"
    assert call_pure("lookup_table", {"table": {"true": "yes"}, "key": True}) == "yes"
    rows = [{"code": "DE", "name": "Germany"}, {"code": "FR", "name": "France"}]
    assert (
        call_pure("lookup_table", {"table": rows, "key": "fr", "key_field": "code", "value_field": "name", "normalize": True})
        == "France"
    )
    assert call_pure("lookup_table", {"table": rows, "key": "DE", "key_field": "code"}) == rows[0]


def test_a_missing_key_is_an_error_unless_there_is_a_default() -> None:
    with pytest.raises(NotFoundError, match="no entry for 'z'"):
        call_pure("lookup_table", {"table": {"a": 1}, "key": "z"})
    assert call_pure("lookup_table", {"table": {"a": 1}, "key": "z", "default": None}) is None
    assert "row 0 lacks" in refused("lookup_table", table=[{"a": 1}], key="z")
