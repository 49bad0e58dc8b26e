"""A person who takes something out of the robot's hand: a hand that waits, reaches, grips, pulls, and has it."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from training_ground.assets.receiving import ReceiverSpec
from training_ground.configs.errors import SimulationError
from training_ground.envs import rotations
from training_ground.envs.cell import Cell

STATES = ("waits", "reaches", "grips", "pulls", "has", "withdraws", "gave_up")
JOINTS = {"forearm": 0, "hand": 1, "lift": 2}
"""Joints of the arm that bring the hand somewhere, and the axis of its own along which each does."""

FACING = 0.35
"""rad by which a handle may be turned away from the hand, or lean, to be taken."""
REST = 0.02
"""m/s below which what is held out is at rest."""
MOVED = 0.02
"""m by which it may move while the hand comes, before the person draws back."""
BEFORE, HASTY, CAREFUL = 0.1, 0.25, 0.12
"""m before it up to which the hand comes at the second number in m/s, and from there on at the third."""
ARRIVED = 0.006
"""m off its place at which the hand is there."""
STRENGTH = 60.0
"""N with which the arm moves, but for the pull."""
CLOSING = 0.08
"""m/s of the thumb."""
FIRM_S, LOOSE_S = 0.2, 0.3
"""s for which thumb and fingers must touch it to have it, and for which they may not."""
PATIENCE_S = 4.0
"""s after which a person gives up to reach, to grip or to pull."""
TAKEN = 0.08
"""m from where they pulled at which a person has it."""


@dataclass
class Progress:
    """How far a person has come; saved and restored with the episode.

    Attributes:
        state: One of `STATES`.
        since: s in this state.
        offered: s for which something has been held out properly.
        firm: s for which thumb and fingers have touched it, or, negative, have not.
        near: Whether the hand is on the last piece of its way.
        hesitated: Whether they have drawn back once.
        goal: Joint positions at which the hand grips, m, and `place` (3,), m, where it was held out then.
        pull: N now.  pulled_from: Position of the arm at which they pull, m.
    """

    state: str = "waits"
    since: float = 0.0
    offered: float = 0.0
    firm: float = 0.0
    near: bool = False
    hesitated: bool = False
    goal: dict[str, float] = field(default_factory=dict)
    place: rotations.Vector = (0.0, 0.0, 0.0)
    pull: float = 0.0
    pulled_from: float = 0.0


class Receiver:
    """A person who takes something out of the robot's hand.

    Args:
        spec: How they go about it.
        place: The cell.

    Attributes:
        progress: How far they have come.

    Raises:
        SimulationError: The arm lacks a joint or a frame, or there is no frame to take.
    """

    def __init__(self, spec: ReceiverSpec, place: Cell) -> None:
        self.spec, self._place = spec, place
        self._arm, self._item = place.things[spec.arm], spec.takes.partition(".")[0]
        where = f"cell '{place.spec.name}', receiver"
        lacking = [name for name in (*JOINTS, "thumb") if name not in self._arm.joint_names]
        if lacking or "palm" not in self._arm.spec.frames:
            missing = f"joints {', '.join(lacking)}" if lacking else "frame 'palm'"
            raise SimulationError(f"{where}.arm = '{spec.arm}': lacks {missing}; the part 'receiving_arm' has all")
        place.frame(spec.takes)
        self.progress = Progress()

    # ---- the episode -------------------------------------------------------------------------------------------------

    def draw(self, generator: np.random.Generator) -> dict[str, Any]:
        """Draw how they go about it in an episode: `notices_s`, s, `pull_n`, N, and `hesitates`."""
        return {
            "notices_s": float(generator.uniform(*self.spec.notices_s)),
            "pull_n": float(generator.uniform(*self.spec.pull_n)),
            "hesitates": bool(generator.random() < self.spec.hesitates),
        }

    def reset(self) -> None:
        """Start an episode: the hand is drawn back, open, and held there."""
        self.progress = Progress()
        self._withdraw("waits")

    def save(self) -> Any:
        """What `restore` needs; the arm's motors are part of the world's own state."""
        return copy.deepcopy(self.progress)

    def restore(self, saved: Any) -> None:
        """Return to what `save` gave."""
        self.progress = copy.deepcopy(saved)

    def update(self, drawn: dict[str, Any], dt: float, *, offered: bool) -> None:
        """Go on before a control step of `dt` s.

        Args:
            drawn: What `draw` gave.
            dt: s.
            offered: Whether the robot holds it out, its hand away from where the person's goes.
        """
        now = self.progress
        now.since += dt
        now.offered = now.offered + dt if offered and self.presented() else 0.0
        now.pull = -self._torque("forearm") if now.state == "pulls" else 0.0
        if now.state in ("grips", "pulls", "has"):
            held = self.holds()
            now.firm = max(now.firm, 0.0) + dt if held else min(now.firm, 0.0) - dt
        if now.state == "waits" and now.offered > drawn["notices_s"]:
            self._reach()
        elif now.state == "reaches":
            self._go_on(drawn["hesitates"])
        elif now.state == "grips":
            if now.firm >= FIRM_S:
                self._pull(drawn["pull_n"])
            elif now.since > PATIENCE_S:
                self._withdraw()
        elif now.state in ("pulls", "has"):
            self._take(now)
        elif now.state == "withdraws" and self._there({"forearm": 0.0}):
            self._enter("waits")

    # ---- what others ask ---------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """One of `STATES`."""
        return self.progress.state

    def presented(self) -> bool:
        """Whether what they take is within their reach, at rest, upright, and its narrow side across their hand."""
        handle, palm = self._place.frame(self.spec.takes), self._place.frame(f"{self.spec.arm}.palm")
        across, up, side = (
            rotations.rotate(turn, axis)
            for turn, axis in ((handle.orientation, (0.0, 1.0, 0.0)), (handle.orientation, (0.0, 0.0, 1.0)),
                               (palm.orientation, (0.0, 1.0, 0.0)))
        )  # fmt: skip
        facing = abs(sum(a * b for a, b in zip(across, side, strict=True)))
        limits = self._arm.spec.mechanisms
        reached = all(limits[name].lower < goal < limits[name].upper for name, goal in self._goal().items())
        slow = math.hypot(*handle.linear_velocity) < REST
        return reached and slow and min(facing, up[2]) > math.cos(FACING)

    def holds(self) -> bool:
        """Whether both thumb and fingers press on it."""
        touched = {
            self._arm.link_names[contact.link]
            for contact in self._arm.contacts()
            if contact.other == self._item and contact.normal_force > 0.0
        }
        return {"thumb", "hand"} <= touched

    # ---- inside ------------------------------------------------------------------------------------------------------

    def _torque(self, joint: str) -> float:
        drive = self._arm.drive
        assert drive is not None
        return float(drive.torque[self._arm.joint_names.index(joint)])

    def _goal(self) -> dict[str, float]:
        """Joint positions that bring the palm to what is taken, m."""
        handle, palm = self._place.frame(self.spec.takes), self._place.frame(f"{self.spec.arm}.palm")
        base, joints = self._arm.state, self._arm.joint_position
        apart = [a - b for a, b in zip(handle.position, palm.position, strict=True)]
        offset = rotations.rotate_inverse(base.orientation, apart)
        return {name: joints[name] + offset[axis] for name, axis in JOINTS.items()}

    def _enter(self, state: str) -> None:
        self.progress.state, self.progress.since, self.progress.firm = state, 0.0, 0.0

    def _drive(self, joint: str, goal: float | None, *, speed: float, effort: float = STRENGTH) -> None:
        self._arm.drive_to(joint, goal, effort=effort, speed=speed)

    def _there(self, goal: dict[str, float]) -> bool:
        position = self._arm.joint_position
        return all(abs(position[name] - place) < ARRIVED for name, place in goal.items())

    def _reach(self) -> None:
        now = self.progress
        self._enter("reaches")
        now.goal, now.near = self._goal(), False
        now.place = self._place.frame(self.spec.takes).position
        for joint, goal in self._before(now.goal).items():
            self._drive(joint, goal, speed=HASTY)

    def _before(self, goal: dict[str, float]) -> dict[str, float]:
        return {**goal, "forearm": max(goal["forearm"] - BEFORE, 0.0)}

    def _go_on(self, hesitates: bool) -> None:
        """Reach on, draw back, or grip."""
        now = self.progress
        gone = math.dist(now.place, self._place.frame(self.spec.takes).position) > MOVED
        if gone or now.since > PATIENCE_S:
            self._withdraw()
        elif not now.near and self._there(self._before(now.goal)):
            if hesitates and not now.hesitated:
                now.hesitated = True
                self._withdraw()
                return
            now.near = True
            self._drive("forearm", now.goal["forearm"], speed=CAREFUL)
        elif now.near and self._there(now.goal):
            self._enter("grips")
            self._drive("hand", None, speed=HASTY)  # it gives way to the sides, so that fingers come to bear as well
            limits = self._arm.spec.mechanisms["thumb"]
            self._drive("thumb", limits.upper, speed=CLOSING, effort=self.spec.grip_n)

    def _pull(self, force: float) -> None:
        position = self._arm.joint_position
        self._enter("pulls")
        self.progress.pulled_from = position["forearm"]
        self._drive("hand", position["hand"], speed=HASTY)
        self._drive("forearm", 0.0, speed=HASTY, effort=force)

    def _take(self, now: Progress) -> None:
        """See whether it comes along."""
        if now.firm < -LOOSE_S:
            self._withdraw()
        elif now.state == "pulls" and now.pulled_from - self._arm.joint_position["forearm"] > TAKEN:
            self._enter("has")
        elif now.state == "pulls" and now.since > PATIENCE_S:
            self._withdraw("gave_up")

    def _withdraw(self, state: str = "withdraws") -> None:
        self._enter(state)
        self._drive("thumb", 0.0, speed=CLOSING)
        for joint in JOINTS:
            self._drive(joint, 0.0, speed=HASTY)
