"""The audit log in the store: one document an entry, its place taken by inserting the next number.

With its content an entry carries the Merkle nodes that it completes (`shared.audit.merkle`), so that appends and proofs read a few
documents, never the whole log. What this process knows of the log it has recomputed from the contents itself."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from services.guardrail.domain.audit import AuditEntry, AuditNote, placed
from services.guardrail.ports import AuditLogUnsoundError
from shared.audit.checkpoints import TreeHead
from shared.audit.merkle import Node
from shared.audit.recount import Recount
from shared.errors import NotFoundError, UnavailableError
from shared.storage.collection import Database
from shared.storage.group import Group

_TRIES = 1000
"""A try is lost only when another process took the number, so the log grew meanwhile."""
_CHECK_PAGE = 20_000
"""Entries read at once when the whole log is checked; the embedded server scans the collection for each page."""
_KNOWN_KEYS = 10_000
"""Newest entries whose keys a process remembers: those that it may have seen since the write that made a key its own."""


class MongoAuditLog:
    """Several processes may append at once: whoever inserts a number first has it, the others go behind it. Within one process
    all that wait at the same time take the next numbers together."""

    def __init__(self, database: Database) -> None:
        self._entries = database.collection("audit")
        self._recount = Recount()
        self._is_checked = False
        self._faults: tuple[str, ...] = ()
        self._turn = asyncio.Lock()
        self._newest: OrderedDict[str, None] = OrderedDict()
        self._appends: Group[tuple[AuditNote, bool], AuditEntry] = Group(self._append_all, key=lambda asked: asked[0].key)

    async def ensure_indexes(self) -> None:
        await self._entries.ensure_index([("key", 1)], name="key")
        await self._entries.ensure_index([("subject", 1)], name="subject")

    async def check(self, heads: Sequence[TreeHead] = ()) -> tuple[str, ...]:
        """Recomputes the whole log. What does not fit closes it for appending, until a later check finds it sound."""
        known = [TreeHead(self._recount.frontier.size, self._recount.frontier.root.hex(), "this process")]
        recount, keys = Recount([*heads, *known]), deque[str](maxlen=_KNOWN_KEYS)
        await self._read_all(recount, keys)
        beyond = await self._beyond(recount.frontier.size)
        async with self._turn:
            self._faults, self._is_checked = (*recount.end(), *beyond), True
            if not self._faults and recount.frontier.size >= self._recount.frontier.size:
                self._recount = recount
            for key in keys:
                self._know(key)
        return self._faults

    @property
    def is_sound(self) -> bool:
        return not self._faults

    def require_sound(self) -> None:
        if self._faults:
            raise AuditLogUnsoundError(self._faults)

    async def append(self, note: AuditNote, *, is_first: bool = False) -> AuditEntry:
        return await self._appends.join((note, is_first))

    async def _append_all(self, asked: Sequence[tuple[AuditNote, bool]]) -> list[AuditEntry]:
        if not self._is_checked:
            await self.check()
        async with self._turn:
            self.require_sound()
            # The end is fixed before keys are sought: who takes the numbers after it has seen every entry before them.
            sought = [note.key for note, is_first in asked if not is_first or note.key in self._newest]
            entries = await self._former(sought)
            for _ in range(_TRIES):
                missing = [note for note, _ in asked if note.key not in entries]
                if not missing:
                    return [entries[note.key] for note, _ in asked]
                entries |= await self._inserted(missing) or await self._catch_up({note.key for note in missing})
        raise UnavailableError("the audit log grows faster than this process can append")

    async def _former(self, keys: Sequence[str]) -> dict[str, AuditEntry]:
        if not keys:
            return {}
        found = await self._entries.find({"key": {"$in": list(keys)}} if len(keys) > 1 else {"key": keys[0]})
        return {each["key"]: AuditEntry.model_validate(each) for each in found}

    async def find(self, key: str) -> AuditEntry | None:
        found = await self._entries.find({"key": key}, limit=1)
        return AuditEntry.model_validate(found[0]) if found else None

    async def head(self) -> TreeHead:
        """Size and root of the log now, recomputed from what is stored. Raises `AuditLogUnsoundError`."""
        if not self._is_checked:
            await self.check()
        async with self._turn:
            self.require_sound()
            await self._catch_up()
            return TreeHead(self._recount.frontier.size, self._recount.frontier.root.hex())

    async def page(self, after: int, limit: int) -> Sequence[dict[str, Any]]:
        """Up to the first gap. One at the very beginning is real: what was only written meanwhile is fetched again."""
        names = [_name(number) for number in range(after + 1, after + limit + 1)]
        found = await self._entries.find({"_id": {"$in": names}}, sort=[("_id", 1)])
        run = [entry for entry, name in zip(found, names, strict=False) if entry["_id"] == name]
        if found and not run:
            late = await self._entries.get(names[0])
            run = [late] if late else found
        return _stripped(run)

    async def matching(self, filters: Mapping[str, Any], limit: int) -> Sequence[dict[str, Any]]:
        return _stripped(await self._entries.find(filters, sort=[("_id", -1)], limit=limit))

    async def nodes(self, wanted: Sequence[Node]) -> dict[Node, bytes]:
        names = sorted({_name(end) for _, end in wanted})
        found = await self._entries.find({"_id": {"$in": names}}, fields=["sequence", "nodes"])
        stored = {each["sequence"]: each.get("nodes", ()) for each in found}
        try:
            return {(level, end): bytes.fromhex(stored[end][level]) for level, end in wanted}
        except (KeyError, IndexError, ValueError) as error:
            raise NotFoundError(f"the log does not hold what the proof needs ({error}): run `evoline audit verify`") from error

    async def count(self) -> int:
        return await self._entries.count({})

    async def entries(self) -> Sequence[AuditEntry]:
        return [AuditEntry.model_validate(each) for each in await self._entries.find({}, sort=[("_id", 1)])]

    async def _inserted(self, notes: Sequence[AuditNote]) -> dict[str, AuditEntry]:
        """Those that got the next numbers, by key: the first ones, up to where another process has a number."""
        frontier, entries = self._recount.frontier, []
        for note in notes:
            entry = placed(note, frontier.size + 1)
            frontier, nodes = frontier.append(bytes.fromhex(entry["leaf_hash"]))
            entries.append({**entry, "nodes": [node.hex() for node in nodes]})
        done = await self._entries.insert_in_order([{"_id": _name(entry["sequence"]), **entry} for entry in entries])
        for entry in entries[:done]:
            self._take_in(entry)
        return {entry["key"]: AuditEntry.model_validate(entry) for entry in entries[:done]}

    async def _catch_up(self, keys: Collection[str] = ()) -> dict[str, AuditEntry]:
        """Walks over what others added; returns the entries of these keys among them."""
        same = {}
        while found := await self._entries.get(_name(self._recount.frontier.size + 1)):
            self._take_in(found)
            if self._recount.faults:
                self._faults = tuple(self._recount.faults)
                raise AuditLogUnsoundError(self._faults)
            if found["key"] in keys:
                same[found["key"]] = AuditEntry.model_validate(found)
        return same

    def _take_in(self, entry: Mapping[str, Any]) -> None:
        self._recount.take(entry)
        self._know(str(entry.get("key")))

    def _know(self, key: str) -> None:
        self._newest[key] = None
        if len(self._newest) > _KNOWN_KEYS:
            self._newest.popitem(last=False)

    async def _read_all(self, recount: Recount, keys: deque[str]) -> None:
        while True:
            size = recount.frontier.size
            span = {"$gt": _name(size), "$lte": _name(size + _CHECK_PAGE)}
            found = await self._entries.find({"_id": span}, sort=[("_id", 1)])
            for entry in found:
                expected = recount.frontier.size + 1
                # What was written while this page was read is no gap.
                late = None if entry["_id"] == _name(expected) else await self._entries.get(_name(expected))
                if late is None and entry["_id"] != _name(expected):
                    return recount.missing(expected)
                await self._take(late or entry, recount)
                keys.append(str((late or entry).get("key")))
                if late is not None:
                    break
            else:
                if len(found) < _CHECK_PAGE:
                    return None

    async def _take(self, entry: Mapping[str, Any], recount: Recount) -> None:
        nodes = recount.take(entry)
        if "nodes" not in entry and not recount.faults:
            await self._complete(entry["_id"], nodes)

    async def _beyond(self, size: int) -> tuple[str, ...]:
        """Documents that no number leads to, unless the log grew just now."""
        extra = await self.count() - size
        if extra <= 0 or await self._entries.get(_name(size + 1)):
            return ()
        return (f"{extra} documents stand in the log's collection that are none of its {size} entries: they were inserted",)

    async def _complete(self, name: str, nodes: Sequence[bytes]) -> None:
        """Entries of before the Merkle log get their nodes once, when they are found to fit."""
        fields = {"nodes": [node.hex() for node in nodes]}
        await self._entries.update_if({"_id": name, "nodes": {"$exists": False}}, {"$set": fields})


def _name(sequence: int) -> str:
    """Sorts as it counts."""
    return f"{sequence:012d}"


def _stripped(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in document.items() if name != "_id"} for document in found]
