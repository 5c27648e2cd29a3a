"""`evoline model ...`: which local models there are, pulling one, choosing one."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from evoline.cli.output import AsJson, err, out, plain, print_json, print_table
from evoline.models.catalogue import Catalogue, ModelEntry
from evoline.models.choice import ModelChoice, choose_model, selected_model
from evoline.models.places import is_pulled, models_folder
from evoline.models.progress import Bar, Quiet, lines
from evoline.models.pull import Progress, pull

NAME_HELP = "A name of the catalogue; without one the chosen model."
EXIT_INTERRUPTED = 130

app = typer.Typer(help="The local language model.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """What the catalogue has, what is on this machine, and what is chosen."""
    folder, chosen = models_folder(os.environ), selected_model(os.environ)
    rows = [_row(entry, chosen, here=is_pulled(entry, folder)) for entry in Catalogue.load().models]
    if as_json:
        print_json({"models": rows, "chosen": _chosen(chosen), "folder": str(folder)})
        return
    columns = ("", "name", "size", "memory", "licence", "here", "good for")
    print_table(columns, [_cells(row) for row in rows], empty="the catalogue is empty")
    out().print(plain(f"\nchosen: {chosen.url or chosen.file} ({chosen.source}); files lie in {folder}"))


@app.command("pull")
def pull_model(name: Annotated[str, typer.Argument(help=NAME_HELP)] = "", as_json: AsJson = False) -> None:
    """Downloads a model, verifies it, keeps it in the cache folder. Interrupted, it goes on the next time."""
    catalogue = Catalogue.load()
    entry = catalogue.entry(name or selected_model(os.environ).entry_name or catalogue.default)
    folder = models_folder(os.environ)
    was_here = is_pulled(entry, folder)
    try:
        file = _pull(entry, as_json=as_json)
    except KeyboardInterrupt:
        err().print("interrupted; the same command goes on where it was")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        print_json({"name": entry.name, "file": str(file), "sha256": entry.sha256, "was_here": was_here})
    else:
        out().print(plain(f"{entry.name} is {'already ' if was_here else ''}here: {file}"))


@app.command("use")
def use_model(
    selection: Annotated[str, typer.Argument(metavar="NAME|FILE|URL", help="A catalogue name, a GGUF file, or an endpoint.")],
    as_json: AsJson = False,
) -> None:
    """Chooses what `evoline up` serves in this folder (kept in .evoline/model.json)."""
    choice = choose_model(selection)
    if as_json:
        print_json(_chosen(choice))
        return
    out().print(plain(f"chosen: {choice.url or choice.file}"))
    if not choice.is_here:
        out().print(f"it is not on this machine yet: evoline model pull {choice.entry_name}")
    if os.environ.get("EVOLINE_MODEL_FILE"):
        err().print("EVOLINE_MODEL_FILE is set and goes before this choice")


def _pull(entry: ModelEntry, *, as_json: bool) -> Any:
    folder = models_folder(os.environ)
    if as_json or is_pulled(entry, folder):
        return pull(entry, folder, Quiet())
    if not sys.stderr.isatty():
        plain_progress: Progress = lines(entry.name)
        return pull(entry, folder, plain_progress)
    bar = Bar(entry.name, err())
    try:
        return pull(entry, folder, bar)
    finally:
        bar.stop()


def _row(entry: ModelEntry, chosen: ModelChoice, *, here: bool) -> dict[str, Any]:
    return {
        "name": entry.name,
        "size_bytes": entry.size_bytes,
        "memory_gb": entry.memory_gb,
        "licence": entry.licence,
        "publisher": entry.publisher,
        "good_for": entry.good_for,
        "sha256": entry.sha256,
        "here": here,
        "chosen": chosen.entry_name == entry.name,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        "*" if row["chosen"] else "",
        row["name"],
        f"{row['size_bytes'] / 1e6:.0f} MB",
        f"{row['memory_gb']} GB",
        row["licence"],
        "yes" if row["here"] else "no",
        row["good_for"],
    )


def _chosen(choice: ModelChoice) -> dict[str, Any]:
    return {
        "name": choice.name,
        "file": str(choice.file) if choice.file else None,
        "url": choice.url,
        "source": choice.source,
        "here": choice.is_here,
    }
