"""What arms and trunk do while legs keep the balance: smooth ways between random postures, with rests between them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training_ground.assets.model import CompiledModel
from training_ground.envs.robot import Array

INSIDE = 0.05
"""Share of a joint's range that its motions keep away from either limit."""
SHORTEST_S = 0.3
"""s that a way takes at least."""
LONGEST_REST_S = 1.5
"""s of a rest at most."""


@dataclass(frozen=True, eq=False)
class Motion:
    """Ways of one limb, each with least jerk (Flash and Hogan 1985), and rests between them.

    Attributes:
        joints: Indices (k) of its joints.
        times: (m,) s, from 0 on.
        offsets: (m, k) from the default pose at these times, rad.
    """

    joints: tuple[int, ...]
    times: list[float]
    offsets: Array

    def at(self, time: float) -> Array:
        """Offsets (k), rad, at a time in s; after the last time what holds then."""
        i = bisect_right(self.times, time)
        if i >= len(self.times):
            return self.offsets[-1]
        begin, end = self.times[i - 1], self.times[i]
        share = (time - begin) / (end - begin)
        smooth = share**3 * (10.0 - 15.0 * share + 6.0 * share**2)
        return self.offsets[i - 1] + smooth * (self.offsets[i] - self.offsets[i - 1])


def limbs(model: CompiledModel) -> list[tuple[int, ...]]:
    """Indices of the joints of the trunk, where there is one, and of each arm without its fingers."""
    groups, names = model.groups, model.joint_names
    fingers = {name for hand in model.hands for name in hand.fingers}
    shared = set(groups["trunk"])
    chains = [model.chain(model.frames[hand.frame].link) for hand in model.hands]
    arms = [[name for name in chain if name not in shared | fingers] for chain in chains]
    return [tuple(names.index(name) for name in limb) for limb in (groups["trunk"], *arms) if limb]


def draw(
    generator: np.random.Generator,
    model: CompiledModel,
    joints: Sequence[int],
    reach: float,
    speed: tuple[float, float],
    length: float,
) -> Motion:
    """Draw what a limb does in an episode.

    Args:
        generator: The episode's own.
        model: The robot.
        joints: Indices (k) of the limb's joints.
        reach: How far from the default pose a joint goes at most, rad.
        speed: Range of the mean speed of the fastest joint on a way, rad/s.
        length: Of the episode, s.
    """
    default, where = model.default_position[list(joints)], list(joints)
    margin = INSIDE * (model.upper - model.lower)[where]
    low = np.maximum(-reach, (model.lower[where] + margin) - default)
    high = np.minimum(reach, (model.upper[where] - margin) - default)
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    times, rows = [0.0], [np.zeros(len(where))]
    while times[-1] < length:
        times.append(times[-1] + float(generator.uniform(0.02, LONGEST_REST_S)))
        rows.append(rows[-1])
        goal = generator.uniform(low, high)
        way = float(np.abs(goal - rows[-1]).max()) / float(generator.uniform(*speed))
        times.append(times[-1] + max(way, SHORTEST_S))
        rows.append(goal)
    return Motion(tuple(joints), times, np.array(rows))
