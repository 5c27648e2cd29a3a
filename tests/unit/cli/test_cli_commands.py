"""The command line itself: exit codes, messages, one JSON document; without any server."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from evoline.cli import run
from evoline.cli.output import report_error
from evoline.cli.stack import parse_scale
from shared.errors import ConfigurationError, InvalidInputError, Problem, ProviderError, UnavailableError
from shared.llm.cassette import TapeWriter
from shared.llm.cassette.tape import CompleteLine, Outcome
from shared.pipeline.completion import ChatMessage, CompletionRequest
from tests.fakes.language_model import completion_of
from tests.specification import printed_documents

GOOD = "name: hello\ninputs: {text: string}\nsteps:\n  - {name: say, type: set_variable, variable: said, value: '{{ text }}'}\n"
BAD = "name: Hello\nsteps:\n  - {name: say, type: claude_smrt, prompt: '{{ steps.later.result }}'}\n"
COMMANDS = (
    ["up"], ["down"], ["status"], ["logs"], ["generate"], ["run"], ["runs"], ["cancel"], ["show"], ["validate"], ["rollback"],
    ["pause"], ["resume"], ["retry"], ["fork"], ["journal"], ["export"], ["import"],
    ["measure"], ["evolve"], ["lineage"], ["learn"], ["version"], ["review", "list"], ["review", "approve"], ["review", "deny"],
    ["bus", "apply"], ["bus", "dead-letters", "list"], ["bus", "dead-letters", "redrive"], ["keys", "show"], ["keys", "create"],
    ["cassette", "show"], ["maturity"],
    ["policy", "show"], ["policy", "list"], ["policy", "validate"], ["policy", "test"], ["policy", "propose"],
    ["policy", "rollback"], ["policy", "diff"],
)  # fmt: skip


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack, no broker, no configuration of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVOLINE_HOME", str(tmp_path / "home"))
    for name in ("EVOLINE_NATS_URL", "EVOLINE_DEBUG"):
        monkeypatch.delenv(name, raising=False)


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_and_offers_json(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*command, "--help"]) == 0
    assert "--json" in capsys.readouterr().out


def test_a_cassette_is_shown_with_what_it_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = CompletionRequest(family="claude", messages=(ChatMessage(role="user", text="Say [b]hello[/b]"),))
    tape = TapeWriter(tmp_path / "tape.jsonl")
    tape.add(CompleteLine(request=asked, outcome=Outcome.of(completion_of("hello there", asked))))
    tape.add(CompleteLine(request=asked, outcome=Outcome.of(ProviderError("overload", "busy"))))
    assert run(["cassette", "show", str(tape.file), "--json"]) == 0
    shown = document(capsys)
    assert (shown["lines"], shown["failures"], shown["usage"]["output_tokens"]) == ({"complete": 2}, 1, 2)
    assert [call["answer"] for call in shown["calls"]] == ["hello there", "overload: busy"]
    assert run(["cassette", "show", str(tape.file)]) == 0
    assert "Say [b]hello[/b]" in capsys.readouterr().out


def test_a_broken_cassette_is_told_with_its_line_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tape.jsonl").write_text('{"evoline_cassette": 1}\n{"call": ')
    for command in (["cassette", "show", "tape.jsonl"], ["up", "--cassette", "replay:tape.jsonl"]):
        assert run(command) == 1
        assert "tape.jsonl:2" in capsys.readouterr().err
    assert run(["up", "--cassette", "tape.jsonl"]) == 2
    assert "record:FILE or replay:FILE" in capsys.readouterr().err
    assert not (tmp_path / "home" / "data").exists()


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["genarate"]) == 2
    assert "genarate" in capsys.readouterr().err


def test_a_valid_document_is_named_with_its_digest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "hello.yaml"
    file.write_text(GOOD)
    assert run(["validate", str(file)]) == 0
    assert "hello@" in capsys.readouterr().out


def test_every_problem_of_every_file_is_told_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "bad.yaml").write_text(BAD)
    assert run(["validate", str(tmp_path), str(tmp_path / "none.yaml"), "--json"]) == 1
    found = document(capsys)
    files = {Path(each["file"]).name: each for each in found["files"]}
    assert not found["valid"] and files["good.yaml"]["valid"]
    assert len(files["bad.yaml"]["problems"]) >= 2
    assert any(problem["line"] == 3 and "claude_smart" in problem["suggestion"] for problem in files["bad.yaml"]["problems"])
    assert "cannot be read" in files["none.yaml"]["problems"][0]["reason"]


@pytest.mark.parametrize(("text", "code"), [(GOOD, 0), (BAD, 1)], ids=["good", "bad"])
def test_standard_input_is_checked_like_a_file(
    text: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert run(["validate", "-", "--json"]) == code
    (found,) = document(capsys)["files"]
    assert (found["file"], found["valid"], bool(found["problems"])) == ("-", code == 0, code == 1)


def test_the_printed_documents_are_valid_and_one_line_broken_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stem, text in printed_documents().items():
        (tmp_path / f"{stem}.yaml").write_text(text)
    files = [str(path) for path in sorted(tmp_path.glob("*.yaml"))]
    assert run(["validate", *files]) == 0
    assert capsys.readouterr().out.count("@") == 9
    broken = tmp_path / "meta_learner.yaml"
    broken.write_text(broken.read_text().replace("type: claude_smart", "type: claude_smrt"))
    assert run(["validate", *files]) == 1
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("✗")]
    assert told == [f"✗ {broken}:5 steps[0].type: unknown step type `claude_smrt` (did you mean `claude_smart`?)"]


def test_a_folder_without_documents_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run(["validate", str(tmp_path / "empty")]) == 1
    assert "holds no .yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["runs"], ["show", "run", "r1"], ["review", "list"], ["bus", "apply"], ["run", "hello"],
        ["logs", "run", "r1"], ["logs", "run", "r1", "-f"], ["export", "r1"], ["pause", "r1"], ["retry", "r1"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_without_a_stack_the_way_to_one_is_told(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command) == 3
    assert "evoline up" in capsys.readouterr().err
    assert run([*command, "--json"]) == 3
    assert document(capsys)["error"]["code"] == "unavailable"


def test_status_without_a_stack_says_so_with_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--json"]) == 3
    assert document(capsys)["status"] == "stopped"


def test_down_without_a_stack_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["down", "--json"]) == 0
    assert document(capsys)["stopped"] is False


def test_data_are_deleted_only_after_a_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "home" / "data"
    data.mkdir(parents=True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert run(["down", "--data"]) == 1
    assert data.exists()
    assert run(["down", "--data", "--yes"]) == 0
    assert not data.exists()


@pytest.mark.parametrize(
    ("scale", "reason"),
    [("guardrail=2", "runs once"), ("exec=2", "no service"), ("executor=0", "1 to 64"), ("executor", "1 to 64")],
)
def test_a_wrong_scale_is_a_usage_error_with_its_reason(scale: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["up", "--scale", scale]) == 2
    assert reason in capsys.readouterr().err


def test_the_last_scale_counts() -> None:
    assert parse_scale([]) is None
    assert parse_scale(["executor=2", "executor=3"]) == 3


def test_bad_examples_are_told_before_anything_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text('{"id": 1}\nnope\n')
    assert run(["generate", "-r", "classify", "-d", "support", "--examples", str(file), "--json"]) == 1
    assert {problem["line"] for problem in document(capsys)["error"]["problems"]} == {1, 2}


@pytest.mark.parametrize(("option", "value"), [("--domain", "Not A Domain"), ("--requirements", "x"), ("--seconds", "-1")])
def test_a_request_that_no_service_would_take_is_refused_here(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = {"--requirements": "classify tickets", "--domain": "support"} | {option: value}
    assert run(["generate", *(part for pair in arguments.items() for part in pair)]) == 1
    assert "error:" in capsys.readouterr().err


def test_keys_are_made_once_and_the_private_one_is_never_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "show"]) == 1
    assert run(["keys", "create"]) == 0
    capsys.readouterr()
    assert run(["keys", "show"]) == 0
    text = capsys.readouterr().out
    assert "BEGIN PUBLIC KEY" in text and "PRIVATE KEY---" not in text


def test_logs_of_an_unknown_process_name_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "home" / "logs"
    logs.mkdir(parents=True)
    (logs / "executor-1.log").write_text("one\ntwo [x]\n")
    assert run(["logs", "nats"]) == 1
    assert "executor-1" in capsys.readouterr().err
    assert run(["logs", "executor", "-n", "1", "--json"]) == 0
    assert document(capsys) == {"logs": {"executor-1": ["two [x]"]}}


def test_logs_of_more_than_one_thing_are_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["logs", "walk", "r1"]) == 2
    assert "`run` and the id of a run" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_not_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", str(tmp_path / "none.json"), "--json"]) == 1
    (problem,) = document(capsys)["error"]["problems"]
    assert "none.json" in problem["file"] and "No such file" in problem["reason"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInputError(Problem(file="a.yaml", line=3, path="steps[0]", reason="is odd", suggestion="make it even")), 1),
        (ConfigurationError("no disk"), 2),
        (UnavailableError("nobody answers"), 3),
        (ZeroDivisionError("x [red] y"), 4),
    ],
)
def test_errors_have_their_exit_code_and_never_a_traceback(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_error(error, as_json=False) == code
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert "a.yaml:3 steps[0]: is odd (make it even)" in text or "no disk" in text or "nobody" in text or "x [red] y" in text


def test_a_traceback_is_shown_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("EVOLINE_DEBUG", "1")
    report_error(ZeroDivisionError("x"), as_json=False)
    assert "ZeroDivisionError: x" in capsys.readouterr().err
