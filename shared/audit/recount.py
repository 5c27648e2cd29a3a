"""Recomputes a log from the contents of its entries, one after the other, and compares it with all that is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.audit.checkpoints import TreeHead
from shared.audit.entries import GENESIS, chain_hash, leaf_of, spoken
from shared.audit.merkle import Frontier, leaf_hash

MOST_FAULTS = 100


class Recount:
    """`heads`: what checkpoints say of it."""

    def __init__(self, heads: Iterable[TreeHead] = ()) -> None:
        self.frontier = Frontier()
        self.faults: list[str] = []
        self._chain: str | None = GENESIS
        """The old chain's hash so far; empty after its end, None where it was broken."""
        self._heads: dict[int, list[TreeHead]] = {}
        for head in heads:
            self._heads.setdefault(head.size, []).append(head)
        self._agreed = 0
        """Size of the last checkpoint that fits."""
        self._compare()

    def take(self, entry: Mapping[str, Any]) -> tuple[bytes, ...]:
        """The next entry as it is stored. Returns the nodes that it completes."""
        number = self.frontier.size + 1
        if entry.get("sequence") != number:
            said = entry.get("sequence")
            self._fault(f"entry {number} says it is number {said}: an entry was dropped, inserted or moved here")
        name = f"entry {number} ({spoken(entry)})"
        leaf = self._leaf(entry, name)
        self.frontier, nodes = self.frontier.append(leaf)
        noted = entry.get("nodes")
        if noted is not None and noted != [node.hex() for node in nodes]:
            self._fault(f"{name}: the tree's hashes that it carries are not those of the entries up to it")
        self._follow_chain(entry, leaf.hex(), name)
        self._compare()
        return nodes

    def missing(self, number: int) -> None:
        """A place without an entry, though entries follow: nothing after it can be compared."""
        self._fault(f"entry {number} is missing, though the log goes on after it")

    def end(self) -> tuple[str, ...]:
        """All that is wrong, in the order of the log; empty for a sound one."""
        size = self.frontier.size
        for head in (head for place in sorted(self._heads) if place > size for head in self._heads[place]):
            self._fault(f"the tail was cut: the log has {size} entries, the checkpoint of {head.at or '?'} covers {head.size}")
        return tuple(self.faults)

    def _leaf(self, entry: Mapping[str, Any], name: str) -> bytes:
        try:
            leaf = leaf_of(entry)
        except (TypeError, ValueError):
            self._fault(f"{name} was edited: it holds what no entry can hold")
            return leaf_hash(repr(sorted(map(str, entry.items()))).encode())
        if leaf.hex() != entry.get("leaf_hash"):
            self._fault(f"{name} was edited: its content does not give its leaf hash")
        return leaf

    def _follow_chain(self, entry: Mapping[str, Any], leaf: str, name: str) -> None:
        """Entries of before the Merkle log are chained; the first one without a chain hash ends the chain for good."""
        noted = entry.get("chain_hash") or ""
        if self._chain is None:
            return
        if not noted:
            self._chain = ""
        elif not self._chain:
            self._fault(f"{name} carries a chain hash, but the chain had ended before: it was moved")
        else:
            self._chain = chain_hash(self._chain, leaf)
            if noted != self._chain:
                self._fault(f"{name} does not fit the chain before it")
                self._chain = None

    def _compare(self) -> None:
        size, root = self.frontier.size, self.frontier.root.hex()
        for head in self._heads.get(size, ()):
            if head.root == root:
                self._agreed = size
                continue
            span = f"{self._agreed + 1} to {size}" if self._agreed < size else f"up to {size}"
            self._fault(f"entries {span} are not those that the checkpoint of {head.at or '?'} over {size} entries covers")

    def _fault(self, text: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(text)
        elif len(self.faults) == MOST_FAULTS:
            self.faults.append("and more; mend the first ones first")


def recounted(entries: Iterable[Mapping[str, Any]], heads: Sequence[TreeHead] = ()) -> tuple[str, ...]:
    """All that is wrong with a whole log."""
    recount = Recount(heads)
    for entry in entries:
        recount.take(entry)
    return recount.end()
