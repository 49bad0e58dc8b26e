"""Teleoperation: what a control step costs with the page open, and how soon a moved gizmo is in an action.

A hand is sent to and fro in a cell. Between control steps the page is drawn as often as in real time, 30 times a
simulated second, and its texts written 4 times; a client in this process receives all of it. The last number is of the
wall clock: from a gizmo's message in the client to the action that holds it, while time goes by at its real rate.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import viser
from _measure import clock, quick, report, summary, target
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from training_ground.agents.teleoperation.desk import Desk
from training_ground.agents.teleoperation.page import Page
from training_ground.agents.viewing.browser import FRAMES_PER_S, TEXTS_PER_S, close_server, open_server
from training_ground.assets.poses import Pose
from training_ground.envs.registration import make

TASK, SIDE, PORT = "TrayToTray", "right", 8499
ALLOWED_MS = 20.0
SHIFT = np.array([-0.03, -0.08, 0.12])


class Client:
    """Receives what a page receives, and moves a gizmo as a page does."""

    def __init__(self, port: int) -> None:
        protocol = Subprotocol(f"viser-v{viser.__version__}")
        self._connection = connect(f"ws://127.0.0.1:{port}", subprotocols=[protocol], max_size=None)
        self.bytes = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while True:
                self.bytes += len(self._connection.recv())
        except ConnectionClosed:
            pass

    def drag(self, handle: Any, position: np.ndarray) -> None:
        """Move a gizmo, as it is turned."""
        at = {"wxyz": tuple(float(x) for x in handle.wxyz), "position": tuple(position.tolist())}
        message = {"type": "TransformControlsUpdateMessage", "name": handle.name, "owner": "", **at}
        self._connection.send(msgspec.msgpack.encode(message))

    def close(self) -> None:
        """Go away."""
        self._connection.close()


def step_costs(desk: Desk, page: Page | None, seconds: float) -> tuple[list[float], list[float]]:
    """CPU seconds of each control step alone, and with all that the page and its server did meanwhile."""
    teleoperator, dt = desk.teleoperator, desk.session.env.control_timestep
    start = teleoperator.hand(SIDE).planned
    alone, whole, frame, text = [], [], 0.0, 0.0
    for i in range(round(seconds / dt)):
        before = clock()
        if i % 50 == 0:
            teleoperator.aim(SIDE, Pose(start.rotation, start.position + (i // 50 % 2) * SHIFT))
        own = time.thread_time()
        desk.step()
        alone.append(time.thread_time() - own)
        if page is not None and i * dt >= frame:
            frame += 1 / FRAMES_PER_S
            page.draw()
        if page is not None and i * dt >= text:
            text += 1 / TEXTS_PER_S
            page.controls.refresh()
        whole.append(clock() - before)
    return alone, whole


def latencies(desk: Desk, page: Page, client: Client, count: int) -> list[float]:
    """Wall-clock seconds from a gizmo's message to the action that holds it."""
    thread, found = threading.Thread(target=page.serve), []
    desk.go()
    thread.start()
    assert not desk.session.ended
    handle = page.gizmos[SIDE].handle
    place = np.array(handle.position)
    for i in range(count):
        time.sleep(0.15)
        desk.teleoperator.latency_s, sent = None, time.monotonic()
        client.drag(handle, place + (i % 2) * 0.1 * SHIFT)
        while desk.teleoperator.latency_s is None and time.monotonic() < sent + 10.0:
            time.sleep(0.0005)
        found.append(time.monotonic() - sent)
    page.controls.stopped = True
    thread.join()
    return found


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    short = quick(argv, __doc__)
    seconds, count = (2.0, 5) if short else (20.0, 50)
    env, server = make(TASK, episode_length_s=600.0), open_server(PORT)
    try:
        with tempfile.TemporaryDirectory() as folder:
            desk = Desk(env, Path(folder) / "store")
            step_costs(desk, None, 1.0)
            closed, _ = step_costs(desk, None, seconds)
            page = Page(server, desk)
            client = Client(server.get_port())
            alone, whole = step_costs(desk, page, seconds)
            waited = latencies(desk, page, client, count)
            client.close()
            sent = client.bytes
    finally:
        close_server(server)
        env.close()
    p95 = float(np.percentile(whole, 95)) * 1e3
    late = float(np.median(waited)) * 1e3
    targets = [
        target("CPU of a control step, page and server included, 95 %", p95, "ms", at_most=ALLOWED_MS),
        target("gizmo to action, wall clock, median", late, "ms", at_most=2 * ALLOWED_MS),
    ]
    details = {
        "task": TASK,
        "step_ms": summary(closed, 1e3),
        "step_with_page_ms": summary(alone, 1e3),
        "all_with_page_ms": summary(whole, 1e3),
        "gizmo_to_action_ms": summary(waited, 1e3),
        "kilobytes_per_simulated_s": sent / 1e3 / seconds,
    }
    return report({"targets": targets, **details})


if __name__ == "__main__":
    main()
