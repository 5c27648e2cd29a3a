"""Everything that somebody who can write the store, and has no key, can do to the audit log."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Sequence
from typing import Any

from services.guardrail.domain.audit import AuditNote, placed
from shared.audit.checkpoints import TreeHead
from shared.audit.entries import GENESIS, chain_hash, leaf_of
from shared.audit.merkle import Frontier

Entry = dict[str, Any]
Log = list[Entry]
FIELDS = ("actor", "subject", "digest", "action", "at", "key", "evidence_hash", "policy_revision", "facts")


def note(number: int) -> AuditNote:
    return AuditNote(
        key=f"change:c{number}:approved",
        at=f"2026-11-22T12:00:{number % 60:02d}+00:00",
        action="change.approved",
        actor="policy:x",
        subject=f"pipeline_{number % 7}",
        facts={"change_id": f"c{number}", "risk": 0.1 * number, "reasons": ["small"]},
    )


def made(count: int) -> Log:
    return hashed([placed(note(number), number) for number in range(1, count + 1)])


def chained(count: int) -> Log:
    """A log as it was written before the Merkle log: a chain, and no nodes."""
    previous, log = GENESIS, made(count)
    for entry in log:
        del entry["nodes"]
        previous = entry["chain_hash"] = chain_hash(previous, entry["leaf_hash"])
    return log


def hashed(log: Sequence[Entry]) -> Log:
    """Numbers, leaf hashes and nodes as if the log had always been so."""
    frontier, done = Frontier(), []
    for number, entry in enumerate(log, start=1):
        numbered = {**entry, "sequence": number}
        leaf = leaf_of(numbered)
        frontier, nodes = frontier.append(leaf)
        done.append({**numbered, "leaf_hash": leaf.hex(), "nodes": [node.hex() for node in nodes]})
    return done


def head_of(log: Sequence[Entry], at: str = "2026-11-22T13:00:00+00:00") -> TreeHead:
    frontier = Frontier()
    for entry in log:
        frontier, _ = frontier.append(leaf_of(entry))
    return TreeHead(frontier.size, frontier.root.hex(), at)


def _edit(rng: random.Random, log: Log) -> Log:
    field = rng.choice(FIELDS)
    entry = rng.choice(log)
    entry[field] = {**entry["facts"], "forged": rng.random()} if field == "facts" else f"{entry[field]}{rng.randrange(10)}"
    return log


def _drop(rng: random.Random, log: Log) -> Log:
    del log[rng.randrange(len(log))]
    return log


def _insert(rng: random.Random, log: Log) -> Log:
    forged = placed(note(1000 + rng.randrange(1000)), 1)
    log.insert(rng.randrange(len(log)), rng.choice([forged, copy.deepcopy(rng.choice(log))]))
    return log


def _reorder(rng: random.Random, log: Log) -> Log:
    one, other = rng.sample(range(len(log)), 2)
    log[one], log[other] = log[other], log[one]
    return log


def _cut(rng: random.Random, log: Log) -> Log:
    return log[: rng.randrange(len(log))]


def _fork(rng: random.Random, log: Log) -> Log:
    """From some place on another history, as long or longer."""
    place = rng.randrange(len(log))
    more = rng.randrange(5)
    return [*log[:place], *(placed(note(2000 + number), number) for number in range(place + 1, len(log) + more + 1))]


KINDS: dict[str, Callable[[random.Random, Log], Log]] = {
    "edit": _edit,
    "drop": _drop,
    "insert": _insert,
    "reorder": _reorder,
    "cut": _cut,
    "fork": _fork,
}


def tampered(rng: random.Random, log: Sequence[Entry], kind: str) -> Log:
    """Another log than the given one; the forger mends nothing, the numbers, or every hash, as chance has it. Forks are mended."""
    while True:
        changed = KINDS[kind](rng, copy.deepcopy(list(log)))
        mending = "all" if kind == "fork" else rng.choice(["nothing", "numbers", "all"])
        if mending == "numbers":
            changed = [{**entry, "sequence": number} for number, entry in enumerate(changed, start=1)]
        changed = hashed(changed) if mending == "all" else changed
        if changed != list(log):
            return changed
