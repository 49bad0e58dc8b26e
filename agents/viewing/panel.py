"""The controls in the browser: time, episode, push, policy, outcome and reward."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from training_ground.agents.viewing.session import Clock, Session

COLOURS = ("#3b7dd8", "#e07b39", "#3f9e5c", "#b3529e", "#8a6fd1", "#c2a22b", "#4aa5a5", "#d1495b")
DIRECTIONS = {"forward": 0.0, "left": 90.0, "back": 180.0, "right": -90.0}
PLOT_POINTS = 250


class Panel:
    """Controls of a session in a viser server.

    The browser's events come in threads of their own; they wait in `requests` until the loop that steps the simulation
    takes them, for the engine belongs to one thread.

    Args:
        server: A `viser.ViserServer`.
        session: What is controlled.
        clock: Its speed follows the slider.
        policies: Names to choose from; the first one is acting.

    Attributes:
        requests: Functions to call between steps.
        paused: Whether time stands still.
        go_on: Whether the next episode starts by itself.
        single: Steps asked for while paused.
        wanted_policy: Name chosen and not yet loaded, or None.
    """

    def __init__(self, server: Any, session: Session, clock: Clock, policies: Sequence[str]) -> None:
        self._session, self._clock = session, clock
        self.requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.paused, self.go_on, self.follow = False, True, True
        self.single = 0
        self.wanted_policy: str | None = None
        self._shown_seed = session.seed
        gui = server.gui
        gui.configure_theme(control_width="large", show_logo=False, show_share_button=False)
        gui.main_panel.dock_right()
        gui.set_panel_label(f"{session.env.task.id} · {session.env.model.title}")
        self._status = gui.add_markdown("")
        self._time_controls(gui)
        self._episode_controls(gui, policies)
        if session.env.stance == "free":
            self._push_controls(gui)
        self._reward_display(gui)
        self.refresh()

    # ---- controls ----------------------------------------------------------------------------------------------------

    def _time_controls(self, gui: Any) -> None:
        with gui.add_folder("Time"):
            self._speed = gui.add_slider("Speed", 0.1, 4.0, 0.1, self._clock.speed, hint="Times real time.")
            pause = gui.add_button("Pause")
            one = gui.add_button("Single step", hint="One control step; pauses.")
            follow = gui.add_checkbox("Keep the robot in the middle", True)

        @self._speed.on_update
        def _(_: Any) -> None:
            self._clock.speed = float(self._speed.value)

        @pause.on_click
        def _(_: Any) -> None:
            self.paused = not self.paused
            pause.label = "Go on" if self.paused else "Pause"

        @one.on_click
        def _(_: Any) -> None:
            self.paused, pause.label = True, "Go on"
            self.single += 1

        @follow.on_update
        def _(_: Any) -> None:
            self.follow = bool(follow.value)

    def _episode_controls(self, gui: Any, policies: Sequence[str]) -> None:
        session = self._session
        with gui.add_folder("Episode"):
            self._seed = gui.add_number("Seed", session.seed, min=0, max=2**31 - 1, step=1)
            again = gui.add_button("Reset with this seed")
            following = gui.add_button("Reset with the next seed")
            chain = gui.add_checkbox("Start the next by itself", True)
            choice = gui.add_dropdown("Policy", tuple(policies), initial_value=policies[0])

        @again.on_click
        def _(_: Any) -> None:
            self.requests.put(lambda: session.reset(int(self._seed.value)))

        @following.on_click
        def _(_: Any) -> None:
            self.requests.put(session.reset)

        @chain.on_update
        def _(_: Any) -> None:
            self.go_on = bool(chain.value)

        @choice.on_update
        def _(_: Any) -> None:
            self.wanted_policy = str(choice.value)

    def _push_controls(self, gui: Any) -> None:
        session = self._session
        with gui.add_folder("Push"):
            speed = gui.add_slider("Strength (m/s)", 0.1, 2.0, 0.1, 0.5, hint="Change of the whole robot's velocity.")
            group = gui.add_button_group("Towards", tuple(DIRECTIONS), hint="As the robot sees it.")

        @group.on_click
        def _(_: Any) -> None:
            strength, direction = float(speed.value), DIRECTIONS[str(group.value)]
            self.requests.put(lambda: session.give_push(strength, direction))

    def _reward_display(self, gui: Any) -> None:
        from viser import uplot

        with gui.add_folder("Reward"):
            self._numbers = gui.add_markdown("")
            colours = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(self._session.terms)}
            series = [uplot.Series(label="t (s)")]
            series += [uplot.Series(label=name, stroke=colours[name], width=1.5) for name in self._session.terms]
            self._plot = gui.add_uplot(
                self._plot_data(),
                tuple(series),
                scales={"x": uplot.Scale(time=False)},
                legend=uplot.Legend(show=True),
                aspect=1.4,
            )

    # ---- display -----------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring texts and plot up to date; a few times a second is enough."""
        session, info = self._session, self._session.info
        self._status.content = self._status_text()
        if session.seed != self._shown_seed:  # not always: what someone is typing must stay
            self._shown_seed = self._seed.value = session.seed
        rows = [f"| {name} | {info['reward_terms'].get(name, 0.0):.3f} |" for name in session.terms]
        total = f"| **reward** | **{session.reward:.3f}** |"
        self._numbers.content = "\n".join(["| term | this step |", "|---|---:|", *rows, total])
        if len(session.times) > 1:
            self._plot.data = self._plot_data()

    def _status_text(self) -> str:
        session, info = self._session, self._session.info
        state = "success holds" if info["success"] else "no success yet"
        if info["failure"]:
            state = f"**failed: {info['failure']}**"
        elif session.ended:
            state = "**ended: success**" if info["success"] else "**ended without success**"
        speed = "paused" if self.paused else f"{self._clock.achieved:.2f} × real time"
        lines = [
            f"**t = {session.time:.2f} s** of {session.env.max_steps * session.env.control_timestep:.0f} · {speed}",
            f"{session.policy.name} · seed {session.seed} · {info['phase'] or 'running'} · {state}",
        ]
        if session.records:
            won = sum(record.success for record in session.records)
            lines.append(f"{won} of {len(session.records)} episodes succeeded")
        return "  \n".join(lines)

    def _plot_data(self) -> tuple[Any, ...]:
        session = self._session
        if not session.times:
            return tuple(np.zeros(1) for _ in range(len(session.terms) + 1))
        stride = max(1, len(session.times) // PLOT_POINTS)
        columns = [session.times, *session.history.values()]
        return tuple(np.array(column, dtype=np.float64)[::stride] for column in columns)
