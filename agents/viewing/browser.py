"""The live viewer: steps a session in real time and shows it in the browser through viser."""

from __future__ import annotations

import contextlib
import io
import queue
import socket
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from training_ground.agents.policy import Policy
from training_ground.agents.viewing.session import Clock, Session
from training_ground.configs.errors import AgentError, TrainingGroundError

HOST = "127.0.0.1"
FRAMES_PER_S = 30.0
TEXTS_PER_S = 4.0
REST_S = 1.5
"""Wall-clock time between the end of an episode and the next one, s."""


def open_server(port: int, *, exact: bool = False) -> Any:
    """Start a viser server that only this machine can reach.

    Args:
        port: The next free one is taken where it is in use.
        exact: Refuse a port that is in use.

    Raises:
        AgentError: viser is not installed, or there is no free port.
    """
    if find_spec("viser") is None:
        raise AgentError(
            "the live viewer needs viser: pip install 'training-ground[view]'; --video FILE.mp4 works without it"
        )
    import viser

    if exact:
        _require_free(port)
    try:
        # It draws a box with its address on standard output, where `--json` must be alone.
        with contextlib.redirect_stdout(io.StringIO()):
            return viser.ViserServer(host=HOST, port=port, label="Training ground", verbose=False)
    except (OSError, RuntimeError) as problem:
        raise AgentError(f"port {port}: no server can be started on {HOST}: {problem}") from problem


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # what has just been closed is free
        try:
            probe.bind((HOST, port))
        except OSError as problem:
            reason = problem.strerror or problem
            raise AgentError(f"port {port} on {HOST}: {reason}; choose another one with --port") from problem


def close_server(server: Any) -> None:
    """Stop the server; pages that are still open keep their last picture."""
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()


def show(
    server: Any,
    session: Session,
    *,
    policies: Sequence[str],
    load: Callable[[str], Policy],
    speed: float = 1.0,
    episodes: int | None = None,
) -> None:
    """Run a session in the browser until it is interrupted, or until `episodes` have ended.

    Args:
        server: From `open_server`.
        session: What to run.
        policies: Names to choose from, the acting one first.
        load: Returns the policy of a name.
        speed: Times real time.
        episodes: None runs for ever.
    """
    from training_ground.agents.viewing.panel import Panel
    from training_ground.agents.viewing.stage import Stage

    clock = Clock(session.env.control_timestep, speed)
    panel, stage = Panel(server, session, clock, policies), Stage(server, session)
    next_frame = next_text = 0.0
    ended_at: float | None = None
    while True:
        _serve_requests(server, session, panel, load)
        now = time.monotonic()
        steps = _steps_due(panel, clock, session)
        for _ in range(steps):
            if session.step():
                break
        if not session.ended:
            ended_at = None
        elif ended_at is None:
            ended_at = now
        elif episodes is not None and len(session.records) >= episodes:
            break
        elif panel.go_on and not panel.paused and now - ended_at > REST_S:
            session.reset()
        if now >= next_frame:
            stage.follow, next_frame = panel.follow, now + 1 / FRAMES_PER_S
            stage.draw()
        if now >= next_text:
            next_text = now + 1 / TEXTS_PER_S
            panel.refresh()
        time.sleep(0.002)


def _steps_due(panel: Any, clock: Clock, session: Session) -> int:
    """How many control steps to take now."""
    if panel.paused:
        clock.skip()
        steps, panel.single = panel.single, 0
        return steps
    if session.ended:
        clock.skip()
        return 0
    return clock.due()


def _serve_requests(server: Any, session: Session, panel: Any, load: Callable[[str], Policy]) -> None:
    """Do what was clicked; a refusal is shown and the run goes on."""
    try:
        while True:
            try:
                panel.requests.get_nowait()()
            except queue.Empty:
                break
        name, panel.wanted_policy = panel.wanted_policy, None
        if name is not None:
            session.use(load(name))
    except TrainingGroundError as problem:
        for client in server.get_clients().values():
            client.add_notification("Not possible", str(problem), color="red", auto_close_seconds=8.0)
