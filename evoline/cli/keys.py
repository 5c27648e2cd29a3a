"""`evoline keys create | show`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from evoline.cli.output import AsJson, out, plain, print_json
from evoline.stack.home import find_home
from shared.attestation import PRIVATE_KEY_NAME, PUBLIC_KEY_NAME, create_key_pair
from shared.errors import NotFoundError

Folder = Annotated[Path | None, typer.Option("--dir", help="Folder of the keys; default: the local stack's.")]


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.command("create")(create)
    app.command("show")(show)
    return app


def create(directory: Folder = None, as_json: AsJson = False) -> None:
    """Make the guardrail's signing key and its public key; keys that are there are kept."""
    paths = create_key_pair(directory or find_home(os.environ, Path.cwd()).keys)
    _print({"private_key_file": str(paths.private), "public_key_file": str(paths.public)}, as_json)


def show(directory: Folder = None, as_json: AsJson = False) -> None:
    """Show where the keys are, and the public one. The private one is never printed."""
    folder = directory or find_home(os.environ, Path.cwd()).keys
    public, private = folder / PUBLIC_KEY_NAME, folder / PRIVATE_KEY_NAME
    if not public.is_file():
        raise NotFoundError(f"there are no keys in {folder}; make them with: evoline keys create")
    found = {"public_key_file": str(public), "public_key": public.read_text().strip(), "private_key_here": private.is_file()}
    _print(found, as_json)


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        out().print(plain(f"{name}: {value}"))
