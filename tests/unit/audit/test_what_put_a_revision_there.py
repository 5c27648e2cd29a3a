"""Which audit entry explains what serves, also after changes that leave the stable revision alone."""

from __future__ import annotations

from typing import Any

from evoline.client.audit_story import approval_of, put_there

OLD, NEW = "a" * 64, "b" * 64


def log(*entries: tuple[str, str, int | None]) -> list[dict[str, Any]]:
    """Of (action, digest, generation) in the order in which they were written; answered newest first."""
    made = [
        {"sequence": number, "action": action, "digest": digest, "facts": {} if generation is None else {"generation": generation}}
        for number, (action, digest, generation) in enumerate(entries, start=1)
    ]
    return made[::-1]


def put(digest: str, generation: int, *entries: tuple[str, str, int | None]) -> int | None:
    found = put_there(digest, generation, log(*entries))
    return None if found is None else int(found["sequence"])


def test_a_change_of_maturity_keeps_the_revision_explained() -> None:
    history = [("pipeline.deployed", OLD, 1), ("pipeline.maturity_changed", "c" * 64, 2)]
    assert put(OLD, 2, *history) == 1
    assert put(NEW, 2, *history) is None
    assert put(OLD, 3, *history) == 1, "a freeze counts up too"
    assert put(OLD, 0, *history) is None, "set back"


def test_a_rollout_under_way_keeps_the_revision_explained_and_its_end_explains_the_next() -> None:
    under_way = [("pipeline.deployed", OLD, 1), ("rollout.open", NEW, None), ("rollout.step", NEW, None)]
    assert put(OLD, 3, *under_way) == 1
    assert put(NEW, 3, *under_way) is None, "a canary is not stable"
    ended = [*under_way, ("rollout.complete", NEW, None)]
    assert put(NEW, 4, *ended) == 4
    assert put(OLD, 4, *ended) is None, "set back behind the guardrail's back"


def test_a_deployment_that_no_entry_leads_to_is_not_explained() -> None:
    history = [("pipeline.deployed", OLD, 1), ("pipeline.deployed", NEW, 2)]
    assert put(NEW, 2, *history) == 2
    assert put(OLD, 3, *history) is None
    assert put(OLD, 9, *history) is None
    assert put(NEW, 1) is None


def test_a_vetoed_repeat_of_what_serves_does_not_hide_its_approval() -> None:
    entries = log(("change.approved", OLD, None), ("pipeline.deployed", OLD, 1), ("change.vetoed", OLD, None))
    for each in entries:
        each["facts"]["change_id"] = f"change-{each['sequence']}"
    found = approval_of(OLD, entries)
    assert found is not None and found["sequence"] == 2
    assert approval_of(NEW, entries) is None
