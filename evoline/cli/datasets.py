"""`evoline datasets`: what is registered."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from evoline.cli.output import AsJson, print_json, print_table, run_async
from evoline.client.connection import connected
from shared.events.custody import ListDatasets


def datasets(
    domain: Annotated[str | None, typer.Option(help="Only those of this domain.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=500)] = 50,
    as_json: AsJson = False,
) -> None:
    """List the registered data sets, newest first: their ids, and how many cases of each split they have."""
    query = ListDatasets(domain=domain, limit=limit)

    async def work() -> list[dict[str, Any]]:
        async with connected() as client:
            rows: list[dict[str, Any]] = (await client.ask(query))["datasets"]
            return rows

    found = run_async(work())
    if as_json:
        print_json({"datasets": found})
        return
    none = "no data set is registered; `evoline evolve --dataset FILE` and `evoline generate --dataset FILE` register one"
    columns = ("data set", "domain", "train", "dev", "sealed", "grader", "author", "registered")
    print_table(columns, [_row(one) for one in found], empty=none)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    counts = (str(one["counts"].get(split, 0)) for split in ("train", "dev", "sealed"))
    return one["dataset_id"], one["domain"], *counts, one["grader"]["kind"], one["author"], one["created_at"][:19]
