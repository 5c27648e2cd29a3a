"""Data set files and other things that people type."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from evoline.cli.arguments import read_grader, read_inputs, read_text
from evoline.client.datasets import dataset_id_of, parse_cases, read_cases
from shared.errors import InvalidInputError

GOOD = '{"id": "a", "input": {"text": "x"}, "expected": 1, "meta": {"from": "web"}, "tags": ["t"], "split": "train"}\n'


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidInputError) as caught:
        parse_cases(text, file="cases.jsonl")
    return [str(problem) for problem in caught.value.problems]


def test_a_case_is_read_with_its_tags_and_split_and_other_keys_are_ignored() -> None:
    (case,) = parse_cases(GOOD + "\n\n")
    assert (case.id, case.input, case.expected, case.tags, case.split) == ("a", {"text": "x"}, 1, ("t",), "train")


def test_every_bad_line_is_named_with_its_number_at_once() -> None:
    text = GOOD + "{not json\n" + '["list"]\n' + '{"id": "b", "input": {}}\n' + GOOD.replace('"a"', '"c"')
    found = problems(text)
    assert found[0].startswith("cases.jsonl:2: is not JSON")
    assert found[1].startswith("cases.jsonl:3: is not a JSON object")
    assert {line.split(":")[1].split()[0] for line in found[2:]} == {"4"}
    assert any("expected" in line for line in found) and any("input" in line for line in found)


def test_an_id_that_is_used_twice_names_both_lines() -> None:
    assert problems(GOOD + GOOD) == ["cases.jsonl:2 id: 'a' is also the id of line 1 (ids are unique)"]


def test_a_file_without_cases_is_refused() -> None:
    assert "holds no case" in problems("\n \n")[0]


def test_a_file_with_a_thousand_bad_lines_names_a_hundred_and_the_rest_as_a_number() -> None:
    found = problems("x\n" * 1000)
    assert len(found) == 101 and "and 900 more" in found[-1]


def test_line_numbers_count_line_feeds_only(tmp_path: Path) -> None:
    text = json.dumps({"id": "a", "input": {"t": "one\u2028two\x0bthree"}, "expected": 1}, ensure_ascii=False) + "\nbad\n"
    assert problems(text)[0].startswith("cases.jsonl:2")


def test_a_file_that_is_no_text_or_not_there_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "b.jsonl"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (binary, tmp_path / "none.jsonl"):
        with pytest.raises(InvalidInputError, match=path.name):
            read_cases(path)


def test_the_data_set_id_follows_the_cases_not_the_formatting() -> None:
    first, spaced = parse_cases(GOOD), parse_cases(GOOD.replace(": ", " :  "))
    other = parse_cases(GOOD.replace("1", "2"))
    assert dataset_id_of(Path("my cases!.jsonl"), first) == dataset_id_of(Path("my cases!.jsonl"), spaced)
    assert dataset_id_of(Path("a.jsonl"), first) != dataset_id_of(Path("a.jsonl"), other)
    assert dataset_id_of(Path("my cases!.jsonl"), first).startswith("my_cases-")


def test_inputs_come_as_json_as_a_file_and_as_pairs_and_later_ones_win(tmp_path: Path) -> None:
    file = tmp_path / "in.json"
    file.write_text('{"a": 1, "b": 2}')
    assert read_inputs([f"@{file}", '{"b": 3}', "c=4", "d:=[5]", "e=x=y"]) == {"a": 1, "b": 3, "c": "4", "d": [5], "e": "x=y"}


@pytest.mark.parametrize("value", ["nothing", "=x", ":=1", "{broken", "a:=broken", "@/does/not/exist", "@"])
def test_an_input_in_no_known_form_is_refused_with_the_option_named(value: str) -> None:
    with pytest.raises(InvalidInputError, match=r"--input|cannot be read"):
        read_inputs([value])


def test_an_input_that_is_json_but_no_object_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "in.json"
    file.write_text("[1]")
    with pytest.raises(InvalidInputError, match="not a JSON object"):
        read_inputs([f"@{file}"])


def test_text_is_itself_or_a_files_or_standard_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "r.txt"
    file.write_text("from file")
    monkeypatch.setattr("sys.stdin", io.StringIO("from stdin"))
    assert read_text("plain", option="-r") == "plain"
    assert read_text(f"@{file}", option="-r") == "from file"
    assert read_text("-", option="-r") == "from stdin"


def test_a_grader_is_a_kind_with_or_without_options() -> None:
    spec = read_grader('numeric:{"tolerance": 0.5}')
    assert spec is not None and (spec.kind, spec.options) == ("numeric", {"tolerance": 0.5})
    assert read_grader(None) is None
    with pytest.raises(InvalidInputError, match="one of exact"):
        read_grader("best")
