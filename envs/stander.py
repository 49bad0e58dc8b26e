"""A scripted balance policy: both feet stay where they are, and the legs carry the rest over the middle between them.

It needs no training, and no more of the robot than its compiled model. The robot is taken for an inverted pendulum over
its feet (Kajita et al. 2001, *The 3D linear inverted pendulum mode*, IROS): the soles press the ground beyond the
capture point (Pratt et al. 2006, Humanoids), as far as they reach, and each leg's torques follow from that force by its
Jacobian. Around them the motors' own stiffness brings the pelvis upright, to its height, and to where the centre of
mass is over the middle between the feet.
"""

from __future__ import annotations

import ast
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.dynamics import GRAVITY
from training_ground.assets.gravity import Gravity
from training_ground.assets.kinematics import Chain
from training_ground.assets.model import CompiledModel
from training_ground.assets.poses import Array, rotation_vector

HASH = hashlib.sha256(ast.unparse(ast.parse(Path(__file__).read_text(encoding="utf-8"))).encode()).hexdigest()
"""sha256 (hex) of this file's code, comments aside."""

BEYOND = 1.0
"""Share of the capture point's way from the middle by which the soles press beyond it: it comes back."""
EDGE = 0.015
"""m inside of the soles' ends that they press."""
MOST_SHIFT, MOST_TURN = 0.03, 0.15
"""m and rad by which the pelvis is told to be elsewhere at most."""
_PROBE = 1e-3
"""s ahead at which the centre of mass is looked at for its velocity."""
_LEG = 6
"""Joints of a leg: they bring a foot to any pose."""

Foot = tuple[Array, Array, Array]
"""A foot's rotation (3, 3), its sole's middle (3,) and the leg's Jacobian (6, 6) there, in the base link's frame."""


def unfit(robot: Any) -> str | None:
    """Why a robot, its specification or compiled model, is none to stand so; None where it is."""
    legs = [robot.chain(foot.link) for foot in robot.feet] if isinstance(robot, CompiledModel) else []
    if len(robot.feet) == 2 and all(len(leg) == _LEG for leg in legs):
        return None
    return (
        f"robot '{robot.name}' has no two legs of {_LEG} joints each to keep the balance in stance 'free'; "
        "stance 'mounted' needs none"
    )


class Stander:
    """Balance of one robot.

    Args:
        model: Compiled; its default pose is upright on both feet.
        driven: Joints of both legs (m), in the robot's order.
        origin: (m) targets of a zero action, rad.
        scale: (m) rad a unit of action.
    """

    def __init__(self, model: CompiledModel, driven: tuple[str, ...], origin: Array, scale: Array) -> None:
        self._model, self._gravity = model, Gravity(model)
        self._driven = np.array([model.joint_names.index(name) for name in driven])
        self._origin, self._scale, self._kp = origin, scale, np.maximum(model.kp[self._driven], 1e-9)
        self._legs = [Chain(model, _own_frame(model, foot.link)) for foot in model.feet]
        self._place = [np.searchsorted(self._driven, leg.indices) for leg in self._legs]
        self._middles = [foot.sole.mean(axis=0) for foot in model.feet]
        ends = [(foot.sole - middle)[:, 0] for foot, middle in zip(model.feet, self._middles, strict=True)]
        self._back, self._front = max(e.min() for e in ends) + EDGE, min(e.max() for e in ends) - EDGE
        self._height = -float(self._stance(model.default_position, np.array([0.0, 0.0, 1.0]))[1][2])

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the action (m,) for an observation as `envs/legs.py` has it."""
        seen, n = observation.astype(np.float64), len(self._model.joint_names)
        velocity, turning, up = seen[0:3], seen[3:6], -seen[6:9] / np.linalg.norm(seen[6:9])
        angles, speeds = self._model.default_position + seen[9 : 9 + n], seen[9 + n : 9 + 2 * n]
        feet, middle, axes = self._stance(angles, up)
        centre = self._gravity.centre(angles)
        own = (self._gravity.centre(angles + _PROBE * speeds) - centre) / _PROBE
        over, moving = axes @ (centre - middle), axes @ (velocity + np.cross(turning, centre) + own)
        capture = over[:2] + moving[:2] * math.sqrt(max(over[2], 0.1) / GRAVITY)
        torque = self._torques(angles, feet, axes, (1.0 + BEYOND) * capture)
        target = angles[self._driven] + self._correction(feet, middle, axes, over) + torque / self._kp
        return np.clip((target - self._origin) / self._scale, -1.0, 1.0).astype(np.float32)

    def _stance(self, angles: Array, up: Array) -> tuple[list[Foot], Array, Array]:
        """The feet, the middle (3,) between their soles, m, and the directions forward, left and up (3, 3), a row each:
        all in the base link's frame."""
        feet, ahead = [], np.zeros(3)
        for leg, sole in zip(self._legs, self._middles, strict=True):
            pose, jacobian = leg.jacobian(angles[leg.indices])
            lever = pose.rotation @ sole
            linear = jacobian[:3] + np.cross(jacobian[3:].T, lever).T
            feet.append((pose.rotation, pose.position + lever, np.vstack([linear, jacobian[3:]])))
            ahead += pose.rotation[:, 0]
        ahead -= (ahead @ up) * up
        ahead /= np.linalg.norm(ahead)
        middle = (feet[0][1] + feet[1][1]) / 2
        return feet, middle, np.array([ahead, np.cross(up, ahead), up])

    def _torques(self, angles: Array, feet: list[Foot], axes: Array, pressed: Array) -> Array:
        """Torques (m,), N·m, with which both soles bear the weight and press the ground, in the middle of what they
        press, at a place (2,) forward and to the left of the middle between them, m."""
        ahead, _, up = axes
        torque, weight = self._gravity.torque(angles, up)[self._driven], self._model.mass * GRAVITY * up
        apart = float(axes[1] @ (feet[0][1] - feet[1][1]))
        first = min(max(0.5 + float(pressed[1]) / apart, 0.0), 1.0)
        along = min(max(float(pressed[0]), self._back), self._front)
        for share, place, (_, _, jacobian) in zip((first, 1.0 - first), self._place, feet, strict=True):
            force = share * weight
            torque[place] -= jacobian.T @ np.concatenate([force, np.cross(along * ahead, force)])
        return torque

    def _correction(self, feet: list[Foot], middle: Array, axes: Array, over: Array) -> Array:
        """Change of the legs' angles (m,), rad, that brings the pelvis to where it should be, the feet in their place
        and flat on the ground."""
        result = np.zeros(len(self._driven))
        low = self._height + float(middle @ axes[2])
        shift = axes.T @ np.clip([-over[0], -over[1], low], -MOST_SHIFT, MOST_SHIFT)
        turn = np.clip(rotation_vector(axes), -MOST_TURN, MOST_TURN)
        for own, (rotation, place, jacobian) in zip(self._place, feet, strict=True):
            # What the pelvis does, the feet do the other way as it sees them.
            flat = np.cross(rotation[:, 2], axes[2])
            goal = np.concatenate([np.cross(turn, place) - shift, turn + flat])
            result[own] = np.linalg.solve(jacobian + 1e-6 * np.eye(_LEG), goal)
        return result


def _own_frame(model: CompiledModel, link: str) -> str:
    """Name of a frame that is a link's own."""
    return next(
        name
        for name, frame in model.frames.items()
        if frame.link == link and not frame.position.any() and abs(frame.orientation[3]) > 1.0 - 1e-12
    )
