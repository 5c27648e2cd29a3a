"""The Merkle log on a real store and through a real guardrail."""

from __future__ import annotations

import asyncio
import random

import pytest

from services.guardrail.adapters.audit_log import MongoAuditLog
from services.guardrail.ports import AuditLogUnsoundError
from shared.storage import MongoStore
from tests.fakes.tampering import KINDS, Log, chained, head_of, made, note, tampered

DATABASE = "evoline_guardrail"


async def replaced(store: MongoStore, log: Log) -> MongoAuditLog:
    collection = store.database(DATABASE).collection("audit")
    await collection.delete({"_id": {"$exists": True}})
    await collection.insert_many([{"_id": f"{place:012d}", **entry} for place, entry in enumerate(log, start=1)])
    return MongoAuditLog(store.database(DATABASE))


async def test_fifty_appenders_in_five_processes_leave_one_sound_log(store: MongoStore) -> None:
    logs = [MongoAuditLog(store.database(DATABASE)) for _ in range(5)]
    await logs[0].ensure_indexes()
    await asyncio.gather(*(logs[number % 5].append(note(number % 45)) for number in range(50)))
    assert await MongoAuditLog(store.database(DATABASE)).check() == ()
    entries = await logs[0].entries()
    assert [entry.sequence for entry in entries] == list(range(1, 46))
    assert {entry.key for entry in entries} == {note(number).key for number in range(45)}
    assert len({(await each.head()).root for each in logs}) == 1


async def test_what_is_stored_is_what_was_hashed(store: MongoStore) -> None:
    """Numbers, texts and nested maps come back from the store as they went in."""
    log = MongoAuditLog(store.database(DATABASE))
    odd = {"a.b": 1.0, "$c": [0.1, 1e-7, 2**53, -0.0, None, True], "text": "ä\u2028\x00x", "empty": {}, "risk": 0}
    await log.append(note(1).model_copy(update={"facts": odd}))
    assert await MongoAuditLog(store.database(DATABASE)).check([await log.head()]) == ()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_forged_store_is_refused_by_the_next_process(store: MongoStore, kind: str) -> None:
    rng, head = random.Random(kind), head_of(made(16))
    assert await (await replaced(store, made(16))).check([head]) == ()
    for _ in range(5):
        log = await replaced(store, tampered(rng, made(16), kind))
        assert await log.check([head]) != ()
        with pytest.raises(AuditLogUnsoundError):
            await log.append(note(99))


async def test_a_chained_log_is_taken_over_once(store: MongoStore) -> None:
    logs = [await replaced(store, chained(9)), MongoAuditLog(store.database(DATABASE))]
    assert await asyncio.gather(*(log.check() for log in logs)) == [(), ()]
    await asyncio.gather(*(log.append(note(number)) for log in logs for number in (10, 11)))
    assert await MongoAuditLog(store.database(DATABASE)).check([head_of(made(9))]) == ()
    assert (await logs[0].head()).size == 11
