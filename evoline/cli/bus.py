"""`evoline bus apply` and `evoline bus dead-letters list | redrive`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from evoline.cli.output import AsJson, out, plain, print_json, print_table, run_async
from evoline.client.connection import connected, find_bus
from shared.errors import ConfigurationError, NotFoundError
from shared.messaging.dead_letters import DeadLetter, list_dead_letters, redrive
from shared.messaging.permissions import ADMIN, permissions
from shared.messaging.provisioning import provision


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.command("apply")(apply)
    app.command("permissions")(show_permissions)
    letters = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    letters.command("list")(list_letters)
    letters.command("redrive")(redrive_letters)
    app.add_typer(letters, name="dead-letters", help="Messages that could not be handled.")
    return app


def apply(
    replicas: Annotated[int, typer.Option(min=1, max=5, help="Copies of each stream; 3 or 5 in a cluster.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Create or update all streams and consumers; running it again changes nothing."""
    found = run_async(provision(find_bus(os.environ, Path.cwd(), ADMIN), replicas=replicas))
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    out().print(plain(f"{len(found.streams)} streams, {len(found.durables)} consumers are as they should be"))
    for name in found.unknown:
        out().print(plain(f"  {name} exists and nobody knows it"))


def show_permissions(
    role: Annotated[str, typer.Option("--role", help="Only this user of the broker.")] = "", as_json: AsJson = False
) -> None:
    """Show what each user of the broker may publish and subscribe; made from the table of who sends and consumes what."""
    found = [each for each in permissions() if role in {"", each.role}]
    if not found:
        raise NotFoundError(f"the broker has no user {role!r}; there are {', '.join(each.role for each in permissions())}")
    if as_json:
        print_json({"permissions": [dataclasses.asdict(each) for each in found]})
        return
    rows = [
        (each.role, act, subject)
        for each in found
        for act, subjects in (("publish", each.publish), ("subscribe", each.subscribe))
        for subject in subjects
    ]
    print_table(("user", "may", "subject"), rows, empty="")


def list_letters(limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=10_000)] = 100, as_json: AsJson = False) -> None:
    """List dead letters, oldest first."""

    async def work() -> list[DeadLetter]:
        async with connected(role=ADMIN) as client:
            return await list_dead_letters(client.bus, limit=limit)

    letters = run_async(work())
    if as_json:
        print_json({"dead_letters": [_plain_letter(letter) for letter in letters]})
        return
    rows = [(one.sequence, one.subject, one.service, one.code, one.attempts, one.failed_at[:19], one.error) for one in letters]
    print_table(("number", "subject", "service", "code", "attempts", "failed", "error"), rows, empty="no dead letters")


def _plain_letter(letter: DeadLetter) -> dict[str, Any]:
    return dataclasses.asdict(letter) | {"payload": letter.payload.decode(errors="replace")}


def redrive_letters(
    number: Annotated[int | None, typer.Argument(help="From `list`.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Send dead letters back to where they came from, under their old id: effects that happened are not repeated."""
    if (number is None) != every:
        raise ConfigurationError("name one dead letter by its number, or all with --all")

    async def work() -> int:
        async with connected(role=ADMIN) as client:
            return await redrive(client.bus, number)

    count = run_async(work())
    if as_json:
        print_json({"redriven": count})
    else:
        out().print(f"{count} sent back")
