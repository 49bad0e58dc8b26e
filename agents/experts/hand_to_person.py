"""How to hand something to a person."""

from __future__ import annotations

import math

import numpy as np

from training_ground.agents.experts.expert import CannotReach, Steps, back
from training_ground.agents.experts.handling import UP, Handling, upright
from training_ground.assets.poses import Array, Pose, rotation_about, rotation_vector

TURNS = (0.0, -0.3, 0.3, -0.6, 0.6, -0.9, 0.9, -1.2, 1.2)
"""rad about the shaft by which a hand may come in beside straight from its side."""
ASKEW = (0.0, 0.15, -0.15)
"""rad by which the handle may be turned away from the person's hand."""
OPEN = 0.4
"""Cosine of the angle between the way in which a hand came and the person's pull, from which on an open hand is not in
its way."""
BEFORE = 0.1
"""m before the tool at which the hand comes in."""
GENTLE = 0.7
"""rad/s of the fastest joint on the way there: what is slippery turns in a hand that hurries."""
TWISTED, CORRECTIONS = 0.15, 3
"""rad by which the tool may have turned on the way, and how often that is put right."""
MEETING = np.array([0.38, 0.0, -0.2])
"""m from between the shoulders to the foot of the tool where it is held out; its y is that of the person's hand."""
PULLED, PULLED_S = 3.5, 0.1
"""N towards the person by which the load on the hand must change, and s for which it must."""
SENSOR_S, WEIGHED_S = 0.05, 1.0
"""s: low-pass of the load, and of what counts as its change."""


class HandToPerson(Handling):
    """Grasp the tool low, hold its handle out to the person, feel the pull, let go, draw back."""

    careful = True

    def procedure(self) -> Steps:
        """Hand the tool over."""
        side = self.nearest("tool")
        yield from self.pick(side, "tool", lambda: self.grasps(side), at=f"low_{side}", clear=BEFORE, lift=0.1)
        yield from self.hold_out(side)
        yield from self.feel(side)
        yield from self.open(side, 0.3)
        yield from self.withdraw(side, to="away from tool", distance=0.12)
        yield from self.retreat(side)

    def places(self) -> list[Pose]:
        """Where the tool may be held out, upright, its narrow side across the person's hand, either way round."""
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
        before = self.arms[side].searches([back(way, BEFORE) for way in ways], self.wanted)
        after = self.arms[side].searches(ends, self.wanted, touching=("tool",))
        good = [bool(before[i // len(places)][0] and there) for i, (there, _) in enumerate(after)]
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
        yield from self.travel(side, goal, to=there, speed=GENTLE, touching=("tool",), carrying=("tool", grip))
        yield from self.settle(side, goal)
        end = goal @ grip.inverse()
        for _ in range(CORRECTIONS):  # it may have turned in the hand on the way
            off = self.frame("tool").inverse() @ end
            if float(np.linalg.norm(rotation_vector(off.rotation))) < TWISTED:
                return
            hand = end @ self.grip_in(side, "tool")
            yield from self.move(side, hand, to=there, speed=0.15, turn=0.7, exact=False)
            yield from self.settle(side, hand)

    def gives_way(self, hand: Pose) -> bool:
        """Whether what the person pulls at comes out of a hand at a pose once it is open."""
        return bool(-hand.rotation[:, 2] @ self.frame("arm.palm").rotation[:, 0] > OPEN)

    def feel(self, side: str) -> Steps:
        """Hold still until the person pulls, however long that takes."""
        dt, lasting, load = self.env.control_timestep, 0.0, self.load(side)
        before = load
        while lasting < PULLED_S:
            load = load + dt / (SENSOR_S + dt) * (self.load(side) - load)
            pull = self.towards(load - before)
            lasting = lasting + dt if pull > PULLED else 0.0
            if pull < PULLED / 2:  # the weight, until all has come to rest
                before = before + dt / (WEIGHED_S + dt) * (load - before)
            yield

    def load(self, side: str) -> Array:
        """Contact force (3,) on a hand, N."""
        return np.array(self.task.hand_load(side))

    def towards(self, force: Array) -> float:
        """How much of a force (3,), N, goes towards the person."""
        return float(-force @ self.frame("arm.palm").rotation[:, 0])
