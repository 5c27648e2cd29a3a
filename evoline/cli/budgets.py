"""`evoline budget list | show | reservations | estimate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from evoline.cli.output import EXIT_NO, AsJson, moment, out, plain, print_json, print_table, run_async
from evoline.cli.validation import SUFFIXES
from evoline.client.connection import connected
from shared.errors import InvalidInputError, Problem
from shared.events import Query
from shared.events.quotas import EstimateCost, ListBudgets, ListReservations
from shared.pipeline.loading import load_document

Day = Annotated[str | None, typer.Option("--day", metavar="YYYY-MM-DD", help="A day, UTC; default: today.")]
Limit = Annotated[int, typer.Option("-n", "--limit", min=1, max=1000)]
RESOURCES = ("runs", "calls", "tokens", "cost_usd", "cpu_seconds", "wall_seconds")


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.command("list")(list_budgets)
    app.command("show")(show)
    app.command("reservations")(reservations)
    app.command("estimate")(estimate)
    return app


def list_budgets(day: Day = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the day's accounts, the fullest first: what is used, reserved and allowed."""
    told = _asked(ListBudgets(day=day, limit=limit))
    if as_json:
        print_json(told)
        return
    rows = [(row["account"], _share(row), *(_of_limit(row, name) for name in RESOURCES[:4])) for row in told["accounts"]]
    print_table(("account", "full", *RESOURCES[:4]), rows, empty=f"nothing was used or reserved on {told['day']}")
    out().print(plain(f"used + reserved / limit of {told['day']}; whole again at {told['renews_at']}"))


def show(
    account: Annotated[
        str, typer.Argument(metavar="ACCOUNT", help="As `evoline budget list` shows it, for example pipeline:triage.")
    ],
    day: Day = None,
    as_json: AsJson = False,
) -> None:
    """Show one account by resource, with who holds reservations on it."""
    told = _asked(ListBudgets(day=day, account=account))
    held = _asked(ListReservations(day=day, account=account, limit=1000))["reservations"]
    (row,) = told["accounts"]
    if as_json:
        print_json({**row, "day": told["day"], "renews_at": told["renews_at"], "reservations": held})
        return
    table = [
        (name, _number(row["used"][name]), _number(row["reserved"][name]), _number(row["limits"].get(name), missing="no limit"))
        for name in RESOURCES
    ]
    print_table((account, "used", "reserved", "limit"), table, empty="")
    _print_reservations(held)
    out().print(plain(f"whole again at {told['renews_at']}"))


def reservations(
    account: Annotated[str | None, typer.Option("--account", help="Only those that this account holds.")] = None,
    day: Day = None,
    limit: Limit = 100,
    as_json: AsJson = False,
) -> None:
    """List what is reserved and not settled yet, oldest first."""
    told = _asked(ListReservations(day=day, account=account, limit=limit))
    if as_json:
        print_json(told)
    else:
        _print_reservations(told["reservations"])


def estimate(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE|FILE", help="A deployed pipeline, or a document's file.")],
    runs: Annotated[int, typer.Option("--runs", min=1, help="How many runs.")] = 100,
    purpose: Annotated[str, typer.Option("--purpose", help="evolution, generation, meta or production.")] = "evolution",
    as_json: AsJson = False,
) -> None:
    """Estimate what runs would use, beside what is left today: calls at most, tokens without what inputs insert into prompts.

    Exit code 1 where it does not fit."""
    told = _asked(EstimateCost.model_validate({**_what(pipeline), "runs": runs, "purpose": purpose}))
    if as_json:
        print_json(told)
    else:
        _print_estimate(told)
    if not told["fits"]:
        raise SystemExit(EXIT_NO)


def _what(pipeline: str) -> dict[str, Any]:
    path = Path(pipeline)
    if path.suffix not in SUFFIXES and not path.is_file():
        return {"pipeline": pipeline}
    try:
        return {"document": load_document(path.read_text(encoding="utf-8"), file=pipeline).canonical()}
    except OSError as error:
        raise InvalidInputError(Problem(file=pipeline, reason=f"cannot be read: {error.strerror}")) from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(Problem(file=pipeline, reason=f"is not UTF-8 text (byte {error.start})")) from error


def _asked(query: Query) -> dict[str, Any]:
    async def work() -> dict[str, Any]:
        async with connected() as client:
            return await client.ask(query)

    return run_async(work())


def _print_estimate(told: dict[str, Any]) -> None:
    rows = [(name, _number(told["per_run"][name]), _number(told["total"][name])) for name in RESOURCES[:4]]
    print_table((told["pipeline"], "a run", f"{told['runs']:,} runs"), rows, empty="")
    out().print("tokens of its own prompts and longest answers; what inputs insert comes to them, up to the document's limits")
    out().print(plain(f"dollars at {told['dearest_usd']:g} a million tokens, the dearest that it may call"))
    for short in told["short"]:
        out().print(plain(f"does not fit: {short['text']}; whole again at {short['renews_at']}"))
    if not told["fits"]:
        out().print(plain(f"{told['runs_that_fit']:,} runs would fit today"))


def _print_reservations(held: list[dict[str, Any]]) -> None:
    rows = [
        (
            each["reservation_id"],
            each["holder"],
            *(_number(each["amounts"][name]) for name in RESOURCES[:4]),
            moment(each["lease_until"]),
        )
        for each in held
    ]
    print_table(("reservation", "holder", *RESOURCES[:4], "until"), rows, empty="nothing is reserved")


def _share(row: dict[str, Any]) -> str:
    return "" if row["share"] is None else f"{row['share']:.0%}"


def _of_limit(row: dict[str, Any], name: str) -> str:
    sums = f"{_number(row['used'][name])} + {_number(row['reserved'][name])}"
    return f"{sums} / {_number(row['limits'][name])}" if name in row["limits"] else sums


def _number(amount: float | None, *, missing: str = "") -> str:
    if amount is None:
        return missing
    return f"{amount:,}" if isinstance(amount, int) else f"{amount:,.6f}".rstrip("0").rstrip(".")
