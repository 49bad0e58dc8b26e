"""Legs that a balance policy drives while actions move the rest: stance `free` in factory cells.

A scripted one (`envs/stander.py`) fits every robot with two legs of six joints. A layer above may offer another one for
a robot, such as one that was learned.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.catalog import load_model
from training_ground.assets.model import CompiledModel
from training_ground.configs.errors import SimulationError
from training_ground.envs import stander

if TYPE_CHECKING:
    from training_ground.envs.env import HumanoidEnv

Array = NDArray[np.float64]

NAME = "stander"
"""Of the scripted policy."""
CONTROL_RATE = 50.0
"""Hz at which it acts."""
TORQUE_SHARE, LARGEST_SCALE = 0.8, 1.0
"""A full action of it asks for this share of a motor's torque at the default pose, and for so many rad at most."""
_SAME = 1e-6
"""rad, or share of a gain, by which two that are meant to be the same may differ."""


@dataclass(frozen=True, eq=False)
class LegPolicy:
    """What keeps a robot on its feet: from an observation to targets of the legs' joints.

    The observation is the base's linear and angular velocity and the direction of gravity, (3,) each, in the base's
    frame; of `joints` the angles off the default pose and the speeds, (k,) each; and the last action (m,).

    Attributes:
        name: Of the policy.
        hash: sha256 (hex) of what decides what it does.
        model_hash: Of the compiled robot that it was made for, all joints but `joints` locked.
        control_rate: Hz.
        joints: That it observes (k).
        driven: That it drives (m).
        default: (k) default pose, rad.
        origin: (m) targets of a zero action, rad.
        scale: (m) rad a unit of action.
        kp, kd: (m) gains, N·m/rad and N·m·s/rad.
        act: Gives the action (m,), in [-1, 1], for an observation (9 + 2 k + m,).
    """

    name: str
    hash: str
    model_hash: str
    control_rate: float
    joints: tuple[str, ...]
    driven: tuple[str, ...]
    default: Array
    origin: Array
    scale: Array
    kp: Array
    kd: Array
    act: Callable[[NDArray[np.float32]], NDArray[np.float32]]


_offers: dict[str, Callable[[], LegPolicy]] = {}


def offer(robot: str, load: Callable[[], LegPolicy]) -> None:
    """Have a policy drive a robot's legs in every environment of this process that is made from now on and needs one.

    Args:
        robot: Its name.
        load: Gives the policy; called once an environment.
    """
    _offers[robot] = load


def offered(model: CompiledModel) -> LegPolicy:
    """Return the policy that keeps a robot on its feet: one that was offered for it, else the scripted one.

    Raises:
        SimulationError: It has no legs that the scripted one can drive.
    """
    if model.name in _offers:
        return _offers[model.name]()
    reason = stander.unfit(model)
    if reason:
        raise SimulationError(reason)
    names = model.joint_names
    driven = tuple(name for name in names if name in model.groups["legs"])
    place = [names.index(name) for name in driven]
    kp, kd = model.kp[place], model.kd[place]
    origin = (model.default_position + model.standing_torque / np.maximum(model.kp, 1e-9))[place]
    scale = np.minimum(TORQUE_SHARE * model.effort_limit[place] / np.maximum(kp, 1e-9), LARGEST_SCALE)
    act = stander.Stander(model, driven, origin, scale)
    return LegPolicy(
        NAME, stander.HASH, model.hash, CONTROL_RATE, names, driven, model.default_position, origin, scale, kp, kd, act
    )


class Legs:
    """The legs of one environment's robot, and the policy that drives them.

    Args:
        env: Its model and robot are there; its control steps may be shorter than the policy's.

    Attributes:
        policy: That drives them.
        driven: Indices (m) of their joints in the robot's arrays.
        action: The policy's last (m,).

    Raises:
        SimulationError: There is no policy, or it was made for another robot, pose, gain or rate.
    """

    def __init__(self, env: HumanoidEnv) -> None:
        model = env.model
        self.policy = policy = offered(model)
        where = f"legs of robot '{model.name}', policy '{policy.name}'"
        if env.config.control == "joint_torque":
            raise SimulationError(f"{where}: control = 'joint_torque': must be one of positions, as the policy is")
        gone = [name for name in policy.joints if name not in model.joint_names]
        if gone:
            raise SimulationError(f"{where}: needs joint '{gone[0]}', which is locked; leave it out of `locked`")
        known = model.hash
        if policy.joints != model.joint_names:
            known = load_model(env.config.robot, moving=policy.joints).hash
        if known != policy.model_hash:
            raise SimulationError(f"{where}: it was made for another compiled model of this robot")
        index = model.joint_names.index
        self._joints = np.array([index(name) for name in policy.joints])
        self.driven = np.array([index(name) for name in policy.driven])
        self._default = policy.default
        for what, mine, theirs in (
            ("default_position", policy.default, model.default_position[self._joints]),
            ("kp", policy.kp, model.kp[self.driven]),
            ("kd", policy.kd, model.kd[self.driven]),
        ):
            if not np.allclose(mine, theirs, rtol=_SAME, atol=_SAME):
                raise SimulationError(f"{where}: {what} is not the one that it was made for")
        steps = 1.0 / (policy.control_rate * env.control_timestep)
        self._every = round(steps)
        if self._every < 1 or abs(steps - self._every) > 1e-6:
            raise SimulationError(
                f"{where}: it acts at {policy.control_rate:g} Hz, which must be the environment's control rate, "
                f"{1 / env.control_timestep:.3g} Hz, or a whole fraction of it; change physics_timestep or decimation"
            )
        self._lower, self._upper = model.lower[self.driven], model.upper[self.driven]
        self._seen = np.zeros(9 + 2 * len(policy.joints) + len(policy.driven), np.float32)
        self.action = np.zeros(len(policy.driven), np.float32)

    def reset(self) -> None:
        """Begin an episode."""
        self.action = np.zeros_like(self.action)

    def command(self, env: HumanoidEnv) -> None:
        """Put the legs' targets, rad, into those of the robot, for the control step that comes."""
        if env.steps % self._every == 0:
            robot, seen, k = env.robot, self._seen, len(self._joints)
            seen[0:3], seen[3:6] = robot.base_linear_velocity, robot.base_angular_velocity
            seen[6:9] = robot.projected_gravity
            seen[9 : 9 + k] = robot.joint_position[self._joints] - self._default
            seen[9 + k : 9 + 2 * k] = robot.joint_velocity[self._joints]
            seen[9 + 2 * k :] = self.action
            self.action = np.clip(self.policy.act(seen), -1.0, 1.0).astype(np.float32)
        target = self.policy.origin + self.policy.scale * self.action
        env.target[self.driven] = np.minimum(np.maximum(target, self._lower), self._upper)

    def save(self) -> Any:
        """State for `restore`."""
        return self.action.copy()

    def restore(self, saved: Any) -> None:
        """Return to what `save` gave."""
        self.action = saved

    def describe(self) -> dict[str, str]:
        """Which policy drives the legs, as plain data."""
        return {"policy": self.policy.name, "hash": self.policy.hash}
