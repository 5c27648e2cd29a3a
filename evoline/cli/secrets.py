"""`evoline secrets create | rotate`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated

import typer

from evoline.cli.output import AsJson, out, plain, print_json
from evoline.secret_files import SecretStore
from evoline.stack import system
from evoline.stack.home import find_home
from evoline.stack.state import read_state
from shared.messaging.permissions import roles

Folder = Annotated[Path | None, typer.Option("--dir", help="Folder of the secrets; default: the local stack's.")]


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.command("create")(create)
    app.command("rotate")(rotate)
    return app


def found_store(directory: Path | None) -> SecretStore:
    return SecretStore(directory) if directory else find_home(os.environ, Path.cwd()).secrets


def create(directory: Folder = None, as_json: AsJson = False) -> None:
    """Make the keys and passwords that are missing, for the owner only, and the broker's list of users. None is printed."""
    store = found_store(directory)
    made = [str(path) for path in store.create()]
    if as_json:
        print_json({"directory": str(store.root), "made": made, "nats_users_file": str(store.nats_users_file)})
        return
    out().print(plain(f"{len(made)} secrets made in {store.root}" if made else f"nothing was missing in {store.root}"))
    out().print(plain(f"the broker's users are in {store.nats_users_file}"))


def rotate(
    role: Annotated[str, typer.Argument(help=f"User of the broker: {', '.join(roles())}.")],
    finish: Annotated[bool, typer.Option("--finish", help="End the rotation: the key before is valid no more.")] = False,
    directory: Folder = None,
    as_json: AsJson = False,
) -> None:
    """Give a user of the broker a new key; the one before stays valid until --finish, so nothing stops in between."""
    store = found_store(directory)
    if finish:
        ended = store.finish_rotation(role)
        text = f"the key before of {role} is in no list any more" if ended else f"{role} has one key only"
    else:
        store.rotate(role)
        text = f"{role} has a new key; the one before is valid until: evoline secrets rotate {role} --finish"
    told = directory is None and _tell_local_broker()
    if as_json:
        print_json({"role": role, "broker_told": told, "finished": finish, "nats_users_file": str(store.nats_users_file)})
        return
    out().print(plain(text))
    if not told:
        out().print("now have the broker read its users again: SIGHUP to nats-server")
    if finish:
        out().print("what still used the key before connects again with the new one at once")


def _tell_local_broker() -> bool:
    """Has the broker of a running local stack read its users again."""
    record = read_state(find_home(os.environ, Path.cwd()).state_file)
    broker = record.process("nats")
    if not record.alive or broker is None or not system.is_running(broker.pid, broker.start_mark):
        return False
    os.kill(broker.pid, signal.SIGHUP)
    return True
