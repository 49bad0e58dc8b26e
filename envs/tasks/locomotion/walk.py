"""Walk: follow a velocity command."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator, Field

from training_ground.assets.model import CompiledModel, Mirror
from training_ground.envs import balance, rotations
from training_ground.envs.channels import Channel
from training_ground.envs.gait import STANCE_SHARE, Gait, swing
from training_ground.envs.pushes import Pushes, push_channel
from training_ground.envs.randomisation import NonNegativeRange, ordered
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome, Task, TaskConfig
from training_ground.envs.walking import WalkRecord

Range = Annotated[tuple[float, float], AfterValidator(ordered)]

SPEED_TOLERANCE = 0.15
"""m/s by which the mean velocity of a cycle may miss the command where the robot still walks as it is told."""


class WalkConfig(TaskConfig):
    """Keyword arguments of Walk."""

    forward_speed: Range = (-0.3, 0.8)
    """Range of the command's velocity forward, m/s."""
    sideways_speed: Range = (-0.3, 0.3)
    """To the left, m/s."""
    turn_rate: Range = (-0.5, 0.5)
    """About the vertical, rad/s."""
    command_interval_s: Annotated[float, Field(gt=0)] = 10.0
    """Time after which a new command is drawn, s."""
    push_speed: NonNegativeRange = (0.4, 0.4)
    """Range of the velocity that a push gives the whole robot at once, m/s; its direction is uniform."""
    push_interval_s: Annotated[float, Field(gt=0)] = 5.0
    """Time between pushes, s; the first one comes at a random time within the first interval."""
    step_period_s: Annotated[float, Field(gt=0)] | None = None
    """Time of two steps, s; where absent 2.8 times the time constant of a pendulum of the robot's height."""
    step_height: Annotated[float, Field(gt=0)] | None = None
    """By which the reference lifts a foot, m; where absent a twelfth of the standing height of the base."""
    arm_swing: Annotated[float, Field(ge=0, le=2)] = 0.0
    """By which the reference swings the arms: way of a hand as a share of that of the other side's foot."""
    fall_height: Annotated[float, Field(gt=0, lt=1)] = balance.FALL_HEIGHT
    """Share of the standing height below which the episode ends."""
    fall_tilt: Annotated[float, Field(gt=0, le=math.pi)] = balance.FALL_TILT
    """rad of tilt beyond which the episode ends."""


class Walk(Task):
    """Walk forward, back, sideways and around as commanded, in spite of pushes.

    The robot starts near its default pose with a random heading and a random foot first. A command holds for
    `command_interval_s`. The heading that the robot should have turns with the commanded rate; how far it is off is
    observed, so that the robot can keep a straight line. A clock times the steps. Actions are added to a stepping
    reference that follows clock and command (`envs/gait.py`); alone it falls.

    **Success** holds while the robot walks as told: its velocity, averaged over a cycle, is within 0.15 m/s of the
    command's, and it has not fallen. The episode ends early, with failure `fall`, where the base comes below 60 % of
    its standing height, tilts by more than 1 rad, or anything above the feet touches the ground.

    **Reward**, at most 1 a step: velocity, turn rate and heading as commanded, upright base at its height and without
    bouncing, feet on the ground and in the air as the clock says, lifted as high as the reference has them, no
    slipping, joints near the reference, little change of the action.
    """

    id = "Walk"
    instruction = "Walk with the commanded velocity."
    stances = ("free",)
    terms = ("velocity", "turning", "heading", "upright", "height", "calm", "clock", "swing", "slip", "gait", "smooth")
    phases = ("left", "right", "both")
    config_type = WalkConfig
    adjustable = ("forward_speed", "sideways_speed", "turn_rate", "push_speed", "fall_height", "fall_tilt")
    config: WalkConfig
    period_share: ClassVar[float] = 2.8
    """Time of two steps over the time constant of a pendulum of the robot's height."""
    stance_share: ClassVar[float] = STANCE_SHARE
    """Share of it that each foot stands."""

    def __init__(self, config: WalkConfig, env: Any) -> None:
        super().__init__(config, env)
        height = env.model.default_height
        period = config.step_period_s or self.period_share * math.sqrt(height / env.world.gravity)
        self.gait = Gait(env.robot, self.step_height(height), period, self.stance_share, config.arm_swing)
        self._left = [foot.side for foot in env.model.feet].index("left")
        self._memory = 1 - math.exp(-env.control_timestep / period)

    def step_height(self, height: float) -> float:
        """By which the reference lifts the feet of a robot whose base is so high, both m."""
        return self.config.step_height or height / 12

    @classmethod
    def unsupported(cls, model: CompiledModel, stance: str) -> str | None:
        """A robot needs two feet to walk."""
        if len(model.feet) != 2:
            return f"robot '{model.name}' has not two feet but {len(model.feet)}; task '{cls.id}' needs them"
        return super().unsupported(model, stance)

    def channels(self) -> tuple[Channel, ...]:
        """Command, heading error and clock; the push of the step, for the record."""
        return (
            Channel(
                "command_velocity",
                (2,),
                "m/s",
                "heading",
                "observation",
                "Commanded velocity, forward and to the left.",
                ("x", "y"),
            ),
            Channel("command_turn_rate", (), "rad/s", "world", "observation", "Commanded rate about the vertical."),
            Channel("heading_error", (), "rad", "world", "observation", "Heading minus the one commanded."),
            Channel("gait_clock", (2,), "1", "none", "observation", "Phase of the left foot.", ("sin", "cos")),
            push_channel(),
        )

    def mirror(self) -> dict[str, Mirror]:
        """In the mirror the right foot is where the left one was half a cycle ago."""
        one = np.arange(1)
        flip = Mirror(one, np.array([-1.0]))
        return {
            "command_velocity": Mirror(np.arange(2), np.array([1.0, -1.0])),
            "command_turn_rate": flip,
            "heading_error": flip,
            "gait_clock": Mirror(np.arange(2), np.array([-1.0, -1.0])),
        }

    def reset(self, generator: np.random.Generator) -> None:
        """Draw the episode's commands and pushes, and which foot goes first."""
        env, config = self.env, self.config
        every = max(1, round(config.command_interval_s / env.control_timestep))
        commands = self.draw_commands(generator, -(-env.max_steps // every))
        self.state.values = {
            "start": float(generator.choice([0.0, 0.5])),
            "commands": commands,
            "every": every,
            "heading": rotations.yaw(env.robot.base.orientation),
            "pace": [0.0, 0.0, 0.0],
            "velocity": [0.0, 0.0, 0.0],
            "pushes": Pushes.draw(generator, env, config.push_speed, config.push_interval_s),
            "push": (0.0, 0.0),
            "reference": None,
            "record": WalkRecord(list(env.robot.base.position[:2])),
        }

    def draw_commands(self, generator: np.random.Generator, count: int) -> list[list[float]]:
        """Draw velocities forward and to the left, m/s, and about the vertical, rad/s: (count, 3)."""
        config = self.config
        ranges = (config.forward_speed, config.sideways_speed, config.turn_rate)
        return np.stack([generator.uniform(*bounds, count) for bounds in ranges], axis=1).tolist()

    @property
    def command(self) -> list[float]:
        """Forward and to the left, m/s, and about the vertical, rad/s."""
        values = self.state.values
        return values["commands"][min(self.env.steps // values["every"], len(values["commands"]) - 1)]

    def phases_of_feet(self) -> tuple[float, float]:
        """Phase of each foot now, in the order of the model's feet."""
        time = self.env.steps * self.env.control_timestep
        return self.gait.phases(time + self.state.values["start"] * self.gait.period)

    def reference(self) -> np.ndarray:
        """Joint offsets (n), rad, of the stepping reference at this moment."""
        values = self.state.values
        if values["reference"] is None:
            values["reference"] = self.gait.offset(self.phases_of_feet(), values["pace"])
        return values["reference"]

    def reference_model(self) -> dict[str, Any]:
        """The gait's numbers, its feet in order, and how fast it follows a new command."""
        model = self.env.model
        return {
            "feet": [foot.side for foot in model.feet],
            "smoothing": self._memory,
            **self.gait.describe(model.joint_names),
        }

    def before_step(self) -> None:
        """Push where it is time to, turn the heading to be kept, and let the reference follow the command smoothly."""
        values, command = self.state.values, self.command
        values["push"] = values["pushes"].apply(self.env)
        values["heading"] += command[2] * self.env.control_timestep
        values["pace"] = [p + self._memory * (c - p) for p, c in zip(values["pace"], command, strict=True)]

    def values(self) -> dict[str, Any]:
        """Current command, heading error, clock and push."""
        angle = 2 * math.pi * self.phases_of_feet()[self._left]
        command = self.command
        return {
            "command_velocity": command[:2],
            "command_turn_rate": command[2],
            "heading_error": self._heading_error(),
            "gait_clock": (math.sin(angle), math.cos(angle)),
            "push_velocity": self.state.values["push"],
        }

    def metrics(self) -> dict[str, float]:
        """How evenly and exactly it walks (`envs/walking.py`), and what became of the pushes (`envs/pushes.py`)."""
        values = self.state.values
        return values["record"].metrics(self.env, values["heading"]) | values["pushes"].metrics(self.env)

    def _heading_error(self) -> float:
        turned = rotations.yaw(self.env.robot.base.orientation) - self.state.values["heading"]
        return math.remainder(turned, 2 * math.pi)

    def on_course(self, missed: float, astray: float) -> bool:
        """Whether the robot goes as told: its mean velocity is off by `missed`, m/s, its heading by `astray`, rad."""
        return missed < SPEED_TOLERANCE

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        env, robot, values = self.env, self.env.robot, self.state.values
        turned = rotations.yaw(robot.base.orientation)
        (vx, vy, vz), (wx, wy, wz) = robot.base.linear_velocity, robot.base.angular_velocity
        forward = math.cos(turned) * vx + math.sin(turned) * vy
        sideways = math.cos(turned) * vy - math.sin(turned) * vx
        command = self.command
        mean = values["velocity"]
        mean[0] += self._memory * (forward - mean[0])
        mean[1] += self._memory * (sideways - mean[1])
        mean[2] += self._memory * (wz - mean[2])
        phases, astray = self.phases_of_feet(), self._heading_error()
        values["reference"] = None
        off = robot.joint_position - env.model.default_position - self.reference()
        change = env.action - env.previous_action
        height, tilt = balance.relative_height(env), balance.tilt(robot)
        gait, ground, stands = self.gait, env.terrain, [p < self.stance_share for p in phases]
        agree = stands == robot.foot_contact
        lifted = [
            foot.position[2] - rest - (float(ground.height(*foot.position[:2])) if ground.rows else 0.0)
            for foot, rest in zip(robot.feet, gait.rest, strict=True)
        ]
        asked = [gait.height * swing(p, self.stance_share)[0] for p in phases]
        raised = max(abs(z - a) for z, a in zip(lifted, asked, strict=True))
        loaded = [foot for foot, contact in zip(robot.feet, robot.foot_contact, strict=True) if contact]
        slip = max((math.hypot(*foot.linear_velocity[:2]) for foot in loaded), default=0.0)
        terms = {
            "velocity": 0.25 * near(math.hypot(forward - command[0], sideways - command[1]), 0.35),
            # Each step turns the pelvis to and fro, faster than any command: what counts is the mean, and the way back.
            "turning": 0.1 * near(mean[2] - command[2] + max(-0.5, min(0.5, 1.5 * astray)), 0.5),
            "heading": 0.08 * near(astray, 0.4),
            "upright": 0.1 * near(tilt, 0.25),
            "height": 0.05 * near(height - 1.0, 0.1),
            "calm": 0.05 * near(math.hypot(vz / 0.3, math.hypot(wx, wy) / 2.0), 1.0),
            "clock": 0.15 * agree,
            "swing": 0.1 * near(raised, 0.5 * gait.height),
            "slip": 0.02 * near(slip, 0.3),
            "gait": 0.05 * near(math.sqrt(float(off @ off)), 0.5),
            "smooth": 0.05 * near(math.sqrt(float(change @ change) / len(change)), 0.3),
        }
        failure = balance.failure(env, self.config.fall_height, self.config.fall_tilt)
        missed = math.hypot(mean[0] - command[0], mean[1] - command[1])
        success = failure is None and self.on_course(missed, astray)
        since = env.steps % values["every"] * env.control_timestep
        values["record"].see(env, command, values["heading"], missed, astray, slip, since)
        one = "left" if stands[self._left] else "right"
        phase = "both" if all(stands) else one if any(stands) else "flight"
        return Outcome(terms, success, failure, phase)
