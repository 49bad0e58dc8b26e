"""Ways for an arm's joints from here to there that run into nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training_ground.assets.poses import Array

Free = Callable[[Array], bool]

_STEP = 0.08
"""rad between the angles that are tried on the way."""
_REACH = 0.4
"""rad by which a branch grows."""
_TRIES = 400


def plan(start: Array, goal: Array, lower: Array, upper: Array, free: Free, seed: int) -> list[Array] | None:
    """Find a way: the straight one if it is free, else what RRT-Connect finds (Kuffner and LaValle 2000), smoothed.

    Args:
        start, goal: (k) angles, rad.
        lower, upper: (k) limits, rad.
        free: Whether angles (k) run into nothing.
        seed: The same seed finds the same way.

    Returns:
        Corners of the way, start and goal among them; None where none was found.
    """
    if _free_between(start, goal, free):
        return [start, goal]
    if not free(goal):
        return None
    generator = np.random.default_rng(seed)
    trees: list[list[tuple[Array, int]]] = [[(start, -1)], [(goal, -1)]]
    for attempt in range(_TRIES):
        growing, other = trees[attempt % 2], trees[1 - attempt % 2]
        grown = _grow(growing, generator.uniform(lower, upper), free)
        if grown is None:
            continue
        joined = grown
        while (met := _grow(other, joined, free)) is not None:
            if np.allclose(met, joined):
                first, second = _branch(trees[0], trees[0][-1][0]), _branch(trees[1], trees[1][-1][0])
                return _shortened([*reversed(first), *second], free, generator)
    return None


def _grow(tree: list[tuple[Array, int]], towards: Array, free: Free) -> Array | None:
    """Add one step from the nearest node; return the new node, or None where it is not free."""
    nodes = np.array([node for node, _ in tree])
    parent = int(np.abs(nodes - towards).max(axis=1).argmin())
    change = towards - nodes[parent]
    far = float(np.abs(change).max())
    new = towards if far <= _REACH else nodes[parent] + change * (_REACH / far)
    if far < 1e-9 or not _free_between(nodes[parent], new, free):
        return None
    tree.append((new, parent))
    return new


def _branch(tree: list[tuple[Array, int]], node: Array) -> list[Array]:
    """From a tree's last node back to its root."""
    found, index = [], len(tree) - 1
    assert tree[index][0] is node
    while index >= 0:
        found.append(tree[index][0])
        index = tree[index][1]
    return found


def _shortened(way: list[Array], free: Free, generator: np.random.Generator) -> list[Array]:
    """Cut corners where the short cut is free."""
    for _ in range(40):
        if len(way) < 3:
            break
        i, j = sorted(generator.choice(len(way), 2, replace=False).tolist())
        if j - i > 1 and _free_between(way[i], way[j], free):
            way = [*way[: i + 1], *way[j:]]
    return way


def _free_between(a: Array, b: Array, free: Free) -> bool:
    """Whether a straight way is free, looked at from its end, where most are not."""
    count = max(1, int(np.ceil(float(np.abs(b - a).max()) / _STEP)))
    return all(free(a + (b - a) * (i / count)) for i in range(count, 0, -1))
