"""Merkle arithmetic against the published vectors of Certificate Transparency and against the RFC's recursive definitions."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    Node,
    consistency_parts,
    included_root,
    inclusion_parts,
    is_consistent,
    leaf_hash,
    node_hash,
    proof,
    tree_root,
)

INPUTS = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
"""Leaves of the reference implementation of RFC 6962 (google/certificate-transparency, merkletree tests)."""
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
INCLUSION = {
    (0, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (5, 8): (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 3): ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",),
}
CONSISTENCY = {
    (1, 1): (),
    (1, 8): (
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ),
    (6, 8): (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ),
    (2, 5): (
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ),
}
LEAVES = tuple(leaf_hash(bytes.fromhex(each)) for each in INPUTS)


class Tree:
    """Leaves with the nodes that they complete, as the store keeps them."""

    def __init__(self, leaves: tuple[bytes, ...]) -> None:
        self.leaves, self.frontier, self.nodes = leaves, Frontier(), dict[Node, bytes]()
        self.roots = [EMPTY_ROOT]
        for end, leaf in enumerate(leaves, start=1):
            self.frontier, completed = self.frontier.append(leaf)
            self.nodes |= {(level, end): each for level, each in enumerate(completed)}
            self.roots.append(self.frontier.root)

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        return proof(inclusion_parts(index, size), self.nodes.__getitem__)

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        return proof(consistency_parts(first, second), self.nodes.__getitem__)


def mth(leaves: tuple[bytes, ...]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if len(leaves) < 2:
        return leaves[0] if leaves else EMPTY_ROOT
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


def path(m: int, leaves: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return ()
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    if m < k:
        return (*path(m, leaves[:k]), mth(leaves[k:]))
    return (*path(m - k, leaves[k:]), mth(leaves[:k]))


def subproof(m: int, leaves: tuple[bytes, ...], whole: bool) -> tuple[bytes, ...]:
    """RFC 6962 section 2.1.2."""
    if m == len(leaves):
        return () if whole else (mth(leaves),)
    k = 1 << ((len(leaves) - 1).bit_length() - 1)
    if m <= k:
        return (*subproof(m, leaves[:k], whole), mth(leaves[k:]))
    return (*subproof(m - k, leaves[k:], False), mth(leaves[:k]))


def made(count: int) -> tuple[bytes, ...]:
    return tuple(leaf_hash(str(number).encode()) for number in range(count))


def test_the_published_roots_come_out() -> None:
    assert hashlib.sha256(b"").digest() == EMPTY_ROOT
    assert [root.hex() for root in Tree(LEAVES).roots[1:]] == list(ROOTS)


@pytest.mark.parametrize("place", INCLUSION)
def test_the_published_inclusion_proofs_come_out(place: tuple[int, int]) -> None:
    found = Tree(LEAVES).inclusion(*place)
    assert tuple(each.hex() for each in found) == INCLUSION[place]
    assert included_root(LEAVES[place[0]], *place, found).hex() == ROOTS[place[1] - 1]


@pytest.mark.parametrize("sizes", CONSISTENCY)
def test_the_published_consistency_proofs_come_out(sizes: tuple[int, int]) -> None:
    found = Tree(LEAVES).consistency(*sizes)
    assert tuple(each.hex() for each in found) == CONSISTENCY[sizes]


def test_every_proof_of_every_small_tree_is_the_rfcs_and_holds() -> None:
    tree = Tree(made(33))
    for size in range(1, 34):
        assert tree.roots[size] == mth(tree.leaves[:size]) == tree_root(size, tree.nodes.__getitem__)
        for index in range(size):
            assert tree.inclusion(index, size) == path(index, tree.leaves[:size])
            assert included_root(tree.leaves[index], index, size, tree.inclusion(index, size)) == tree.roots[size]
        for first in range(size + 1):
            found = tree.consistency(first, size)
            assert first == 0 or found == subproof(first, tree.leaves[:size], True)
            assert is_consistent(first, size, (tree.roots[first], tree.roots[size]), found)


@given(st.integers(2, 300), st.randoms(use_true_random=False))
def test_no_proof_holds_for_another_leaf_place_or_history(size: int, rng: random.Random) -> None:
    tree = Tree(made(size))
    index, other = rng.sample(range(size), 2)
    found = tree.inclusion(index, size)
    assert included_root(tree.leaves[other], index, size, found) != tree.roots[size]
    flipped = list(found)
    at = rng.randrange(len(flipped))
    flipped[at] = bytes([flipped[at][0] ^ 1, *flipped[at][1:]])
    assert included_root(tree.leaves[index], index, size, flipped) != tree.roots[size]
    forked = Tree((*tree.leaves[:index], leaf_hash(b"forged"), *tree.leaves[index + 1 :]))
    first = rng.randint(index + 1, size)
    assert not is_consistent(first, size, (tree.roots[first], forked.roots[size]), forked.consistency(first, size))


@given(st.integers(1, 200), st.integers(1, 200))
def test_a_proof_of_another_length_is_refused(one: int, other: int) -> None:
    first, second = sorted((one, other))
    tree = Tree(made(second))
    found = tree.consistency(first, second)
    assert not is_consistent(first, second, (tree.roots[first], tree.roots[second]), (*found, EMPTY_ROOT))
    with pytest.raises(ValueError, match="length"):
        included_root(tree.leaves[first - 1], first - 1, second, (*tree.inclusion(first - 1, second), EMPTY_ROOT))
