"""`evoline pipelines`: what serves."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from evoline.cli.output import AsJson, print_json, print_table, run_async
from evoline.client.connection import connected
from shared.events.deployments import ListPipelines


def pipelines(limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000)] = 100, as_json: AsJson = False) -> None:
    """List the pipelines: what serves, and whether it is frozen or quarantined."""

    async def work() -> list[dict[str, Any]]:
        async with connected() as client:
            rows: list[dict[str, Any]] = (await client.ask(ListPipelines(limit=limit)))["pipelines"]
            return rows

    found = run_async(work())
    if as_json:
        print_json({"pipelines": found})
        return
    rows = [
        (one["name"], one["domain"], one["stable"][:12], one["generation"], _state(one), one["updated_at"][:19]) for one in found
    ]
    print_table(("pipeline", "domain", "stable", "generation", "state", "since"), rows, empty="no pipeline is deployed")


def _state(row: dict[str, Any]) -> str:
    quarantined = ["quarantined: every run is refused"] if row["quarantined"] else []
    return ", ".join([*quarantined, *([f"frozen ({row['frozen']})"] if row["frozen"] else [])]) or "serves"
