"""Pose characteristics after ISO 9283:1998: how near a robot comes to where it was sent, and how alike each time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training_ground.configs.errors import SimulationError

LEAST = 2
"""Visits of a pose without which nothing can be said of how alike they are; the standard asks for 30."""


def pose_accuracy(attained: Sequence[Sequence[float]], commanded: Sequence[float]) -> float:
    """Return AP = ‖x̄ − x_c‖: how far the mean of the attained positions is from the commanded one (clause 7.2.1).

    Args:
        attained: (n, 3) m.
        commanded: (3) m.
    """
    return float(np.linalg.norm(np.mean(attained, axis=0) - np.asarray(commanded)))


def pose_repeatability(attained: Sequence[Sequence[float]]) -> float:
    """Return RP = l̄ + 3·S_l, of the distances l of the attained positions from their mean (clause 7.2.2).

    Args:
        attained: (n, 3) m.

    Raises:
        SimulationError: There are less than two.
    """
    if len(attained) < LEAST:
        raise SimulationError(f"attained: {len(attained)} positions; a repeatability needs {LEAST} or more")
    apart = np.linalg.norm(np.asarray(attained) - np.mean(attained, axis=0), axis=1)
    return float(apart.mean() + 3.0 * apart.std(ddof=1))
