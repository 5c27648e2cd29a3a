"""`evoline logs run ID`: what a run did, in the order of time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import typer

from evoline.cli.output import err, plain, print_json, run_async
from evoline.client.connection import connected
from evoline.client.transfer import Line, RunLog, RunTransfer

FOLLOW_SECONDS = 1.0
GOES_ON = ("running", "waiting")


def run_log(run_id: str, follow: bool, last: int | None, as_json: bool) -> None:
    """`last`: how many lines of what was before; None means all. With `follow` each line is a JSON document of its own."""
    log = run_async(_told(run_id, follow, last, as_json))
    if as_json and not follow:
        print_json({"run_id": run_id, "status": log.status, "imported": log.imported, "lines": _last(log.lines, last)})
    elif not as_json:
        err().print(plain(f"run {run_id}: {log.status}{', imported from elsewhere' if log.imported else ''}"))


async def _told(run_id: str, follow: bool, last: int | None, as_json: bool) -> RunLog:
    async with connected() as client:
        transfer = RunTransfer(client.bus)
        log = await transfer.log(run_id)
        if follow or not as_json:
            _print(_last(log.lines, last), as_json)
        told = {line["id"] for line in log.lines}
        while follow and log.status in GOES_ON:
            await asyncio.sleep(FOLLOW_SECONDS)
            log = await transfer.log(run_id, log.next)
            _print([line for line in log.lines if line["id"] not in told], as_json)
            told |= {line["id"] for line in log.lines}
        return log


def _last(lines: Sequence[Line], last: int | None) -> list[Line]:
    return list(lines) if last is None else list(lines)[len(lines) - min(last, len(lines)) :]


def _print(lines: Sequence[Line], as_json: bool) -> None:
    for line in lines:
        typer.echo(json.dumps(line, ensure_ascii=False) if as_json else _text(line))


def _text(line: Line) -> str:
    return f"{str(line['at'] or '')[:23]:<23}  {line['level']:<7}  {line['kind']:<9}  {line['text']}"
