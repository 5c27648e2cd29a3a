"""`evoline people add | list | revoke`: who may sign. Whoever owns the registry's file decides; the guardrail puts it on record."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evoline.cli.output import AsJson, out, plain, print_json, print_table
from evoline.identities import enroll, keys_folder, registry_file
from evoline.stack.home import find_home
from shared.identity import Identity, add_identity, read_registry, revoke_identity
from shared.identity.files import KEY_SUFFIX, read_public_key

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the person or service.")]


class Role(StrEnum):
    REVIEWER = "reviewer"
    OPERATOR = "operator"
    ADMIN = "admin"
    REPORTER = "reporter"
    SEARCHER = "searcher"


class KindOfIdentity(StrEnum):
    PERSON = "person"
    SERVICE = "service"


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.command("add")(add)
    app.command("list")(list_all)
    app.command("revoke")(revoke)
    return app


def add(
    name: Name,
    role: Annotated[
        list[Role] | None,
        typer.Option(
            help="reviewer votes, operator acts, admin does both and more, reporter tells how good answers were, "
            "searcher (a service) runs trials; repeatable."
        ),
    ] = None,
    kind: Annotated[KindOfIdentity, typer.Option(help="Only people vote.")] = KindOfIdentity.PERSON,
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="PEM file of a key made elsewhere; default: one is made here.")
    ] = None,
    key_dir: Annotated[Path | None, typer.Option("--key-dir", help="Where a key is made; default: the local stack's.")] = None,
    as_json: AsJson = False,
) -> None:
    """Register somebody with a key, or give a registered one other roles."""
    home, roles = find_home(os.environ, Path.cwd()), tuple(str(each) for each in role or ())
    registry = registry_file(home, os.environ)
    if public_key is None:
        keys = key_dir or keys_folder(home)
        identity = enroll(keys, registry, name, kind=kind.value, roles=roles)
    else:
        identity = Identity(name=name, kind=kind.value, roles=roles, public_key=read_public_key(public_key))
        add_identity(registry, identity)
    if as_json:
        print_json(identity)
        return
    out().print(plain(f"{name}: {kind}, roles {', '.join(roles) or 'none'}, key {identity.key_id}, in {registry}"))
    if public_key is None:
        path = (key_dir or keys_folder(home)) / f"{name}{KEY_SUFFIX}"
        out().print(plain(f"private key: {path} (for {name} alone: use it with --as {name})"))
    if not roles and kind is KindOfIdentity.PERSON:
        out().print(plain(f"{name} may propose and no more; to let {name} vote: evoline people add {name} --role reviewer"))


def list_all(as_json: AsJson = False) -> None:
    """List who may sign, with their roles."""
    found = read_registry(registry_file(find_home(os.environ, Path.cwd()), os.environ)).identities
    if as_json:
        print_json({"identities": [{**each.model_dump(mode="json"), "key_id": each.key_id} for each in found]})
        return
    rows = [(each.name, each.kind, ", ".join(each.roles), each.key_id, each.revoked or "no") for each in found]
    print_table(
        ("name", "kind", "roles", "key", "revoked"), rows, empty="nobody is registered: evoline people add NAME --role reviewer"
    )


def revoke(name: Name, as_json: AsJson = False) -> None:
    """Refuse everything that this identity signs from now on, and its votes on what is not decided yet. There is no way back."""
    registry = registry_file(find_home(os.environ, Path.cwd()), os.environ)
    changed = revoke_identity(registry, name, datetime.now(UTC))
    if as_json:
        print_json({"name": name, "revoked": True, "changed": changed})
    else:
        out().print(plain(f"{name} is revoked" if changed else f"{name} was revoked before"))
