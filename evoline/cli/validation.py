"""`evoline validate`: all problems of documents, each with its place and what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from evoline.cli.output import EXIT_NO, AsJson, out, plain, print_json
from shared.errors import InvalidInputError, Problem
from shared.pipeline.loading import load_document

STANDARD_INPUT = Path("-")
SUFFIXES = frozenset({".yaml", ".yml", ".json"})


def validate(
    paths: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Documents, folders with documents, or - for standard input.")
    ],
    as_json: AsJson = False,
) -> None:
    """Check pipeline documents without a stack. Exit code 1 where any has a problem."""
    results = [check_file(file) for path in paths for file in documents_in(path)]
    if as_json:
        print_json({"valid": all(result["valid"] for result in results), "files": results})
    else:
        for result in results:
            _print_result(result)
    if not all(result["valid"] for result in results):
        raise SystemExit(EXIT_NO)


def documents_in(path: Path) -> list[Path]:
    """The file itself, or all documents below a folder. Raises InvalidInputError where there is none."""
    if path == STANDARD_INPUT or not path.is_dir():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    if not found:
        raise InvalidInputError(Problem(file=str(path), reason="holds no .yaml, .yml or .json file"))
    return found


def check_file(path: Path) -> dict[str, Any]:
    """`{file, valid, name, digest, problems}`."""
    try:
        text = sys.stdin.buffer.read().decode() if path == STANDARD_INPUT else path.read_text(encoding="utf-8")
        document = load_document(text, file=str(path))
    except InvalidInputError as error:
        return _invalid(path, error.problems)
    except OSError as error:
        return _invalid(path, [Problem(file=str(path), reason=f"cannot be read: {error.strerror}")])
    except UnicodeDecodeError as error:
        return _invalid(path, [Problem(file=str(path), reason=f"is not UTF-8 text (byte {error.start})")])
    return {"file": str(path), "valid": True, "name": document.name, "digest": document.digest, "problems": []}


def _invalid(path: Path, problems: Any) -> dict[str, Any]:
    return {"file": str(path), "valid": False, "name": "", "digest": "", "problems": [problem.model_dump() for problem in problems]}


def _print_result(result: dict[str, Any]) -> None:
    if result["valid"]:
        out().print(f"[green]✓[/green] {plain(result['file'])}: {plain(result['name'])}@{result['digest'][:12]}")
    for problem in result["problems"]:
        out().print(f"[red]✗[/red] {plain(Problem.model_validate(problem))}")
