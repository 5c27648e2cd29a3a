"""One suite on the fake and on the real store: what holds for one holds for the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.storage import Collection, Database, DuplicateValueError


@pytest.fixture
def items(database: Database) -> Collection:
    return database.collection("items")


async def ids(items: Collection, filters: dict[str, Any], **options: Any) -> list[str]:
    return [document["_id"] for document in await items.find(filters, **options)]


async def test_first_insert_of_an_id_wins(items: Collection) -> None:
    assert await items.insert_once({"_id": "a", "n": 1})
    assert not await items.insert_once({"_id": "a", "n": 2})
    assert await items.get("a") == {"_id": "a", "n": 1}
    assert await items.get("b") is None


async def test_only_one_of_many_concurrent_inserts_of_an_id_wins(items: Collection) -> None:
    won = await asyncio.gather(*(items.insert_once({"_id": "a", "n": n}) for n in range(16)))
    assert sum(won) == 1


async def test_insert_many_inserts_the_new_and_names_the_old(items: Collection) -> None:
    await items.insert_once({"_id": "b", "n": 0})
    refused = await items.insert_many([{"_id": "a", "n": 1}, {"_id": "b", "n": 2}, {"_id": "c", "n": 3}, {"_id": "a", "n": 4}])
    assert refused == {"a", "b"}
    assert {d["_id"]: d["n"] for d in await items.find({})} == {"a": 1, "b": 0, "c": 3}
    assert await items.insert_many([]) == frozenset()


async def test_insert_in_order_stops_at_the_first_that_exists(items: Collection) -> None:
    await items.insert_once({"_id": "c", "n": 0})
    wanted = [{"_id": name, "n": 1} for name in ("a", "b", "c", "d")]
    assert await items.insert_in_order(wanted) == 2
    assert {d["_id"]: d["n"] for d in await items.find({})} == {"a": 1, "b": 1, "c": 0}
    assert await items.insert_in_order(wanted) == 0
    assert await items.insert_in_order([]) == 0
    assert await items.insert_in_order([{"_id": "d"}, {"_id": "e"}]) == 2


async def test_of_many_who_insert_the_same_in_order_each_counts_its_own(items: Collection) -> None:
    runs = [[{"_id": f"{n}", "by": by} for n in range(5)] for by in range(8)]
    done = await asyncio.gather(*(items.insert_in_order(run) for run in runs))
    stored = [document["by"] for document in await items.find({})]
    assert done == [stored.count(by) for by in range(8)]


async def test_readers_at_the_same_time_are_told_each_its_own(items: Collection) -> None:
    await items.insert_many([{"_id": f"{n}", "of": f"p{n % 3}", "tags": [f"t{n}", "all"], "n": n} for n in range(9)])
    by_id = await asyncio.gather(*(items.get(f"{n % 10}") for n in range(20)))
    assert [found and found["n"] for found in by_id] == [*range(9), None, *range(9), None]
    searches = (
        {"of": "p1"},
        {"of": "p2"},
        {"of": "p4"},
        {"of": "p1", "n": {"$lt": 4}},
        {"tags": "all"},
        {"tags": "t3"},
        {"of": "p1"},
    )
    found = await asyncio.gather(*(items.find(each) for each in searches))
    assert [sorted(each["n"] for each in answer) for answer in found] == [
        [1, 4, 7],
        [2, 5, 8],
        [],
        [1],
        [*range(9)],
        [3],
        [1, 4, 7],
    ]
    (found[0][0]["tags"]).append("mine")
    assert all("mine" not in each["tags"] for each in found[-1])
    only = await asyncio.gather(*(items.find({"of": name}, fields=("n",)) for name in ("p0", "p1")))
    assert [{name for each in answer for name in each} for answer in only] == [{"_id", "n"}] * 2


async def test_what_is_stored_cannot_be_changed_through_a_returned_document(items: Collection) -> None:
    original = {"_id": "a", "list": [1]}
    await items.insert_once(original)
    original["list"].append(2)  # type: ignore[attr-defined]
    found = await items.get("a")
    assert found is not None
    found["list"].append(3)
    assert await items.get("a") == {"_id": "a", "list": [1]}
    assert original == {"_id": "a", "list": [1, 2]}


async def test_values_come_back_as_they_went_in(items: Collection) -> None:
    moment = datetime(2026, 11, 22, 12, 30, 1, 5000, tzinfo=UTC)
    document: dict[str, Any] = {
        "_id": "ä/1",
        "text": "Grüße ☃",
        "none": None,
        "yes": True,
        "n": 2**40,
        "f": 0.1,
        "at": moment,
        "in": {"x": [{"y": []}]},
    }
    await items.insert_once(document)
    assert await items.get("ä/1") == document


async def test_update_changes_a_document_that_matches_and_no_other(items: Collection) -> None:
    await items.insert_many([{"_id": "a", "epoch": 1, "status": "running"}, {"_id": "b", "epoch": 1, "status": "running"}])
    assert await items.update_if(
        {"_id": "a", "epoch": 1}, {"$set": {"status": "done", "in.side": 1}, "$inc": {"epoch": 1, "new": 2}}
    )
    assert not await items.update_if({"_id": "a", "epoch": 1}, {"$set": {"status": "late"}})
    assert not await items.update_if({"_id": "zz"}, {"$set": {"status": "ghost"}})
    assert await items.get("a") == {"_id": "a", "epoch": 2, "status": "done", "in": {"side": 1}, "new": 2}
    assert await items.get("b") == {"_id": "b", "epoch": 1, "status": "running"}
    assert await items.count({}) == 2


async def test_update_each_does_what_matches_and_counts_it(items: Collection) -> None:
    await items.insert_many([{"_id": name, "epoch": 1} for name in "abc"])
    assert await items.update_each([]) == 0
    changes = [({"_id": name, "epoch": epoch}, {"$set": {"status": "done"}}) for name, epoch in (("a", 1), ("b", 2), ("c", 1))]
    assert await items.update_each(changes) == 2
    assert await ids(items, {"status": "done"}) == ["a", "c"]


async def test_update_each_does_the_others_where_one_is_refused(items: Collection) -> None:
    await items.ensure_index([("name", 1)], unique=True, name="by_name")
    await items.insert_many([{"_id": name, "name": name} for name in "abc"])
    with pytest.raises(DuplicateValueError):
        await items.update_each([({"_id": "a"}, {"$set": {"name": "b"}}), ({"_id": "c"}, {"$set": {"name": "d"}})])
    assert await ids(items, {"name": "d"}) == ["c"]


async def test_update_that_changes_nothing_still_matched(items: Collection) -> None:
    await items.insert_once({"_id": "a", "n": 1})
    assert await items.update_if({"_id": "a"}, {"$set": {"n": 1}})


async def test_push_and_unset(items: Collection) -> None:
    await items.insert_once({"_id": "a", "gone": 1})
    await items.update_if({"_id": "a"}, {"$push": {"list": 1}, "$unset": {"gone": ""}})
    await items.update_if({"_id": "a"}, {"$push": {"list": {"$each": [2, 3]}}})
    assert await items.get("a") == {"_id": "a", "list": [1, 2, 3]}


async def test_concurrent_conditional_increments_never_pass_the_bound(items: Collection) -> None:
    await items.insert_once({"_id": "budget", "used": 0})
    take = {"$inc": {"used": 1}}
    won = await asyncio.gather(*(items.update_if({"_id": "budget", "used": {"$lt": 5}}, take) for _ in range(24)))
    assert sum(won) == 5
    assert await items.get("budget") == {"_id": "budget", "used": 5}


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, "abcd"),
        ({"n": 1}, "a"),
        ({"n": {"$in": [1, 3]}}, "ac"),
        ({"n": {"$in": []}}, ""),
        ({"n": {"$ne": 1}}, "bcd"),
        ({"n": {"$lt": 2}}, "a"),
        ({"n": {"$lte": 2}}, "ab"),
        ({"n": {"$gt": 1}}, "bc"),
        ({"n": {"$gte": 2, "$lt": 3}}, "b"),
        ({"n": {"$exists": False}}, "d"),
        ({"n": {"$exists": True}}, "abc"),
        ({"n": None}, "d"),
        ({"s": {"$gt": 0}}, ""),
        ({"in.x": 7}, "b"),
        ({"in.x": {"$exists": True}}, "bc"),
        ({"tags": "red"}, "ac"),
        ({"tags": {"$ne": "red"}}, "bd"),
        ({"tags": {"$in": ["blue", "green"]}}, "bc"),
        ({"flag": True}, "a"),
        ({"flag": False}, "b"),
        ({"$or": [{"n": 1}, {"in.x": 7}]}, "ab"),
        ({"$or": [{"n": 1}, {"n": 2}], "tags": "red"}, "a"),
        ({"_id": {"$gte": "b", "$lt": "d"}}, "bc"),
    ],
)
async def test_filters_select_exactly_what_they_say(items: Collection, filters: dict[str, Any], found: str) -> None:
    await items.insert_many(
        [
            {"_id": "a", "n": 1, "s": "x", "tags": ["red"], "flag": True},
            {"_id": "b", "n": 2, "s": "y", "in": {"x": 7}, "tags": ["blue"], "flag": False},
            {"_id": "c", "n": 3, "in": {"x": None}, "tags": ["green", "red"]},
            {"_id": "d", "s": "z"},
        ]
    )
    assert sorted(await ids(items, filters)) == list(found)
    assert await items.count(filters) == len(found)


@pytest.mark.parametrize("is_indexed", [False, True])
async def test_a_path_leads_into_every_document_of_a_list(items: Collection, is_indexed: bool) -> None:
    if is_indexed:
        await items.ensure_index([("votes.by", 1)], name="by")
    votes: dict[str, Any] = {"a": [{"by": "x"}, {"by": "y"}], "b": [], "c": [{"on": 1}], "d": {"by": "x"}, "e": [{"by": ""}]}
    await items.insert_many([{"_id": name, "votes": each} for name, each in votes.items()])
    await items.insert_once({"_id": "f"})
    for wanted, found in (("x", "ad"), ("y", "a"), ({"$gt": ""}, "ad"), ({"$in": ["y", ""]}, "ae")):
        assert sorted(await ids(items, {"votes.by": wanted})) == list(found), wanted
    await items.update_if({"_id": "b"}, {"$push": {"votes": {"by": "x"}}})
    assert sorted(await ids(items, {"votes.by": "x"})) == list("abd")


async def test_find_sorts_limits_and_projects(items: Collection) -> None:
    await items.insert_many([{"_id": str(n), "n": n % 3, "m": -n, "big": "x"} for n in range(7)])
    assert await ids(items, {}, sort=[("n", 1), ("m", 1)]) == ["6", "3", "0", "4", "1", "5", "2"]
    assert await ids(items, {}, sort=[("_id", -1)], limit=2) == ["6", "5"]
    assert await items.find({"_id": "4"}, fields=["n"]) == [{"_id": "4", "n": 1}]


async def test_missing_and_null_sort_before_numbers_and_numbers_before_text(items: Collection) -> None:
    await items.insert_many([{"_id": "text", "v": "a"}, {"_id": "number", "v": 5}, {"_id": "null", "v": None}])
    assert await ids(items, {}, sort=[("v", 1)]) == ["null", "number", "text"]


async def test_put_replaces_the_whole_document_or_creates_it(items: Collection) -> None:
    await items.put({"_id": "a", "n": 1, "old": True})
    await items.put({"_id": "a", "n": 2})
    assert await items.find({}) == [{"_id": "a", "n": 2}]


async def test_delete_removes_what_matches_and_refuses_an_empty_filter(items: Collection) -> None:
    await items.insert_many([{"_id": "a", "n": 1}, {"_id": "b", "n": 2}, {"_id": "c", "n": 2}])
    assert await items.delete({"n": 2}) == 2
    assert await ids(items, {}) == ["a"]
    with pytest.raises(ValueError, match="not offered"):
        await items.delete({})


async def test_unique_index_refuses_a_second_value_and_says_which_rule_it_broke(items: Collection) -> None:
    await items.ensure_index([("name", 1)], unique=True, name="by_name")
    await items.ensure_index([("name", 1)], unique=True, name="by_name")
    assert await items.insert_once({"_id": "a", "name": "x"})
    assert not await items.insert_once({"_id": "a", "name": "x"})
    with pytest.raises(DuplicateValueError):
        await items.insert_once({"_id": "b", "name": "x"})
    await items.insert_once({"_id": "c", "name": "y"})
    with pytest.raises(DuplicateValueError):
        await items.update_if({"_id": "c"}, {"$set": {"name": "x"}})
    with pytest.raises(DuplicateValueError):
        await items.put({"_id": "d", "name": "x"})


NAMES: tuple[Any, ...] = ("x", "y", ["x", "y"], ["z", 1], [], None, 1, True, {"x": "x"})


@pytest.mark.parametrize("filters", [{"name": name} for name in NAMES] + [{"name": "x", "n": {"$gt": 0}}, {"in.name": "x"}])
async def test_an_index_changes_no_answer(items: Collection, filters: dict[str, Any]) -> None:
    """Before and after values move, documents go and come back."""

    async def answers() -> list[list[str]]:
        return [sorted(await ids(items, filters)), [each async for each in _updated(items, filters)]]

    for place, name in enumerate(NAMES):
        await items.insert_once({"_id": f"i{place}", "name": name, "n": place, "in": {"name": name}})
    await items.insert_once({"_id": "none"})
    plain = await answers()
    for field in ("name", "in.name"):
        await items.ensure_index([(field, 1)], name=field)
    assert await answers() == plain
    assert await items.update_if({"_id": "i0"}, {"$set": {"name": "w", "in.name": "w"}})
    await items.delete({"_id": "i2"})
    assert "i0" not in await ids(items, filters) and "i2" not in await ids(items, filters)
    await items.put({"_id": "i0", "name": "x", "n": 0, "in": {"name": "x"}})
    await items.insert_once({"_id": "i2", "name": ["x", "y"], "n": 2, "in": {"name": ["x", "y"]}})
    assert await answers() == plain


async def _updated(items: Collection, filters: dict[str, Any]) -> AsyncIterator[str]:
    for each in sorted(document["_id"] for document in await items.find({})):
        if await items.update_if({"_id": each, **filters}, {"$set": {"seen": True}}):
            yield each


async def test_collections_of_one_database_are_apart(database: Database) -> None:
    await database.collection("one").insert_once({"_id": "a"})
    assert await database.collection("two").count({}) == 0
    assert await database.collection("one").count({}) == 1
