"""A policy that does again what a demonstration did, segment by segment, where things are now.

It knows no procedure: each segment is carried over to its frame's present pose (`transfer.py`), the way to where it
begins is planned anew, and the fingers are told what they were told then.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.agents.demonstration import Demonstration, Segment, resolve
from training_ground.agents.experts.arm import Arm, pose_of, smooth
from training_ground.agents.experts.expert import CARRYING, CannotReach, Expert, Steps
from training_ground.agents.experts.inverse_kinematics import solve
from training_ground.agents.transfer import aligned, apart, carried_over, regripped
from training_ground.assets.poses import Array, Pose
from training_ground.configs.augmentation import AugmentFile

STRAYED, TURNED = 0.01, math.radians(6.0)
"""m and rad off its line at which a hand gives up."""
READY_S, IDLE, IDLE_SPEED = 0.5, 0.02, 1.0
"""s that fingers, and joints that have no work, take at least to where they begin, unless they are no farther off than
that, rad; rad/s of the one that has the farthest way, on average."""
MOST_WAYS, LOOKS = 6, 3
"""Postures that are tried at the beginning of a segment; rows from one that is tried in thought to the next."""
A_TURN = 0.1
"""m that count as much as a radian when demonstrations are compared."""


@dataclass(frozen=True)
class Placed:
    """Where a segment was put.

    Attributes:
        frame: Of the present episode.
        row: Of the present episode, with which it began.
    """

    frame: str
    row: int


class Transplant(Expert):
    """Plays that demonstration, of several, whose things stood most like those of the episode and that can begin there.

    Args:
        demonstrations: Of the task.
        layout: How they were cut.

    Attributes:
        chosen: The demonstration that is played; None where none of them fits the episode.
        placed: Its segments so far.
        ended: Whether all segments were played.
    """

    name = "augmented"

    def __init__(self, demonstrations: Sequence[Demonstration], layout: AugmentFile) -> None:
        self._demonstrations, self._layout = tuple(demonstrations), layout
        self.chosen: Demonstration | None = None

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Begin an episode.

        Raises:
            AgentError: The environment is none of a factory cell, or the segments name what it does not have.
        """
        super().reset(env)
        self.placed: list[Placed] = []
        self.ended, self.chosen = False, None
        self._frames = [resolve(segment.frame, self.task) for segment in self._layout.segments]
        self._items = [resolve(segment.held, self.task) if segment.held else "" for segment in self._layout.segments]
        fingers = [joint for arm in self.arms.values() for joint in arm.fingers]
        self._fingers_of_all = np.array(fingers, np.int64)
        self._told = self.wanted[self._fingers_of_all].copy()
        self._push = np.zeros_like(self.wanted)

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the action; of the fingers the demonstration's own."""
        action, env, fingers = super().act(observation).astype(float), self.env, self._fingers_of_all
        action += self._push / env.action_scale
        action[fingers] = (self._told - env.action_origin[fingers]) / env.action_scale[fingers]
        return np.clip(action, -1.0, 1.0).astype(np.float32)

    def procedure(self) -> Steps:
        """Join and play the segments."""
        self.chosen = yield from self._begin()
        for i, segment in enumerate(self.chosen.segments):
            if i > 0:
                yield from self._join(i, segment)
            self.placed.append(Placed(self._frames[i], self.env.steps))
            yield from self._play(i, segment)
        self.ended = True

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _begin(self) -> Generator[None, None, Demonstration]:
        """Join the first segment of the nearest demonstration whose first segment can be played here; return it.

        Raises:
            CannotReach: There is none.
        """
        why = f"no demonstration is about {', '.join(self._frames)}"
        for one in self._ranked():
            try:
                yield from self._join(0, one.segments[0])
            except CannotReach as problem:
                why = str(problem)
            else:
                return one
        raise CannotReach(why)

    def _ranked(self) -> list[Demonstration]:
        """Demonstrations about the same items, those first whose frames were nearest to where they are now: MimicGen's
        `nearest_neighbor_object`."""
        now = [self.frame(name) for name in self._frames]

        def distance(one: Demonstration) -> float:
            total = 0.0
            for name, pose, then in zip(self._frames, now, one.start, strict=True):
                far, turned = apart(aligned(pose, then, self._layout.turns(name)), then)
                total += far + A_TURN * turned
            return total

        about = [_item(name) for name in self._frames]
        fitting = [one for one in self._demonstrations if [_item(s.frame) for s in one.segments] == about]
        return sorted(fitting, key=distance)

    def _hand(self, index: int, segment: Segment) -> list[Pose]:
        """Where the hand goes in a segment, as things are now."""
        frame, item, turns, hand = self._frames[index], self._items[index], self._layout.turns, segment.hand
        now = aligned(self.frame(frame), segment.reference, turns(frame))
        change = Pose()
        if segment.held is not None:
            held = self.arms[segment.side].pose().inverse() @ self.frame(item)
            change = regripped(segment.held, aligned(held, segment.held, turns(item)))
        return [carried_over(pose, segment.reference, now) @ change for pose in hand]

    def _join(self, index: int, segment: Segment) -> Steps:
        """Bring the hand to where a segment begins, around what is in the way.

        Raises:
            CannotReach: The segment cannot be followed here, or no way leads to it.
        """
        arm, item, to = self.arms[segment.side], _item(self._items[index]), f"before {self._frames[index]}"
        yield from self._ready(arm, segment)
        carrying = (item, self.frame(item).inverse() @ arm.pose()) if item else None
        hand = self._hand(index, segment)
        way = self._way(arm, segment, hand, carrying, to)
        yield from self.along(arm, way, 1.0, hand_speed=CARRYING if item else math.inf)
        yield from self.settle(segment.side, hand[0], longest=0.5)
        # What is held may have slipped on the way, and what stood free have been moved.
        yield from self.move(segment.side, self._hand(index, segment)[0], to=to, speed=0.1)

    def _way(
        self, arm: Arm, segment: Segment, hand: Sequence[Pose], carrying: tuple[str, Pose] | None, to: str
    ) -> list[Array]:
        """Find corners of a way of the arm's joints to where a hand's path begins; from there it can be followed.

        Raises:
            CannotReach: There is none.
        """
        touching = (carrying[0],) if carrying else ()
        self.clearance.look()
        arm.favourite = segment.angles[0][arm.joints]
        found, why = arm.search(hand[0], self.wanted, touching=touching)
        for one in found[:MOST_WAYS]:
            try:
                self._in_thought(arm, segment, hand, one.angles)
            except CannotReach as problem:
                why = why or str(problem)
                continue
            way = arm.way(one.angles, self.wanted, touching=touching, carrying=carrying)
            if way is not None:
                return way
            why = why or "no way leads there"
        raise CannotReach(f"waypoint '{to}', {segment.side} hand: {why}")

    def _in_thought(self, arm: Arm, segment: Segment, hand: Sequence[Pose], angles: Array) -> None:
        """Follow a hand's path from angles (k) on without moving, every few rows of it."""
        for row in range(0, len(hand), LOOKS):
            angles = self._angles(arm, segment, row, hand[row], angles)

    def _angles(self, arm: Arm, segment: Segment, row: int, goal: Pose, near: Array) -> Array:
        """Angles (k) of an arm for a pose in the world, near others, as alike the demonstration's as they may be.

        Raises:
            CannotReach: There are none.
        """
        base = pose_of(self.env.robot.base)
        found = solve(arm.chain, base.inverse() @ goal, near, posture=segment.angles[row][arm.joints], starts=1)
        if found.position_error > STRAYED or found.orientation_error > TURNED:
            far, turned = 1000 * found.position_error, math.degrees(found.orientation_error)
            raise CannotReach(
                f"row {segment.first + row}, {segment.side} hand: no nearer than {far:.0f} mm and {turned:.0f}°"
            )
        return found.angles

    def _ready(self, arm: Arm, segment: Segment) -> Steps:
        """Bring fingers, and the joints that have no work, to where they were when a segment began."""
        fingers, idle = self._fingers_of_all, self._idle(arm)
        told, begun = self._told.copy(), self.wanted[idle].copy()
        more, change = segment.commands[0][fingers] - told, segment.angles[0][idle] - begun
        farthest = max(np.abs(more).max(initial=0.0), np.abs(change).max(initial=0.0))
        if farthest < IDLE:
            return
        count = math.ceil(max(READY_S, farthest / IDLE_SPEED) / self.env.control_timestep)
        for i in range(count):
            share = smooth((i + 1) / count)
            self._tell(told + share * more)
            self.wanted[idle] = begun + share * change
            yield

    def _play(self, index: int, segment: Segment) -> Steps:
        """Follow the hand's path through a segment.

        Raises:
            CannotReach: The arm does not come along.
        """
        arm = self.arms[segment.side]
        idle = self._idle(arm)
        for row, goal in enumerate(self._hand(index, segment)[1:]):
            self.wanted[arm.joints] = self._angles(arm, segment, row + 1, goal, self.wanted[arm.joints])
            self.wanted[idle] = segment.angles[row + 1][idle]
            self._tell(segment.commands[row][self._fingers_of_all])
            # What the controller had learnt to add before, this one has learnt by itself.
            self._push[arm.joints] = (segment.push[row] - segment.push[0])[arm.joints]
            yield
        self.servo.integral += self._push  # what it had to add at the end, it goes on adding
        self._push[:] = 0.0

    def _tell(self, fingers: Array) -> None:
        """Have all fingers be told these angles, and let ways be planned for them."""
        self._told = self.wanted[self._fingers_of_all] = fingers

    def _idle(self, arm: Arm) -> NDArray[np.int64]:
        """Joints that are neither the arm's nor fingers'."""
        busy = np.concatenate([arm.joints, self._fingers_of_all])
        return np.setdiff1d(np.arange(len(self.wanted)), busy)


class TransplantWithTrunk(Transplant):
    """The same where the trunk moved with the arm."""

    waist: ClassVar[bool] = True


def _item(name: str) -> str:
    return name.partition(".")[0]
