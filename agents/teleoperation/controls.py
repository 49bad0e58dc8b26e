"""The controls of teleoperation in the browser: the episode, hands, joints, and what the task and the monitor say."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from training_ground.agents.teleoperation.desk import Desk
from training_ground.agents.teleoperation.gizmo import describe
from training_ground.agents.teleoperation.states import FASTEST
from training_ground.agents.viewing.session import Clock
from training_ground.configs.errors import TrainingGroundError
from training_ground.envs.cell_task import CellTask

NOBODY = "no hand"
HOLD_S = 1.0
"""s for which a slider that was moved by hand is left alone."""
FINEST = 0.002
"""rad between two positions of a joint's slider."""


class Controls:
    """Controls of a desk in a viser server.

    What changes the episode waits in `requests` until the loop that steps the simulation takes it, for the engine
    belongs to one thread; what is asked of hands and joints goes to the teleoperator at once, in the order in which it
    was asked.

    Args:
        server: A `viser.ViserServer`.
        desk: What is controlled.
        clock: Tells how fast time goes.

    Attributes:
        desk: What is controlled.
        requests: Functions to call between steps.
        stopped: Whether the person is done.
        status: Text above all.
        go, keep, stop: Buttons: start and pause, save, and end.
        hand_text, closed, pointing: By the side of the hand.
        trunk: Chooses the hand that the trunk comes along with.
        joints: Sliders by name.
    """

    def __init__(self, server: Any, desk: Desk, clock: Clock) -> None:
        self._server, self.desk, self._clock = server, desk, clock
        self.requests: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self.stopped = False
        self._touched: dict[str, float] = {}
        env, gui = desk.session.env, server.gui
        gui.configure_theme(control_width="large", show_logo=False, show_share_button=False)
        gui.main_panel.dock_right()
        gui.set_panel_label(f"{env.task.id} · {env.model.title}")
        self.status = gui.add_markdown("")
        self._episode_controls(gui)
        self._hand_controls(gui)
        self._joint_controls(gui)
        self.refresh()

    # ---- controls ----------------------------------------------------------------------------------------------------

    def _episode_controls(self, gui: Any) -> None:
        desk = self.desk
        with gui.add_folder("Episode"):
            self.go = gui.add_button("Start", color="green")
            self.keep = gui.add_button(
                "Save", hint="Keep the episode as it is now, with the task's own verdict; then the next seed."
            )
            following = gui.add_button("Discard, next seed", hint="Nothing of the episode is kept.")
            again = gui.add_button("Discard, same seed again", hint="Nothing of the episode is kept.")
            self.stop = gui.add_button("Stop", color="red", hint="Ends teleoperation; what was not saved is gone.")
        self._on_click(self.go, lambda: desk.pause() if desk.running else desk.go())
        self._on_click(self.keep, self._save)
        self._on_click(following, desk.discard)
        self._on_click(again, lambda: desk.discard(again=True))
        self._on_click(self.stop, self._stop)

    def _hand_controls(self, gui: Any) -> None:
        teleoperator = self.desk.teleoperator
        hands = {hand.side: hand for hand in self.desk.session.env.model.hands}
        self.closed: dict[str, Any] = {}
        self.pointing: dict[str, Any] = {}
        self.hand_text: dict[str, Any] = {}
        with gui.add_folder("Hands"):
            for side, hand in hands.items():
                self.hand_text[side] = gui.add_markdown("")
                if hand.open:
                    self.closed[side] = gui.add_slider(
                        f"Fingers, {side}", 0.0, 1.0, 0.01, 0.0, hint="0 open, 1 closed."
                    )
                    self._on_update(self.closed[side], lambda v, side=side: teleoperator.close(side, float(v)))
                if hand.tip is not None:
                    self.pointing[side] = gui.add_checkbox(
                        f"Point, {side}", False, hint="The index finger's tip is what goes to the gizmo."
                    )
                    self._on_update(self.pointing[side], lambda v, side=side: teleoperator.point(side, bool(v)))
            options = (NOBODY, *hands)
            self.trunk = gui.add_dropdown("Trunk comes along with", options, initial_value=NOBODY)
            speed = gui.add_slider(
                "Speed (m/s)", 0.01, FASTEST, 0.01, teleoperator.speeds.hand, hint="Of hands at most."
            )
        self._on_update(speed, lambda v: teleoperator.hasten(float(v)))
        self._on_update(self.trunk, lambda v: teleoperator.give_trunk(None if v == NOBODY else str(v)))

    def _joint_controls(self, gui: Any) -> None:
        teleoperator, model = self.desk.teleoperator, self.desk.session.env.model
        allowed = set(teleoperator.joints())
        self.joints: dict[str, Any] = {}
        for title, names in _groups(model, allowed).items():
            with gui.add_folder(f"Joints: {title}", expand_by_default=False):
                for name in names:
                    i = model.joint_names.index(name)
                    low, high = float(teleoperator.lower[i]), float(teleoperator.upper[i])
                    now = float(np.clip(teleoperator.wanted[i], low, high))
                    slider = gui.add_slider(name.removesuffix("_joint"), low, high, FINEST, now, hint="rad")
                    self.joints[name] = slider
                    self._on_update(slider, lambda v, name=name: self._bend(name, float(v)))

    def _bend(self, name: str, angle: float) -> None:
        i = self.desk.session.env.model.joint_names.index(name)
        self._touched[name] = time.monotonic()
        low, high = float(self.desk.teleoperator.lower[i]), float(self.desk.teleoperator.upper[i])
        # The browser rounds to the slider's steps, perhaps a hair beyond its end.
        self.desk.teleoperator.bend(name, min(max(angle, low), high))

    def _save(self) -> None:
        done = self.desk.save()
        verdict = "success" if done.success else done.failure or "no success"
        for client in self._server.get_clients().values():
            text = f"Episode {done.number}: seed {done.seed}, {done.steps} steps, {verdict}"
            client.add_notification("Saved", text, color="green" if done.success else "gray", auto_close_seconds=5.0)

    def _stop(self) -> None:
        self.stopped = True

    def _on_click(self, button: Any, do: Callable[[], object]) -> None:
        @button.on_click
        def _(_: Any) -> None:
            self.requests.put(do)

    def _on_update(self, control: Any, do: Callable[[Any], object]) -> None:
        # On viser's own thread, and so in order; what the display itself sets has no client.
        @control.on_update
        async def _(event: Any) -> None:
            if event.client is None:
                return
            try:
                do(event.target.value)
            except TrainingGroundError as problem:
                tell(event.client, problem)

    # ---- display -----------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring texts and sliders up to date; a few times a second is enough."""
        desk, teleoperator = self.desk, self.desk.teleoperator
        self.status.content = self._status_text()
        self.go.label = "Pause" if desk.running else "Go on" if desk.begun else "Start"
        self.go.disabled = desk.session.ended
        self.keep.disabled = not desk.begun
        for side in teleoperator.sides:
            state = teleoperator.hand(side)
            self.hand_text[side].content = describe(side, state) + self._force(side)
            for control, value in ((self.closed.get(side), state.closed), (self.pointing.get(side), state.pointing)):
                if control is not None:
                    control.value = value
        self.trunk.value = teleoperator.trunk or NOBODY
        now, wanted = time.monotonic(), teleoperator.wanted
        names = desk.session.env.model.joint_names
        for i, name in enumerate(names):
            slider = self.joints.get(name)
            if slider is None or now - self._touched.get(name, -HOLD_S) < HOLD_S:
                continue
            if abs(slider.value - float(wanted[i])) > FINEST:
                slider.value = float(np.clip(wanted[i], slider.min, slider.max))

    def _force(self, side: str) -> str:
        task = self.desk.session.env.task
        return f" · {task.hand_force(side):.0f} N" if isinstance(task, CellTask) else ""

    def _status_text(self) -> str:
        desk, session = self.desk, self.desk.session
        info, dt = session.info, session.env.control_timestep
        state = "success holds" if info["success"] else "no success yet"
        if session.ended:
            verdict = "success" if info["success"] else info["failure"] or "no success"
            state = f"**over: {verdict}** — save or discard"
        speed = f"{self._clock.achieved:.2f} × real time" if desk.running else "time stands still"
        times = np.array(desk.step_times or (0.0,)) * 1e3
        latency = desk.teleoperator.latency_s
        lines = [
            session.env.task.asked,
            f"**t = {session.time:.2f} s** of {session.env.max_steps * dt:.0f} · {speed}",
            f"seed {session.seed} · {info['phase'] or 'ready'} · {state}",
            _safety(session.env.task),
            f"control step {np.median(times):.1f} ms of {1e3 * dt:.0f}, 95 % within {np.percentile(times, 95):.1f} ms"
            + ("" if latency is None else f" · gizmo to action {1e3 * latency:.0f} ms"),
            f"{len(desk.saved)} saved, {sum(s.success for s in desk.saved)} with success; {desk.discarded} discarded",
        ]
        return "  \n".join(line for line in lines if line)


def tell(client: Any, problem: TrainingGroundError) -> None:
    """Show a refusal on a page."""
    client.add_notification("Not possible", str(problem), color="red", auto_close_seconds=8.0)


def _safety(task: Any) -> str:
    """What the safety monitor says; nothing where there is none."""
    if task.monitor is None:
        return ""
    watched = task.monitor.watched
    text = f"safety monitor: {watched.state}"
    if watched.stop is not None:
        text = f"**{text}, {watched.stop.cause}** — the robot is held"
    elif watched.counts:
        text += f" (so far {', '.join(f'{cause} {count}' for cause, count in watched.counts.items())})"
    return text


def _groups(model: Any, allowed: set[str]) -> dict[str, list[str]]:
    """Joints by title: trunk, each arm, legs, and what is in none of them."""
    arms = [name for name in model.groups.get("arms", ()) if name in allowed]
    groups = {"trunk": [name for name in model.groups.get("trunk", ()) if name in allowed]}
    for hand in model.hands:
        own = set(model.chain(model.frames[hand.frame].link))
        groups[f"{hand.side} arm"] = [name for name in arms if name in own]
    groups["legs"] = [name for name in model.groups.get("legs", ()) if name in allowed]
    known = {name for names in groups.values() for name in names}
    groups["others"] = [name for name in model.joint_names if name in allowed and name not in known]
    return {title: names for title, names in groups.items() if names}
