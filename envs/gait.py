"""A stepping reference for any robot with two feet: joint offsets that follow a clock and a velocity command.

It is kinematics alone: nothing in it keeps balance. A policy whose actions are added to it starts from legs that step
instead of from legs that stand still, which saves most of the samples that learning to walk costs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from training_ground.configs.errors import SimulationError
from training_ground.envs import rotations
from training_ground.envs.robot import Array, Robot

STANCE_SHARE = 0.55
"""Share of a cycle that each foot stands (unitree_rl_gym's gait clock); both stand for the tenth that is left over."""

_PROBE = 1e-4
"""rad by which a joint is moved to see what it does to the foot."""
_DAMPING = 1e-2
"""Of the inverse, m and rad: far from a straight knee it changes nothing."""
_INCREMENTS = 8
_PASSES = 3


class Gait:
    """Two legs half a cycle apart: the foot in the air is lifted and carried on, the one on the ground pushed back.

    Args:
        robot: In any pose; it is left in its default pose.
        height: By which a foot is lifted in mid-swing, m.
        period: Of a whole cycle, two steps, s.
        stance_share: Share of a cycle that each foot stands; below a half both are in the air by turns.
        arm_swing: Way of a hand forward and back as a share of the other side's foot's; 0 where the arms hang still.

    Attributes:
        height, period, stance_share: As given.
        lift: (2, n) joint offsets, rad, that lift each foot by `height`, straight up and level.
        step: (2, n, 3) joint offsets a metre forward, a metre to the left, and a radian about the vertical, by which
            the foot moves against the base; the other side's arm swings along.
        rest: Height of each foot's link frame over the ground in the default pose, m.

    Raises:
        SimulationError: The robot has not two feet, or a leg cannot lift its foot so high.
    """

    def __init__(
        self, robot: Robot, height: float, period: float, stance_share: float = STANCE_SHARE, arm_swing: float = 0.0
    ) -> None:
        feet, hands = robot.model.feet, robot.model.hands
        if len(feet) != 2:
            raise SimulationError(f"robot '{robot.model.name}' has {len(feet)} feet; a gait needs two")
        self.period, self.height, self.stance_share = period, height, stance_share
        legs = [_Limb(robot, foot.link, "legs") for foot in feet]
        self.lift = np.array([leg.lift(height) for leg in legs])
        self.step = np.array([leg.steps() for leg in legs])
        if arm_swing:
            for foot, step in zip(feet, self.step, strict=True):
                for hand in hands:
                    if hand.side != foot.side:
                        step[:, 0] += arm_swing * _Limb(robot, robot.model.frames[hand.frame].link, "arms").forward()
        self._basis = np.concatenate([np.vstack([up, on.T]) for up, on in zip(self.lift, self.step, strict=True)])
        default = robot.model.default_position
        self.rest = tuple(robot.model.default_height + float(leg.move(default)[0][2]) for leg in legs)

    def phases(self, time: float) -> tuple[float, float]:
        """Phase of each foot at a time in s: from 0 to `stance_share` it stands, from there to 1 it swings."""
        phase = time / self.period
        return phase % 1.0, (phase + 0.5) % 1.0

    def offset(self, phases: Sequence[float], velocity: Sequence[float]) -> Array:
        """Joint offsets (n), rad.

        Args:
            phases: Of each foot.
            velocity: Command forward and to the left, m/s, and about the vertical, rad/s.
        """
        stance = self.stance_share * self.period
        amounts: list[float] = []
        for phase in phases:
            height, reach = swing(phase, self.stance_share)
            amounts.append(height)
            amounts += [reach * stance * v for v in velocity]
        return np.asarray(amounts) @ self._basis

    def describe(self, joint_names: Sequence[str]) -> dict[str, Any]:
        """Plain data from which `offset` can be worked out: see *Deploy* in the documentation.

        Args:
            joint_names: Of the robot (n).
        """
        moved = np.flatnonzero(self._basis.any(axis=0))
        return {
            "period": self.period,
            "stance_share": self.stance_share,
            "joints": [joint_names[i] for i in moved.tolist()],
            "lift": self.lift[:, moved].tolist(),
            "step": self.step[:, moved].tolist(),
        }


def swing(phase: float, stance_share: float = STANCE_SHARE) -> tuple[float, float]:
    """Height of a foot as a share of the clearance, and its place as a share of the stride, -1/2 to 1/2."""
    if phase < stance_share:
        return 0.0, 0.5 - phase / stance_share
    share = (phase - stance_share) / (1 - stance_share)
    return 0.5 - 0.5 * math.cos(2 * math.pi * share), -0.5 * math.cos(math.pi * share)


class _Limb:
    """Inverse kinematics of one leg or arm by finite differences in the engine; it runs once for an environment."""

    def __init__(self, robot: Robot, link: str, group: str) -> None:
        self.robot, self.link, model = robot, link, robot.model
        chain = model.chain(link)
        self.joints = [model.joint_names.index(name) for name in model.groups.get(group, ()) if name in chain]

    def move(self, joints: Array) -> tuple[Array, rotations.Quaternion]:
        """Put the robot's joints somewhere; return the link's position and orientation against the base."""
        robot = self.robot
        robot.body.set_joints(joints.tolist())
        robot.drive.read()
        base, moved = robot.body.link_state(robot.model.base_link), robot.body.link_state(self.link)
        apart = [m - b for m, b in zip(moved.position, base.position, strict=True)]
        turned = rotations.multiply(rotations.conjugate(base.orientation), moved.orientation)
        return np.array(rotations.rotate_inverse(base.orientation, apart)), turned

    def _jacobian(self, joints: Array) -> Array:
        """Translation, then rotation vector, of the link in the base frame by each of the limb's k joints: (6, k)."""
        position, orientation = self.move(joints)
        columns = []
        for j in self.joints:
            probe = joints.copy()
            probe[j] += _PROBE
            moved, turned = self.move(probe)
            turn = rotations.rotation_vector(rotations.multiply(turned, rotations.conjugate(orientation)))
            columns.append(np.concatenate([moved - position, turn]) / _PROBE)
        return np.array(columns).T.reshape(6, -1)

    def _inverse(self, joints: Array) -> Array:
        """Joint offsets (n, 6) for a small motion of the link: translation, then rotation vector, in the base frame."""
        jacobian = self._jacobian(joints)
        inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + _DAMPING**2 * np.eye(6))
        whole = np.zeros((len(joints), 6))
        whole[self.joints] = inverse
        return whole

    def steps(self) -> Array:
        """Joint offsets (n, 3) a metre forward, a metre to the left and a radian about the vertical."""
        return self._inverse(self.robot.model.default_position)[:, [0, 1, 5]]

    def forward(self) -> Array:
        """Joint offsets (n) a metre forward, not to a side, that are the least together; without joints none.

        The link may turn, rise and sink: the shoulder carries a hand that hangs, the elbow bends on the way forward.
        """
        default = self.robot.model.default_position
        level, whole = self._jacobian(default)[:2], np.zeros(len(default))
        whole[self.joints] = level.T @ np.linalg.solve(level @ level.T + _DAMPING**2 * np.eye(2), [1.0, 0.0])
        return whole

    def lift(self, height: float) -> Array:
        """Joint offsets (n) that raise the foot by `height`, m, and keep it level."""
        model = self.robot.model
        joints = model.default_position.copy()
        start, level = self.move(joints)
        for part in range(1, _INCREMENTS + 1):
            goal = start + np.array([0.0, 0.0, height * part / _INCREMENTS])
            for _ in range(_PASSES):
                position, orientation = self.move(joints)
                turn = rotations.rotation_vector(rotations.multiply(level, rotations.conjugate(orientation)))
                change = self._inverse(joints) @ np.concatenate([goal - position, turn])
                joints = np.clip(joints + change, model.lower, model.upper)
        raised = self.move(joints)[0][2] - start[2]
        if raised < 0.9 * height:
            raise SimulationError(
                f"robot '{model.name}': foot '{self.link}' rises by {raised:.3f} m of step_height = {height:g} m"
            )
        return joints - model.default_position
