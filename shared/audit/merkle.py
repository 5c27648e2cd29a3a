"""Merkle tree hashes and proofs of RFC 6962 section 2.1 (RFC 9162 sections 2.1.1 to 2.1.4): pure arithmetic over SHA-256.

A tree over n leaves is made of complete subtrees; one that ends at leaf e (from 1) and has 2^level leaves is found as node
(level, e). Its hash never changes again, so whoever stores, with every leaf, the nodes that it completes (two on average) can
compute any root and any proof from O(log n) stored hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of a tree without leaves."""
Node = tuple[int, int]
"""(level, end): the complete subtree of 2^level leaves whose last leaf is number `end`, counted from 1."""
Hashes = Callable[[Node], bytes]
"""The hash of a complete subtree."""


def leaf_hash(content: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True)
class Frontier:
    """What a tree of `size` leaves needs in order to grow: its complete subtrees, largest first. Empty by default."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def append(self, leaf: bytes) -> tuple[Frontier, tuple[bytes, ...]]:
        """The tree with one leaf more, and the nodes that this leaf completes, by level from 0 (the leaf itself)."""
        completed, peaks, size = [leaf], list(self.peaks), self.size
        while size & 1:
            completed.append(node_hash(peaks.pop(), completed[-1]))
            size >>= 1
        return Frontier(self.size + 1, (*peaks, completed[-1])), tuple(completed)

    @property
    def root(self) -> bytes:
        return folded(self.peaks)


def folded(hashes: Sequence[bytes]) -> bytes:
    """The root over neighbouring complete subtrees, largest first."""
    if not hashes:
        return EMPTY_ROOT
    root = hashes[-1]
    for left in reversed(hashes[:-1]):
        root = node_hash(left, root)
    return root


def peaks_of(low: int, high: int) -> list[Node]:
    """The complete subtrees that the leaves low+1 to high consist of. `low` is aligned to the largest of them."""
    found = []
    while low < high:
        level = (high - low).bit_length() - 1
        low += 1 << level
        found.append((level, low))
    return found


def root_nodes(size: int) -> list[Node]:
    """Nodes that `tree_root` asks for."""
    return peaks_of(0, size)


def tree_root(size: int, hash_of: Hashes) -> bytes:
    return folded([hash_of(node) for node in root_nodes(size)])


def inclusion_parts(index: int, size: int) -> list[list[Node]]:
    """For each hash of the proof of leaf `index` (from 0), nearest to the leaf first: the nodes that it folds."""
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} among {size}")
    parts, low, high = [], 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            parts.append(peaks_of(middle, high))
            high = middle
        else:
            parts.append(peaks_of(low, middle))
            low = middle
    return parts[::-1]


def consistency_parts(first: int, second: int) -> list[list[Node]]:
    """For each hash of the proof that the tree of `first` leaves is the beginning of that of `second`: the nodes it folds."""
    if not 0 <= first <= second:
        raise ValueError(f"a tree of {first} leaves is not the beginning of one of {second}")
    if first in (0, second):
        return []
    parts, low, high, whole = [], 0, second, True
    while first < high:
        middle = low + _split(high - low)
        if first <= middle:
            parts.append(peaks_of(middle, high))
            high = middle
        else:
            parts.append(peaks_of(low, middle))
            low, whole = middle, False
    if not whole:
        parts.append(peaks_of(low, high))
    return parts[::-1]


def proof(parts: Sequence[Sequence[Node]], hash_of: Hashes) -> tuple[bytes, ...]:
    return tuple(folded([hash_of(node) for node in part]) for part in parts)


def included_root(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that this proof leads to. Raises `ValueError` where it has another length than such a proof has."""
    if len(path) != len(inclusion_parts(index, size)):
        raise ValueError("the proof has the wrong length")
    root, last = leaf, size - 1
    for sibling in path:
        if index & 1 or index == last:
            root = node_hash(sibling, root)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        index, last = index >> 1, last >> 1
    return root


def is_consistent(first: int, second: int, roots: tuple[bytes, bytes], path: Sequence[bytes]) -> bool:
    """Whether `path` proves that the tree with the first root and size grew into the second by appending only."""
    if not 0 <= first <= second or len(path) != len(consistency_parts(first, second)):
        return False
    if first == 0:
        return roots[0] == EMPTY_ROOT
    if first == second:
        return roots[0] == roots[1]
    hashes = list(path)
    old = new = roots[0] if first & (first - 1) == 0 else hashes.pop(0)
    index, last = first - 1, second - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    for sibling in hashes:
        if index & 1 or index == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        index, last = index >> 1, last >> 1
    return (old, new) == roots


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)
