"""What experts that take things and put them down have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import numpy as np

from training_ground.agents.experts.arm import smooth
from training_ground.agents.experts.expert import CannotReach, Expert, Steps, around, back, raised
from training_ground.agents.experts.inverse_kinematics import solve
from training_ground.assets.kinematics import arm as arm_chain
from training_ground.assets.poses import Array, Pose, rotation_about

TRIES = 3
"""Grasps of one part before the expert gives up."""
TURNS = (0.0, 0.4, -0.4, 0.8, -0.8, 1.2, -1.2)
"""rad about the vertical by which a grip may differ from one straight ahead, where a part leaves that open."""
SHIFTS = (0.0, -0.03, 0.03)
"""m ahead by which a place may be missed, where a tote leaves that open."""
AHEAD, UP = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
FINGERTIPS = 0.013
"""m over the middle of a lying part at which to grip it, so that what reaches beyond the grip stays off the ground."""
ASIDE, ASIDE_S = (-0.12, 0.22, -0.3), 1.0
"""m from its shoulder, outwards counted, to where a hand waits that has no work, and the s that it takes."""
IN_HAND = 0.03
"""m that a held part's grasp may be from where the hand grips."""
OUT_OF_HAND = 0.15
"""m from there to the frame of a part, untouched, from which on it has certainly been lost."""

GOLDEN = math.pi * (3.0 - math.sqrt(5.0))
"""rad from one place of the spiral to the next: they cover the plane evenly (Vogel 1979)."""
SPIRAL = 0.0006
"""m: how far out the first place is; the i-th is √i times as far."""
PLACES = 60
PRESS = 0.003
"""m below the hand that it is told to go while it presses."""
MOST_FORCE = 12.0
"""N on the hand at which it presses no more."""
ENTERED = 0.006
"""m below where the search began at which a part has found its way in."""
SEATED = 0.003
"""m over its place at which it has gone in all the way."""


class Slipped(CannotReach):
    """What a hand carried is not in it any more; the message names both."""


class Handling(Expert):
    """An expert that takes things and puts them down.

    Of an item it uses the frame `grasp`, whose z is the way in which a hand comes.
    """

    def pick(
        self, side: str, item: str, options: Callable[[], Sequence[Pose]], *, clear: float = 0.1, lift: float = 0.12,
        at: str = "grasp", touching: Collection[str] = (),
    ) -> Steps:  # fmt: skip
        """Grasp an item and lift it; if it is not in the hand then, go back and try again.

        Args:
            side: Of the hand.
            item: What to take.
            options: Gives the poses in the world, one of which the hand shall grip at.
            clear: m before the grasp at which the hand comes in.
            lift: m upwards.
            at: Frame of the item where the hand grips.
            touching: Items, beside this one, that the hand may touch when it grips.

        Raises:
            CannotReach: No such grasp, or the item is still not in the hand after three.
        """
        for _ in range(TRIES):
            self.attempt += 1
            yield from self.open(side)
            yield from self.see()
            grasp = self.choose(side, options(), to=item, clear=clear, touching=(item, *touching))
            yield from self.travel(side, back(grasp, clear), to=f"before {item}", then=grasp, grasping=(item,))
            yield from self.move(side, grasp, to=item, speed=0.1)
            yield from self.settle(side, grasp, within=0.003)
            yield from self.close(side)
            yield from self.move(side, raised(grasp, lift), to=f"above {item}", speed=0.2, exact=False)
            yield from self.see()
            if self.holds(side, item, at):
                return
        raise CannotReach(f"'{item}' was not in the {side} hand after {TRIES} grasps")

    def again(self, side: str, item: str, bring: Callable[[], Steps]) -> Steps:
        """Bring an item somewhere; if the hand has lost it meanwhile, fetch it from where it is now, the other hand out
        of the way.

        Raises:
            CannotReach: A waypoint cannot be reached with the item in the hand, or it has been lost three times.
        """
        for _ in range(TRIES - 1):
            try:
                yield from bring()
            except CannotReach:
                yield from self.see()
                if self.holds(side, item):
                    raise
                yield from self.stand_aside(side)
            else:
                return
        yield from bring()

    def put(
        self, side: str, item: str, goals: Sequence[Pose], *, over: float = 0.08, gap: float = 0.002,
        search: bool = False,
    ) -> Steps:  # fmt: skip
        """Put an item that is held down: from above, then away, back the way in which the hand gripped it.

        Args:
            side: Of the hand.
            item: What it holds.
            goals: Of the item's own frame, in the world; the one that the arm reaches most easily is taken.
            over: m above the goal at which the item comes there.
            gap: m above the goal at which the hand lets go.
            search: Whether the item goes into something, and may have to be led around until it does.

        Raises:
            CannotReach: The hand does not come there.
            Slipped: The item is lost on the way.
        """
        yield from self.lower(side, item, goals, over=over, gap=gap, search=search)
        yield from self.open(side, 0.6)
        yield from self.withdraw(side, to=f"away from {item}")

    def lower(self, side: str, item: str, goals: Sequence[Pose], *, over: float, gap: float, search: bool) -> Steps:
        """Bring an item that is held down to a place as `put` does, and keep hold of it."""
        yield from self.see()
        grip = self.grip_in(side, item)
        ways = [goal @ grip for goal in goals]
        best = self.choose(side, ways, to=f"where {item} goes", clear=0.05, touching=(item,))
        goal = best @ grip.inverse()
        above, held = raised(best, over), (item, grip)
        yield from self.travel(side, above, to=f"above where {item} goes", touching=(item,), then=best, carrying=held)
        for height, speed in ((over, 0.1), (gap, 0.1), (gap, 0.05)):
            yield from self.see()
            self.require_held(side, item)
            hand = raised(goal @ self.grip_in(side, item), height)  # anew each time: it slips and sags in the hand
            yield from self.move(side, hand, to=f"where {item} goes", speed=speed)
            yield from self.settle(side, hand, within=0.001, longest=0.5)
        if search:
            yield from self._search(side, item, goal)

    def _search(self, side: str, item: str, goal: Pose) -> Steps:
        """Press an item down softly on a spiral around where it belongs, until it has gone in or the spiral ends."""
        arm, aim = self.arms[side], goal @ self.grip_in(side, item)
        start, offset = self.frame(item).position[2], np.zeros(3)
        for i in range(PLACES):
            yield from self.see()
            height = self.frame(item).position[2]
            if height - goal.position[2] < SEATED:
                return
            if start - height < ENTERED:  # else it is in, and only has to go on down
                offset = SPIRAL * math.sqrt(i) * np.array([math.cos(GOLDEN * i), math.sin(GOLDEN * i), 0.0])
            press = PRESS if self.force(side) < MOST_FORCE else 0.0
            place = aim.position + offset
            place[2] = max(aim.position[2] - PRESS, arm.pose().position[2] - press)
            self._follow(arm, Pose(aim.rotation, place), "search", last=False)
            yield from self.wait(0.06)

    def drop(
        self, side: str, item: str, place: Array, *, height: float = 0.055, over: float = 0.1,
        turns: Sequence[float] = TURNS, shifts: Sequence[float] = SHIFTS, within: float | None = None,
    ) -> Steps:  # fmt: skip
        """Let an item that is held fall a little way, whichever way round it and the hand are.

        Args:
            side: Of the hand.
            item: What it holds; its frame `middle` goes to the place.
            place: (3) in the world, m.
            height: m of the item's middle above the place where the hand lets go.
            over: m above that, on the way there and back.
            turns: Those about the vertical, rad, that will do.
            shifts: m before or behind the place that will do.
            within: m of its place within which the hand comes to rest before it lets go; None where it need not.

        Raises:
            CannotReach: The hand does not come there.
            Slipped: The item is lost on the way.
        """
        yield from self.see()
        hand, middle = self.arms[side].pose(), self.frame(f"{item}.middle").position
        free = Pose(position=place + np.array([0.0, 0.0, height])), Pose(hand.rotation, hand.position - middle)
        ways = [
            Pose(position=shift * AHEAD) @ free[0] @ Pose(rotation_about(UP, turn)) @ free[1]
            for shift in shifts
            for turn in turns
        ]
        goal = self.choose(side, ways, to=f"where {item} goes", clear=over, touching=(item,))
        held = (item, self.grip_in(side, item))
        yield from self.travel(
            side, back(goal, over), to=f"above where {item} goes", touching=(item,), then=goal, carrying=held
        )
        yield from self.see()
        self.require_held(side, item)
        yield from self.move(side, goal, to=f"where {item} goes", speed=0.15)
        if within is not None:
            yield from self.settle(side, goal, within=within)
        yield from self.open(side)
        yield from self.wait(0.3)
        yield from self.move(side, raised(goal, over), to=f"away from {item}", speed=0.2)

    def stand_aside(self, working: str) -> Steps:
        """Take the hand that has no work behind the body's side, out of the way of what moves in front."""
        for side in self.arms:
            if side == working:
                continue
            chain = arm_chain(self.env.model, self.arms[side].hand)
            aside = np.array([ASIDE[0], math.copysign(ASIDE[1], chain.root[1]), ASIDE[2]])
            goal = Pose(chain.pose(chain.default).rotation, chain.root + aside)
            found = solve(chain, goal, position_tolerance=0.03, orientation_tolerance=math.pi)
            start, count = self.wanted[chain.indices].copy(), round(ASIDE_S / self.env.control_timestep)
            for i in range(count):
                self.wanted[chain.indices] = start + smooth((i + 1) / count) * (found.angles - start)
                yield

    def withdraw(self, side: str, *, to: str, distance: float = 0.1) -> Steps:
        """Draw a hand back along its z by a distance in m, or at least half of it; else upwards, out of what it held.

        Raises:
            CannotReach: It cannot.
        """
        arm = self.arms[side]
        here, angles = arm.planned(self.wanted), self.wanted[arm.joints]
        ways = [away(here, share * distance) for away in (back, raised) for share in (1.0, 0.75, 0.5)]
        free = [way for way in ways if arm.straight(angles, way, self.wanted, touching=None)[0]]
        yield from self.move(side, (free or ways)[0], to=to, speed=0.15, exact=False)

    def across(self, item: str) -> list[Pose]:
        """Ways to grip an item that has fallen over: from above, across its length."""
        across = np.cross(self.frame(item).rotation[:, 2], UP)
        across /= np.linalg.norm(across)
        place = self.frame(f"{item}.middle").position + FINGERTIPS * UP
        return around(Pose(np.column_stack([across, np.cross(-UP, across), -UP]), place), 2)

    def stands(self, item: str) -> bool:
        """Whether an item stands upright."""
        return bool(self.frame(item).rotation[2, 2] > 0.7)

    def grip_in(self, side: str, item: str) -> Pose:
        """Where a hand grips, in an item's own frame."""
        return self.frame(item).inverse() @ self.arms[side].pose()

    def require_held(self, side: str, item: str) -> None:
        """Go on only with an item that is still in or at a hand.

        Raises:
            Slipped: It is not.
        """
        apart = self.frame(item).position - self.arms[side].pose().position
        if not self.task.touches(item, side) and float(np.linalg.norm(apart)) > OUT_OF_HAND:
            raise Slipped(f"'{item}' has slipped out of the {side} hand")

    def holds(self, side: str, item: str, at: str = "grasp") -> bool:
        """Whether a frame of an item is where the hand grips."""
        apart = self.frame(f"{item}.{at}").position - self.arms[side].pose().position
        return float(np.linalg.norm(apart)) < IN_HAND


def from_above(place: Array) -> list[Pose]:
    """Ways to grip a round part at a place (3), m, from above."""
    return [Pose(rotation_about(UP, turn) @ np.diag([1.0, -1.0, -1.0]), place) for turn in TURNS]


def turned(pose: Pose, turn: float) -> Pose:
    """Return a pose turned about the vertical by an angle in rad."""
    return Pose(rotation_about(UP, turn) @ pose.rotation, pose.position)


def upright(pose: Pose, position: Array, turn: float) -> Pose:
    """Return a pose at another place (3), m, its z straight up, turned about it by an angle in rad."""
    lean = np.cross(pose.rotation[:, 2], UP)
    sine = float(np.linalg.norm(lean))
    level = rotation_about(lean / sine, float(np.arctan2(sine, pose.rotation[2, 2]))) if sine > 1e-9 else np.eye(3)
    return Pose(rotation_about(UP, turn) @ level @ pose.rotation, position)
