"""What a walk is measured by, beside its reward: speed error, drift, slip, cost of transport, evenness of the steps,
share of time on both feet and on none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training_ground.envs.env import HumanoidEnv

SETTLING_S = 2.0
"""s after a new command in which the speed error does not count."""


@dataclass
class Foot:
    """A foot's steps.

    Attributes:
        steps: Times that it came down after a swing.
        clearance: Sum over them of how high it was lifted, m.
        peak: Highest point of the running swing over the last stance, m; None while it stands.
        floor: Height of the foot when it last stood, m.
    """

    steps: int = 0
    clearance: float = 0.0
    peak: float | None = None
    floor: float = 0.0


@dataclass
class WalkRecord:
    """Sums over an episode; part of the task's state.

    Attributes:
        place: Where the commands would have led, m, world frame.
        feet: In the order of the model's feet.
    """

    place: list[float]
    feet: list[Foot] = field(default_factory=lambda: [Foot(), Foot()])
    steps: int = 0
    settled: int = 0
    speed_error: float = 0.0
    heading_error: float = 0.0
    slip: float = 0.0
    flight: int = 0
    double_support: int = 0
    work: float = 0.0
    distance: float = 0.0

    def see(
        self,
        env: HumanoidEnv,
        command: list[float],
        heading: float,
        missed: float,
        turned: float,
        slip: float,
        since: float,
    ) -> None:
        """Count one control step.

        Args:
            env: After the step.
            command: Forward and to the left, m/s, and about the vertical, rad/s.
            heading: The commanded one, rad.
            missed: Distance of the cycle's mean velocity from the command, m/s.
            turned: Heading error, rad.
            slip: Fastest horizontal speed of a loaded foot, m/s.
            since: Time since the command changed, s.
        """
        robot, dt = env.robot, env.control_timestep
        c, s = math.cos(heading), math.sin(heading)
        self.place[0] += dt * (c * command[0] - s * command[1])
        self.place[1] += dt * (s * command[0] + c * command[1])
        self.steps += 1
        if since >= SETTLING_S:
            self.settled += 1
            self.speed_error += missed
            self.heading_error += abs(turned)
        self.slip += slip
        self.flight += not any(robot.foot_contact)
        self.double_support += all(robot.foot_contact)
        self.work += dt * float(abs(robot.joint_torque * robot.joint_velocity).sum())
        self.distance += dt * math.hypot(*robot.base.linear_velocity[:2])
        for foot, state, contact in zip(self.feet, robot.feet, robot.foot_contact, strict=True):
            height = state.position[2]
            if not contact:
                foot.peak = height - foot.floor if foot.peak is None else max(foot.peak, height - foot.floor)
                continue
            if foot.peak is not None and foot.peak > 0.01:
                foot.steps += 1
                foot.clearance += foot.peak
            foot.peak, foot.floor = None, height

    def metrics(self, env: HumanoidEnv, heading: float) -> dict[str, float]:
        """Return what was measured so far.

        Returns:
            `speed_error` m/s and `heading_error` rad, means over the time at least 2 s after a new command, NaN where
            there was none; `drift` m, how far the robot is beside where the commands would have led; `slip` m/s, mean
            of the fastest loaded foot's speed; `flight` and `double_support`, shares of the time in which no foot and
            both feet carry the robot; `cost_of_transport`, Σ|τω| over weight and way; for each side
            `steps_*` and mean `clearance_*` m of steps that lift a foot by more than 1 cm, NaN where there was none.
        """
        x, y = (p - q for p, q in zip(env.robot.base.position[:2], self.place, strict=True))
        weight = env.model.mass * env.world.gravity
        settled = self.settled or math.nan  # too short an episode has no such mean
        found = {
            "speed_error": self.speed_error / settled,
            "heading_error": self.heading_error / settled,
            "drift": abs(math.cos(heading) * y - math.sin(heading) * x),
            "slip": self.slip / max(self.steps, 1),
            "flight": self.flight / max(self.steps, 1),
            "double_support": self.double_support / max(self.steps, 1),
            "cost_of_transport": self.work / (weight * max(self.distance, 0.1)),
        }
        for model, foot in zip(env.model.feet, self.feet, strict=True):
            found[f"steps_{model.side}"] = float(foot.steps)
            found[f"clearance_{model.side}"] = foot.clearance / foot.steps if foot.steps else math.nan
        return found
