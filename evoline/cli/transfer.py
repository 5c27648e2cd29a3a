"""`evoline export | import`: runs as files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from evoline.cli.output import AsJson, Author, err, out, plain, print_json, run_async
from evoline.client.connection import connected
from evoline.client.transfer import RunTransfer
from shared.errors import InvalidInputError, Problem
from shared.events.transfer import RunImported
from shared.large_values import MAX_VALUE_BYTES


def export(
    run_id: Annotated[str, typer.Argument(help="Id of the run.")],
    target: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Where to write it; - is standard output.")] = "-",
    as_json: AsJson = False,
) -> None:
    """Write all that is kept of a run into one JSON file: its record, journal, values and document; secrets are left out.

    With --out FILE and --json it prints what was written; without --out the file itself is the JSON document."""
    file = run_async(_export(run_id))
    text = json.dumps(file, ensure_ascii=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        _write(Path(target), text)
        if as_json:
            print_json({"run_id": run_id, "file": target, "bytes": len(text.encode()), **_facts(file)})
        else:
            out().print(plain(f"run {run_id}: {file['run']['status']}, {len(file['journal'])} journal lines, written to {target}"))
    for place in file["redacted"]:
        err().print(plain(f"left out a secret: {place}"))


def import_(
    source: Annotated[str, typer.Argument(metavar="FILE", help="What `evoline export` wrote; - is standard input.")],
    reason: Annotated[str, typer.Option(help="Kept with the run.")] = "",
    author: Author = "",
    as_json: AsJson = False,
) -> None:
    """Keep a run that ended on another stack: to show, list and read, or to fork and retry where its revision is approved here.

    It is not executed and counts nowhere. The same file again changes nothing."""
    body = _read(source)
    try:
        imported = run_async(_import(body, reason, author))
    except InvalidInputError as error:
        raise InvalidInputError([each.model_copy(update={"file": source}) for each in error.problems]) from error
    if as_json:
        print_json(imported)
        return
    out().print(plain(f"run {imported.run_id} of {imported.pipeline}: {imported.status}, {imported.lines} journal lines, imported"))
    for place in imported.redacted:
        err().print(plain(f"the export left a secret out: {place}"))
    err().print(f"look: evoline show run {imported.run_id}")


async def _export(run_id: str) -> dict[str, Any]:
    async with connected() as client:
        return await RunTransfer(client.bus).export(run_id)


async def _import(body: bytes, reason: str, author: str) -> RunImported:
    async with connected(author=author) as client:
        return await RunTransfer(client.bus, author=client.author).take_in(body, reason)


def _facts(file: dict[str, Any]) -> dict[str, Any]:
    return {"status": file["run"]["status"], "sha256": file["sha256"], "redacted": file["redacted"]}


def _read(source: str) -> bytes:
    """No more than an export can have, and one byte that says so."""
    if source == "-":
        return sys.stdin.buffer.read(MAX_VALUE_BYTES + 1)
    try:
        with Path(source).open("rb") as file:
            return file.read(MAX_VALUE_BYTES + 1)
    except OSError as error:
        raise InvalidInputError(Problem(file=source, reason=f"cannot be read: {error.strerror}")) from error


def _write(path: Path, text: str) -> None:
    """Appears whole or not at all. Whoever else uses this machine need not read it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InvalidInputError(Problem(file=str(path), path="--out", reason=f"cannot be written: {error.strerror}")) from error
