"""Scripted experts: a procedure in words of hands, frames and forces, played out through the environment's own actions.

An expert's `procedure` is a generator that reads like the work instruction. Every `yield from` is one motion; between
two control steps the expert looks at the simulator's truth, sets what its joints shall do, and the next action follows.
It acts through the same actions as any policy: nothing is put anywhere. What a blackout hides it does not see
either: it ends the motion that it has begun, and waits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Generator, Sequence
from itertools import pairwise
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.agents.experts.arm import APART, Arm, blend, pose_of, smooth
from training_ground.agents.experts.clearance import Clearance
from training_ground.agents.experts.mechanism import Mechanism
from training_ground.agents.experts.servo import Servo
from training_ground.assets.poses import Array, Pose, rotation_about
from training_ground.configs.errors import AgentError
from training_ground.envs.cell_task import CellTask
from training_ground.envs.env import HumanoidEnv

Steps = Generator[None, None, None]
Goal = Pose | Callable[[], Pose]
Along = tuple[Mechanism, float]

QUICK = 15.0
"""rad/s² that a joint accelerates by at most on its way."""
JERKY = 10.0 / math.sqrt(3.0)
"""Largest acceleration of a motion with least jerk over the unit way in unit time."""
CARRYING = 0.5
"""m/s, on average, of a hand that holds something: what is flung slips out of the fingers."""

STRAYED = 0.01
"""m off its line at which a hand on its way gives up."""

STEADY_S = 0.3
"""s: time constant with which a hand that stays for long makes up for the sway of a robot on its own feet."""

SETTLED = 6
"""Control steps for which a hand must be in its place before it counts as settled."""

TURNS = 12
"""Turns about a button's axis in which a finger may press it."""

GIVES = 0.03
"""m beyond a button's face that a finger's tip must get to: the button gives way, and the arm behind the finger."""

STATIONS = 7
"""Places on a mechanism's way at which it is tried whether an arm comes along."""


class CannotReach(Exception):
    """A waypoint that no joint angles lead to; the message names it."""


class Expert:
    """A scripted policy for one task: a subclass fills in `procedure`.

    Class attributes:
        waist: Whether the trunk moves with the arm that works; then only one arm can.
        alone: Whether one arm works at a time: the trunk then moves with it on robots whose arms need that, too.
        integral_gain: 1/s: how fast the targets move on where a joint stands off what was wanted, through weight or
            friction; less for an arm that swings under a load.
        careful: Whether ways stay some millimetres away from what stands around, also with fingers that hold something,
            and the shortest of several is taken.

    Attributes:
        env: The environment of the episode.
        arms: By side, `left` and `right`.
        servo: What makes actions of the joint angles that are wanted.
        attempt: Counts the tries of the episode.
        trouble: Why the expert gave up, if it did.
    """

    name = "expert"
    waist: ClassVar[bool] = False
    alone: ClassVar[bool] = True
    integral_gain: ClassVar[float] = 3.0
    careful: ClassVar[bool] = False
    env: HumanoidEnv
    task: Any
    arms: dict[str, Arm]
    servo: Servo
    clearance: Clearance
    _cleared: HumanoidEnv | None = None

    def procedure(self) -> Steps:
        """Yield once a control step until all is done."""
        raise NotImplementedError

    # ---- as a policy -------------------------------------------------------------------------------------------------

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Begin an episode.

        Raises:
            AgentError: It is no environment of a factory cell, or one with other actions than joint positions.
        """
        inner = env.unwrapped
        if not isinstance(inner, HumanoidEnv) or not isinstance(inner.task, CellTask):
            raise AgentError(f"policy 'expert': works in factory cells, not in {env}")
        balancing = 0 if inner.legs is None else len(inner.legs.driven)
        every = len(inner.action_joints) + balancing == len(inner.model.joint_names)
        if inner.config.control != "joint_position" or not every:
            raise AgentError("policy 'expert': needs control 'joint_position' with every joint driven")
        self.env, self.task = inner, inner.task
        if self._cleared is not inner:
            self._cleared, self.clearance = inner, Clearance(inner)
        waist = self.waist or (self.alone and inner.model.waist_helps)
        self.arms = {
            hand.side: Arm(inner, hand, self.clearance, waist=waist, careful=self.careful) for hand in inner.model.hands
        }
        # The kinematics of arms alone count on a trunk in its default pose, wherever it was drawn to begin.
        self.wanted = inner.model.default_position.copy()
        for arm in self.arms.values():
            self.wanted[arm.joints] = inner.robot.joint_position[arm.joints]
        self.attempt, self.trouble = 0, ""
        fingers = [i for arm in self.arms.values() for i in arm.fingers]
        # The arms' chains take the trunk to be at its default pose, but an episode starts a little off it.
        moving = [*fingers, *(i for arm in self.arms.values() for i in arm.joints)]
        trunk = np.setdiff1d(np.arange(len(self.wanted)), moving)
        self.wanted[trunk] = inner.model.default_position[trunk]
        self.servo = Servo(inner, fingers, self.integral_gain)
        for arm in self.arms.values():
            arm.release(self.wanted)
        self._steps: Steps = self.procedure()

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the action that the procedure asks for now; after its end, hold still."""
        if self.env.legs is not None:  # they go where the balance takes them
            self.wanted[self.env.legs.driven] = self.env.robot.joint_position[self.env.legs.driven]
        # While the safety monitor holds the robot the work waits, or it would go on far from where the hands are.
        waits = self.task.monitor.stopped or self.task.monitor.catching_up
        if not waits:
            self.servo.correct(self.wanted)
        before = self.wanted.copy()
        if not self.trouble and not waits:
            try:
                next(self._steps, None)
            except CannotReach as problem:
                self.trouble = str(problem)
        return self.servo.action(self.wanted, before)

    # ---- what a procedure is written in ------------------------------------------------------------------------------

    def frame(self, name: str) -> Pose:
        """Pose of a frame of the cell in the world, as it is seen: `item` or `item.frame`."""
        return pose_of(self.task.seen(name))

    def see(self) -> Steps:
        """Wait while a blackout hides something: all that is known of it is where it was before."""
        while self.task.events.blind:
            yield

    def wait(self, seconds: float) -> Steps:
        """Let time pass."""
        for _ in range(max(1, round(seconds / self.env.control_timestep))):
            yield

    def move(
        self, side: str, goal: Goal, *, to: str, speed: float = 0.4, turn: float = 2.0, exact: bool = True
    ) -> Steps:
        """Bring a hand's grip frame to a pose on a straight line; a goal that moves is followed.

        Args:
            side: Of the hand.
            goal: In the world, or a function that gives it.
            to: What the waypoint is called where it cannot be reached.
            speed: Mean speed along the line, m/s.
            turn: Mean rate of turning, rad/s.
            exact: Whether some millimetres off will not do at the end.

        Raises:
            CannotReach: No joint angles lead there.
        """
        arm, aim = self.arms[side], goal if callable(goal) else lambda: goal
        start = arm.planned(self.wanted)
        apart, turned = blend(start, aim(), 1.0)[1:]
        seconds = max(apart / speed, turned / turn, 0.1)
        count = max(1, math.ceil(seconds / self.env.control_timestep))
        for i in range(count):
            where = blend(start, aim(), smooth((i + 1) / count))[0]
            self._follow(arm, where, to, last=exact and i + 1 == count)
            yield

    def travel(
        self, side: str, goal: Pose, *, to: str, speed: float = 1.0, touching: Collection[str] = (),
        then: Pose | None = None, grasping: Collection[str] = (), carrying: tuple[str, Pose] | None = None,
    ) -> Steps:  # fmt: skip
        """Bring a hand to a pose through free space, around what is in the way.

        Args:
            side: Of the hand.
            goal: In the world.
            to: What the waypoint is called where it cannot be reached.
            speed: Mean speed of the fastest joint, rad/s.
            touching: Items that the robot may touch on the way, such as what it holds.
            then: Where the hand will go on to in a straight line; what stands in the way of that counts as well.
            grasping: Items that the robot may touch on that line only.
            carrying: An item in the hand, and the hand's pose in its frame; on the way it runs into nothing either.

        Raises:
            CannotReach: No joint angles lead there, or no way.
        """
        arm = self.arms[side]
        self.clearance.look()
        found, why = arm.search(goal, self.wanted, touching=touching)
        if then is not None:
            there = (*touching, *grasping)
            found = [one for one in found if arm.straight(one.angles, then, self.wanted, touching=there)[0]]
        goals = (one.angles for one in found[:4])
        ways = (arm.way(angles, self.wanted, touching=touching, carrying=carrying) for angles in goals)
        free = (way for way in ways if way is not None)
        way = min(free, key=_length, default=None) if self.careful else next(free, None)
        if way is None:
            raise CannotReach(f"waypoint '{to}', {side} hand: {'no way leads there' if found else why}")
        yield from self.along(arm, way, speed, hand_speed=CARRYING if carrying else math.inf)

    def along(self, arm: Arm, way: Sequence[Array], speed: float, *, hand_speed: float = math.inf) -> Steps:
        """Move an arm's joints along the corners of a way, stopping at each: who rounds them at speed swings out.

        Args:
            arm: That moves.
            way: Angles (k) of the corners, rad.
            speed: Mean speed of the fastest joint on each leg, rad/s.
            hand_speed: Highest mean speed of the hand from corner to corner, m/s.
        """
        for a, b in pairwise(way):
            length = float(np.abs(b - a).max())
            apart = float(np.linalg.norm(arm.chain.pose(b).position - arm.chain.pose(a).position))
            seconds = max(length / speed, math.sqrt(JERKY * length / QUICK), apart / hand_speed)
            count = max(1, math.ceil(seconds / self.env.control_timestep))
            for i in range(count):
                self.wanted[arm.joints] = a + smooth((i + 1) / count) * (b - a)
                yield

    def guarded(
        self, side: str, direction: Sequence[float] | Array, distance: float, *, to: str, until: Callable[[], bool],
        speed: float = 0.1,
    ) -> Steps:  # fmt: skip
        """Move a hand along a world direction until a condition holds, at most a distance in m.

        Raises:
            CannotReach: No joint angles lead on.
        """
        arm = self.arms[side]
        start, along = arm.planned(self.wanted), np.asarray(direction) / np.linalg.norm(direction)
        step = speed * self.env.control_timestep
        for i in range(math.ceil(distance / step)):
            if until():
                return
            self._follow(arm, Pose(start.rotation, start.position + (i + 1) * step * along), to, last=False)
            yield

    def follow(self, side: str, goal: Goal, seconds: float, *, to: str) -> Steps:
        """Keep a hand at a goal that moves, for a time.

        Raises:
            CannotReach: No joint angles lead on.
        """
        aim = goal if callable(goal) else lambda: goal
        for _ in range(max(1, round(seconds / self.env.control_timestep))):
            self._follow(self.arms[side], aim(), to, last=False)
            yield

    def settle(self, side: str, goal: Goal, *, within: float = 0.002, longest: float = 1.0) -> Steps:
        """Wait until a hand stays where it was told to be, within a distance in m, or for a time in s."""
        arm, aim, there = self.arms[side], goal if callable(goal) else lambda: goal, 0
        for _ in range(round(longest / self.env.control_timestep)):
            # Arms swing: being there once is not enough.
            there = there + 1 if float(np.linalg.norm(aim().position - arm.pose().position)) <= within else 0
            if there == SETTLED:
                return
            if self.env.legs is not None:  # the base that carries the hand sways
                self._follow(arm, aim(), f"place of the {side} hand", last=False)
            yield

    def stay(self, arm: Arm, goal: Pose, to: str) -> None:
        """Keep a hand at a pose in the world for a control step of a long time, where the base that carries it sways.

        It follows slowly: an arm that made up for every sway at once would stir up the next one.

        Raises:
            CannotReach: No joint angles lead on.
        """
        if self.env.legs is not None:
            before = self.wanted[arm.joints].copy()
            self._follow(arm, goal, to, last=False)
            self.wanted[arm.joints] = before + self.env.control_timestep / STEADY_S * (self.wanted[arm.joints] - before)

    def nearest(self, where: str | Array) -> str:
        """The side whose shoulder is nearer to a frame, or to a place (3) in the world, m."""
        place = self.frame(where).position if isinstance(where, str) else where
        return min(self.arms, key=lambda side: float(np.linalg.norm(place - self.arms[side].shoulder())))

    def choose(
        self, side: str, options: Sequence[Pose], *, to: str, clear: float = 0.08,
        touching: Collection[str] | None = None, along: Along | None = None,
    ) -> Pose:  # fmt: skip
        """Return the pose, of several that serve, to which the arm comes most easily.

        Args:
            side: Of the hand.
            options: In the world; each is also reached from `clear` metres before it, along its z.
            to: What the waypoint is called where none can be reached.
            clear: m.
            touching: Items that the robot may touch, such as what it holds; None where it may touch nothing before the
                pose, and anything at the pose itself.
            along: A mechanism that the hand will take along, and to which position, m or rad: the arm must come along
                and draw back there, in nothing's way with its hand open.

        Raises:
            CannotReach: None of them can be reached.
        """
        arm, best, favourite, ease, why = self.arms[side], None, None, np.inf, ""
        arm.favourite = None
        self.clearance.look()
        ways = arm.searches([back(option, clear) for option in options], self.wanted, touching=touching or ())
        for option, (found, reason) in zip(options, ways, strict=True):
            why = why or reason
            for before in found[:3]:
                strain, problem = self._strain(arm, option, before.angles, clear, touching, along)
                why = why or problem
                if strain < ease:
                    best, favourite, ease = option, before.angles, strain
        if best is None:
            raise CannotReach(f"waypoint '{to}', {side} hand: {why}")
        arm.favourite = favourite
        return best

    def _strain(
        self, arm: Arm, option: Pose, before: Array, clear: float, touching: Collection[str] | None, along: Along | None
    ) -> tuple[float, str]:
        """Return the mean strain of an arm that grasps, from angles (k) before it, and takes along what it shall;
        infinite with the reason where it cannot."""
        strains = [arm.strain(before)]
        if along is None:
            last, blocked = arm.straight(before, option, self.wanted, touching=touching)
            return (np.inf, blocked) if last is None else (float(np.mean([*strains, arm.strain(last.angles)])), "")
        self.clearance.look()
        mechanism, goal = along
        stations = [(mechanism.moved(option, at), at) for at in np.linspace(mechanism.position, goal, STATIONS)]
        stations.append((back(stations[-1][0], clear), goal))
        wanted = self.wanted.copy()
        wanted[arm.joints] = before
        for pose, at in stations:
            found = arm.follow(pose, wanted)
            if not found.reached:
                return np.inf, f"on its way it gets no nearer than {1000 * found.position_error:.0f} mm"
            wanted[arm.joints] = found.angles
            strains.append(arm.strain(found.angles))
            self.clearance.put(mechanism, at)
            if blocked := self.clearance.blocked(wanted, touching=touching or ()):
                return np.inf, blocked
        return float(np.mean(strains)), ""

    def point(self, side: str, seconds: float = 0.3) -> Steps:
        """Stretch the finger that presses; from now on the hand's tip is what moves."""
        arm = self.arms[side]
        arm.use("tip")
        if arm.hand.pointing:
            yield from self._fingers(side, arm.hand.pointing, seconds)

    def press(self, side: str, button: str, *, distance: float = 0.06, hold: float = 0.0) -> Steps:
        """Press a button once with the finger's tip, hold it for a time and draw back.

        Args:
            side: Of the hand.
            button: Its frame, as `item.joint`, also the name of its joint; z is the way to press.
            distance: m that the tip moves on at most after it has come close.
            hold: s.

        Raises:
            CannotReach: No joint angles lead there.
        """
        yield from self.point(side)
        deep = [back(one, -GIVES) for one in around(self.frame(button), TURNS)]
        front = back(self.choose(side, deep, to=button, clear=0.08 + GIVES), GIVES)
        yield from self.travel(side, back(front, 0.08), to=f"in front of {button}")
        yield from self.move(side, back(front, 0.02), to=f"close to {button}")
        yield from self.settle(side, back(front, 0.02))

        def pressed() -> bool:
            return self.task.travel(button) > 0.9

        yield from self.guarded(side, front.rotation[:, 2], distance, to=button, speed=0.04, until=pressed)
        if hold:
            yield from self.wait(hold)
        yield from self.move(side, back(front, 0.08), to=f"away from {button}")

    def retreat(self, side: str) -> Steps:
        """Take a hand out of the way: back to where it began, or beside the body if something stands there now."""
        arm = self.arms[side]
        self.clearance.look()
        begun, hanging = self.wanted.copy(), self.wanted.copy()
        begun[arm.joints], hanging[arm.own] = arm.chain.default, arm.hanging(self.wanted)
        goals = [begun, hanging]
        free = [goal for goal in goals if not self.clearance.blocked(goal, apart=APART)]
        for goal in free or goals:
            way = arm.way(goal[arm.joints], self.wanted)
            if way is not None:
                yield from self.along(arm, way, 1.0)
                return

    def close(self, side: str, seconds: float = 0.5) -> Steps:
        """Close a hand around what is between its fingers."""
        yield from self._fingers(side, self.arms[side].hand.closed, seconds)

    def open(self, side: str, seconds: float = 0.4) -> Steps:
        """Open a hand; from now on the point where it grips is what moves."""
        arm = self.arms[side]
        arm.use("grip")
        if any(self.task.touches(item, side) for item in self.task.place.things):
            # All fingers let go in the same measure, or the one that pushes longest shoves the part away.
            yield from self._fingers(side, self.env.robot.joint_position[arm.fingers], 0.2)
        yield from self._fingers(side, arm.hand.open, seconds)

    def force(self, side: str) -> float:
        """Size of the contact force on a hand, N."""
        return self.task.hand_force(side)

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _fingers(self, side: str, goal: Sequence[float] | Array, seconds: float) -> Steps:
        fingers = self.arms[side].fingers
        start, count = self.wanted[fingers].copy(), max(1, round(seconds / self.env.control_timestep))
        for i in range(count):
            self.wanted[fingers] = start + (i + 1) / count * (np.array(goal) - start)
            yield

    def _follow(self, arm: Arm, goal: Pose, to: str, *, last: bool) -> None:
        """Take the joint angles of a pose near the present one; on the way an inexact one will do."""
        found = arm.follow(goal, self.wanted)
        if not found.reached and (last or found.position_error > STRAYED):
            far, turned = 1000 * found.position_error, math.degrees(found.orientation_error)
            raise CannotReach(f"waypoint '{to}', {arm.hand.side} hand: no nearer than {far:.0f} mm and {turned:.0f}°")
        self.wanted[arm.joints] = found.angles


def _length(way: Sequence[Array]) -> float:
    """How far the fastest joint of each leg goes, in all, rad."""
    return sum(float(np.abs(b - a).max()) for a, b in pairwise(way))


def together(*motions: Steps) -> Steps:
    """Make several motions at once, until the last one is done."""
    left, done = list(motions), object()
    while left := [motion for motion in left if next(motion, done) is not done]:
        yield


def raised(pose: Pose, height: float) -> Pose:
    """Return a pose higher up by a height in m."""
    return Pose(pose.rotation, pose.position + np.array([0.0, 0.0, height]))


def back(pose: Pose, distance: float) -> Pose:
    """Return a pose drawn back along its z, the way in which hands approach, by a distance in m."""
    return Pose(pose.rotation, pose.position - distance * pose.rotation[:, 2])


def around(pose: Pose, count: int) -> list[Pose]:
    """Return a pose turned about its z by each of `count` even shares of a full turn: 2 for a jaw, more for a tip."""
    axis = np.array([0.0, 0.0, 1.0])
    return [Pose(pose.rotation @ rotation_about(axis, 2 * math.pi * i / count), pose.position) for i in range(count)]
