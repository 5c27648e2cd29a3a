"""`evoline store apply`: users and roles of the document store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from evoline.cli.output import AsJson, out, plain, print_json, print_table, run_async
from evoline.cli.secrets import Folder, found_store
from evoline.secret_files import SecretStore
from evoline.stack.home import find_home
from evoline.stack.state import read_state
from shared.errors import UnavailableError
from shared.settings import SharedSettings
from shared.storage.roles import ADMIN, USERS
from shared.storage.users import apply_users

STORE_VARIABLE = "EVOLINE_MONGO_URL"


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.command("apply")(apply)
    app.command("users")(users)
    return app


def apply(directory: Folder = None, as_json: AsJson = False) -> None:
    """Make or update the store's users with the passwords from the secrets; running it again changes nothing.

    On the local stack as its administrator; at EVOLINE_MONGO_URL as EVOLINE_MONGO_USER with EVOLINE_MONGO_PASSWORD_FILE."""
    store = found_store(directory)
    url, user, password = _administrator(store)
    passwords = {each.name: store.password(each.name) for each in USERS}
    applied = run_async(apply_users(url, passwords, user=user, password=password))
    if as_json:
        print_json({"users": list(applied)})
    else:
        out().print(plain(f"{len(applied)} users are as they should be: {', '.join(applied)}"))


def _administrator(store: SecretStore) -> tuple[SecretStr, str, SecretStr]:
    if os.environ.get(STORE_VARIABLE):
        settings = SharedSettings()
        return settings.mongo_url, settings.mongo_user, settings.mongo_password
    home = find_home(os.environ, Path.cwd())
    record = read_state(home.state_file)
    if not record.alive or "mongo" not in record.urls:
        raise UnavailableError(f"no stack runs in {home.root}: start it with `evoline up`, or name a store in {STORE_VARIABLE}")
    return SecretStr(record.urls["mongo"]), ADMIN, store.password(ADMIN)


def users(user: Annotated[str, typer.Option("--user", help="Only this one.")] = "", as_json: AsJson = False) -> None:
    """Show which user may write and read which database."""
    rows: list[dict[str, Any]] = [
        {"user": each.name, "writes": each.writes, "reads": list(each.reads)} for each in USERS if user in {"", each.name}
    ]
    if as_json:
        print_json({"users": rows})
        return
    table = [(row["user"], row["writes"], ", ".join(row["reads"]) or "-") for row in rows]
    print_table(("user", "writes and reads", "reads only"), table, empty=f"the store has no user {user!r}")
