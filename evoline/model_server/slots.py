"""Which slot evaluates which prompt, so that a beginning shared by many prompts is evaluated once.

llama.cpp keeps the evaluated prompt of each slot, but slots do not share: four calls with the same instructions and examples on
four slots evaluate them four times. Here the first call evaluates, its state is kept as a snapshot (a file, milliseconds to
load), and calls with the same beginning wait for it and then start from it on any slot.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

Tokens = tuple[int, ...]
WORTH_A_SNAPSHOT = 64
"""New prompt tokens from which keeping (and waiting for) a snapshot costs less than evaluating them again."""
WORTH_LOADING = 8
"""Tokens saved from which loading a snapshot beats evaluating."""


@dataclass
class Lease:
    """A slot held by one call. `snapshot` is to be loaded before, `keep_as` to be kept after evaluating the prompt."""

    slot: int
    tokens: Tokens
    snapshot: str | None = None
    keep_as: str | None = None


@dataclass
class _Waiter:
    tokens: Tokens
    granted: asyncio.Future[Lease] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class SlotPool:
    """Hands out slots in order of arrival, except that a call may wait for the one that evaluates its beginning."""

    def __init__(self, count: int, snapshots: int = 16) -> None:
        self._contents: dict[int, Tokens] = dict.fromkeys(range(count), ())
        self._free = set(range(count))
        self._evaluating: dict[int, Lease] = {}
        self._snapshots: OrderedDict[str, Tokens] = OrderedDict()
        self._most_snapshots = snapshots
        self._waiting: list[_Waiter] = []

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def busy(self) -> int:
        return len(self._contents) - len(self._free)

    async def acquire(self, tokens: Tokens) -> Lease:
        waiter = _Waiter(tokens)
        self._waiting.append(waiter)
        self._grant()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.release(waiter.granted.result(), evaluated=False)
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
            raise

    def evaluated(self, lease: Lease) -> None:
        """The prompt is in the slot and in the snapshot `keep_as`: whoever waited for it may go on."""
        self._contents[lease.slot] = lease.tokens
        self._evaluating.pop(lease.slot, None)
        if lease.keep_as:
            self._snapshots[lease.keep_as] = lease.tokens
            while len(self._snapshots) > self._most_snapshots:
                self._snapshots.popitem(last=False)
        self._grant()

    def release(self, lease: Lease, *, evaluated: bool = True) -> None:
        self._evaluating.pop(lease.slot, None)
        self._contents[lease.slot] = lease.tokens if evaluated else ()
        self._free.add(lease.slot)
        self._grant()

    def _grant(self) -> None:
        for waiter in list(self._waiting):
            if not self._free:
                return
            lease = self._lease(waiter.tokens)
            if lease is None:
                continue
            self._waiting.remove(waiter)
            if waiter.granted.cancelled():
                continue
            self._free.discard(lease.slot)
            if lease.keep_as:
                self._evaluating[lease.slot] = lease
            waiter.granted.set_result(lease)

    def _lease(self, tokens: Tokens) -> Lease | None:
        """None while another call is evaluating much of the same beginning."""
        slot, in_slot = max(((slot, shared(self._contents[slot], tokens)) for slot in sorted(self._free)), key=_second)
        snapshot, in_snapshot = max(
            ((name, shared(kept, tokens)) for name, kept in self._snapshots.items()), key=_second, default=("", 0)
        )
        loads = in_snapshot - in_slot >= WORTH_LOADING
        known = in_snapshot if loads else in_slot
        soon = max((shared(lease.tokens, tokens) for lease in self._evaluating.values()), default=0)
        if soon - known >= WORTH_A_SNAPSHOT:
            return None
        if loads:
            slot = self._least_valuable()
            self._snapshots.move_to_end(snapshot)
        keeps = len(tokens) - known >= WORTH_A_SNAPSHOT
        return Lease(slot, tokens, snapshot if loads else None, self._new_name() if keeps else None)

    def _least_valuable(self) -> int:
        return min(sorted(self._free), key=lambda slot: len(self._contents[slot]))

    def _new_name(self) -> str:
        """Names are reused, so that the files of dropped snapshots are overwritten."""
        used = {*self._snapshots, *(lease.keep_as for lease in self._evaluating.values())}
        return next(name for name in map("prefix-{}.bin".format, itertools.count()) if name not in used)


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    low, high = 0, length
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _second(pair: tuple[object, int]) -> int:
    return pair[1]
