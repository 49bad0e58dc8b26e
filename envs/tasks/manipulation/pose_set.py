"""PoseSet: five poses in front of the robot, visited again and again; how near, and how alike each time."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from training_ground.assets.kinematics import arm
from training_ground.assets.model import CompiledModel, HandModel
from training_ground.configs.errors import SimulationError
from training_ground.envs import rotations
from training_ground.envs.cell_task import HOLD_S, SLOW, CellConfig, CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.iso9283 import LEAST, pose_accuracy, pose_repeatability
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

START, ORDER = 1, (5, 4, 3, 2, 1)
"""The pose before the first cycle, and those of a cycle, as the standard has them."""
ASKEW = math.radians(5.0)
"""rad by which a hand that dwells at a pose may be turned."""


class Limits(NamedTuple):
    """m: how far from a pose a hand dwells there, and what the worst pose's accuracy and repeatability may be."""

    within: float
    accuracy: float
    repeatability: float


COARSE, FINE = Limits(0.01, 0.005, 0.003), Limits(0.002, 0.002, 0.001)
UNSURE = 0.1
"""Share by which the tool's mass differs."""
UNKNOWN = (0.0, 1.5)
"""Range of the factor on the tool's mass where nobody knows it."""
STIFF = (0.1, 0.3)
"""N·m: range of the friction that worn joints have beside their own."""
MOST_FORCE = 40.0
"""N on a hand."""


class PoseSetConfig(CellConfig):
    """Keyword arguments of PoseSet."""

    cycles: Annotated[int, Field(ge=LEAST, le=100)] = 3
    """How often each pose is visited; ISO 9283 asks for 30, for which `episode_length_s=600` is enough."""
    tool_mass: Annotated[float, Field(ge=0, le=3)] = 1.0
    """kg at the point where the hand grips, give or take a tenth; 0 for the bare hand."""


class PoseSet(CellTask):
    """Bring a hand with a tool to five poses, in cycles, and dwell at each: the pose test of ISO 9283.

    Template 1 of the catalogue: the middle of a cube of 0.4 m (P1) and four points of one of its diagonal planes, each
    10 % of the diagonal from its ends (P2 to P5), the palm down; a tool of 1 kg ± 10 %. P1 comes first, then P5, P4,
    P3, P2, P1 in each of three cycles. A pose counts as visited once the hand has been within 10 mm and 5° of it,
    slower than 2 cm/s, for 0.5 s; where it was on average in that time is measured. Cube and mass are drawn anew in
    each episode; the channels `goal_position` and `goal_orientation` tell the pose that is asked for.

    **Success** holds 0.5 s after the last visit, where the accuracy of every pose, AP = ‖x̄ − x_c‖, is at most 5 mm and
    the repeatability, RP = l̄ + 3·S_l, at most 3 mm. The episode fails with `inaccurate` where they are not, and with
    `over_force` when a hand meets more than 40 N. The worst pose's AP and RP are the metrics `pose_accuracy` and
    `pose_repeatability`, m.

    **Tiers.** `tight`: dwells within 2 mm, an accuracy of 2 mm, a repeatability of 1 mm, in a cell that
    was set up by 2 cm and 0.1 rad less exactly. `flow`: the other hand, and
    in each cycle an order that is drawn anew, so that each pose is approached from several directions. `disturbed`: a
    tool between nothing and 1.5 kg that nobody told the robot of, 0.1 to 0.3 N·m of friction in every joint beside its
    own, a cube that was knocked out of its place by up to 4 cm and 0.2 rad.

    **Reward**, at most 1 a step: hand near the pose, hand turned like it, share of the visits, and the whole once done.
    """

    id = "PoseSet"
    instruction = "Bring the hand to each pose in turn and hold it there until the next one is shown."
    cell = "pose_station"
    terms = ("reach", "turn", "visit", "done")
    failures: ClassVar[tuple[str, ...]] = ("inaccurate", "over_force")
    phases = ("approach", "dwell")
    episode_length_s = 75.0
    config_type = PoseSetConfig
    config: PoseSetConfig  # type: ignore[assignment]  # a narrower one

    def __init__(self, config: Any, env: Any) -> None:
        super().__init__(config, env)
        self._hand = self._nearest_hand()
        self._grip = self._hand.grip or self._hand.frame
        self._marker = env.world.add_marker(0.02, (0.95, 0.55, 0.1, 1.0)) if env.visible else None
        least = (1 + config.cycles * len(ORDER)) * HOLD_S
        length = env.max_steps * env.control_timestep
        # A short episode may be wanted, more cycles than fit into one may not.
        if "cycles" in config.model_fields_set and least > length:
            raise SimulationError(
                f"cycles = {config.cycles}: dwelling alone takes {least:g} s, but an episode is {length:g} s long; "
                "raise episode_length_s"
            )

    def _nearest_hand(self) -> HandModel:
        """The hand whose shoulder is nearest to the cube."""
        middle = np.array(self.place.frame("cube.p1").position) - [0.0, 0.0, self.env.robot.start_height]
        return min(self.hands, key=lambda hand: float(np.linalg.norm(middle - arm(self.env.model, hand).root)))

    @classmethod
    def loads(cls, model: CompiledModel) -> tuple[str, ...]:
        """Where the hands grip."""
        return tuple(hand.grip or hand.frame for hand in model.hands)

    # ---- channels ----------------------------------------------------------------------------------------------------

    def channels(self) -> tuple[Channel, ...]:
        """The pose that is asked for, besides."""
        xyz = ("x", "y", "z")
        return (
            *super().channels(),
            Channel("goal_position", (3,), "m", "base", "observation", "Position of the pose that is asked for.", xyz),
            Channel("goal_orientation", (4,), "1", "base", "observation", "Its quaternion.", (*xyz, "w")),
            Channel("visits", (), "1", "none", "state", "Poses visited so far."),
        )

    def values(self) -> dict[str, Any]:
        """The pose that is asked for, besides."""
        position, orientation = self._in_base(self.place.frame(self.goal))
        told = {"goal_position": position, "goal_orientation": orientation, "visits": len(self.attained)}
        return {**super().values(), **told}

    # ---- what it is about --------------------------------------------------------------------------------------------

    @property
    def side(self) -> str:
        """Of the hand that works."""
        return self._hand.side

    @property
    def attained(self) -> list[rotations.Vector]:
        """Where the hand was at each visit, in the world, m."""
        return self.state.values["attained"]

    @property
    def complete(self) -> bool:
        """Whether every pose of every cycle has been visited."""
        return len(self.attained) == len(self.state.values["order"])

    @property
    def goal(self) -> str:
        """Frame of the pose that is asked for."""
        order = self.state.values["order"]
        return f"cube.p{order[min(len(self.attained), len(order) - 1)]}"

    def characteristics(self) -> tuple[float, float]:
        """Accuracy and repeatability of the worst pose, m, once every cycle is done."""
        visits = list(zip(self.state.values["order"], self.attained, strict=True))[1:]
        worst = [0.0, 0.0]
        for pose in ORDER:
            places = [place for one, place in visits if one == pose]
            commanded = self.place.frame(f"cube.p{pose}").position
            worst[0] = max(worst[0], pose_accuracy(places, commanded))
            worst[1] = max(worst[1], pose_repeatability(places))
        return worst[0], worst[1]

    def metrics(self) -> dict[str, float]:
        """Accuracy and repeatability, m, besides, where every cycle was done."""
        found = super().metrics()
        if self.complete:
            found["pose_accuracy"], found["pose_repeatability"] = self.characteristics()
        return found

    # ---- episodes ----------------------------------------------------------------------------------------------------

    def draw(self, generator: np.random.Generator) -> dict[str, Any]:
        """The tool's mass and, where joints are worn, their friction, besides."""
        drawn, worn = super().draw(generator), self.config.tier == "disturbed"
        factor = generator.uniform(*(UNKNOWN if worn else (1.0 - UNSURE, 1.0 + UNSURE)))
        drawn["loads"] = [float(factor) * self.config.tool_mass * (hand is self._hand) for hand in self.hands]
        if worn:
            drawn["joint_friction"] = self.env.drawn.get("joint_friction", 0.0) + float(generator.uniform(*STIFF))
        return drawn

    def reset(self, generator: np.random.Generator) -> None:
        """Draw the order, where it is no fixed one."""
        super().reset(generator)
        mixed = self.config.tier == "flow"
        cycles = [generator.permutation(ORDER).tolist() if mixed else ORDER for _ in range(self.config.cycles)]
        self.state.values.update(order=[START, *(pose for cycle in cycles for pose in cycle)], attained=[], dwell=[])
        self._show()

    def restore(self, saved: Any) -> None:
        """The pose is shown again, besides."""
        super().restore(saved)
        self._show()

    def _show(self) -> None:
        if self._marker is not None:
            self._marker.move(self.place.frame(self.goal).position)

    def _dwell(self, place: rotations.Vector | None) -> None:
        """Count a control step at the pose, the hand at a place, m, or None that it is not there or not at rest."""
        places = self.state.values["dwell"]
        places.append(place)
        if place is None:
            places.clear()
        elif len(places) == self._hold_steps and not self.complete:
            self.attained.append(tuple(np.mean(places, axis=0).tolist()))
            places.clear()
            self._show()

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        state, hand, goal = self.state.values, self.env.robot.frame(self._grip), self.place.frame(self.goal)
        apart = math.dist(hand.position, goal.position)
        turned = rotations.angle_between(hand.orientation, goal.orientation)
        limits = FINE if self.config.tier == "tight" else COARSE
        there = apart < limits.within and turned < ASKEW
        self._dwell(hand.position if there and math.hypot(*hand.linear_velocity) < SLOW else None)
        accuracy, repeatability = self.characteristics() if self.complete else (math.inf, math.inf)
        good = accuracy <= limits.accuracy and repeatability <= limits.repeatability
        success, failure = self.done(good), None
        if self.complete and not good:
            failure = "inaccurate"
        elif self.steady("force", self.largest_force()) > MOST_FORCE:
            failure = "over_force"
        terms = {
            "reach": 0.2 * near(apart, 0.2),
            "turn": 0.1 * near(turned, 0.7),
            "visit": 0.4 * len(self.attained) / len(state["order"]),
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, failure, "dwell" if there else "approach")
