"""The channels of an environment and their values: what a policy sees, and what a record holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.assets.model import CompiledModel, Mirror
from training_ground.configs.errors import SimulationError, unknown
from training_ground.envs import rotations
from training_ground.envs.channels import Channel
from training_ground.envs.robot import Robot, carried
from training_ground.envs.states import LinkState
from training_ground.envs.task import Task

if TYPE_CHECKING:
    from training_ground.envs.env import HumanoidEnv

XYZ = ("x", "y", "z")
OBSERVED, SMALL = "<observed>", "<small>"
"""Keys of a raw frame that no channel can have: all observed channels in one vector (d,) float32; and one (k,) of the
link that carries the IMU (position, orientation, linear and angular velocity) and of small channels, see `_apart`."""
CARRIER = 13
"""Numbers of that link's state, with which it begins."""
_OTHER = {"left": "right", "right": "left"}


def robot_channels(robot: Robot, driven: Sequence[int], observed: Sequence[int]) -> tuple[Channel, ...]:
    """Observation channels that every task has, in the order of the flat vector.

    A free robot's linear velocity is among them, as in MuJoCo Playground and Isaac Lab: on hardware it comes from a
    state estimator.
    """
    names = robot.model.joint_names
    moved, joints = tuple(names[i] for i in driven), tuple(names[i] for i in observed)
    n, (angle, speed, _) = len(joints), _units(robot.model, joints)
    free = (
        Channel("base_linear_velocity", (3,), "m/s", "base", "observation", "Velocity of the base's origin.", XYZ),
        Channel(
            "base_angular_velocity", (3,), "rad/s", "base", "observation", "Gyroscope: turn rate of the base.", XYZ
        ),
        Channel("projected_gravity", (3,), "1", "base", "observation", "Direction of gravity, unit vector.", XYZ),
    )
    return (
        *(free if robot.stance == "free" else ()),
        Channel("joint_position", (n,), angle, "joint", "observation", "Joint angles minus the default pose.", joints),
        Channel("joint_velocity", (n,), speed, "joint", "observation", "Joint speeds.", joints),
        Channel(
            "previous_action", (len(moved),), "1", "joint", "observation", "The action of the last control step.", moved
        ),
    )


def record_channels(robot: Robot, driven: Sequence[int], terms: tuple[str, ...]) -> tuple[Channel, ...]:
    """Channels of the simulator's truth and of the outcome, which a record holds and a policy does not see."""
    joints = robot.model.joint_names
    moved = tuple(joints[i] for i in driven)
    n, feet = len(joints), tuple(foot.link for foot in robot.model.feet)
    state = "state"
    angle, speed, torque = _units(robot.model, joints)
    channels = [
        Channel("action", (len(moved),), "1", "joint", "action", "Action applied from this step to the next.", moved),
        Channel("joint_angle", (n,), angle, "joint", state, "Joint angles.", joints, "float64"),
        Channel("joint_speed", (n,), speed, "joint", state, "Joint speeds.", joints, "float64"),
        Channel("joint_torque", (n,), torque, "joint", state, "Mean motor torques over the control step.", joints),
        Channel("base_position", (3,), "m", "world", state, "Origin of the base link.", XYZ, "float64"),
        Channel("base_orientation", (4,), "1", "world", state, "Quaternion of the base.", (*XYZ, "w"), "float64"),
        Channel("imu_angular_velocity", (3,), "rad/s", "imu", state, "Gyroscope.", XYZ),
        Channel("imu_linear_acceleration", (3,), "m/s²", "imu", state, "Accelerometer: mean specific force.", XYZ),
    ]
    if feet:
        components = tuple(f"{foot}_{axis}" for foot in feet for axis in XYZ)
        channels += [
            Channel("foot_force", (len(components),), "N", "world", state, "Ground reaction on each foot.", components),
            Channel(
                "foot_contact", (len(feet),), "1", "none", state, "Whether a foot carries more than 1 N.", feet, "bool"
            ),
        ]
    return (
        *channels,
        *(Channel(f"reward_{name}", (), "1", "none", "reward", f"Reward term {name}, weighted.") for name in terms),
        Channel("reward", (), "1", "none", "reward", "Sum of the reward terms.", (), "float64"),
        Channel("success", (), "1", "none", "event", "Whether the success predicate holds.", (), "bool"),
    )


def _units(model: CompiledModel, joints: Sequence[str]) -> tuple[str, str, str]:
    """Units of the position, speed and torque of joints: `rad or m` where some of them turn and some slide."""
    slide = [name in model.sliding for name in joints]
    if not any(slide):
        return "rad", "rad/s", "N·m"
    return ("m", "m/s", "N") if all(slide) else ("rad or m", "rad/s or m/s", "N·m or N")


class Observation:
    """Reads the environment's channels.

    Args:
        robot: What to read.
        task: Adds its channels.
        control_timestep: s.
        driven: Indices of the joints that the action moves.
        observed: Indices of the joints that the observation tells of.
        history: Observations in the flat vector that the environment gives.
        pictures: Whether to have the task's pictures, which no flat vector holds.

    Attributes:
        observed: Observation channels, in the order of the flat vector.
        pictures: Those that are pictures.
        channels: All channels, the observed ones first.
    """

    def __init__(
        self,
        robot: Robot,
        task: Task,
        control_timestep: float,
        driven: Sequence[int],
        observed: Sequence[int],
        history: int = 1,
        *,
        pictures: bool = False,
    ) -> None:
        own = task.channels()
        self.observed = (*robot_channels(robot, driven, observed), *(c for c in own if c.role == "observation"))
        self.pictures = tuple(c for c in own if pictures and c.role == "picture")
        rest = tuple(c for c in own if c.role not in ("observation", "picture"))
        self.channels = (*self.observed, *self.pictures, *record_channels(robot, driven, task.terms), *rest)
        self._free = robot.stance == "free"
        self._task_names = [c.name for c in own if c.role == "observation"]
        self._timestep = control_timestep
        self.slices: dict[str, slice] = {}
        start = 0
        for channel in self.observed:
            self.slices[channel.name] = slice(start, start + channel.size)
            start += channel.size
        self._flat = np.zeros(start, np.float32)
        self._history = history
        self._past: NDArray[np.float32] | None = None
        self._values: Mapping[str, Any] | None = None  # of the task, when it was last read
        self._views = {name: self._flat[where] for name, where in self.slices.items()}
        self._shaped = self.split(self._flat)
        self._sizes = {c.name: c.size for c in self.channels}
        self._privileged = (
            *(("foot_contact",) if robot.model.feet else ()),
            "joint_torque",
            *(c.name for c in own if c.role == "state"),
        )
        sides = [foot.side for foot in robot.model.feet]
        self._other_foot = np.array([sides.index(_OTHER[side]) for side in sides if _OTHER[side] in sides], np.int64)
        self._default = robot.model.default_position
        self._part = None if len(observed) == robot.count else np.array(observed)
        self._mirror = robot.model.mirror
        self._driven = np.array(driven)
        self._task = task
        self._carriers: tuple[LinkState, LinkState] = (robot.imu_carrier, robot.imu_carrier)

    def space(self, kind: str) -> gymnasium.Space[Any]:
        """Observation space: one Box (d,), or a Dict of Boxes by channel name, those of pictures uint8."""
        if kind == "flat":
            return gymnasium.spaces.Box(-np.inf, np.inf, (self._history * self._flat.size,), np.float32)
        boxes: dict[str, gymnasium.Space[Any]] = {
            c.name: gymnasium.spaces.Box(-np.inf, np.inf, c.shape, np.float32) for c in self.observed
        }
        boxes |= {c.name: gymnasium.spaces.Box(0, 255, c.shape, np.uint8) for c in self.pictures}
        return gymnasium.spaces.Dict(boxes)

    def action_mirror(self) -> Mirror:
        """The action's mirror map (n,).

        Raises:
            SimulationError: The robot has no mirror image, or a joint is driven whose counterpart is not.
        """
        if self._mirror is None:
            raise SimulationError("the robot is not symmetric: its action has no mirror image")
        return _part("driven", self._mirror, self._driven)

    def mirror(self, privileged: Sequence[str] = ()) -> Mirror:
        """The flat observation's mirror map (d,): what the robot's mirror image would observe.

        Args:
            privileged: Channels that stand behind it.

        Raises:
            SimulationError: The robot has no mirror image, or the task does not give that of a channel of its own.
        """
        joints = self._mirror
        if joints is None:
            raise SimulationError("the robot is not symmetric: its observation has no mirror image")
        own, observed = np.arange(3), joints if self._part is None else _part("observed", joints, self._part)
        vector, turn = Mirror(own, np.array([1.0, -1.0, 1.0])), Mirror(own, np.array([-1.0, 1.0, -1.0]))
        known = {
            "base_linear_velocity": vector,
            "base_angular_velocity": turn,
            "projected_gravity": vector,
            "joint_position": observed,
            "joint_velocity": observed,
            "previous_action": self.action_mirror(),
            "joint_torque": joints,
            "foot_contact": Mirror(self._other_foot, np.ones(len(self._other_foot))),
            **self._task.mirror(),
        }
        parts, start = [], 0
        for name in (*[c.name for c in self.observed] * self._history, *privileged):
            if name not in known:
                raise SimulationError(f"task '{self._task.id}': how channel '{name}' looks in the mirror is not said")
            parts.append((start, known[name]))
            start += self._sizes[name]
        return Mirror(
            np.concatenate([start + part.permutation for start, part in parts]),
            np.concatenate([part.sign for _, part in parts]),
        )

    def reset(self, env: HumanoidEnv) -> None:
        """Forget the last episode; the first accelerometer sample is that of a robot at rest."""
        self._carriers = (env.robot.imu_carrier, env.robot.imu_carrier)
        self._past = None
        self._values = None

    def with_history(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        """Put the observations before it behind a flat observation (d,); returns (history * d,)."""
        if self._history == 1:
            return seen
        if self._past is None:
            self._past = np.tile(seen, self._history)
        else:
            self._past = np.concatenate([seen, self._past[: -seen.size]])
        return self._past.copy()

    def read(self, env: HumanoidEnv) -> NDArray[np.float32]:
        """True flat observation (d,); the array is used again by the next call."""
        robot, views = env.robot, self._views
        if self._free:
            views["base_linear_velocity"][:] = robot.base_linear_velocity
            views["base_angular_velocity"][:] = robot.base_angular_velocity
            views["projected_gravity"][:] = robot.projected_gravity
        position, velocity = robot.joint_position - self._default, robot.joint_velocity
        views["joint_position"][:] = position if self._part is None else position[self._part]
        views["joint_velocity"][:] = velocity if self._part is None else velocity[self._part]
        views["previous_action"][:] = env.action
        if self._task_names:
            self._values = values = env.task.values()
            for name in self._task_names:
                views[name][...] = values[name]
        if env.steps:
            self._carriers = (self._carriers[1], robot.imu_carrier)
        return self._flat

    def privileged(self, env: HumanoidEnv, names: Sequence[str]) -> NDArray[np.float32]:
        """Flat values (k,) of channels that a policy does not see; see `HumanoidEnv.privileged`."""
        for name in names:
            if name not in self._privileged:
                raise SimulationError(unknown("privileged channel", name, self._privileged))
        values: dict[str, Any] = {"foot_contact": env.robot.foot_contact, "joint_torque": env.robot.joint_torque}
        values.update(env.task.values())
        return np.concatenate([np.ravel(values[name]) for name in names]).astype(np.float32)

    def split(self, flat: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Flat observation (d,) by channel name, each with its declared shape."""
        return {c.name: flat[self.slices[c.name]].reshape(c.shape) for c in self.observed}

    def frame(self, env: HumanoidEnv) -> dict[str, NDArray[Any]]:
        """Current value of every channel, with the declared shape and dtype."""
        gyroscope, accelerometer = self._imu(env, *self._carriers)
        raw = self.raw_frame(env)
        values = {
            **raw,
            **env.task.values(),  # somebody may have moved things since the last step
            **self._shaped,
            **self._apart(env, np.array(raw[SMALL])),
            "imu_angular_velocity": gyroscope,
            "imu_linear_acceleration": accelerometer,
        }
        return {c.name: np.array(values[c.name], dtype=c.dtype).reshape(c.shape) for c in self.channels}

    def raw_frame(self, env: HumanoidEnv) -> dict[str, Any]:
        """Value of every channel after the last step or reset, as it is at hand.

        A number, a sequence, or an array that is used again.

        For who copies it at once, as a recorder does, and has `expand` work out the rest later for all steps at once:
        making 26 arrays a step took most of what recording costs. The keys `OBSERVED` and `SMALL` stand for channels
        that are not there.
        """
        robot, outcome, carrier = env.robot, env.outcome, self._carriers[1]
        values: dict[str, Any] = {
            OBSERVED: self._flat,
            # One copy of a tuple takes less time than ten of single numbers.
            SMALL: (
                *carrier.position, *carrier.orientation, *carrier.linear_velocity, *carrier.angular_velocity,
                *robot.base.position, *robot.base.orientation, *robot.foot_contact,
                outcome.success, sum(outcome.terms.values()), *outcome.terms.values(),
            ),
            "action": env.action,
            "joint_angle": robot.joint_position,
            "joint_speed": robot.joint_velocity,
            "joint_torque": robot.joint_torque,
        }  # fmt: skip
        if robot.model.feet:
            values["foot_force"] = robot.foot_force.reshape(-1)
        values.update(env.task.values() if self._values is None else self._values)
        if self.pictures:
            values.update(env.task.pictures())
        return values

    def expand(self, env: HumanoidEnv, raw: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Work out the channels that raw frames leave out, with the bits that `frame` gives.

        Args:
            env: In the episode that the frames are of.
            raw: `OBSERVED` (T, d) and `SMALL` (T, k) of every frame since the reset.

        Returns:
            (T, *shape) by channel, not yet of the channel's dtype.
        """
        seen, now = raw[OBSERVED], raw[SMALL][:, :CARRIER]
        columns = {c.name: seen[:, self.slices[c.name]].reshape(-1, *c.shape) for c in self.observed}
        imu = self._imu(env, _states(np.concatenate([now[:1], now[:-1]])), _states(now))
        for name, values in zip(("imu_angular_velocity", "imu_linear_acceleration"), imu, strict=True):
            columns[name] = np.stack(values, axis=1)
        return columns | self._apart(env, raw[SMALL])

    def _apart(self, env: HumanoidEnv, small: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Take the small channels of raw frames apart: (..., k) to (..., *shape) by channel."""
        position, orientation, contact = CARRIER, CARRIER + 3, CARRIER + 7
        rest = contact + len(env.robot.foot_contact)
        names = ("success", "reward", *(f"reward_{name}" for name in env.outcome.terms))
        return {
            "base_position": small[..., position:orientation],
            "base_orientation": small[..., orientation:contact],
            "foot_contact": small[..., contact:rest],
            **{name: small[..., rest + i] for i, name in enumerate(names)},
        }

    def _imu(self, env: HumanoidEnv, before: LinkState, now: LinkState) -> tuple[rotations.Vector, rotations.Vector]:
        """Gyroscope (3,), rad/s, and accelerometer (3,), m/s², in the IMU's frame.

        The accelerometer's sample is the mean over the control step of what a real one would measure: acceleration of
        the IMU's origin minus gravity.

        Args:
            env: Of the robot.
            before, now: The link that carries it, one control step apart. Components may be arrays, of many steps.
        """
        frame = env.model.frames[env.model.imu_frame]
        old, new = carried(frame, before), carried(frame, now)
        force = [(b - a) / self._timestep for a, b in zip(old.linear_velocity, new.linear_velocity, strict=True)]
        force[2] += env.world.gravity
        return (
            rotations.rotate_inverse(new.orientation, new.angular_velocity),
            rotations.rotate_inverse(new.orientation, force),
        )

    def save(self) -> Any:
        """State for `restore`."""
        return self._carriers, self._flat.copy(), self._past

    def restore(self, state: Any) -> None:
        """Return to what `save` gave."""
        self._carriers, self._flat[:], self._past = state
        self._values = None


def _part(option: str, mirror: Mirror, chosen: NDArray[np.int64]) -> Mirror:
    """The mirror map of some of the joints.

    Raises:
        SimulationError: A joint is chosen whose counterpart is not.
    """
    place = {int(joint): i for i, joint in enumerate(chosen)}
    counterparts = mirror.permutation[chosen].tolist()
    if not place.keys() >= set(counterparts):
        raise SimulationError(f"{option}: it has a joint of one side, and not its counterpart")
    return Mirror(np.array([place[joint] for joint in counterparts]), mirror.sign[chosen])


def _states(rows: NDArray[np.float64]) -> LinkState:
    """States of a link from rows (T, 13) of raw frames: every component is an array (T,)."""
    parts: list[Any] = list(rows.T)
    return LinkState(*(tuple(parts[a:b]) for a, b in ((0, 3), (3, 7), (7, 10), (10, 13))))  # type: ignore[arg-type]
