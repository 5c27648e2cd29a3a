"""`evoline model ...`: which weights there are, fetching them, choosing what serves."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from evoline.cli.output import AsJson, err, out, plain, print_json, print_table
from evoline.models.cache import find_cache
from evoline.models.catalogue import CatalogueEntry, read_catalogue
from evoline.models.choice import FILE_VARIABLE, ModelChoice, model_file, parse_choice, read_choice, store_choice
from evoline.models.progress import Bar, Lines, PullDisplay, Quiet
from evoline.models.pull import pull
from evoline.stack.home import find_home


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.command("list")(list_models)
    app.command("pull")(pull_model)
    app.command("use")(use_model)
    return app


def list_models(as_json: AsJson = False) -> None:
    """What the catalogue has, what is on this machine, and what is chosen."""
    cache, choice = find_cache(os.environ), read_choice(_root(), os.environ)
    rows = [_row(entry, choice, here=cache.has(entry)) for entry in read_catalogue().models]
    if as_json:
        print_json({"models": rows, "chosen": choice, "folder": cache.folder})
        return
    columns = ("", "name", "size", "memory", "licence", "here", "good for")
    print_table(columns, [_cells(row) for row in rows], empty="the catalogue is empty")
    out().print(plain(f"\nchosen: {choice.kind} {choice.value}; files lie in {cache.folder}"))


def pull_model(
    name: Annotated[str, typer.Argument(help="A name of the catalogue or a part of one; default: the chosen one.")] = "",
    as_json: AsJson = False,
) -> None:
    """Fetches weights, verifies them and keeps them in the cache. Interrupted, it goes on the next time."""
    entry = read_catalogue().find(name or _chosen_name())
    was_here = find_cache(os.environ).has(entry)
    file = pull_entry(entry, quiet=as_json)
    if as_json:
        print_json({"name": entry.name, "file": file, "sha256": entry.sha256, "was_here": was_here})
    else:
        out().print(plain(f"{entry.name} is {'already ' if was_here else ''}here: {file}"))


def use_model(
    selection: Annotated[str, typer.Argument(metavar="NAME|FILE|URL", help="A catalogue name, a GGUF file, or an endpoint.")],
    as_json: AsJson = False,
) -> None:
    """Chooses what `evoline up` serves; kept in the data folder."""
    choice = parse_choice(selection, read_catalogue())
    stored = store_choice(_root(), choice)
    missing = choice.kind == "name" and model_file(choice, os.environ) is None
    if as_json:
        print_json({"chosen": choice, "stored_in": stored, "here": not missing})
        return
    out().print(plain(f"chosen: {choice.kind} {choice.value}"))
    if missing:
        out().print(plain(f"not on this machine yet; evoline up fetches it, or now: evoline model pull {choice.value}"))
    if os.environ.get(FILE_VARIABLE):
        err().print(f"{FILE_VARIABLE} is set and goes before this choice")


def pull_entry(entry: CatalogueEntry, *, quiet: bool, environment: Mapping[str, str] = os.environ) -> Path:
    """The file, fetched with its progress on stderr unless it is there."""
    cache = find_cache(environment)
    if cache.has(entry):
        return cache.file(entry)
    with _display(entry, quiet=quiet) as display:
        return pull(entry, cache, display.show)


def _display(entry: CatalogueEntry, *, quiet: bool) -> PullDisplay:
    if quiet:
        return Quiet()
    return Bar(entry.name, err()) if sys.stderr.isatty() else Lines(entry.name, sys.stderr)


def _root() -> Path:
    return find_home(os.environ, Path.cwd()).root


def _chosen_name() -> str:
    """The default where a file or an endpoint is chosen, which cannot be pulled."""
    choice = read_choice(_root(), os.environ)
    return choice.value if choice.kind == "name" else read_catalogue().default


def _row(entry: CatalogueEntry, choice: ModelChoice, *, here: bool) -> dict[str, Any]:
    return {**entry.model_dump(), "here": here, "chosen": choice.kind == "name" and choice.value == entry.name}


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        "*" if row["chosen"] else "",
        row["name"],
        f"{row['bytes'] / 1e6:.0f} MB",
        f"{row['memory_mb'] / 1000:.1f} GB",
        row["license"],
        "yes" if row["here"] else "no",
        row["good_for"],
    )
