"""`evoline keys create | show | list | rotate | retire | revoke`."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from evoline.cli.output import AsJson, err, out, plain, print_json, print_table, run_async
from evoline.client.connection import connected
from evoline.stack.home import find_home
from evoline.whoami import default_name
from shared.attestation import Author as KeyAuthor
from shared.attestation import KeyRing, create_key_pair
from shared.errors import EvolineError, InvalidInputError, NotFoundError, Problem, UnavailableError
from shared.events.recovery import GetKeys

Folder = Annotated[Path | None, typer.Option("--dir", help="Folder of the keys; default: the local stack's.")]
Public = Annotated[
    Path | None, typer.Option("--public", help="The public key file that services read, where it is not in that folder.")
]
KeyId = Annotated[str, typer.Argument(metavar="KEY", help="Id of the key, from `evoline keys list`.")]
By = Annotated[
    str,
    typer.Option(
        "--as",
        "--author",
        metavar="NAME",
        help="Who is kept in the key file as having done it.",
        callback=lambda name: name or default_name(),
    ),
]
"""Whoever may write the guardrail's keys needs no key of its own: nothing is signed or sent in this name."""
WAIT_SECONDS = 30.0
LOOK_SECONDS = 0.5


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    for name, command in (("create", create), ("show", show), ("list", list_keys), ("rotate", rotate)):
        app.command(name)(command)
    app.command("retire")(retire)
    app.command("revoke")(revoke)
    return app


def create(directory: Folder = None, as_json: AsJson = False) -> None:
    """Make the guardrail's signing key and its public key; keys that are there are kept."""
    paths = create_key_pair(_folder(directory))
    _print({"private_key_file": str(paths.private), "public_key_file": str(paths.public)}, as_json)


def show(directory: Folder = None, public: Public = None, as_json: AsJson = False) -> None:
    """Show where the keys are, and the public ones. The private one is never printed."""
    ring = KeyRing(_folder(directory), public)
    if not ring.public_file.is_file():
        raise NotFoundError(f"there are no keys in {_folder(directory)}; make them with: evoline keys create")
    found = {
        "public_key_file": str(ring.public_file),
        "public_key": ring.public_file.read_text().strip(),
        "private_key_here": ring.private_file.is_file(),
    }
    _print(found, as_json)


def list_keys(directory: Folder = None, public: Public = None, as_json: AsJson = False) -> None:
    """List the keys: which signs, which are trusted or revoked, and how many approved revisions are signed with each."""
    state = KeyRing(_folder(directory), public).state()
    guardrail = _asked()
    attested = guardrail.get("attested", {})
    rows = [
        (key, "signs" if key == state.signing else "prepared" if key == state.prepared else "trusted", attested.get(key, ""))
        for key in state.trusted
    ]
    rows += [(key, "revoked", attested.get(key, "")) for key in state.revoked]
    if as_json:
        keys = [{"key": key, "state": what, "approved_revisions": count or None} for key, what, count in rows]
        told = {"unproven": guardrail.get("unproven", []), "faults": guardrail.get("faults", [])}
        print_json({"keys": keys, **told, "guardrail_signs": guardrail.get("signing")})
        return
    print_table(("key", "state", "to be signed again"), rows, empty="no keys")
    _print_open(guardrail)


def rotate(
    phase: Annotated[
        Literal["all", "prepare", "activate"],
        typer.Option(
            help="prepare: publish the next public key; activate: sign with it. Where files travel to several hosts, "
            "prepare, wait until all have the public file, then activate."
        ),
    ] = "all",
    directory: Folder = None,
    public: Public = None,
    author: By = "",
    as_json: AsJson = False,
) -> None:
    """Sign with a new key, without downtime. Goes on where an interrupted rotation stopped.

    The former key stays trusted until: evoline keys retire. What is approved is signed again by the guardrail."""
    ring, who = KeyRing(_folder(directory), public), KeyAuthor(author, datetime.now(UTC))
    key = ring.prepare(who) if phase in ("all", "prepare") else ""
    if phase in ("all", "activate"):
        if phase == "activate" and not ring.state().prepared:
            err().print("nothing is prepared: the key that signs stays")
        key = ring.activate(who)
    state = ring.state()
    guardrail = run_async(_adopted(state.signing, state.former)) if phase != "prepare" else {}
    if as_json:
        print_json({"key": key, "phase": phase, "signing": state.signing, "former": list(state.former), "guardrail": guardrail})
        return
    out().print(plain(f"{key} is prepared: evoline keys rotate --phase activate" if phase == "prepare" else f"{key} signs"))
    if state.former:
        out().print(plain(f"still trusted: {', '.join(state.former)}; take the trust away with: evoline keys retire"))
    _print_open(guardrail)


def retire(
    directory: Folder = None,
    public: Public = None,
    force: Annotated[bool, typer.Option("--force", help="Also where approved revisions are still signed with them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take the trust from former keys, once nothing that is approved is signed with them. Searches under way end."""
    ring = KeyRing(_folder(directory), public)
    former = ring.state().former
    if former and not force:
        guardrail = run_async(_keys())
        if needed := [key for key in former if guardrail["attested"].get(key)]:
            reason = f"approved revisions are signed with {', '.join(needed)}: executors would refuse them"
            raise InvalidInputError(Problem(path="keys", reason=reason, suggestion="evoline keys list, or --force"))
    gone = ring.retire(former)
    if as_json:
        print_json({"retired": list(gone)})
        return
    out().print(plain(f"retired: {', '.join(gone) or 'no former key is trusted'}"))


def revoke(
    key: KeyId,
    reason: Annotated[str, typer.Option(help="Why; kept in the key file.")],
    directory: Folder = None,
    public: Public = None,
    author: By = "",
    as_json: AsJson = False,
) -> None:
    """Refuse every signature of a key everywhere, at once and for good. The key that signs is rotated first.

    What is approved is signed again by the guardrail, if its audit log proves the approval; until then, a second or so, executors
    refuse it. Searches under the key end."""
    ring, who = KeyRing(_folder(directory), public), KeyAuthor(author, datetime.now(UTC))
    if key == ring.state().signing:
        ring.prepare(who)
        ring.activate(who)
    ring.revoke(key, reason, who)
    state = ring.state()
    guardrail = run_async(_adopted(state.signing, (key,)))
    if as_json:
        print_json({"revoked": key, "signing": state.signing, "guardrail": guardrail})
        return
    out().print(plain(f"{key} is revoked; {state.signing} signs"))
    _print_open(guardrail)


def _folder(directory: Path | None) -> Path:
    return directory or find_home(os.environ, Path.cwd()).keys


async def _keys() -> dict[str, Any]:
    async with connected() as client:
        return await client.ask(GetKeys())


def _asked() -> dict[str, Any]:
    """What the key files hold is listed without the guardrail too; it is told then that its part is missing, and why."""
    try:
        return run_async(_keys())
    except EvolineError as error:
        return {"faults": [f"the guardrail does not tell what is signed with which key: {error}"]}


async def _adopted(signing: str, others: tuple[str, ...]) -> dict[str, Any]:
    """The guardrail's answer once it signs with the key and has signed again what it can; empty where it does not run."""
    deadline, found = time.monotonic() + WAIT_SECONDS, dict[str, Any]()
    try:
        async with connected() as client:
            while time.monotonic() < deadline:
                found = await client.ask(GetKeys())
                left = sum(found["attested"].get(key, 0) for key in others)
                if found["signing"] == signing and (left <= len(found["unproven"]) or found.get("faults")):
                    return found
                await asyncio.sleep(LOOK_SECONDS)
    except UnavailableError as error:
        err().print(f"[yellow]the guardrail does not answer:[/yellow] {plain(str(error))}")
        err().print("it signs again what is approved when it runs; signatures of revoked keys are refused meanwhile")
        return {}
    err().print(f"[yellow]the guardrail has not signed everything again yet;[/yellow] look with: evoline keys list ({signing})")
    return found


def _print_open(guardrail: dict[str, Any]) -> None:
    for fault in guardrail.get("faults", ()):
        err().print(f"[red]{plain(fault)}[/red]")
    if unproven := guardrail.get("unproven"):
        listed = ", ".join(each[:12] for each in unproven)
        err().print(f"[red]not signed again,[/red] for the audit log does not prove their approval: {listed}; propose them again")


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        out().print(plain(f"{name}: {value}"))
