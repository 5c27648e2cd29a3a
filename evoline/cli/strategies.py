"""`evoline strategies`: what promotions claimed, and what production shows of it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from evoline.cli.output import AsJson, out, plain, print_json, print_table, run_async
from evoline.client.connection import connected
from shared.events.gains import GainRealised, GetStrategies


def strategies(
    pipeline: Annotated[str | None, typer.Option(help="Only promotions of this pipeline.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=500, help="Latest promotions to count.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show seen, claimed and realised gain of promotions by the strategy and operator that found them.

    Seen is what the sealed gate measured, claimed the likeliest gain given that its test was passed: just passing takes luck.
    Realised gain needs scored production runs (`evoline report`); without them there is no data, which is not a gain of zero."""

    async def work() -> dict[str, Any]:
        async with connected() as client:
            return await client.ask(GetStrategies(pipeline=pipeline, limit=limit))

    found = run_async(work())
    if as_json:
        print_json(found)
        return
    rows = [_row(line) for line in found["strategies"]]
    columns = ("strategy", "operator", "promotions", "with data", "seen", "claimed", "realised", "outcomes")
    print_table(columns, rows, empty="no promotion was looked at yet: production runs have to be scored first (`evoline report`)")
    facts = [GainRealised.model_validate(claim) for claim in found["claims"]]
    if facts:
        scored, served = sum(fact.runs for fact in facts), sum(fact.served for fact in facts)
        out().print(plain(f"{scored} of {served} production runs of these promotions were scored: of the others nothing is known"))
    for fact in facts:
        if fact.outcome == "contradicted":
            out().print(plain(f"{fact.pipeline}@{fact.digest[:12]} ({fact.change_id}): {'; '.join(fact.reasons)}"))


def _row(line: dict[str, Any]) -> tuple[str, ...]:
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in line["outcomes"].items())
    counted = (str(line["claims"]), str(line["with_data"]))
    gains = (_gain(line["seen"]), _gain(line["claimed"]), _gain(line["realised"]))
    return line["strategy"], line["operator"] or "-", *counted, *gains, outcomes


def _gain(value: float | None) -> str:
    return f"{value:+.3f}" if value is not None else "no data"
