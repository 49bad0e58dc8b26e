"""Joint angles that bring a frame to a pose: damped least squares that knows the joint limits.

Levenberg-Marquardt with a damping that follows the error (Sugihara 2011, *Solvability-unconcerned inverse kinematics by
the Levenberg-Marquardt method*, IEEE Transactions on Robotics 27(5)). A joint at its limit that would leave it drops
out of the step; what the pose leaves free pulls the joints towards a posture. A start that leads nowhere is followed by
others, spread evenly over the joints' ranges, in an order that is always the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from training_ground.assets.kinematics import Chain
from training_ground.assets.poses import Array, Pose, rotation_vectors

POSITION_TOLERANCE = 1e-3
"""m."""
ORIENTATION_TOLERANCE = math.radians(1.0)
"""rad."""

_ITERATIONS = 40
_STARTS = 20
_LARGEST_STEP = 0.5
"""rad by which one iteration moves a joint at most."""
_DAMPING = 1e-4
"""Of the step, beside half the squared error: it keeps a stretched arm from swinging to and fro."""
_LENGTH = 0.3
"""m of position that count as much as a radian: about a forearm."""
_PULL = 0.1
"""Share of the way to the posture that an iteration takes in the directions that the pose leaves free."""
_PROGRESS = 0.98
"""An iteration that leaves more of the error than this, several times running, leads nowhere."""
_PATIENCE = 5


@dataclass(frozen=True, eq=False)
class Solution:
    """Joint angles and how near they come.

    Attributes:
        angles: (k) in the chain's order and within its limits, rad.
        position_error: m.
        orientation_error: rad.
        reached: Whether both are within the tolerances.
    """

    angles: Array
    position_error: float
    orientation_error: float
    reached: bool


def solve(
    chain: Chain,
    goal: Pose,
    start: Array | None = None,
    *,
    posture: Array | None = None,
    position_tolerance: float = POSITION_TOLERANCE,
    orientation_tolerance: float = ORIENTATION_TOLERANCE,
    starts: int = _STARTS,
    iterations: int = _ITERATIONS,
) -> Solution:
    """Find joint angles that bring the chain's frame to a pose.

    Args:
        chain: What moves the frame.
        goal: Of the frame, in the base link's frame.
        start: (k) angles to begin from, rad; the default pose where absent. The solution is near them where it can be.
        posture: (k) angles that free directions are pulled to, rad; `start` where absent.
        position_tolerance: m.
        orientation_tolerance: rad.
        starts: How many to try; with 1 the way from `start` is the only one.
        iterations: From each start at most; few are enough for a goal that is near.

    Returns:
        The first solution within the tolerances, or else the nearest one that was found.
    """
    first = chain.default if start is None else np.clip(start, chain.lower, chain.upper)
    pull = first if posture is None else posture
    best: Solution | None = None
    tolerances = position_tolerance, orientation_tolerance
    for some in _batches(starts):
        angles = np.array([first if i == 0 else _spread(chain, i) for i in some])
        for found in _descend(chain, [goal] * len(angles), angles, pull, *tolerances, iterations):
            if found.reached:
                return found
            if best is None or _cost(found) < _cost(best):
                best = found
    assert best is not None
    return best


def attempts(
    chain: Chain, goals: Sequence[Pose], start: Array, *, posture: Array, starts: int = _STARTS
) -> list[list[Solution]]:
    """For each of several goals, find what every start leads to, near or not; arguments otherwise as `solve`."""
    angles = np.array([np.clip(start, chain.lower, chain.upper), *(_spread(chain, i) for i in range(1, starts))])
    every = [goal for goal in goals for _ in range(starts)]
    tolerances = POSITION_TOLERANCE, ORIENTATION_TOLERANCE
    found = _descend(chain, every, np.tile(angles, (len(goals), 1)), posture, *tolerances, _ITERATIONS)
    return [found[i : i + starts] for i in range(0, len(found), starts)]


def _batches(starts: int) -> list[range]:
    """The first start mostly leads there: the others are only tried, many at once, where it does not."""
    edges = [0, *(edge for edge in (1, 5) if edge < starts), starts]
    return [range(a, b) for a, b in pairwise(edges)]


def _cost(solution: Solution) -> float:
    return solution.position_error / _LENGTH + solution.orientation_error


def _spread(chain: Chain, attempt: int) -> Array:
    """Angles of a further start: an additive recurrence, which fills the joints' ranges evenly (Roberts 2018)."""
    count = len(chain.joint_names)
    root = 2.0
    for _ in range(30):  # the positive root of x^(k+1) = x + 1
        root = (1.0 + root) ** (1.0 / (count + 1))
    share = (0.5 + attempt * root ** -np.arange(1.0, count + 1)) % 1.0
    return chain.lower + share * (chain.upper - chain.lower)


def _descend(
    chain: Chain,
    goals: Sequence[Pose],
    angles: Array,
    posture: Array,
    position: float,
    orientation: float,
    iterations: int,
) -> list[Solution]:
    """Go on from each row of angles (b, k) towards its goal, all rows at once; return the nearest of each way."""
    weight = np.array([1.0 / _LENGTH] * 3 + [1.0] * 3)
    rotations, positions = np.array([goal.rotation for goal in goals]), np.array([goal.position for goal in goals])
    count = len(goals)
    now, best, stuck = angles.copy(), angles.copy(), np.zeros(count, int)
    far, turned, before = np.full(count, np.inf), np.full(count, np.inf), np.full(count, np.inf)
    left = np.arange(count)
    for _ in range(iterations):
        there, place, jacobian = chain.jacobians(now[left])
        shift, turn = positions[left] - place, rotation_vectors(rotations[left] @ there.transpose(0, 2, 1))
        apart, askew = np.linalg.norm(shift, axis=1), np.linalg.norm(turn, axis=1)
        better = apart / _LENGTH + askew < far[left] / _LENGTH + turned[left]
        rows = left[better]
        far[rows], turned[rows], best[rows] = apart[better], askew[better], now[rows]
        error = weight * np.concatenate([shift, turn], axis=1)
        size = (error * error).sum(axis=1)
        stuck[left] = np.where(size > _PROGRESS * before[left], stuck[left] + 1, 0)
        before[left] = size
        going = ((apart > position) | (askew > orientation)) & (stuck[left] < _PATIENCE)
        if not going.any():
            break
        left = left[going]
        damping = 0.5 * size[going] + _DAMPING
        now[left] = _step(chain, now[left], weight[:, None] * jacobian[going], error[going], posture, damping)
    reached = (far <= position) & (turned <= orientation)
    return [Solution(*row) for row in zip(best, far.tolist(), turned.tolist(), reached.tolist(), strict=True)]


def _step(chain: Chain, angles: Array, jacobian: Array, error: Array, posture: Array, damping: Array) -> Array:
    """Take one damped step from each row, joints that would leave their limits held where they are."""
    free = np.ones(angles.shape, bool)
    inverse, change = np.eye(6) * damping[:, None, None], np.zeros_like(angles)
    for _ in range(angles.shape[1]):
        j, pull = jacobian * free[:, None], _PULL * (posture - angles) * free
        # The step for the error, and what of the pull does not disturb it: both from the same damped inverse.
        rest = error[..., None] - j @ pull[..., None]
        change = (j.transpose(0, 2, 1) @ np.linalg.solve(j @ j.transpose(0, 2, 1) + inverse, rest))[..., 0] + pull
        largest = np.abs(change).max(axis=1, keepdims=True)
        change *= _LARGEST_STEP / np.maximum(largest, _LARGEST_STEP)
        leaving = free & (((angles >= chain.upper) & (change > 0)) | ((angles <= chain.lower) & (change < 0)))
        if not leaving.any():
            break
        free &= ~leaving
    return np.clip(angles + change, chain.lower, chain.upper)
