"""Where a robot's frames are at given joint angles, and how they move: forward kinematics and Jacobians of a chain."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.model import CompiledModel, HandModel
from training_ground.assets.poses import Array, Pose, rotation_from_quaternion, skew
from training_ground.assets.urdf import read_urdf
from training_ground.configs.errors import AssetError, unknown


class Chain:
    """The joints between a robot's base and one of its frames.

    Args:
        model: The robot.
        frame: A key of `model.frames`: what is moved.
        moving: Joints that may move, those of the chain among them; all where absent. The others keep their default.

    Attributes:
        joint_names: What moves the frame (k), from the base outwards; every array has this order.
        indices: Of these joints in the model's arrays (k).
        lower, upper, default: Position limits and default pose (k), rad.

    Raises:
        AssetError: There is no such frame, or nothing moves it.
    """

    def __init__(self, model: CompiledModel, frame: str, moving: Collection[str] | None = None) -> None:
        if frame not in model.frames:
            raise AssetError(unknown(f"frame of robot '{model.name}'", frame, model.frames))
        held = model.frames[frame]
        names = model.chain(held.link)
        moves = [name for name in names if moving is None or name in moving]
        if not moves:
            raise AssetError(f"robot '{model.name}': no joint that may move carries frame '{frame}'")
        self.joint_names = tuple(moves)
        self.indices: NDArray[np.int64] = np.array([model.joint_names.index(name) for name in moves])
        self.lower, self.upper = model.lower[self.indices], model.upper[self.indices]
        self.default = model.default_position[self.indices]
        self._links = _Links(model, names, moves)
        self._end = Pose(rotation_from_quaternion(held.orientation), np.asarray(held.position))

    @property
    def root(self) -> Array:
        """Place (3,) of the first joint that moves, in the base link's frame at the default pose, m."""
        return self._links.place(self.default[None])[1][0, self._links.moving][0]

    @property
    def length(self) -> float:
        """Distance from that joint to the frame along the links, m: the frame gets no farther from it."""
        origins = self._links.place(self.default[None])[1][0, int(self._links.moving.argmax()) :]
        steps = np.linalg.norm(np.diff(origins, axis=0), axis=1).sum()
        return float(steps + np.linalg.norm(self._end.position))

    def pose(self, angles: Array) -> Pose:
        """Return the frame's pose in the base link's frame at joint angles (k), rad."""
        rotations, origins, _ = self._links.place(angles[None])
        return Pose(rotations[0, -1], origins[0, -1]) @ self._end

    def jacobian(self, angles: Array) -> tuple[Pose, Array]:
        """Return the frame's pose as `pose` does, and how it moves.

        Returns:
            The pose; and (6, k): velocity of the frame's origin, m/s, above its angular velocity, rad/s, along the
            base link's axes, for each joint at 1 rad/s (1 m/s where it slides).
        """
        rotations, positions, jacobians = self.jacobians(angles[None])
        return Pose(rotations[0], positions[0]), jacobians[0]

    def jacobians(self, angles: Array) -> tuple[Array, Array, Array]:
        """As `jacobian`, for many joint angles (b, k) at once: rotations (b, 3, 3), positions (b, 3) and (b, 6, k)."""
        rotations, origins, axes = self._links.place(angles)
        positions = origins[:, -1] + rotations[:, -1] @ self._end.position
        moved = self._links.moving
        # A joint turns about its axis through the origin of the link that it carries.
        linear, angular = np.cross(axes[:, moved], positions[:, None] - origins[:, moved]), axes[:, moved]
        slides = self._links.slides[moved]
        linear[:, slides], angular[:, slides] = angular[:, slides], 0.0
        jacobians = np.concatenate([linear, angular], axis=2).transpose(0, 2, 1)
        return rotations[:, -1] @ self._end.rotation, positions, jacobians


def arm(model: CompiledModel, hand: HandModel, frame: str | None = None, *, waist: bool = False) -> Chain:
    """Return the chain of an arm to a frame of its hand, to its working point where absent; from the shoulder on, or
    from the waist."""
    own = set(model.groups["arms"]) - set(hand.fingers)
    if waist:
        own |= set(model.groups.get("trunk", ()))
    return Chain(model, frame or hand.frame, own or None)


def shoulder(model: CompiledModel) -> float:
    """Return the height of the shoulders over the base link's origin at the default pose, the hands' mean, m."""
    if not model.hands:
        raise AssetError(f"robot '{model.name}' has no hands, hence no shoulders")
    return float(np.mean([arm(model, hand).root[2] for hand in model.hands]))


class _Links:
    """What carries what along a chain, each link's turn prepared as Rodrigues' three matrices."""

    def __init__(self, model: CompiledModel, names: tuple[str, ...], moves: Collection[str]) -> None:
        joints = read_urdf(model.urdf).joints
        self.moving = np.array([name in moves for name in names])
        self._default = model.default_position[[model.joint_names.index(name) for name in names]]
        self.slides = np.array([name in model.sliding for name in names])
        self._axes = np.array([joints[name].axis for name in names])
        self._offsets = [joints[name].pose.position for name in names]
        turns = []
        for name in names:
            still, k = joints[name].pose.rotation, skew(joints[name].axis) * (name not in model.sliding)
            turns.append((still @ (np.eye(3) + k @ k), still @ k, -still @ k @ k))
        self._still, self._along, self._across = (np.array(parts) for parts in zip(*turns, strict=True))

    def place(self, angles: Array) -> tuple[Array, Array, Array]:
        """Rotations (b, m, 3, 3), origins (b, m, 3) and joint axes (b, m, 3) of the chain's links in the base link's
        frame, for many joint angles (b, k)."""
        whole = np.repeat(self._default[None], len(angles), axis=0)
        whole[:, self.moving] = angles
        sines, cosines = np.sin(whole)[..., None, None], np.cos(whole)[..., None, None]
        turns = self._still + sines * self._along + cosines * self._across
        rotations, origins, axes = np.empty_like(turns), np.empty((*whole.shape, 3)), np.empty((*whole.shape, 3))
        rotation, origin = np.eye(3)[None], np.zeros((1, 3))
        for i, offset in enumerate(self._offsets):
            origin = origin + rotation @ offset
            rotation = rotation @ turns[:, i]
            axes[:, i] = rotation @ self._axes[i]
            if self.slides[i]:
                origin = origin + axes[:, i] * whole[:, i, None]
            rotations[:, i], origins[:, i] = rotation, origin
        return rotations, origins, axes
