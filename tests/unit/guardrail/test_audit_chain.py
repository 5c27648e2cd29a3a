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


def tampered(entries: list[AuditEntry], kind: str, place: int, other: int) -> list[AuditEntry]:
    before, at_place, after = entries[:place], entries[place], entries[place + 1 :]
    swapped = list(entries)
    swapped[place], swapped[other] = entries[other], at_place
    return {
        "edit": [*before, at_place.model_copy(update={"actor": "mallory"}), *after],
        "relink": [*before, at_place.model_copy(update={"chain_hash": "f" * 64}), *after],
        "drop": [*before, *after],
        "insert": [*before, entries[other], at_place, *after],
        "reorder": swapped,
        "cut": before,
    }[kind]


@pytest.mark.parametrize("kind", ["edit", "relink", "drop", "insert", "reorder", "cut"])
@pytest.mark.parametrize("seed", range(20))
async def test_every_random_tampering_is_found(seed: int, kind: str) -> None:
    log, entries = await filled(10)
    length, chain = await log.head()
    place, other = random.Random(seed).sample(range(len(entries)), 2)
    assert verify_chain(tampered(entries, kind, place, other), expected_length=length, expected_chain_hash=chain) != ()
