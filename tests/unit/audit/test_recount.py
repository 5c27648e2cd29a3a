"""What recomputing a log finds: each forgery from the last checkpoint, and nothing in a log that was only appended to."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.recount import MOST_FAULTS, recounted
from tests.fakes.tampering import KINDS, chained, hashed, head_of, made, tampered

LOG = made(30)
FORGERIES = 2004
"""334 of each of the six kinds."""


def test_every_one_of_2004_random_forgeries_is_found_from_the_last_checkpoint() -> None:
    rng, log = random.Random(20261126), made(16)
    head = head_of(log)
    unnoticed = [
        (kind, number)
        for kind in KINDS
        for number in range(FORGERIES // len(KINDS))
        if not recounted(tampered(rng, log, kind), [head])
    ]
    assert unnoticed == []


@given(st.integers(0, 80), st.lists(st.integers(0, 80), max_size=5))
def test_a_log_that_was_only_appended_to_never_alarms(size: int, checkpoints: list[int]) -> None:
    log = made(size)
    heads = [head_of(log[:each]) for each in checkpoints if each <= size]
    assert recounted(log, heads) == ()


def test_without_a_checkpoint_a_mended_forgery_is_not_seen_and_with_it_it_is() -> None:
    forged = tampered(random.Random(1), LOG, "fork")
    assert recounted(forged) == ()
    (fault,) = recounted(forged, [head_of(LOG[:20]), head_of(LOG)])[-1:]
    assert "over 30 entries" in fault


def test_the_edited_entry_is_named() -> None:
    log = [dict(entry) for entry in LOG]
    log[11]["actor"] = "mallory"
    first = recounted(log, [head_of(LOG)])[0]
    assert first.startswith("entry 12 (change.approved pipeline_5 by mallory) was edited")


def test_a_mended_edit_is_placed_between_two_checkpoints() -> None:
    log = tampered(random.Random(3), LOG[20:25], "edit")
    forged = made(0) + LOG[:20] + log + LOG[25:]
    faults = recounted(hashed(forged), [head_of(LOG[:size]) for size in (10, 20, 25, 30)])
    assert faults[0].startswith("entries 21 to 25 are not those that the checkpoint")


def test_a_cut_tail_is_told_with_both_sizes() -> None:
    (fault,) = recounted(LOG[:21], [head_of(LOG)])
    assert "has 21 entries" in fault and "covers 30" in fault


def test_a_content_that_no_entry_can_hold_is_a_fault_and_no_crash() -> None:
    log = [dict(entry) for entry in LOG]
    log[3]["facts"] = {"x": b"\xff"}
    log[4]["subject"] = "\ud800"
    faults = recounted(log, [head_of(LOG)])
    named = [fault.encode() for fault in faults if "what no entry can hold" in fault]
    assert [name.split(b" (")[0] for name in named] == [b"entry 4", b"entry 5"]


def test_faults_are_told_up_to_a_bound() -> None:
    log = [{**entry, "sequence": 7} for entry in made(150)]
    assert len(recounted(log)) == MOST_FAULTS + 1


def test_a_chained_log_is_sound_alone_and_continued_by_entries_without_a_chain() -> None:
    old = chained(20)
    assert recounted(old) == ()
    assert recounted([*old, *LOG[20:]], [head_of(LOG)]) == ()


@pytest.mark.parametrize("kind", ["edit", "drop", "insert", "reorder"])
def test_forgeries_of_a_chained_log_show_without_any_checkpoint(kind: str) -> None:
    rng = random.Random(5)
    for _ in range(30):
        old = chained(20)
        forged = KINDS[kind](rng, [dict(entry) for entry in old])
        assert forged == old or recounted(forged[:19]) != () or forged[:19] == old[:19]


def test_a_chained_entry_behind_the_end_of_the_chain_was_moved() -> None:
    old = chained(3)
    assert any("chain had ended" in fault for fault in recounted([old[0], {**LOG[1]}, old[2]]))
