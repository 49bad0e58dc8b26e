"""How to hand something to a person."""

from __future__ import annotations

import math

import numpy as np

from training_ground.agents.experts.expert import CannotReach, Steps
from training_ground.agents.experts.handling import UP, Handling, upright
from training_ground.assets.poses import Array, Pose, rotation_about

TURNS = (0.0, -0.3, 0.3, -0.6, 0.6, -0.9, 0.9, -1.2, 1.2)
"""rad about the shaft by which a hand may come in beside straight from its side."""
ASKEW = (0.0, 0.15, -0.15)
"""rad by which the handle may be turned away from the person's hand."""
OPEN = 0.4
"""Cosine of the angle between the way in which a hand came and the person's pull, from which on an open hand is not in
its way."""
MEETING = np.array([0.38, 0.0, -0.2])
"""m from between the shoulders to the foot of the tool where it is held out; its y is that of the person's hand."""
PULLED, PULLED_S, SENSOR_S = 3.5, 0.1, 0.05
"""N towards the person by which the load on the hand must change, s for which it must, and its low-pass, s."""
LONGEST_S = 15.0
"""s for which to hold it out."""


class HandToPerson(Handling):
    """Grasp the tool low, hold its handle out to the person, feel the pull, let go, draw back."""

    def procedure(self) -> Steps:
        """Hand the tool over."""
        side = self.nearest("tool")
        yield from self.pick(side, "tool", lambda: self.grasps(side), at=f"low_{side}", lift=0.1)
        yield from self.hold_out(side)
        yield from self.feel(side)
        yield from self.open(side, 0.3)
        yield from self.withdraw(side, to="away from tool", distance=0.12)
        yield from self.retreat(side)

    def places(self) -> list[Pose]:
        """Where the tool may be held out, upright, its handle's narrow side across the person's hand either way round."""
        between = 0.5 * (self.arms["left"].shoulder() + self.arms["right"].shoulder())
        palm = self.frame("arm.palm")
        place = between + MEETING
        place[1] = self.frame("arm.front").position[1]
        wide = math.atan2(palm.rotation[1, 0], palm.rotation[0, 0])
        turns = [wide + half + askew for half in (0.0, math.pi) for askew in ASKEW]
        return [Pose(rotation_about(UP, turn), place) for turn in turns]

    def grasps(self, side: str) -> list[Pose]:
        """Ways to grip the tool, of those with which it can be held out, if there are any, as few as are best."""
        tool, local = self.frame("tool"), self.frame("tool").inverse() @ self.frame(f"tool.low_{side}")
        ways = [Pose(rotation_about(UP, turn), tool.position) @ local for turn in TURNS]  # a shaft is round
        level, places = upright(tool, tool.position, 0.0).inverse(), self.places()
        ends = [place @ level @ way for way in ways for place in places]
        self.clearance.look()
        found = self.arms[side].searches(ends, self.wanted, touching=("tool",))
        good = [bool(there) for there, _ in found]
        free = [one and self.gives_way(end) for one, end in zip(good, ends, strict=True)]
        for which in (free, good):
            rows = [which[i : i + len(places)] for i in range(0, len(which), len(places))]
            if chosen := [way for way, row in zip(ways, rows, strict=True) if any(row)]:
                return chosen
        return ways

    def hold_out(self, side: str) -> Steps:
        """Bring the tool to where the person can take it."""
        grip, there = self.grip_in(side, "tool"), "where the person takes it"
        ways = [place @ grip for place in self.places()]
        free = [way for way in ways if self.gives_way(way)]
        try:
            goal = self.choose(side, free or ways, to=there, clear=0.0, touching=("tool",))
        except CannotReach:
            goal = self.choose(side, ways, to=there, clear=0.0, touching=("tool",))
        yield from self.travel(side, goal, to=there, touching=("tool",), carrying=("tool", grip))
        yield from self.settle(side, goal)

    def gives_way(self, hand: Pose) -> bool:
        """Whether what the person pulls at comes out of a hand at a pose once it is open."""
        return bool(-hand.rotation[:, 2] @ self.frame("arm.palm").rotation[:, 0] > OPEN)

    def feel(self, side: str) -> Steps:
        """Hold still until the person pulls."""
        seen, before, lasting, load = "", np.zeros(3), 0.0, self.load(side)
        dt = self.env.control_timestep
        for _ in range(round(LONGEST_S / dt)):
            load = load + dt / (SENSOR_S + dt) * (self.load(side) - load)
            near = self.force_towards(load - before)
            lasting = lasting + dt if seen and near > PULLED else 0.0
            if lasting >= PULLED_S:
                return
            if not seen or near <= PULLED / 2:
                before, seen = (load, "yes") if not seen else (before + 0.02 * (load - before), seen)
            yield

    def load(self, side: str) -> Array:
        """Contact force (3,) on a hand, N."""
        return np.array(self.task.hand_load(side))

    def force_towards(self, force: Array) -> float:
        """Share of a force (3,), N, towards the person."""
        return float(-force @ self.frame("arm.palm").rotation[:, 0])
