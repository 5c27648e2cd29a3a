from __future__ import annotations

import asyncio
import random

import pytest

from services.guardrail.adapters.audit_log import MongoAuditLog
from services.guardrail.domain.audit import AuditEntry, AuditNote, verify_chain
from tests.fakes.storage import InMemoryDatabase


def note(number: int) -> AuditNote:
    return AuditNote(
        key=f"k{number}", at="2026-11-22T12:00:00+00:00", action="change.approved", actor="policy:x", subject=f"pipeline_{number}"
    )


async def filled(count: int) -> tuple[MongoAuditLog, list[AuditEntry]]:
    log = MongoAuditLog(InMemoryDatabase())
    for number in range(count):
        await log.append(note(number))
    return log, list(await log.entries())


async def test_a_log_that_was_only_appended_to_is_sound() -> None:
    log, entries = await filled(12)
    length, chain = await log.head()
    assert verify_chain(entries, expected_length=length, expected_chain_hash=chain) == ()
    assert length == 12


async def test_the_same_decision_told_twice_is_one_entry() -> None:
    log, _ = await filled(3)
    again = await log.append(note(1))
    assert again.sequence == 2
    assert len(await log.entries()) == 3


async def test_writers_at_the_same_time_share_one_gapless_chain() -> None:
    database = InMemoryDatabase()
    logs = [MongoAuditLog(database) for _ in range(5)]
    await asyncio.gather(*(logs[number % 5].append(note(number)) for number in range(50)))
    entries = await logs[0].entries()
    assert [entry.sequence for entry in entries] == list(range(1, 51))
    assert verify_chain(entries) == ()


@pytest.mark.parametrize("seed", range(200))
async def test_every_random_tampering_is_found(seed: int) -> None:
    log, entries = await filled(10)
    length, chain = await log.head()
    rng = random.Random(seed)
    kind = rng.choice(["edit", "drop", "insert", "reorder", "cut", "relink"])
    place = rng.randrange(len(entries))
    if kind == "edit":
        entries[place] = entries[place].model_copy(update={"actor": "mallory"})
    elif kind == "drop":
        del entries[place]
    elif kind == "insert":
        entries.insert(place, entries[rng.randrange(len(entries))])
    elif kind == "reorder":
        other = (place + 1) % len(entries)
        entries[place], entries[other] = entries[other], entries[place]
    elif kind == "cut":
        del entries[place:]
    else:
        entries[place] = entries[place].model_copy(update={"chain_hash": "f" * 64})
    assert verify_chain(entries, expected_length=length, expected_chain_hash=chain) != ()
