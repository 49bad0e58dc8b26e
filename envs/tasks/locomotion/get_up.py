"""GetUp: from lying on the floor to standing."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from training_ground.assets.library import load_motions, motion_names
from training_ground.assets.model import CompiledModel, Mirror
from training_ground.envs import balance, rotations
from training_ground.envs.channels import Channel
from training_ground.envs.keyframes import Keyframes
from training_ground.envs.rewards import near
from training_ground.envs.robot import Array
from training_ground.envs.task import Outcome, Task, TaskConfig

STANDING_HEIGHT = 0.9
"""Share of the base's standing height from which on the robot stands."""

STANDING_TILT = 0.3
"""rad of the base below which it stands."""

DROP = 0.03
"""m above the floor from which the robot is dropped."""

ROUNDS = 2
"""Of lifting the robot out of the floor: what is deep in it may hide what is deeper."""

ROLL = 0.3
"""rad by which it may be turned to a side when it is dropped."""


AGAIN_S = 1.0
"""s after the end of a motion at which one that still lies begins anew."""

LYING = 0.5
"""Share of the standing height of the base below which a robot lies."""

RISING_S = 0.5
"""s after the end of a motion until which an episode of `rising_share` may begin: the robot stands by then."""

RISING_PITCH = 0.1
"""rad by which such a robot is pitched at most, counted from level soles."""


class GetUpConfig(TaskConfig):
    """Keyword arguments of GetUp."""

    prone_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the episodes that begin face down; the others begin on the back."""
    settle_s: Annotated[float, Field(ge=0, le=5)] = 1.0
    """Time for which the robot has lain before an episode begins, s; its joints hold what a zero action commands."""
    rising_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the episodes that begin on the feet, somewhere from a motion's last pose on: what a policy would seldom
    come to see may be learned from the first day on."""
    hold_s: Annotated[float, Field(ge=0)] = 1.0
    """Time for which the robot has to stand, s."""


class GetUp(Task):
    """Get up from the floor and stand.

    The robot lies face down or on its back: laid out in nearly its default pose, turned to a side by up to 0.3 rad,
    dropped from 3 cm and left for a second. Nothing that it touches ends the episode.

    Where there are motions for the robot (`assets/motions/<robot>_get_up.yaml`), actions are added to them: the one for
    how the robot lies, from the start on, and again a second after its end where the robot still lies then. How far the
    motion is gets observed. Without feedback they bring the robot to its feet only where all goes well.

    **Success** holds while the robot stands: base above 90 % of its standing height and tilted by less than 0.3 rad,
    for a second so far. Only an episode that begins on the feet fails (`rising_share`, for training): where
    the robot falls.

    **Reward**, at most 1 a step: height of the base, upright base, weight on the feet, standing, joints near the
    default pose, little change of the action.
    """

    id = "GetUp"
    instruction = "Get up from the floor and stand."
    stances = ("free",)
    terms = ("height", "upright", "feet", "stand", "posture", "smooth")
    failures: ClassVar[tuple[str, ...]] = ()
    phases = ("lie", "rise", "stand")
    adjustable = ("rising_share",)
    episode_length_s: ClassVar[float] = 10.0
    config_type = GetUpConfig
    config: GetUpConfig

    @classmethod
    def unsupported(cls, model: CompiledModel, stance: str) -> str | None:
        """A robot needs arms to push itself up, and feet to stand on."""
        for name, parts in (("feet", model.feet), ("hands", model.hands)):
            if not parts:
                return f"robot '{model.name}' has no {name}; task '{cls.id}' needs them"
        return super().unsupported(model, stance)

    def __init__(self, config: GetUpConfig, env: Any) -> None:
        super().__init__(config, env)
        if config.rising_share:
            self.failures = ("fall",)  # type: ignore[misc]  # of episodes that begin on the feet
        name = f"{env.model.name}_get_up"
        spec = load_motions(name) if name in motion_names() else None
        poses = spec.motions if spec else {}
        self.motions = {
            face: Keyframes(env.model, poses[face], spec.return_s, f"{name}.{face}")
            for face in ("prone", "supine")
            if spec and face in poses
        }

    def channels(self) -> tuple[Channel, ...]:
        """How the robot lay, for the record; how far its motion is, if it has any."""
        began = Channel("began_prone", (), "1", "none", "state", "Whether it lay face down at first.", (), "bool")
        text = "Share of the motion that is done, and 1 for the one from the front, -1 from the back, 0 for none."
        moves = Channel("motion", (2,), "1", "none", "observation", text, ("share", "face"))
        return (moves, began) if self.motions else (began,)

    def mirror(self) -> dict[str, Mirror]:
        """The motions are their own mirror images."""
        return {"motion": Mirror(np.arange(2), np.ones(2))}

    def reset(self, generator: np.random.Generator) -> None:
        """Lay the robot down."""
        env, robot = self.env, self.env.robot
        prone = bool(generator.random() < self.config.prone_share)
        share = self.config.rising_share
        rising = bool(share and self.motions and generator.random() < share)
        roll, yaw = float(generator.uniform(-ROLL, ROLL)), rotations.yaw(robot.base.orientation)
        down = rotations.from_euler(0.0, math.pi / 2 if prone else -math.pi / 2, 0.0)
        self.state.values = {"prone": prone, "held": 0, "stood": math.nan, "face": None, "since": 0, "rising": rising}
        if rising:
            self._raise(generator, yaw)
            return
        lying = rotations.multiply(rotations.from_euler(0.0, 0.0, yaw), rotations.from_euler(roll, 0.0, 0.0))
        self._drop(rotations.multiply(lying, down))
        settle = round(self.config.settle_s / env.world.timestep)
        if settle:
            robot.advance(env.action_origin, settle)
            robot.drive.reset()
        self._begin()

    def _raise(self, generator: np.random.Generator, yaw: float) -> None:
        """Put the robot on its feet in a late moment of a motion, at rest."""
        env, robot = self.env, self.env.robot
        prone = self.state.values["prone"]
        face = ("prone" if prone else "supine") if len(self.motions) > 1 else next(iter(self.motions))
        motion = self.motions[face]
        time = float(generator.uniform(motion.times[-2], motion.length + RISING_S))
        joints = np.clip(robot.joint_position + motion.at(time), env.model.lower, env.model.upper)
        robot.place(joints.tolist(), yaw)
        base = rotations.conjugate(robot.base.orientation)
        soles = [rotations.rotation_vector(rotations.multiply(base, foot.orientation))[1] for foot in robot.feet]
        pitch = float(generator.uniform(-RISING_PITCH, RISING_PITCH)) - sum(soles) / len(soles)
        robot.place(joints.tolist(), yaw, (0.0, pitch))
        self.state.values |= {"face": face, "since": env.steps - round(time / env.control_timestep)}

    def _drop(self, orientation: rotations.Quaternion) -> None:
        """Hold the robot, its joints as they are, at rest just above the floor."""
        robot, world, height = self.env.robot, self.env.world, 0.0
        for _ in range(ROUNDS):
            robot.body.set_base((0.0, 0.0, height), orientation)
            world.detect_contacts()
            height -= min([0.0, *(c.distance for c in robot.body.contacts() if c.other == "ground")])
        robot.body.set_base((0.0, 0.0, height + DROP), orientation)
        world.detect_contacts()
        robot.drive.reset()
        robot.read()

    def _begin(self) -> None:
        """Begin the motion for how the robot lies now, if there is one."""
        face = "prone" if self.env.robot.projected_gravity[0] > 0 else "supine"
        self.state.values |= {"face": face if face in self.motions else None, "since": self.env.steps}

    def _time(self) -> float:
        """Since the motion began, s."""
        return (self.env.steps - self.state.values["since"]) * self.env.control_timestep

    def before_step(self) -> None:
        """Try once more where the motion has not helped."""
        face = self.state.values["face"]
        over = face is None or self._time() >= self.motions[face].length + AGAIN_S
        if self.motions and over and balance.relative_height(self.env) < LYING:
            self._begin()

    def reference(self) -> Array | None:
        """Joint offsets (n), rad, of the motion at this moment."""
        face = self.state.values["face"]
        return None if face is None else self.motions[face].at(self._time())

    def reference_model(self) -> dict[str, Any] | None:
        """The motions' numbers."""
        if not self.motions:
            return None
        moved = np.flatnonzero(np.any([motion.offsets.any(axis=0) for motion in self.motions.values()], axis=0))
        names = self.env.model.joint_names
        return {
            "joints": [names[i] for i in moved.tolist()],
            "motions": {face: motion.describe(moved.tolist()) for face, motion in self.motions.items()},
            "again_s": AGAIN_S,
            "lying": LYING,
        }

    def values(self) -> dict[str, Any]:
        """How the robot lay, and how far its motion is."""
        seen: dict[str, Any] = {"began_prone": self.state.values["prone"]}
        if self.motions:
            face = self.state.values["face"]
            share = 1.0 if face is None else min(self._time() / self.motions[face].length, 1.0)
            seen["motion"] = (share, {"prone": 1.0, "supine": -1.0, None: 0.0}[face])
        return seen

    def metrics(self) -> dict[str, float]:
        """`time_to_stand`, s from the start to when it stood and stayed so for `hold_s`; NaN where it never did."""
        return {"time_to_stand": self.state.values["stood"]}

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        env, robot, values = self.env, self.env.robot, self.state.values
        height, tilt = balance.relative_height(env), balance.tilt(robot)
        carried = float(robot.foot_force[:, 2].sum()) / (env.model.mass * env.world.gravity)
        posture = robot.joint_position - env.model.default_position
        change = env.action - env.previous_action
        count = len(posture)
        standing = height > STANDING_HEIGHT and tilt < STANDING_TILT
        terms = {
            "height": 0.3 * min(max(height, 0.0), 1.0),
            "upright": 0.2 * (1 + math.cos(tilt)) / 2,
            "feet": 0.15 * min(max(carried, 0.0), 1.0),
            "stand": 0.2 * near(height - 1.0, 0.1) * near(tilt, 0.3),
            "posture": 0.1 * near(math.sqrt(float(posture @ posture) / count), 0.4),
            "smooth": 0.05 * near(math.sqrt(float(change @ change) / count), 0.3),
        }
        values["held"] = values["held"] + 1 if standing else 0
        success = standing and values["held"] * env.control_timestep >= self.config.hold_s
        if success and math.isnan(values["stood"]):
            values["stood"] = (env.steps - values["held"] + 1) * env.control_timestep
        phase = "stand" if standing else "rise" if height > 0.5 or carried > 0.5 else "lie"
        failure = "fall" if values["rising"] and height < LYING else None
        return Outcome(terms, success, failure, phase)
