"""GoTo: walk to a station and stand there."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from training_ground.assets.model import Mirror
from training_ground.envs import rotations
from training_ground.envs.channels import Channel
from training_ground.envs.randomisation import NonNegativeRange
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome
from training_ground.envs.tasks.locomotion.walk import Range, Walk, WalkConfig

GAIN = 1.0
"""1/s: commanded velocity over the distance that is left, and turn rate over the angle."""

FACING_DISTANCE = 0.5
"""m from the station beyond which the robot looks where it goes, and within which as the station asks."""

STANDING_SPEED = 0.05
"""m/s of the base below which the robot stands still."""

ARRIVED = 0.8
"""Share of both tolerances within which stepping ends; it begins anew beyond twice the tolerances."""


class GoToConfig(WalkConfig):
    """Keyword arguments of GoTo."""

    forward_speed: Range = (-0.3, 0.6)
    """Bounds of the commanded velocity forward, m/s."""
    sideways_speed: Range = (-0.2, 0.2)
    """To the left, m/s."""
    turn_rate: Range = (-0.5, 0.5)
    """About the vertical, rad/s."""
    push_speed: NonNegativeRange = (0.0, 0.0)
    """Range of the velocity that a push gives the whole robot at once, m/s; none, as a push ends all standing still."""
    goal_distance: NonNegativeRange = (1.0, 4.0)
    """Range of the station's distance from the start, m; its bearing and its heading are uniform."""
    position_tolerance: Annotated[float, Field(gt=0)] = 0.03
    """m."""
    heading_tolerance: Annotated[float, Field(gt=0)] = math.radians(3)
    """rad."""
    hold_s: Annotated[float, Field(ge=0)] = 0.5
    """Time for which the robot has to stand at the station, s."""


class GoTo(Walk):
    """Walk to a station, a place and a heading on the floor, and stand there.

    The station is 1 to 4 m from the start, at any bearing, with any heading. The robot sees where it is and how far it
    must still turn, and a velocity command as Walk has it, which leads there: forward and to the left 1/s times the
    way that is left, shortened until neither bound of the options is exceeded; about the vertical 1/s times the angle
    between the commanded heading and the one wanted, smoothly bounded (tanh). That is the bearing of the station as
    long as it is more than 0.5 m away, and then its heading. Within 80 % of both tolerances the steps end at the next
    moment in which both feet stand: the command and the clock, sine and cosine, become 0. Beyond twice the tolerances
    they begin anew.

    **Success** holds while the robot stands at the station: within 3 cm and 3°, slower than 5 cm/s, for half a second
    so far. Failure is Walk's. **Reward** is four fifths of Walk's, and the rest for being close and for being there.
    """

    id = "GoTo"
    instruction = "Walk to the station and stand there."
    terms = (*Walk.terms, "approach", "station")
    phases = ("go", "align", "stand")
    config_type = GoToConfig
    config: GoToConfig  # type: ignore[assignment]  # a narrower one
    episode_length_s: ClassVar[float] = 30.0

    def __init__(self, config: GoToConfig, env: Any) -> None:
        super().__init__(config, env)
        self._marker = env.world.add_marker(0.04, (0.9, 0.2, 0.2, 1.0)) if env.visible else None

    def channels(self) -> tuple[Channel, ...]:
        """Walk's, then where the station is."""
        xy = ("x", "y")
        return (
            *super().channels(),
            Channel("goal_position", (2,), "m", "heading", "observation", "Station minus base, on the floor.", xy),
            Channel("goal_turn", (), "rad", "world", "observation", "Heading of the station minus the robot's."),
            Channel("goal_place", (2,), "m", "world", "state", "Place of the station.", xy, "float64"),
        )

    def mirror(self) -> dict[str, Mirror]:
        """Walk's; the station is on the other side, with its heading turned back."""
        place, turn = Mirror(np.arange(2), np.array([1.0, -1.0])), Mirror(np.arange(1), np.array([-1.0]))
        return {**super().mirror(), "goal_position": place, "goal_turn": turn}

    def reset(self, generator: np.random.Generator) -> None:
        """Draw the station."""
        super().reset(generator)
        distance = float(generator.uniform(*self.config.goal_distance))
        bearing, heading = generator.uniform(-math.pi, math.pi, 2).tolist()
        x, y, _ = self.env.robot.base.position
        goal = (x + distance * math.cos(bearing), y + distance * math.sin(bearing))
        self.state.values |= {"goal": goal, "goal_heading": heading, "standing": False, "held": 0}
        if self._marker:
            self._marker.move((*goal, 0.0))

    def draw_commands(self, generator: np.random.Generator, count: int) -> list[list[float]]:
        """No commands: they follow from where the station is."""
        return []

    def _left_to_go(self) -> tuple[float, float, float]:
        """Way to the station, forward and to the left, m, and angle to its heading, rad."""
        base, values = self.env.robot.base, self.state.values
        yaw = rotations.yaw(base.orientation)
        dx, dy = values["goal"][0] - base.position[0], values["goal"][1] - base.position[1]
        c, s = math.cos(yaw), math.sin(yaw)
        return c * dx + s * dy, c * dy - s * dx, math.remainder(values["goal_heading"] - yaw, 2 * math.pi)

    @property
    def command(self) -> list[float]:
        """Forward and to the left, m/s, and about the vertical, rad/s; in proportion to what is left, within bounds."""
        config, values = self.config, self.state.values
        if values["standing"]:
            return [0.0, 0.0, 0.0]
        forward, left, turn = self._left_to_go()
        wanted = values["goal_heading"]
        if math.hypot(forward, left) > FACING_DISTANCE:
            wanted += math.atan2(left, forward) - turn
        turn = math.remainder(wanted - values["heading"], 2 * math.pi)
        bounds = (config.forward_speed, config.sideways_speed)
        share = min(_share(GAIN * x, *pair) for x, pair in zip((forward, left), bounds, strict=True))
        most = max(config.turn_rate[1 if turn > 0 else 0] / math.copysign(GAIN, turn), 1e-9)
        return [share * GAIN * forward, share * GAIN * left, GAIN * most * math.tanh(turn / most)]

    def phases_of_feet(self) -> tuple[float, float]:
        """Phase of each foot now; in the middle of the stance while the robot shall stand."""
        middle = self.stance_share / 2
        return (middle, middle) if self.state.values["standing"] else super().phases_of_feet()

    def values(self) -> dict[str, Any]:
        """Walk's, and where the station is."""
        forward, left, turn = self._left_to_go()
        found = {
            **super().values(),
            "goal_position": (forward, left),
            "goal_turn": turn,
            "goal_place": self.state.values["goal"],
        }
        return {**found, "gait_clock": (0.0, 0.0)} if self.state.values["standing"] else found

    def metrics(self) -> dict[str, float]:
        """Walk's, and how far the robot is from the station: `goal_distance`, m, and `goal_turn`, rad."""
        forward, left, turn = self._left_to_go()
        return {**super().metrics(), "goal_distance": math.hypot(forward, left), "goal_turn": abs(turn)}

    def evaluate(self) -> Outcome:
        """Judge the last control step, and whether it is time to stand or to step."""
        env, config, values = self.env, self.config, self.state.values
        walk = super().evaluate()
        forward, left, turn = self._left_to_go()
        distance = math.hypot(forward, left)
        off = max(distance / config.position_tolerance, abs(turn) / config.heading_tolerance)
        terms = {name: 0.8 * value for name, value in walk.terms.items()}
        terms["approach"] = 0.1 * near(distance, 1.0)
        terms["station"] = 0.1 * near(math.hypot(distance / 0.1, turn / 0.2), 1.0)
        inside = walk.failure is None and off < 1.0
        there = inside and math.hypot(*env.robot.base.linear_velocity) < STANDING_SPEED
        values["held"] = values["held"] + 1 if there else 0
        success = there and values["held"] * env.control_timestep >= config.hold_s
        if values["standing"] and off > 2.0:
            values["standing"] = False
            values["start"] = -env.steps * env.control_timestep / self.gait.period  # both feet stand at phase 0
        elif not values["standing"] and off < ARRIVED:
            values["standing"] = all(p < self.stance_share for p in self.phases_of_feet())
        values["reference"] = None  # whether it stands or steps has been settled only now
        phase = "stand" if values["standing"] else "go" if distance > FACING_DISTANCE else "align"
        return Outcome(terms, success, walk.failure, phase)


def _share(value: float, low: float, high: float) -> float:
    """Largest share of a value, at most 1, that lies within bounds around 0."""
    bound = high if value > 0 else low
    return max(bound / value, 0.0) if abs(value) > abs(bound) else 1.0
