"""`evoline audit verify | list | prove | check | why`: the audit log, checked with public keys alone."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from evoline.cli.output import EXIT_NO, AsJson, err, out, plain, print_json, print_table, run_async
from evoline.client.audit import AuditReader, Kept, Keys, Verification, checked_proof, kept_in_file, newest, verified
from evoline.client.audit_story import Story, story_of
from evoline.client.connection import connected
from evoline.stack.home import find_home
from shared.attestation import PUBLIC_KEY_NAME, RETIRED_KEYS_NAME, Verifier
from shared.audit.entries import spoken
from shared.errors import ConfigurationError, InvalidInputError, Problem
from shared.events.audit import MOST_ENTRIES, FindAuditEntries

KEY_VARIABLE, FILE_VARIABLE = "EVOLINE_GUARDRAIL_PUBLIC_KEY_FILE", "EVOLINE_GUARDRAIL_CHECKPOINT_FILE"
KeyFile = Annotated[
    list[Path] | None,
    typer.Option("--keys", help=f"File of trusted public keys; repeatable; default: {KEY_VARIABLE}, else the local stack's."),
]
CheckpointFiles = Annotated[
    list[Path] | None,
    typer.Option("--checkpoints", help=f"File of kept checkpoints; repeatable; default: {FILE_VARIABLE}, else the local stack's."),
]


def build() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    app.command("verify")(verify)
    app.command("list")(list_entries)
    app.command("prove")(prove)
    app.command("check")(check)
    app.command("why")(why)
    return app


def verify(keys: KeyFile = None, checkpoints: CheckpointFiles = None, as_json: AsJson = False) -> None:
    """Read the whole log, recompute it and compare it with every checkpoint kept in files and on the bus.

    Exit code 1 on anything that does not fit, or where there is nothing to compare with."""
    trusted = _checkpoint_keys(keys)

    async def work() -> Verification:
        async with connected() as client:
            return await verified(AuditReader(client.bus, trusted), _kept(checkpoints, trusted), progress)

    def progress(entries: int) -> None:
        if not as_json and sys.stderr.isatty():
            err().print(f"{entries} entries read", end="\r")

    found = run_async(work())
    if as_json:
        print_json({"sound": not found.faults, **asdict(found)})
    else:
        _print_verification(found)
    if found.faults:
        raise SystemExit(EXIT_NO)


def list_entries(
    about: Annotated[
        str, typer.Option("--about", "--pipeline", help="A pipeline or data set, or the id of a change, scope or rollback.")
    ] = "",
    action: Annotated[str, typer.Option(help="As `change.approved`.")] = "",
    actor: Annotated[str, typer.Option(help="As `review:ada` or `policy:prompt_only`.")] = "",
    since: Annotated[str, typer.Option(help="UTC, as 2026-11-26 or 2026-11-26T10:00.")] = "",
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=MOST_ENTRIES)] = 50,
    as_json: AsJson = False,
) -> None:
    """List decisions, newest first. What is listed is not verified: see `verify` and `prove`."""
    query = FindAuditEntries(about=about, action=action, actor=actor, since=since, limit=limit)

    async def work() -> list[dict[str, Any]]:
        async with connected() as client:
            found: list[dict[str, Any]] = (await client.ask(query, 30.0))["entries"]
            return found

    found = run_async(work())
    if as_json:
        print_json({"entries": found})
        return
    rows = [
        (one["sequence"], one["at"][:19], one["action"], one["subject"], one["digest"][:12], one["actor"], _why_of(one))
        for one in found
    ]
    print_table(("number", "at", "action", "subject", "digest", "by", "because"), rows, empty="no decision fits")


def prove(
    entry: Annotated[str, typer.Argument(metavar="NUMBER|KEY", help="Number of the entry, from `evoline audit list`, or its key.")],
    to: Annotated[Path | None, typer.Option("--out", help="Write the proof to this file.")] = None,
    keys: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Prove that a decision is in the log: the entry, its inclusion proof and a signed checkpoint.

    The proof stands alone: `evoline audit check FILE` needs nothing but the public key."""
    trusted = _checkpoint_keys(keys)

    async def work() -> dict[str, Any]:
        async with connected() as client:
            reader = AuditReader(client.bus, trusted)
            return await reader.proof(int(entry) if entry.isdecimal() else entry, await newest(reader))

    proof = run_async(work())
    if to is not None:
        _write(to, proof)
    if as_json or to is None:
        print_json(proof)
    else:
        out().print(plain(f"entry {proof['entry']['sequence']} is proven; the proof is in {to}: evoline audit check {to}"))


def check(
    file: Annotated[Path, typer.Argument(help="A proof that `evoline audit prove` wrote.")],
    keys: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Verify a proof offline. Exit code 1 where it proves nothing."""
    entry, checkpoint = checked_proof(_read_proof(file), _checkpoint_keys(keys))
    if as_json:
        print_json({"proven": True, "entry": entry, "checkpoint": asdict(checkpoint)})
        return
    head, said = checkpoint.head, f"{entry.get('at')} {spoken(entry)}"
    out().print(plain(f"proven: entry {entry['sequence']} of {head.size}, {said}"))
    out().print(plain(f"checkpoint of {head.at}, signed by key {checkpoint.key_id}"))


def _read_proof(file: Path) -> dict[str, Any]:
    """Raises `InvalidInputError` for what `evoline audit prove` never wrote."""
    made = "`evoline audit prove NUMBER --out FILE` makes one"
    try:
        proof = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(Problem(file=str(file), reason=f"cannot be read: {error.strerror}", suggestion=made)) from error
    except (ValueError, RecursionError):
        proof = None
    if not isinstance(proof, dict) or not proof.keys() >= {"entry", "path", "checkpoint"}:
        raise InvalidInputError(Problem(file=str(file), reason="is no proof of an audit entry", suggestion=made))
    return proof


def why(
    name: Annotated[str, typer.Argument(metavar="PIPELINE|ID", help="A pipeline, or the id of a change, scope or rollback.")],
    keys: KeyFile = None,
    checkpoints: CheckpointFiles = None,
    as_json: AsJson = False,
) -> None:
    """Why does this serve: deployment, change, author, evidence, gate, rules, people, policy, attestation, former revisions.

    Every line is backed by an audit entry whose place in the log was verified, or says that it could not be. Exit code 1 where
    any could not."""
    verifier, trusted = _verifier(keys), _checkpoint_keys(keys)

    async def work() -> Story:
        async with connected() as client:
            reader = AuditReader(client.bus, trusted)
            return await story_of(name, reader, verifier, [*_kept(checkpoints, trusted), await reader.told()])

    story = run_async(work())
    doubtful = [line for line in story.lines if not line.verified]
    if as_json:
        print_json({"name": name, "verified": not doubtful, "lines": [asdict(line) for line in story.lines]})
    else:
        rows = [
            ("ok" if line.verified else "??", f"#{line.entry}" if line.entry else "", line.about, line.text) for line in story.lines
        ]
        print_table(("", "entry", "what", "said"), rows, empty="nothing is known of it")
    if doubtful:
        err().print(f"{len(doubtful)} of {len(story.lines)} lines could not be verified (marked ??)")
        raise SystemExit(EXIT_NO)


def _verifier(given: list[Path] | None) -> Verifier:
    return Verifier(_read(_key_files(given)))


def _checkpoint_keys(given: list[Path] | None) -> Keys:
    """Also former keys, whose checkpoints stay true; but nothing that is served is believed under them. Revoked ones never."""
    files = _key_files(given)
    retired = [] if given else [each for file in files if (each := file.with_name(RETIRED_KEYS_NAME)).is_file()]
    return Verifier(_read([*files, *retired])).keys


def _key_files(given: list[Path] | None) -> list[Path]:
    named = given or ([Path(os.environ[KEY_VARIABLE])] if os.environ.get(KEY_VARIABLE) else [])
    return named or [find_home(os.environ, Path.cwd()).keys / PUBLIC_KEY_NAME]


def _read(files: list[Path]) -> bytes:
    try:
        return b"\n".join(file.read_bytes() for file in files)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read public keys from {error.filename}: {error.strerror}; name a file with --keys"
        ) from error


def _kept(given: list[Path] | None, trusted: Keys) -> list[Kept]:
    """From the files that are named; a default one may be missing, as on a machine where no guardrail runs."""
    if given:
        return [kept_in_file(path, trusted) for path in given]
    named = os.environ.get(FILE_VARIABLE)
    default = Path(named) if named else find_home(os.environ, Path.cwd()).checkpoints
    return [kept_in_file(default, trusted)] if default.is_file() else []


def _print_verification(found: Verification) -> None:
    compared = ", ".join(f"{count} of {place}" for place, count in found.kept.items())
    covered = f"; the last covers {found.covered.size} entries, of {found.covered.at}" if found.covered else ""
    out().print(plain(f"{found.entries} entries, checkpoints: {compared}{covered}"))
    for fault in found.faults:
        err().print(f"[red]wrong:[/red] {plain(fault)}")
    out().print("the log is NOT what it was" if found.faults else "the log is what it was")


def _why_of(entry: dict[str, Any]) -> str:
    facts = entry["facts"]
    return str(facts.get("reason") or "; ".join(map(str, facts.get("reasons", ()))))[:80]


def _write(path: Path, proof: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(proof, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(Problem(file=str(path), reason=f"cannot be written: {error.strerror}")) from error
