"""`evoline cassette show`: what a cassette holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from evoline.cli.output import AsJson, out, plain, print_json, print_table
from shared.errors import ConfigurationError
from shared.events.values import Usage
from shared.llm.cassette import CassetteChoice, Tape, chosen_cassette, read_tape
from shared.llm.cassette.tape import CompleteLine, Outcome, ResultsLine, SubmitLine
from shared.pipeline.completion import CompletionRequest

SHOWN = 60
"""Characters of a prompt and of an answer in the table."""


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True)
    app.command("show")(show)
    app.callback()(_group)
    return app


def _group() -> None:
    """Model calls that were recorded with `evoline up --cassette record:FILE`, or EVOLINE_CASSETTE."""


def show(file: Annotated[Path, typer.Argument(help="The cassette.")], as_json: AsJson = False) -> None:
    """Show what was asked and answered. Exit code 1 for a file that is no cassette, or a broken one, with the line."""
    tape = read_tape(file)
    calls = list(_calls(tape))
    totals = _totals(tape)
    if as_json:
        print_json({"file": str(file), "recorded_at": tape.recorded_at, **totals, "calls": calls})
        return
    rows = [(each["family"], each["model"], _short(each["prompt"]), _short(each["answer"])) for each in calls]
    print_table(("family", "model", "asked", "answered"), rows, empty="nothing was recorded")
    usage = totals["usage"]
    tokens = usage["input_tokens"] + usage["output_tokens"]
    out().print(
        f"{len(calls)} calls, {totals['failures']} failed, {tokens} tokens, ${usage['cost_usd']:.4f}, {plain(tape.recorded_at)}"
    )


def checked_cassette(text: str) -> CassetteChoice | None:
    """What is asked for, with a file that can be replayed. Raises `ConfigurationError` or `InvalidInputError`."""
    choice = chosen_cassette(text)
    if choice is not None and (choice.mode == "replay" or (choice.file.exists() and choice.file.stat().st_size)):
        tape = read_tape(choice.file)
        if choice.mode == "replay" and not tape.lines:
            raise ConfigurationError(f"{choice.file} holds no calls to replay")
    return choice


def _outcomes(tape: Tape) -> Iterator[tuple[CompletionRequest, Outcome]]:
    submitted = {line.batch_id: line for line in tape.lines if isinstance(line, SubmitLine)}
    for line in tape.lines:
        if isinstance(line, CompleteLine):
            yield line.request, line.outcome
        elif isinstance(line, ResultsLine) and line.batch_id in submitted:
            requests = submitted[line.batch_id].requests.items()
            yield from ((request, line.outcomes[name]) for name, request in requests if name in line.outcomes)


def _calls(tape: Tape) -> Iterator[dict[str, Any]]:
    for request, outcome in _outcomes(tape):
        completion = outcome.completion
        yield {
            "family": request.family,
            "provider": completion.provider if completion else "",
            "model": completion.model if completion else request.model or "",
            "prompt": request.messages[-1].text,
            "answer": completion.text if completion else f"{outcome.kind}: {outcome.message}",
        }


def _totals(tape: Tape) -> dict[str, Any]:
    outcomes = [outcome for _, outcome in _outcomes(tape)]
    usage = sum((outcome.completion.usage for outcome in outcomes if outcome.completion), Usage())
    kinds = Counter(line.call for line in tape.lines)
    failures = sum(outcome.completion is None for outcome in outcomes)
    return {"lines": dict(kinds), "failures": failures, "usage": usage.model_dump(mode="json")}


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
