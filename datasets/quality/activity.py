"""Actions and idleness: how actions change, and how long nothing happens.

A row is idle where every joint rests and no action changes: a policy that holds still by fighting is not idle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.quality.measure import (
    REST_SPEED,
    SPEEDS,
    Measure,
    Reading,
    actions_of,
    first_of,
    float_channels,
    labels_of,
    reading,
)
from training_ground.datasets.schema import ACTION, DatasetSchema

STILL_ACTION = 0.01
"""Change of an action from step to step below which it holds still, in the action's unit."""
REVERSAL = 0.1
"""Change of an action that counts as a swing, in the action's unit."""

MEASURES = (
    Measure(
        "action_jump",
        "1",
        "Largest change of an action from one step to the next, in the action's unit.",
        "Whether the jump was meant: hands that are told to close jump.",
    ),
    Measure(
        "action_reversal_share",
        "1",
        f"Share of steps in which an action swings back by more than {REVERSAL:g} after it swung as far; the mean over "
        "components.",
        "Slow oscillation.",
    ),
    Measure("idle_start_s", "s", "How long nothing happens at the beginning.", "Waiting that the task asks for."),
    Measure("idle_end_s", "s", "How long nothing happens at the end.", "Holding still that the task asks for."),
    Measure("idle_share", "1", "Share of rows in which nothing happens.", "Aimless motion."),
)


def idle_rows(episode: Episode, speed: float = REST_SPEED, action: float = STILL_ACTION) -> NDArray[np.bool_] | None:
    """Return for each of the T + 1 rows whether it is idle; None where there is no channel of joint speeds.

    Args:
        episode: What was recorded.
        speed: Joint speed below which a joint rests, rad/s.
        action: Change of an action below which it holds still, in its unit.
    """
    speeds = first_of(episode, SPEEDS)
    if speeds is None:
        return None
    idle: NDArray[np.bool_] = np.abs(speeds).max(axis=1) < speed
    still: NDArray[np.bool_] = np.abs(np.diff(actions_of(episode), axis=0)).max(axis=1) < action
    # The action of row t is applied after it: a change between rows t and t + 1 makes both of them active.
    idle[1:-1] &= still
    idle[: len(still)] &= still
    return idle


def measure(episode: Episode, schema: DatasetSchema) -> dict[str, Reading]:
    """Measure one episode."""
    changes = np.diff(actions_of(episode), axis=0)
    jump, reversals = reading(0.0), reading(0.0)
    if len(changes):
        row, component = np.unravel_index(int(np.argmax(np.abs(changes))), changes.shape)
        jump = reading(float(np.abs(changes).max()), f"{labels_of(schema, ACTION)[component]}, row {row + 1}")
    if len(changes) > 1:
        big = np.abs(changes) > REVERSAL
        swings = big[1:] & big[:-1] & (changes[1:] * changes[:-1] < 0)
        reversals = reading(float(swings.mean()) if np.isfinite(changes).all() else float("nan"))
    readings = {"action_jump": jump, "action_reversal_share": reversals}
    if ACTION not in float_channels(schema, "action"):
        readings = dict.fromkeys(readings, Reading(None, "actions are whole numbers: choices, which do not swing"))
    idle = idle_rows(episode)
    if idle is None:
        missing = Reading(None, "there is no channel of joint speeds")
        return readings | dict.fromkeys(("idle_start_s", "idle_end_s", "idle_share"), missing)
    start = len(idle) if idle.all() else int(np.argmin(idle))
    end = len(idle) if idle.all() else int(np.argmin(idle[::-1]))
    return readings | {
        "idle_start_s": reading(start / schema.control_rate),
        "idle_end_s": reading(end / schema.control_rate),
        "idle_share": reading(float(idle.mean())),
    }
