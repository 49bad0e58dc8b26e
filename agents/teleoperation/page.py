"""The page of teleoperation: shows the desk in the browser through viser and lets time go by at its real rate."""

from __future__ import annotations

import queue
import time
from typing import Any

from training_ground.agents.teleoperation.controls import Controls, tell
from training_ground.agents.teleoperation.desk import Desk
from training_ground.agents.teleoperation.gizmo import Gizmo
from training_ground.agents.viewing.browser import FRAMES_PER_S, TEXTS_PER_S
from training_ground.agents.viewing.session import Clock
from training_ground.agents.viewing.stage import Stage
from training_ground.configs.errors import TrainingGroundError

ROOT = "/world"
CATCHES_UP = 2
"""Control steps in one go: a robot that makes up for lost time by haste is not what a person steers."""
IDLE_S = 0.001


class Page:
    """A desk in a viser server.

    Args:
        server: From `viewing.browser.open_server`.
        desk: What a person works at.

    Attributes:
        controls: Buttons, sliders and texts.
        gizmos: By the side of the hand.
    """

    def __init__(self, server: Any, desk: Desk) -> None:
        self._server, self._desk = server, desk
        self._clock = Clock(desk.session.env.control_timestep)
        self._clock.MOST = CATCHES_UP
        self._stage = Stage(server, desk.session)
        self._stage.follow = False
        self.gizmos = {side: Gizmo(server, desk.teleoperator, side, ROOT) for side in desk.teleoperator.sides}
        self.controls = Controls(server, desk, self._clock)
        self._next_frame = self._next_text = 0.0

    def serve(self) -> None:
        """Let a person work until the page's stop button, or an interruption."""
        while not self.controls.stopped:
            self._serve_requests()
            if self._desk.running:
                for _ in range(self._clock.due()):
                    if self._desk.step():
                        break
            else:
                self._clock.skip()
            self._show(time.monotonic())
            time.sleep(IDLE_S)

    def draw(self) -> None:
        """Bring the scene up to date."""
        self._stage.draw()
        for side, gizmo in self.gizmos.items():
            gizmo.draw(self._desk.teleoperator.hand(side))

    def _show(self, now: float) -> None:
        """Draw, or write texts, where it is time to; not both between two steps."""
        if now >= self._next_frame:
            self._next_frame = now + 1 / FRAMES_PER_S
            self.draw()
        elif now >= self._next_text:
            self._next_text = now + 1 / TEXTS_PER_S
            self.controls.refresh()

    def _serve_requests(self) -> None:
        """Do what was clicked; a refusal is shown and the work goes on."""
        while True:
            try:
                do = self.controls.requests.get_nowait()
            except queue.Empty:
                return
            try:
                do()
            except TrainingGroundError as problem:
                for client in self._server.get_clients().values():
                    tell(client, problem)
