"""What the command prints: answers on stdout (people's text or one JSON document), progress and errors on stderr."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_jsonable_python
from rich.console import Console
from rich.table import Table

from evoline.cli.exit_codes import EXIT_FAULT as EXIT_FAULT
from evoline.cli.exit_codes import EXIT_INTERRUPTED as EXIT_INTERRUPTED
from evoline.cli.exit_codes import EXIT_NO as EXIT_NO
from evoline.cli.exit_codes import EXIT_UNAVAILABLE as EXIT_UNAVAILABLE
from evoline.cli.exit_codes import EXIT_USAGE as EXIT_USAGE
from evoline.cli.forms import FORMS
from evoline.whoami import default_name, is_named
from shared.errors import (
    ConfigurationError,
    EvolineError,
    InvalidInputError,
    Problem,
    TransientError,
)

T = TypeVar("T")
DEBUG_VARIABLE = "EVOLINE_DEBUG"
WIDTH_WITHOUT_TERMINAL = 180

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout instead of text.")]


def out() -> Console:
    """As wide as the terminal; wide enough for every table where there is none."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL)


def err() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """One document, also for pydantic models, dates and paths."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else to_jsonable_python(value, inf_nan_mode="constants")
    sys.stdout.write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    if not rows:
        out().print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else plain(cell) for cell in row))
    out().print(table)


def plain(value: Any) -> str:
    """Text that rich prints as it is, whatever brackets it holds."""
    return str(value).replace("[", r"\[")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Runs it to its end. Ctrl-C and SIGTERM cancel it, wait for what it cleans up, and end the command with 130."""
    try:
        return asyncio.run(_cancellable(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        err().print("interrupted")
        raise SystemExit(EXIT_INTERRUPTED) from None


async def _cancellable(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    return await task


def moment(text: str) -> str:
    """A time as tables show it: to the second."""
    return text[:19]


def report_error(error: Exception, *, as_json: bool) -> int:
    """Prints one clear message and returns the exit code."""
    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exception(error)
    code, problems = _code_and_problems(error)
    if as_json:
        name = error.code if isinstance(error, EvolineError) else "fault" if code == EXIT_FAULT else "invalid_input"
        listed = [problem.model_dump() for problem in problems]
        print_json({"error": {"code": name, "message": message_of(error), "problems": listed}})
        return code
    for text in map(str, problems) if problems else [message_of(error)]:
        err().print(f"[red]error:[/red] {plain(text)}")
    return code


def message_of(error: Exception) -> str:
    if isinstance(error, EvolineError):
        return str(error)
    if isinstance(error, ValidationError):
        return "; ".join(str(problem) for problem in problems_of(error))
    return f"{type(error).__name__}: {error}. This is a fault of Evoline; {DEBUG_VARIABLE}=1 shows where it happened"


def problems_of(error: ValidationError) -> list[Problem]:
    return [_problem_of(fault) for fault in error.errors(include_url=False, include_input=False)]


def _problem_of(fault: ErrorDetails) -> Problem:
    """What a pattern asks for is said in words, where there are any."""
    context = fault.get("ctx", {})
    reason, suggestion = str(fault["msg"]).removeprefix("Value error, "), FORMS.get(str(context.get("pattern", "")), "")
    if fault["type"] == "too_long":
        reason = f"has {context['actual_length']:,} entries; at most {context['max_length']:,} are taken"
    elif fault["type"] == "too_short":
        reason = f"has {context['actual_length']:,} entries; at least {context['min_length']:,} are needed"
    return Problem(
        path=".".join(map(str, fault["loc"])),
        reason="has not the form that it must have" if suggestion else reason,
        suggestion=suggestion,
    )


def _code_and_problems(error: Exception) -> tuple[int, list[Problem]]:
    if isinstance(error, InvalidInputError):
        return EXIT_NO, list(error.problems)
    if isinstance(error, ValidationError):
        return EXIT_NO, problems_of(error)
    if isinstance(error, ConfigurationError):
        return EXIT_USAGE, []
    if isinstance(error, TransientError):
        return EXIT_UNAVAILABLE, []
    return (EXIT_NO, []) if isinstance(error, EvolineError) else (EXIT_FAULT, [])


def _acting(context: typer.Context, name: str) -> str:
    """Whoever is named must have a key here, before anything is sent. Raises ConfigurationError."""
    if context.resilient_parsing:  # the shell completes a line
        return name
    if name or is_named():
        from evoline.identities import check_named  # loads cryptography, which most commands do without

        check_named(name, os.environ, Path.cwd())
    return name or default_name()


Author = Annotated[
    str,
    typer.Option(
        "--as",
        "--author",
        metavar="NAME",
        help="Who acts, and signs with its key, which must be here; default: EVOLINE_IDENTITY, else your user name.",
        callback=_acting,
    ),
]
