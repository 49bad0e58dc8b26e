"""A reference made of key poses: joint offsets that follow a clock, from the default pose and back to it.

Between two poses every joint moves as a half wave of a cosine, at rest at either end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from training_ground.assets.keyframes import KeyPose
from training_ground.assets.model import CompiledModel
from training_ground.assets.tree import by_pattern
from training_ground.configs.errors import AssetError
from training_ground.envs.robot import Array


class Keyframes:
    """One motion of a robot.

    Args:
        model: The robot.
        poses: Key poses, the first after the default pose.
        return_s: From the last one back to the default pose, s.
        name: What the motion is called in errors.

    Attributes:
        times: (k) of the poses and of the return, s, from 0 on.
        offsets: (k, n) from the default pose, rad.

    Raises:
        AssetError: A pose is beyond the robot's joint limits, or names no joint of it.
    """

    def __init__(self, model: CompiledModel, poses: Sequence[KeyPose], return_s: float, name: str) -> None:
        self.times, default = [0.0], model.default_position
        rows = [np.zeros(len(default))]
        for i, pose in enumerate(poses):
            where = f"motion '{name}', pose {i + 1}"
            row = np.zeros(len(default))
            for joint, angle in by_pattern(pose.joints, model.joint_names, where).items():
                j = model.joint_names.index(joint)
                if not model.lower[j] <= angle <= model.upper[j]:
                    limits = f"{model.lower[j]:g} to {model.upper[j]:g}"
                    raise AssetError(f"{where}: {joint} = {angle:g} rad is outside of its limits, {limits}")
                row[j] = angle - default[j]
            rows.append(row)
            self.times.append(self.times[-1] + pose.seconds)
        self.times.append(self.times[-1] + return_s)
        self.offsets = np.array([*rows, rows[0]])

    @property
    def length(self) -> float:
        """Of the whole motion, s."""
        return self.times[-1]

    def at(self, time: float) -> Array:
        """Offsets (n), rad, at a time in s; zero before its begin and after its end."""
        for i, (begin, end) in enumerate(pairwise(self.times)):
            if begin <= time < end:
                share = 0.5 - 0.5 * math.cos(math.pi * (time - begin) / (end - begin))
                return (1 - share) * self.offsets[i] + share * self.offsets[i + 1]
        return np.zeros_like(self.offsets[0])

    def describe(self, joints: Sequence[int]) -> dict[str, Any]:
        """Plain data from which `at` can be worked out: see *Deploy* in the documentation.

        Args:
            joints: Numbers of those that any motion moves.
        """
        return {"times": self.times, "offsets": self.offsets[:, list(joints)].tolist()}
