"""The log in its store, its checkpoints, and what happens when it is not what it was."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.guardrail.adapters.audit_log import MongoAuditLog
from services.guardrail.adapters.checkpoint_file import CheckpointFile
from services.guardrail.ports import AuditLogUnsoundError
from services.guardrail.use_cases import (
    check_audit_log,
    checkpoint_audit_log,
    find_audit_entries,
    get_audit_checkpoint,
    get_audit_consistency,
    get_audit_proof,
    read_audit_log,
)
from shared.audit.checkpoints import TreeHead, opened
from shared.audit.entries import leaf_of
from shared.audit.merkle import included_root, is_consistent
from shared.errors import ConfigurationError, InvalidInputError, NotFoundError
from shared.events.audit import (
    AuditCheckpointed,
    FindAuditEntries,
    GetAuditCheckpoint,
    GetAuditConsistency,
    GetAuditProof,
    ReadAuditLog,
)
from tests.fakes.guardrail import Bench, bench, pipeline
from tests.fakes.guardrail_ports import KeySigner
from tests.fakes.storage import InMemoryCollection, InMemoryDatabase
from tests.fakes.tampering import KINDS, Log, chained, head_of, made, note, tampered


async def stored(log: Log, database: InMemoryDatabase | None = None) -> InMemoryDatabase:
    database = database or InMemoryDatabase()
    for place, entry in enumerate(log, start=1):
        await database.collection("audit").put({"_id": f"{place:012d}", **entry})
    return database


async def grown(count: int) -> Bench:
    at = bench()
    for number in range(1, count + 1):
        await at.at.audit.append(note(number))
    return at


async def replaced(at: Bench, log: Log) -> None:
    """Somebody writes the store while the guardrail is away."""
    await at.database.collection("audit").delete({"_id": {"$exists": True}})
    await stored(log, at.database)


def restarted(at: Bench) -> Bench:
    again = bench()
    kept = at.at.checkpoints.all()
    again.at = replace(again.at, audit=MongoAuditLog(at.database))
    for each in kept:
        again.at.checkpoints.add(each)
    return again


async def test_appended_entries_are_those_of_the_tree() -> None:
    at = await grown(37)
    assert await at.at.audit.head() == TreeHead(37, head_of(made(37)).root)
    assert await at.at.audit.check([head_of(made(37)), head_of(made(20))]) == ()


async def test_the_same_decision_told_twice_is_one_entry() -> None:
    at = await grown(3)
    assert (await at.at.audit.append(note(2))).sequence == 2
    assert len(await at.at.audit.entries()) == 3


async def test_fifty_writers_share_one_sound_log_and_the_same_decision_is_one_entry() -> None:
    database = InMemoryDatabase()
    logs = [MongoAuditLog(database) for _ in range(5)]
    await asyncio.gather(*(logs[number % 5].append(note(number // 2)) for number in range(100)))
    assert await logs[0].check() == ()
    entries = await logs[1].entries()
    assert sorted(entry.key for entry in entries) == sorted(note(number).key for number in range(50))
    assert len({(await each.head()).root for each in logs}) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_forged_store_is_found_at_the_next_start_and_nothing_is_decided_on_it(kind: str) -> None:
    rng = random.Random(kind)
    for _ in range(15):
        at = await grown(12)
        await checkpoint_audit_log(at.at)
        await replaced(at, tampered(rng, made(12), kind))
        again = restarted(at)
        assert await check_audit_log(again.at) != () and again.tally.faults > 0
        before = await at.database.collection("audit").count({})
        with pytest.raises(AuditLogUnsoundError, match="evoline audit verify"):
            await again.at.audit.append(note(99))
        with pytest.raises(AuditLogUnsoundError):
            await checkpoint_audit_log(again.at)
        assert len(again.at.checkpoints.all()) == 1
        assert await at.database.collection("audit").count({}) == before


async def test_a_document_that_no_number_leads_to_is_found() -> None:
    at = await grown(5)
    await at.database.collection("audit").put({**made(5)[2], "_id": "hidden", "key": "change:c9:queued"})
    assert "1 documents" in (await check_audit_log(at.at))[0]


async def test_an_entry_that_another_process_forges_closes_the_log_while_it_runs() -> None:
    at = await grown(5)
    await at.database.collection("audit").put({"_id": f"{6:012d}", **made(6)[5], "actor": "mallory"})
    with pytest.raises(AuditLogUnsoundError, match="entry 6"):
        await checkpoint_audit_log(at.at)
    assert not at.at.audit.is_sound


async def test_a_change_of_what_was_appended_is_found_by_the_check_of_the_running_process() -> None:
    at = await grown(8)
    await replaced(at, tampered(random.Random(4), made(8), "fork"))
    assert await at.at.audit.check() != ()


async def test_a_log_of_before_goes_on_as_a_merkle_log() -> None:
    database = await stored(chained(21))
    log = MongoAuditLog(database)
    assert await log.check() == ()
    await log.append(note(22))
    assert await log.head() == TreeHead(22, head_of(made(22)).root)
    documents = await database.collection("audit").find({})
    assert all(document["nodes"] for document in documents)
    assert [bool(document.get("chain_hash")) for document in documents] == [True] * 21 + [False]
    assert await MongoAuditLog(database).check([head_of(made(22))]) == ()


async def test_a_forged_log_of_before_is_not_taken_over() -> None:
    old = chained(21)
    old[4]["actor"] = "mallory"
    log = MongoAuditLog(await stored(old))
    with pytest.raises(AuditLogUnsoundError, match="entry 5"):
        await log.append(note(22))


async def test_a_checkpoint_is_signed_once_for_each_size_and_told_again_as_the_same() -> None:
    at = await grown(4)
    ((effect, first),) = await checkpoint_audit_log(at.at)
    assert await checkpoint_audit_log(at.at) == [(effect, first)]
    await at.at.audit.append(note(5))
    ((_, second),) = await checkpoint_audit_log(at.at)
    assert isinstance(first, AuditCheckpointed) and isinstance(second, AuditCheckpointed)
    assert (first.size, second.size, len(at.at.checkpoints.all())) == (4, 5, 2)
    assert opened(second.note, at.signer.verifier.keys).head.root == head_of(made(5)).root
    assert await checkpoint_audit_log(bench().at) == []


async def test_an_unsound_log_gets_no_new_checkpoint_and_says_why() -> None:
    at = await grown(4)
    await checkpoint_audit_log(at.at)
    await at.database.collection("audit").delete({"key": note(2).key})
    await check_audit_log(at.at)
    answer = await get_audit_checkpoint(GetAuditCheckpoint(), at.at)
    assert (answer["sound"], answer["checkpoint"]["size"], answer["stored"]) == (False, 4, 3)
    assert "entry 2 is missing" in answer["faults"][0]


async def test_every_entry_of_the_log_is_proven_under_every_later_size() -> None:
    at = await grown(19)
    log = made(19)
    for sequence in range(1, 20):
        for size in range(sequence, 20):
            answer = await get_audit_proof(GetAuditProof(sequence=sequence, size=size), at.at)
            path = [bytes.fromhex(each) for each in answer["path"]]
            root = included_root(leaf_of(answer["entry"]), sequence - 1, size, path)
            assert root.hex() == head_of(log[:size]).root
            proven = await get_audit_consistency(GetAuditConsistency(first=sequence, second=size), at.at)
            roots = (bytes.fromhex(head_of(log[:sequence]).root), bytes.fromhex(head_of(log[:size]).root))
            assert is_consistent(sequence, size, roots, [bytes.fromhex(each) for each in proven["path"]])


@pytest.mark.parametrize(("sequence", "size", "error"), [(5, 3, InvalidInputError), (5, 5, NotFoundError), (1, 9, NotFoundError)])
async def test_what_is_not_in_the_log_is_not_proven(sequence: int, size: int, error: type[Exception]) -> None:
    at = await grown(4)
    with pytest.raises(error):
        await get_audit_proof(GetAuditProof(sequence=sequence, size=size), at.at)


async def test_the_log_is_read_in_pages_that_a_message_can_hold() -> None:
    at = await grown(7)
    large = note(8).model_copy(update={"facts": {"text": "x" * 500_000}})
    for number in (8, 9):
        await at.at.audit.append(large.model_copy(update={"key": f"large-{number}"}))
    read: list[dict[str, Any]] = []
    while page := (await read_audit_log(ReadAuditLog(after=len(read)), at.at))["entries"]:
        assert len(json.dumps(page)) < 1_000_000
        read += page
    assert [entry["sequence"] for entry in read] == list(range(1, 10))


class SlowCollection(InMemoryCollection):
    """Sees entry 3 only in the second moment, as a reader does that passes its place while it is written."""

    async def find(self, filters: Mapping[str, Any], **options: Any) -> list[dict[str, Any]]:
        found = await super().find(filters, **options)
        hidden, self.hidden = self.hidden, ""
        return [each for each in found if each["_id"] != hidden]

    hidden = f"{3:012d}"


async def test_an_entry_that_is_written_while_the_log_is_read_is_no_gap() -> None:
    at = await grown(6)
    for whole in (True, False):
        slow = SlowCollection()
        for each in await at.database.collection("audit").find({}):
            await slow.put(each)
        database = InMemoryDatabase()
        database._collections["audit"] = slow
        log = MongoAuditLog(database)
        if whole:
            assert await log.check([head_of(made(6))]) == ()
        else:
            assert [each["sequence"] for each in await log.page(0, 10)] == [1, 2]
            slow.hidden = f"{3:012d}"
            assert [each["sequence"] for each in await log.page(2, 10)] == [3]


async def test_a_gap_is_shown_and_not_skipped() -> None:
    at = await grown(6)
    await at.database.collection("audit").delete({"key": note(3).key})
    assert [each["sequence"] for each in await at.at.audit.page(0, 10)] == [1, 2]
    assert [each["sequence"] for each in await at.at.audit.page(2, 10)] == [4, 5, 6]


async def test_entries_are_found_by_what_they_are_about() -> None:
    at = bench()
    await at.propose(pipeline(), "c1")

    async def actions(**query: Any) -> list[str]:
        return [each["action"] for each in (await find_audit_entries(FindAuditEntries(**query), at.at))["entries"]]

    assert await actions(about="triage") == ["pipeline.deployed", "change.approved"]
    assert await actions(about="c1", action="change.approved") == ["change.approved"]
    assert await actions(about="nothing") == []
    assert await actions(since="2026-11-22", limit=1) == ["pipeline.deployed"]
    assert await actions(since="2026-11-23") == []


async def test_a_new_key_signs_the_log_anew_and_then_needs_the_former_one_no_more(tmp_path: Path) -> None:
    at, path = await grown(3), tmp_path / "checkpoints.jsonl"
    old, new = at.signer, KeySigner(at.clock, Ed25519PrivateKey.generate())
    at.at = replace(at.at, checkpoints=CheckpointFile(path, old.verifier.keys))
    await checkpoint_audit_log(at.at)
    with pytest.raises(ConfigurationError, match="put the key that signed it back"):
        CheckpointFile(path, new.verifier.keys)
    both = {**old.verifier.keys, **new.verifier.keys}
    at.at = replace(at.at, checkpoints=CheckpointFile(path, both), signer=new)
    await checkpoint_audit_log(at.at)
    (kept,) = CheckpointFile(path, new.verifier.keys).all()
    assert kept.head.root == head_of(made(3)).root


async def test_an_entry_that_another_process_made_before_a_check_is_not_made_again() -> None:
    database = InMemoryDatabase()
    ours, theirs = MongoAuditLog(database), MongoAuditLog(database)
    await ours.append(note(1))
    entry = await theirs.append(note(2))
    assert await ours.check() == ()
    assert await ours.append(note(2), is_first=True) == entry
    assert await ours.count() == 2
