"""A trace: what the feet did in an episode, and the two cycles of its gait that are worth a picture."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.viewing.session import Session
from training_ground.configs.errors import AgentError
from training_ground.envs import rotations
from training_ground.envs.env import HumanoidEnv

SETTLED_S = 2.0
"""s after the start from which a gait is looked for."""
SEARCHED_S = 10.0
"""s in which it is looked for."""
PLAIN_S = 2.0
"""Length where there is no gait, s."""
BEFORE_PUSH_S = 0.2
LEAST_SWING_S, LEAST_LIFT = 0.08, 0.01
"""A shorter or lower swing (s, m) is a foot that shakes, not a step."""
COMMAND_CHANNEL = "command_velocity"


@dataclass(frozen=True, eq=False)
class Trace:
    """An episode's first T steps, the start included.

    Attributes:
        time: (T,) s.
        position: (T, 3) of the base, m.
        heading: (T,) rad.
        lift: (T, feet) height of the lowest point of each sole, m.
        contact: (T, feet) whether the foot carries the robot.
        pushes: Times, s.
        command: Commanded velocity at each time, forward and to the left, m/s; None for a task without one.
        ended: How the episode ended within the trace; None where it goes on.
    """

    time: NDArray[np.float64]
    position: NDArray[np.float64]
    heading: NDArray[np.float64]
    lift: NDArray[np.float64]
    contact: NDArray[np.bool_]
    pushes: tuple[float, ...]
    command: NDArray[np.float64] | None
    ended: str | None

    def row(self, time: float) -> int:
        """Index of the time nearest to `time`, s."""
        return int(np.argmin(np.abs(self.time - time)))

    def part(self, window: tuple[float, float]) -> slice:
        """Rows from the first to the last time of a window, s, both included."""
        return slice(self.row(window[0]), self.row(window[1]) + 1)

    def touchdowns(self, foot: int) -> list[float]:
        """Times at which a foot came down after a step, s."""
        found, rose = [], None
        contact = self.contact[:, foot]
        for i in range(1, len(contact)):
            if contact[i - 1] and not contact[i]:
                rose = i
            elif contact[i] and not contact[i - 1] and rose is not None:
                high = float(self.lift[rose:i, foot].max() - self.lift[rose - 1, foot]) >= LEAST_LIFT
                if high and self.time[i] - self.time[rose] >= LEAST_SWING_S - 1e-9:
                    found.append(float(self.time[i]))
        return found

    def two_cycles(self, begin: float = SETTLED_S) -> tuple[float, float] | None:
        """Return the first two whole cycles of the first foot that begin at `begin` or later, s; None without a gait.

        A cycle goes from one touchdown to the next of the same foot; in a gait every other foot comes down in it once.
        """
        if not self.contact.shape[1]:
            return None
        first, *others = (self.touchdowns(foot) for foot in range(self.contact.shape[1]))
        for i in range(len(first) - 2):
            edges = first[i : i + 3]
            inside = [[sum(a < t <= b for t in other) for a, b in itertools.pairwise(edges)] for other in others]
            if edges[0] >= begin and all(counts == [1, 1] for counts in inside):
                return edges[0], edges[2]
        return None

    def window(self, begin: float | None = None, length: float | None = None) -> tuple[float, float]:
        """Choose what to show: two cycles of the gait, else what follows the first push, else 2 s.

        Args:
            begin: Not before this time, s; exactly from it where `length` is given.
            length: s.

        Raises:
            AgentError: The episode is over before `begin`.
        """
        last = float(self.time[-1])
        if begin is not None and begin >= last:
            raise AgentError(f"strip from {begin:g} s: the episode ended after {last:g} s ({self.ended})")
        cycles = self.two_cycles(SETTLED_S if begin is None else begin)
        if length is None and cycles is not None:
            return cycles
        length = PLAIN_S if length is None else length
        pushed = next((t for t in self.pushes if begin is None or t >= begin), None)
        if begin is not None:
            first = begin
        elif pushed is not None:
            first = max(0.0, pushed - BEFORE_PUSH_S)
        else:
            first = max(0.0, min(SETTLED_S, last - length))
        return first, min(first + length, last)


def record_trace(session: Session, until_s: float) -> Trace:
    """Step a session that has just been reset until the episode ends or `until_s` is reached."""
    env = session.env
    rows: list[tuple[float, tuple[float, ...], float, list[float], list[bool], list[float] | None]] = []
    pushes: list[float] = []
    while True:
        base = env.robot.base
        command = env.task.values().get(COMMAND_CHANNEL)
        rows.append(
            (
                session.time,
                tuple(base.position),
                rotations.yaw(base.orientation),
                sole_heights(env),
                list(env.robot.foot_contact),
                None if command is None else [float(x) for x in np.ravel(np.asarray(command))],
            )
        )
        if session.ended or session.time >= until_s - 1e-9:
            break
        session.step()
        if session.push is not None and session.push_age_s < 1e-9:
            pushes.append(session.time - env.control_timestep)  # it came before the step
    time, position, heading, lift, contact, commands = (list(column) for column in zip(*rows, strict=True))
    feet = len(env.model.feet)
    return Trace(
        np.array(time),
        np.array(position),
        np.unwrap(np.array(heading)),
        np.array(lift).reshape(len(time), feet),
        np.array(contact, bool).reshape(len(time), feet),
        tuple(pushes),
        None if commands[0] is None else np.array(commands),
        None if not session.ended else session.info["failure"] or "time limit",
    )


def sole_heights(env: HumanoidEnv) -> list[float]:
    """Height of the lowest point of each foot's sole, m."""
    found = []
    for foot, state in zip(env.model.feet, env.robot.feet, strict=True):
        x, y, z = rotations.matrix(state.orientation)[2]
        found.append(state.position[2] + min(x * a + y * b + z * c for a, b, c in foot.sole.tolist()))
    return found
