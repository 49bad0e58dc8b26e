"""Joint angles that bring a frame to a pose: damped least squares that knows the joint limits.

Levenberg-Marquardt with a damping that follows the error (Sugihara 2011, *Solvability-unconcerned inverse kinematics by
the Levenberg-Marquardt method*, IEEE Transactions on Robotics 27(5)). A joint at its limit that would leave it drops
out of the step; what the pose leaves free pulls the joints towards a posture. A start that leads nowhere is followed by
others, spread evenly over the joints' ranges, in an order that is always the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from training_ground.assets.kinematics import Chain
from training_ground.assets.poses import Array, Pose, rotation_vector

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
"""An iteration that leaves more of the error than this, five times running, leads nowhere."""


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

    Returns:
        The first solution within the tolerances, or else the nearest one that was found.
    """
    best: Solution | None = None
    for found in attempts(
        chain, goal, start, posture=posture, position_tolerance=position_tolerance,
        orientation_tolerance=orientation_tolerance, starts=starts,
    ):  # fmt: skip
        if found.reached:
            return found
        if best is None or _cost(found) < _cost(best):
            best = found
    assert best is not None
    return best


def attempts(
    chain: Chain,
    goal: Pose,
    start: Array | None = None,
    *,
    posture: Array | None = None,
    position_tolerance: float = POSITION_TOLERANCE,
    orientation_tolerance: float = ORIENTATION_TOLERANCE,
    starts: int = _STARTS,
) -> Iterator[Solution]:
    """Yield what each start leads to, near or not, for who wants more than the first solution; arguments as `solve`."""
    start = chain.default if start is None else np.clip(start, chain.lower, chain.upper)
    posture = start if posture is None else posture
    for attempt in range(starts):
        angles = start if attempt == 0 else _spread(chain, attempt)
        yield _descend(chain, goal, angles, posture, position_tolerance, orientation_tolerance)


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


def _descend(chain: Chain, goal: Pose, angles: Array, posture: Array, position: float, orientation: float) -> Solution:
    weight = np.array([1.0 / _LENGTH] * 3 + [1.0] * 3)
    stuck, before = 0, np.inf
    best = Solution(angles, np.inf, np.inf, False)
    for _ in range(_ITERATIONS):
        pose, jacobian = chain.jacobian(angles)
        shift, turn = goal.position - pose.position, rotation_vector(goal.rotation @ pose.rotation.T)
        far, turned = float(np.linalg.norm(shift)), float(np.linalg.norm(turn))
        found = Solution(angles, far, turned, far <= position and turned <= orientation)
        if _cost(found) < _cost(best):
            best = found
        if found.reached:
            break
        error = weight * np.concatenate([shift, turn])
        size = float(error @ error)
        stuck = stuck + 1 if size > _PROGRESS * before else 0
        if stuck == 5:
            break
        before = size
        angles = _step(chain, angles, weight[:, None] * jacobian, error, posture, 0.5 * size + _DAMPING)
    return best


def _step(chain: Chain, angles: Array, jacobian: Array, error: Array, posture: Array, damping: float) -> Array:
    """Take one damped step, joints that would leave their limits held where they are."""
    free, change = np.ones(len(angles), bool), np.zeros(len(angles))
    for _ in range(len(angles)):
        change[:] = 0.0
        j = jacobian[:, free]
        pull = _PULL * (posture - angles)[free]
        # The step for the error, and what of the pull does not disturb it: both from the same damped inverse.
        inner = np.linalg.solve(j @ j.T + damping * np.eye(6), error - j @ pull)
        change[free] = j.T @ inner + pull
        largest = float(np.abs(change).max())
        if largest > _LARGEST_STEP:
            change *= _LARGEST_STEP / largest
        leaving = free & (((angles >= chain.upper) & (change > 0)) | ((angles <= chain.lower) & (change < 0)))
        if not leaving.any():
            break
        free &= ~leaving
    return np.clip(angles + change, chain.lower, chain.upper)
