"""Balance: stand where one stands while trunk and arms are at work."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from training_ground.assets.model import Mirror
from training_ground.envs import balance, rotations
from training_ground.envs.channels import Channel
from training_ground.envs.randomisation import NonNegativeRange, Scale
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome
from training_ground.envs.tasks._laden import Laden
from training_ground.envs.tasks.balance import _motion
from training_ground.envs.tasks.balance.stand import Stand, StandConfig

MOST = 5.0
"""kg in a hand."""
PULL_S = 2.0
"""s for which the robot is pulled, and as long it is not."""
STRAYED = 0.15
"""m from where it began beyond which a robot does not stand where it stood."""
_OTHER = {"left": "right", "right": "left"}


def _bearable(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[1] > MOST:
        raise ValueError(f"the second number must be at most {MOST:g} kg")
    return pair


class BalanceConfig(StandConfig):
    """Keyword arguments of Balance."""

    push_speed: NonNegativeRange = (0.0, 0.2)
    """Range of the velocity that a push gives the whole robot at once, m/s; its direction is uniform."""
    arm_reach: Annotated[float, Field(ge=0, le=2)] = 1.0
    """How far from its work pose each of an arm's joints goes at most, rad."""
    trunk_reach: Annotated[float, Field(ge=0, le=1)] = 0.4
    """How far from its default pose each of the trunk's joints goes at most, rad."""
    work_speed: Scale = (0.3, 1.5)
    """Range of the mean speed of the fastest joint on a way of a limb, rad/s; the highest speed is 1.9 times that."""
    pull_force: NonNegativeRange = (0.0, 15.0)
    """Range of a steady horizontal force on the whole robot, N, as from a handle that it pulls; its direction is
    uniform, and it acts for half of the time."""
    hand_load: Annotated[NonNegativeRange, AfterValidator(_bearable)] = (0.0, 1.0)
    """Range of the mass in each hand, kg."""


class Balance(Laden, Stand):
    """Stand still, both feet where they are, while trunk and arms go about their work and hold what they hold.

    The robot begins in its work pose. Its trunk and each of its arms go on smooth ways from one random posture to the
    next, at 0.3 to 1.5 rad/s, and rest between them; what they are told is added to what an action commands
    (`control='joint_position'`), so a policy for the legs alone (`driven=['legs']`) has to bear them. Each hand holds
    up to 1 kg, and for 2 of every 4 s up to 15 N pull at the robot, neither of which is observed; it is pushed a
    little, too.

    **Success** holds while the robot stands (as in Stand) within 15 cm of where it began. An episode is a success if
    it holds at the end; failure is Stand's.

    **Reward**, at most 1 a step: upright base, height of the base, base over the same place between the feet, no
    speed, both feet on the ground and still, heading as at the start, little change of the action.
    """

    id = "Balance"
    instruction = "Stand still where you are while your arms work."
    terms = ("upright", "height", "place", "heading", "still", "planted", "smooth")
    works = True
    config_type = BalanceConfig
    adjustable = (*Stand.adjustable, "arm_reach", "trunk_reach", "work_speed", "hand_load")
    config: BalanceConfig  # type: ignore[assignment]  # a narrower one

    def draw(self, generator: np.random.Generator) -> dict[str, Any]:
        """Draw the mass in each hand, kg."""
        return {"loads": generator.uniform(*self.config.hand_load, len(self.env.model.hands)).tolist()}

    # ---- channels ----------------------------------------------------------------------------------------------------

    def channels(self) -> tuple[Channel, ...]:
        """Stand's, and what is in the hands, for the record."""
        sides = tuple(hand.side for hand in self.env.model.hands)
        load = Channel("hand_load", (len(sides),), "kg", "none", "state", "Mass in each hand.", sides)
        text = "Steady force on the robot."
        return (*super().channels(), load, Channel("pull_force", (2,), "N", "world", "state", text, ("x", "y")))

    def mirror(self) -> dict[str, Mirror]:
        """In the mirror the other hand holds it."""
        sides = [hand.side for hand in self.env.model.hands]
        swapped = [sides.index(_OTHER[side]) for side in sides if _OTHER[side] in sides]
        return {**super().mirror(), "hand_load": Mirror(np.array(swapped, np.int64), np.ones(len(swapped)))}

    def values(self) -> dict[str, Any]:
        """Stand's, and what is in the hands."""
        return {**super().values(), "hand_load": self.env.drawn["loads"], "pull_force": self._pull()}

    # ---- episodes ----------------------------------------------------------------------------------------------------

    def reset(self, generator: np.random.Generator) -> None:
        """Draw what trunk and arms will do, besides."""
        super().reset(generator)
        env, config = self.env, self.config
        model, length = env.model, env.max_steps * env.control_timestep
        trunk = set(model.groups["trunk"])
        motions = []
        for joints in _motion.limbs(model):
            reach = config.trunk_reach if model.joint_names[joints[0]] in trunk else config.arm_reach
            motions.append(_motion.draw(generator, model, joints, reach, config.work_speed, length))
        count = math.ceil(length / (2 * PULL_S))
        force, angle = generator.uniform(*config.pull_force, count), generator.uniform(-math.pi, math.pi, count)
        self.state.values.update(
            motions=motions, pulls=np.stack([force * np.cos(angle), force * np.sin(angle)], axis=1).tolist(),
            begun=env.robot.base.position[:2], heading=rotations.yaw(env.robot.base.orientation),
            over=self._over_feet(), sway=0.0, lifted=0, stood=[True] * len(env.robot.foot_contact),
        )  # fmt: skip

    def _pull(self) -> tuple[float, float]:
        """The steady force in the control step that comes, along the world's x and y, N."""
        turn, rest = divmod(self.env.steps * self.env.control_timestep, 2 * PULL_S)
        pulls = self.state.values["pulls"]
        return tuple(pulls[min(int(turn), len(pulls) - 1)]) if rest >= PULL_S else (0.0, 0.0)

    def before_step(self) -> None:
        """Push as Stand does, and pull."""
        super().before_step()
        env, (x, y) = self.env, self._pull()
        if x or y:  # what a force does to the whole robot in a control step
            share = env.control_timestep / env.model.mass
            env.robot.body.add_base_velocity((share * x, share * y, 0.0))

    def reference(self) -> NDArray[np.float64]:
        """What trunk and arms are told to do, offsets (n) in rad."""
        offsets, time = np.zeros(len(self.env.model.joint_names)), self.env.steps * self.env.control_timestep
        for motion in self.state.values["motions"]:
            offsets[list(motion.joints)] = motion.at(time)
        return offsets

    def metrics(self) -> dict[str, float]:
        """Stand's; how far the base came from over its place between the feet, m; how often a foot was lifted; and
        how far from where it began the robot is in the end, m."""
        state = self.state.values
        own = {"largest_sway": state["sway"], "foot_lifts": float(state["lifted"]), "drift": self._drift()}
        return {**super().metrics(), **own}

    # ---- judging -----------------------------------------------------------------------------------------------------

    def _over_feet(self) -> tuple[float, float]:
        """Where the base is over the middle between the feet, forward and to the left as the robot looks, m."""
        robot = self.env.robot
        feet = [foot.position for foot in robot.feet]
        dx, dy = (robot.base.position[i] - sum(p[i] for p in feet) / len(feet) for i in (0, 1))
        heading = rotations.yaw(robot.base.orientation)
        c, s = math.cos(heading), math.sin(heading)
        return c * dx + s * dy, c * dy - s * dx

    def _drift(self) -> float:
        x, y = self.state.values["begun"]
        return math.hypot(self.env.robot.base.position[0] - x, self.env.robot.base.position[1] - y)

    def _watch_feet(self) -> float:
        """Count feet that leave the ground; return the share of the feet that stand on it without sliding."""
        robot, state, still = self.env.robot, self.state.values, 0.0
        for i, (foot, stands) in enumerate(zip(robot.feet, robot.foot_contact, strict=True)):
            state["lifted"] += state["stood"][i] and not stands
            state["stood"][i] = stands
            still += near(math.hypot(*foot.linear_velocity), 0.1) if stands else 0.0
        return still / len(state["stood"])

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        env, robot, state = self.env, self.env.robot, self.state.values
        height, tilt = balance.relative_height(env), balance.tilt(robot)
        speed, turning = math.hypot(*robot.base_linear_velocity), math.hypot(*robot.base_angular_velocity)
        sway = math.dist(self._over_feet(), state["over"])
        state["sway"] = max(state["sway"], sway)
        turned = math.remainder(rotations.yaw(robot.base.orientation) - state["heading"], 2.0 * math.pi)
        change = env.action - env.previous_action
        terms = {
            "upright": 0.15 * near(tilt, 0.2),
            "height": 0.1 * near(height - 1.0, 0.05),
            "place": 0.2 * near(sway, 0.05),
            "heading": 0.1 * near(turned, 0.2),
            "still": 0.15 * near(speed, 0.1) * near(turning, 0.6),
            "planted": 0.15 * self._watch_feet(),
            "smooth": 0.15 * near(math.sqrt(float(change @ change) / len(change)), 0.15),
        }
        failure = balance.failure(env, self.config.fall_height, self.config.fall_tilt)
        success = failure is None and height > 0.8 and tilt < 0.5 and self._drift() < STRAYED
        calm = speed < 0.2 and tilt < 0.2
        return Outcome(terms, success, failure, "stand" if calm else "recover")
