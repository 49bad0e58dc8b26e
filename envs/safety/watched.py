"""What the safety monitor knows of an episode."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training_ground.envs.safety.contacts import Touches
from training_ground.envs.safety.stopping import Stop

Array = NDArray[np.float64]

OK, WARNING, STOPPED = "ok", "warning", "stopped"
STATES = (OK, WARNING, STOPPED)


@dataclass
class Watched:
    """What the monitor knows of an episode; saved and restored with it.

    Attributes:
        state: `ok`, `warning` or `stopped`.
        peaks: (2, n) largest of each joint: share of the way from the middle of its range to a degree beyond its limit,
            and share of its effort limit.
        counts: Control steps with a violation, by its cause.
        largest: Largest of each other cause: share of a contact limit, m by which the separation was too small, m out
            of the workspace, 1 for a fall.
        separation: To the nearest person now, m.  least_separation: since the episode began.
        touches: Contacts with persons.
        stop: The stop under way.  stops: Those that there were, by cause.
        stopped_time, stopped_distance: The longest stop, s, and the farthest, m.
        resuming: (n,) targets that catch up with what is commanded after a stop, rad.
    """

    peaks: Array
    state: str = OK
    counts: dict[str, int] = field(default_factory=dict)
    largest: dict[str, float] = field(default_factory=dict)
    separation: float = math.inf
    least_separation: float = math.inf
    touches: Touches = field(default_factory=Touches)
    stop: Stop | None = None
    stops: dict[str, int] = field(default_factory=dict)
    stopped_time: float | None = None
    stopped_distance: float | None = None
    resuming: Array | None = None
