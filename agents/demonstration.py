"""Recorded episodes as demonstrations: played again, and cut into segments that each belong to a frame of the cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.experts.arm import pose_of
from training_ground.assets.gravity import Gravity
from training_ground.assets.poses import Array, Pose
from training_ground.configs.augmentation import AugmentFile, SegmentSpec
from training_ground.configs.errors import AgentError, DatasetError, SimulationError, unknown
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.schema import ACTION, PHASE, EpisodeMetadata
from training_ground.envs.cell_task import CellTask
from training_ground.envs.env import HumanoidEnv

NEAR, FAR = 0.05, 0.15
"""m from where a hand is at a segment's moment: between them it rested before, and there the segment begins; so far
after its end it is looked for where it rests next."""
REST = 0.01
"""m/s below which a hand rests."""
TRUNK_MOVES = 0.05
"""rad by which a joint of the trunk must turn to count as working with the arm."""
JOINT_ANGLE = "joint_angle"


@dataclass(frozen=True, eq=False)
class Segment:
    """What one hand did around one moment of a demonstration, R rows of it.

    Attributes:
        frame: Of the cell, its goal filled in.
        side: Of the hand.
        first: Row of the demonstration with which it begins; the others follow one after the other.
        reference: Pose of the frame in the world at the first row.
        hand: (R) poses of the hand in the world, where it was.
        held: Pose of what it holds, in its own frame, at the first row; None where nothing is held.
        item: What that is, as `item` or `item.frame`; empty where nothing is held.
        angles: (R, n) rad, of all the robot's joints.
        commands: (R, n) rad, what they were told to be from each row on; the last row repeats the one before it.
        push: (R, n) rad by which that was more than it takes to hold up the arm and to move it as it moved: what was
            pressed with, and what the controller had learnt to add.
    """

    frame: str
    side: str
    first: int
    reference: Pose
    hand: tuple[Pose, ...]
    held: Pose | None
    item: str
    angles: Array
    commands: Array
    push: Array

    @property
    def last(self) -> int:
        """Row of the demonstration with which it ends."""
        return self.first + len(self.hand) - 1


@dataclass(frozen=True, eq=False)
class Demonstration:
    """An episode, cut.

    Attributes:
        number: In its store.
        metadata: As recorded.
        start: Poses, in the world as the episode began, of the frames of all segments.
        segments: In their order.
    """

    number: int
    metadata: EpisodeMetadata
    start: tuple[Pose, ...]
    segments: tuple[Segment, ...]


def resolve(name: str, task: CellTask) -> str:
    """Fill the episode's goal into the name of a frame.

    Raises:
        AgentError: The task has no goal that names something.
    """
    if "{goal}" not in name:
        return name
    goal = getattr(task, "goal", None)
    if not isinstance(goal, str):
        raise AgentError(f"segments of task '{task.id}': frame '{name}' needs a goal that names something")
    return name.format(goal=goal)


def frame_of(task: CellTask, name: str) -> Pose:
    """Pose of a frame of the cell in the world now.

    Raises:
        AgentError: There is none of that name.
    """
    try:
        return pose_of(task.place.frame(name))
    except (SimulationError, KeyError) as problem:
        raise AgentError(f"segments of task '{task.id}': frame '{name}': {problem}") from problem


def demonstrate(env: HumanoidEnv, episode: Episode, layout: AugmentFile) -> Demonstration:
    """Play a recorded episode again and cut it; what its rows do not have, such as frames, is read on the way.

    Raises:
        DatasetError: It does not go here as it was recorded.
        AgentError: A phase or frame is unknown, or a phase never came.
    """
    task = env.task
    assert isinstance(task, CellTask)
    _require_phases(layout, task)
    number, metadata = -1 if episode.number is None else episode.number, episode.metadata
    env.reset(seed=metadata.seed, options=metadata.options)
    frames = [resolve(segment.frame, task) for segment in layout.segments]
    items = [resolve(segment.held, task) if segment.held else "" for segment in layout.segments]
    seen = _Seen(env, sorted({*frames, *filter(None, items)}))
    for row, action in enumerate(episode.columns[ACTION]):
        if not np.array_equal(env.frame()[JOINT_ANGLE], episode.columns[JOINT_ANGLE][row]):
            raise DatasetError(
                f"episode {number}, seed {metadata.seed}: goes another way here than it was recorded, from row {row} "
                "on; `tg replay` says more"
            )
        seen.look()
        if row < episode.length:
            env.step(action)
            seen.told(env.target)
    rows = moments(episode.columns[PHASE].tolist(), layout.segments, f"episode {number}")
    segments, before = [], 0
    limits = [*(at for at, _ in rows[1:]), episode.length]
    for frame, item, (at, until), limit in zip(frames, items, rows, limits, strict=True):
        side = min(seen.hands, key=lambda side: seen.distance(side, frame, at))
        places = np.array([pose.position for pose in seen.hands[side]])
        first = begins(places, at, before, env.control_timestep)
        before = min(ends(places, until, env.control_timestep), limit)
        segments.append(seen.segment(frame, item, side, first, before))
    return Demonstration(number, metadata, tuple(seen.frames[frame][0] for frame in frames), tuple(segments))


def trunk_works(env: HumanoidEnv, demonstrations: Sequence[Demonstration]) -> bool:
    """Whether the trunk moved with the arms in any of them."""
    trunk = [env.model.joint_names.index(name) for name in env.model.groups.get("trunk", ())]
    spans = [np.ptp(segment.angles[:, trunk], axis=0) for one in demonstrations for segment in one.segments]
    return bool(trunk) and max(float(span.max()) for span in spans) > TRUNK_MOVES


def _require_phases(layout: AugmentFile, task: CellTask) -> None:
    for segment in layout.segments:
        for phase in filter(None, (segment.at, segment.until)):
            if phase not in task.phases:
                raise AgentError(unknown(f"phase of task '{task.id}'", phase, task.phases))


def moments(phases: Sequence[str], segments: Sequence[SegmentSpec], where: str) -> list[tuple[int, int]]:
    """Find the moment and the end of each segment.

    Args:
        phases: (T + 1) of an episode's rows.
        segments: In their order; each is looked for from the end of the one before it on.
        where: Named first in an error.

    Returns:
        Rows at which the hand is there, and the last ones of the segments.

    Raises:
        AgentError: A phase never comes.
    """

    def next_row(phase: str, after: int) -> int:
        found = next((row for row in range(after, len(phases)) if phases[row] == phase), None)
        if found is None:
            raise AgentError(f"{where}: phase '{phase}' never comes from row {after} on")
        return found

    rows, before = [], 0
    for segment in segments:
        at = next_row(segment.at, before)
        before = len(phases) - 1 if segment.until is None else next_row(segment.until, at)
        rows.append((at, before))
    return rows


def begins(hand: Array, at: int, before: int, dt: float) -> int:
    """Find where a hand set out for where it is at some moment: the last place, 5 to 15 cm away, at which it rested.

    Args:
        hand: (T + 1, 3) its places, m.
        at: Row of the moment.
        before: Row from which on to look.
        dt: s from row to row.

    Returns:
        The row; where it did not rest, the one at which it was slowest; where it came from nearer by, `before`.
    """
    away = np.linalg.norm(hand[: at + 1] - hand[at], axis=1)
    farther = np.flatnonzero(away[before:] > FAR)
    first = before + int(farther[-1]) + 1 if len(farther) else before
    window = first + np.flatnonzero(away[first:] >= NEAR)
    if not len(window):
        return before
    speed = _speed(hand, dt)[window]
    resting = np.flatnonzero(speed < REST)
    return int(window[resting[-1] if len(resting) else speed.argmin()])


def ends(hand: Array, until: int, dt: float) -> int:
    """Find where a hand that is done comes to rest: a motion is not cut off in its middle.

    Args:
        hand: (T + 1, 3) its places, m.
        until: Row at which it is done.
        dt: s from row to row.

    Returns:
        The first row at which it rests, or is slowest, before it is 15 cm away.
    """
    farther = np.flatnonzero(np.linalg.norm(hand[until:] - hand[until], axis=1) > FAR)
    last = until + int(farther[0]) if len(farther) else len(hand)
    speed = _speed(hand, dt)[until:last]
    resting = np.flatnonzero(speed < REST)
    return until + int(resting[0] if len(resting) else speed.argmin())


def _speed(hand: Array, dt: float) -> Array:
    return np.linalg.norm(np.gradient(hand, dt, axis=0), axis=1)


class _Seen:
    """What is read while an episode is played again."""

    def __init__(self, env: HumanoidEnv, frames: Sequence[str]) -> None:
        self._env, self._gravity = env, Gravity(env.model)
        self._look_at: dict[str, Callable[[], Any]] = {
            hand.side: lambda name=hand.grip or hand.tip or hand.frame: env.robot.frame(name)
            for hand in env.model.hands
        }
        self.hands: dict[str, list[Pose]] = {side: [] for side in self._look_at}
        self.frames: dict[str, list[Pose]] = {name: [] for name in frames}
        self._angles: list[NDArray[np.float64]] = []
        self._commands: list[NDArray[np.float64]] = []

    def look(self) -> None:
        """Read the present row."""
        env = self._env
        assert isinstance(env.task, CellTask)
        for side, hand in self._look_at.items():
            self.hands[side].append(pose_of(hand()))
        for name, poses in self.frames.items():
            poses.append(frame_of(env.task, name))
        self._angles.append(np.array(env.robot.joint_position))

    def told(self, target: Array) -> None:
        """Keep what the joints were told to be from the last row on."""
        self._commands.append(np.array(target))

    def distance(self, side: str, frame: str, row: int) -> float:
        """How far a hand is from a frame, m."""
        return float(np.linalg.norm(self.hands[side][row].position - self.frames[frame][row].position))

    def segment(self, frame: str, item: str, side: str, first: int, last: int) -> Segment:
        """Cut out the rows from the first to the last."""
        hand = tuple(self.hands[side][first : last + 1])
        held = hand[0].inverse() @ self.frames[item][first] if item else None
        angles = np.array(self._angles[first : last + 1])
        told = [*self._commands[first:last], self._commands[last - 1]]
        commands = np.array(told)
        reference = self.frames[frame][first]
        return Segment(frame, side, first, reference, hand, held, item, angles, commands, self._push(angles, commands))

    def _push(self, angles: Array, commands: Array) -> Array:
        """Of (R, n) angles and commands: what is told beyond weight and motion, from each row to the next."""
        env, push = self._env, np.zeros_like(angles)
        up = np.array([-g for g in env.robot.projected_gravity])
        for row in range(len(angles) - 1):
            there = angles[row + 1]
            speed = (there - angles[row]) / env.control_timestep
            ahead = (self._gravity.torque(there, up) + env.model.kd * speed) / env.model.kp
            push[row] = commands[row] - there - ahead
        push[-1] = push[max(len(push) - 2, 0)]
        return push
