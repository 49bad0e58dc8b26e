"""Stand: keep one's balance while being pushed."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from training_ground.assets.model import CompiledModel
from training_ground.envs import balance
from training_ground.envs.channels import Channel
from training_ground.envs.pushes import Pushes, push_channel
from training_ground.envs.randomisation import NonNegativeRange
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome, Task, TaskConfig


class StandConfig(TaskConfig):
    """Keyword arguments of Stand."""

    push_speed: NonNegativeRange = (0.5, 0.5)
    """Range of the velocity that a push gives the whole robot at once, m/s; its direction is uniform."""
    push_interval_s: Annotated[float, Field(gt=0)] = 5.0
    """Time between pushes, s; the first one comes at a random time within the first interval."""
    fall_height: Annotated[float, Field(gt=0, lt=1)] = balance.FALL_HEIGHT
    """Share of the standing height below which the episode ends; training spares itself falls that are lost anyway."""
    fall_tilt: Annotated[float, Field(gt=0, le=math.pi)] = balance.FALL_TILT
    """rad of tilt beyond which the episode ends."""


class Stand(Task):
    """Stand still and upright, in spite of pushes.

    The robot starts near its default pose with a random heading. A push changes the velocity of the whole robot at
    once, horizontally, in a random direction. The robot may step to catch itself.

    **Success** holds while the robot stands: base above 80 % of its standing height, tilted by less than 0.5 rad,
    nothing but its feet on the ground. An episode is a success if it holds at the end; the episode ends early, with
    failure `fall`, where the base comes below 60 % of its standing height, tilts by more than 1 rad, or anything above
    the feet touches the ground.

    **Reward**, at most 1 a step: upright base, height of the base, feet under the capture point, no horizontal speed,
    no turning, joints near the default pose, little change of the action.
    """

    id = "Stand"
    instruction = "Stand upright and keep your balance when you are pushed."
    stances = ("free",)
    terms = ("upright", "height", "support", "still", "turning", "posture", "smooth")
    phases = ("stand", "recover")
    config_type = StandConfig
    adjustable = ("push_speed", "push_interval_s", "fall_height", "fall_tilt")
    config: StandConfig

    @classmethod
    def unsupported(cls, model: CompiledModel, stance: str) -> str | None:
        """A robot needs feet to stand."""
        if not model.feet:
            return f"robot '{model.name}' has no feet; task 'Stand' needs them"
        return super().unsupported(model, stance)

    def channels(self) -> tuple[Channel, ...]:
        """The push of the step, for the record."""
        return (push_channel(),)

    def reset(self, generator: np.random.Generator) -> None:
        """Draw every push of the episode."""
        pushes = Pushes.draw(generator, self.env, self.config.push_speed, self.config.push_interval_s)
        self.state.values = {"pushes": pushes, "push": (0.0, 0.0)}

    def before_step(self) -> None:
        """Push where it is time to."""
        self.state.values["push"] = self.state.values["pushes"].apply(self.env)

    def values(self) -> dict[str, Any]:
        """Current push."""
        return {"push_velocity": self.state.values["push"]}

    def metrics(self) -> dict[str, float]:
        """What became of the pushes, by direction; see `envs/pushes.py`."""
        return self.state.values["pushes"].metrics(self.env)

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        env, robot = self.env, self.env.robot
        height, tilt = balance.relative_height(env), balance.tilt(robot)
        vx, vy, _ = robot.base_linear_velocity
        wx, wy, wz = robot.base_angular_velocity
        posture = robot.joint_position - env.model.default_position
        change = env.action - env.previous_action
        count = len(posture)
        terms = {
            "upright": 0.2 * near(tilt, 0.3),
            "height": 0.15 * near(height - 1.0, 0.1),
            "support": 0.2 * near(balance.capture_distance(env), 0.15),
            "still": 0.15 * near(math.hypot(vx, vy), 0.4),
            "turning": 0.1 * near(math.sqrt(wx * wx + wy * wy + wz * wz), 1.0),
            "posture": 0.1 * near(math.sqrt(float(posture @ posture) / count), 0.25),
            "smooth": 0.1 * near(math.sqrt(float(change @ change) / count), 0.3),
        }
        failure = balance.failure(env, self.config.fall_height, self.config.fall_tilt)
        success = failure is None and height > 0.8 and tilt < 0.5
        calm = math.hypot(vx, vy) < 0.2 and tilt < 0.2
        return Outcome(terms, success, failure, "stand" if calm else "recover")
