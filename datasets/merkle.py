"""A Merkle tree as RFC 6962 (Certificate Transparency, section 2.1) has it: one hash for many, short proofs for each.

A leaf is hashed as 0x00 and its bytes, a node as 0x01 and its two children, so that no leaf can pass for a node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf, (32,) bytes."""
    return hashlib.sha256(b"\x00" + data).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes in their order; that of no leaf is the sha256 of nothing."""
    level = list(leaves)
    if not level:
        return hashlib.sha256(b"").digest()
    while len(level) > 1:
        # An odd one out goes up as it is: the same tree as splitting at the largest power of two, without recursion.
        above = [_node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = above + level[len(level) - len(level) % 2 :]
    return level[0]


def path_of(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the hashes that lead from leaf `index` to the root, lowest first (RFC 6962, 2.1.1)."""
    if not 0 <= index < len(leaves):
        raise IndexError(f"index = {index} must lie between 0 and {len(leaves) - 1}")
    level, path = list(leaves), []
    while len(level) > 1:
        other = index ^ 1
        if other < len(level):
            path.append(level[other])
        above = [_node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level, index = above + level[len(level) - len(level) % 2 :], index // 2
    return path


def root_from_path(leaf: bytes, index: int, count: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that a proof leads to (RFC 9162, 2.1.3.2); None where its length does not fit the tree.

    Args:
        leaf: Hash of the leaf.
        index: Its place, from 0.
        count: Leaves in the tree.
        path: As `path_of` returns it.
    """
    if not 0 <= index < count:
        return None
    last, result, left = count - 1, leaf, list(path)
    while last:
        if index % 2 or index < last:
            if not left:
                return None
            other = left.pop(0)
            result = _node_hash(other, result) if index % 2 else _node_hash(result, other)
        index, last = index // 2, last // 2
    return None if left else result
