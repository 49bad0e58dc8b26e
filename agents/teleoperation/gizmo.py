"""A hand's gizmo in the browser: where it shall go, and whether it gets there."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from training_ground.agents.teleoperation.states import HandState
from training_ground.agents.teleoperation.teleoperator import Teleoperator
from training_ground.assets.poses import Pose, quaternion_from_rotation, rotation_from_quaternion
from training_ground.configs.errors import TrainingGroundError

SIZE = 0.16
"""m from the middle to the end of an arrow."""
HELD_BACK = 0.02
"""m by which a hand may be off where its joints are told to have it before that is told."""
COLOUR = (220, 60, 40)
"""Of the line from a hand to a target that it is away from."""


class Gizmo:
    """Draws a gizmo that can be dragged into a viser server and has the hand follow it.

    Args:
        server: A `viser.ViserServer`.
        teleoperator: Who moves the hand; its episode has begun.
        side: Of the hand.
        root: Name of the frame that is the simulation's world.
    """

    def __init__(self, server: Any, teleoperator: Teleoperator, side: str, root: str) -> None:
        self._teleoperator, self._side, self._server = teleoperator, side, server
        self._given: Pose | None = None
        scene = server.scene
        self.handle = scene.add_transform_controls(f"{root}/target_{side}", scale=SIZE, depth_test=False)
        self._label = scene.add_label(f"{root}/target_{side}_text", "", anchor="bottom-center")
        points = np.zeros((1, 2, 3), np.float32)
        self._line = scene.add_line_segments(f"{root}/target_{side}_line", points, COLOUR, thickness=0.004)
        self._text = ""

        # On viser's own thread, and so in the order in which the hand was dragged.
        @self.handle.on_update
        async def _(event: Any) -> None:
            w, x, y, z = (float(part) for part in event.target.wxyz)
            length = math.sqrt(w * w + x * x + y * y + z * z)
            if not length > 0.0:
                return
            turn = rotation_from_quaternion(np.array([x, y, z, w]) / length)
            pose = Pose(turn, np.array(event.target.position, float))
            self._given = pose
            try:
                self._teleoperator.aim(side, pose)
            except TrainingGroundError as problem:
                event.client.add_notification("Not possible", str(problem), color="red", auto_close_seconds=8.0)

    def draw(self, state: HandState) -> None:
        """Bring it up to date: it stays where it was dragged to, and goes with the hand where it was not."""
        if state.target is not self._given or state.target is None:
            pose = self._given = state.target
            pose = state.planned if pose is None else pose
            a, b, c, d = quaternion_from_rotation(pose.rotation).tolist()
            self.handle.position, self.handle.wxyz = tuple(pose.position.tolist()), (d, a, b, c)
        x, y, z = (float(part) for part in self.handle.position)
        away = state.distance > HELD_BACK
        self._line.visible = away
        if away:
            self._line.points = np.array([[state.planned.position, (x, y, z)]], np.float32)
        self._label.position = (x, y, z + SIZE)
        text = describe(self._side, state)
        if text != self._text:
            self._text = self._label.text = text


def describe(side: str, state: HandState) -> str:
    """How a hand stands to its target, in words."""
    text = f"{side}: {state.reach}"
    if state.reach == "out of reach":
        text += f", no nearer than {1000 * state.distance:.0f} mm and {math.degrees(state.angle):.0f}°"
    if state.lag > HELD_BACK:
        text += f" (held back by {1000 * state.lag:.0f} mm)"
    return text
