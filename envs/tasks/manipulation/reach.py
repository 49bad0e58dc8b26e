"""Reach: both hands to poses."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from training_ground.assets.model import CompiledModel, Mirror
from training_ground.envs import balance, rotations
from training_ground.envs.channels import Channel
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome, Task, TaskConfig

TRIES = 50
"""Draws of arm angles before a goal is taken that lies nearer to the default pose."""


class ReachConfig(TaskConfig):
    """Keyword arguments of Reach."""

    reach_range: Annotated[float, Field(gt=0, le=1.5)] = 0.7
    """Goals come from arm angles within this distance of the default pose, rad."""
    position_tolerance: Annotated[float, Field(gt=0)] = 0.05
    """m."""
    orientation_tolerance: Annotated[float, Field(gt=0)] = 0.4
    """rad."""
    hold_s: Annotated[float, Field(ge=0)] = 0.5
    """Time for which all hands must stay within both tolerances, s."""


class Reach(Task):
    """Bring the hands to poses, and hold them there.

    The goal of each hand is a position and an orientation, fixed to the base at the start pose. It is drawn by putting
    the arms at random angles around the default pose and reading where the hands are, so every goal can be reached and
    none makes the robot touch itself.

    **Success** holds once every hand has been within 5 cm and 0.4 rad of its goal for 0.5 s without a break, and still
    is. A free robot fails with `fall` as in Stand; a mounted one cannot fail.

    **Reward**, at most 1 a step: hands near their goals (wide and narrow), hands turned as their goals, a small change
    of the action, and an upright base where the robot is free.
    """

    id = "Reach"
    instruction = "Bring both hands to the given poses and hold them there."
    stances = ("mounted", "free")
    terms = ("position", "precision", "orientation", "smooth", "upright")
    phases = ("approach", "hold")
    action_scale = 1.0
    episode_length_s = 6.0
    config_type = ReachConfig
    config: ReachConfig
    prepares = True

    def __init__(self, config: Any, env: Any) -> None:
        super().__init__(config, env)
        model = env.model
        self._hands = [hand.frame for hand in model.hands]
        self._sides = tuple(hand.side for hand in model.hands)
        if env.stance == "mounted":
            self.terms = self.terms[:-1]
        chains = [model.chain(model.frames[frame].link) for frame in self._hands]
        shared = set(chains[0]).intersection(*chains[1:]) if len(chains) > 1 else set()
        joints = model.joint_names
        self._arms = [joints.index(name) for chain in chains for name in chain if name not in shared]
        colours = ((0.9, 0.2, 0.2, 1.0), (0.2, 0.4, 0.9, 1.0))
        self._markers = [
            env.world.add_marker(0.03, colours[i % 2]) for i in range(len(self._hands) if env.visible else 0)
        ]

    @classmethod
    def unsupported(cls, model: CompiledModel, stance: str) -> str | None:
        """A robot needs hands to reach."""
        if not model.hands:
            return f"robot '{model.name}' has no hands; task 'Reach' needs them"
        return super().unsupported(model, stance)

    @classmethod
    def tracked(cls, model: CompiledModel) -> tuple[str, ...]:
        """The hands."""
        return tuple(hand.frame for hand in model.hands)

    def channels(self) -> tuple[Channel, ...]:
        """Where the goals are, seen from the hands."""
        xyz = tuple(f"{side}_{axis}" for side in self._sides for axis in "xyz")
        n = len(xyz)
        return (
            Channel("hand_position_error", (n,), "m", "base", "observation", "Goal minus position of each hand.", xyz),
            Channel("hand_orientation_error", (n,), "rad", "base", "observation", "Rotation vector to the goal.", xyz),
            Channel("hand_goal", (n,), "m", "world", "state", "Position of each hand's goal.", xyz, "float64"),
        )

    def mirror(self) -> dict[str, Mirror]:
        """The hands change places; a rotation vector is turned as an axis is."""
        other = {"left": "right", "right": "left"}
        if any(other.get(side, side) not in self._sides for side in self._sides):
            return {}  # a hand of one side alone has no mirror image
        places = [self._sides.index(other.get(side, side)) for side in self._sides]
        swapped = np.concatenate([3 * place + np.arange(3) for place in places])
        return {
            "hand_position_error": Mirror(swapped, np.tile([1.0, -1.0, 1.0], len(places))),
            "hand_orientation_error": Mirror(swapped, np.tile([-1.0, 1.0, -1.0], len(places))),
        }

    def prepare(self, generator: np.random.Generator) -> None:
        """Draw arm angles without self-contact and keep where the hands are, in the base's frame."""
        env, robot = self.env, self.env.robot
        model = env.model
        spread = self.config.reach_range
        for attempt in range(TRIES):
            shrink = 1.0 - attempt / TRIES
            joints = model.default_position.copy()
            joints[self._arms] += shrink * generator.uniform(-spread, spread, len(self._arms))
            joints = np.clip(joints, model.lower, model.upper)
            robot.place(joints.tolist())
            if not robot.self_contact and not robot.touching:
                break
        goals = []
        for name in self._hands:
            hand = robot.frame(name)
            offset = [h - b for h, b in zip(hand.position, robot.base.position, strict=True)]
            goals.append((
                rotations.rotate_inverse(robot.base.orientation, offset),
                rotations.multiply(rotations.conjugate(robot.base.orientation), hand.orientation),
            ))  # fmt: skip
        self.state.values = {"goals": goals}

    def reset(self, generator: np.random.Generator) -> None:
        """Fix the goals in the world, as seen from the base at the start."""
        base = self.env.robot.base
        goals = []
        for position, orientation in self.state.values["goals"]:
            offset = rotations.rotate(base.orientation, position)
            place = tuple(b + o for b, o in zip(base.position, offset, strict=True))
            goals.append((place, rotations.multiply(base.orientation, orientation)))
        self.state.values = {"goals": goals, "held": 0}
        for marker, (place, _) in zip(self._markers, goals, strict=False):
            marker.move(place)
        self._measure()

    def _measure(self) -> tuple[float, float]:
        """Refresh the errors of the hands; return the largest distance (m) and the largest turn (rad)."""
        robot = self.env.robot
        base = robot.base.orientation
        shifts: list[float] = []
        turns: list[float] = []
        distance = turn = 0.0
        for name, (place, orientation) in zip(self._hands, self.state.values["goals"], strict=True):
            hand = robot.frame(name)
            offset = [g - h for g, h in zip(place, hand.position, strict=True)]
            rotation = rotations.multiply(orientation, rotations.conjugate(hand.orientation))
            vector = rotations.rotation_vector(rotation)
            distance = max(distance, math.hypot(*offset))
            turn = max(turn, math.hypot(*vector))
            shifts += rotations.rotate_inverse(base, offset)
            turns += rotations.rotate_inverse(base, vector)
        self.state.values["shifts"], self.state.values["turns"] = shifts, turns
        return distance, turn

    def values(self) -> dict[str, Any]:
        """Errors of the hands and places of their goals."""
        state = self.state.values
        goal = [x for place, _ in state["goals"] for x in place]
        return {"hand_position_error": state["shifts"], "hand_orientation_error": state["turns"], "hand_goal": goal}

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        env, config, state = self.env, self.config, self.state.values
        distance, turn = self._measure()
        change = env.action - env.previous_action
        free = env.stance == "free"
        share = 0.8 if free else 1.0
        terms = {
            "position": share * 0.35 * near(distance, 0.3),
            "precision": share * 0.25 * near(distance, 0.06),
            "orientation": share * 0.25 * near(turn, 0.7),
            "smooth": share * 0.15 * near(math.sqrt(float(change @ change) / len(change)), 0.3),
        }
        if free:
            terms["upright"] = 0.2 * near(balance.tilt(env.robot), 0.3)
        failure = balance.failure(env)
        inside = distance < config.position_tolerance and turn < config.orientation_tolerance and failure is None
        state["held"] = state["held"] + 1 if inside else 0
        success = inside and state["held"] * env.control_timestep >= config.hold_s
        return Outcome(terms, success, failure, "hold" if inside else "approach")
