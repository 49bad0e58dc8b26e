"""Time: whether rows come when they should."""

from __future__ import annotations

import numpy as np

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.quality.measure import Measure, Reading, reading
from training_ground.datasets.schema import TIMESTAMP, DatasetSchema

GAP_PERIODS = 1.5
"""An interval longer than this many periods is a gap, and no jitter."""

MEASURES = (
    Measure(
        "period_error",
        "1",
        "How far the median time between rows is from the declared period, as a share of it.",
        "A rate that is declared wrongly and stamped wrongly alike.",
    ),
    Measure(
        "jitter",
        "1",
        "Standard deviation of the time between rows, gaps left out, as a share of the period.",
        "Stamps that were made up on a grid after the fact.",
    ),
    Measure(
        "gap",
        "1",
        "Longest time between two rows, in periods; 1 where none is missing.",
        "Rows that were lost before stamps were given: `state_jump` sees those.",
    ),
)


def measure(episode: Episode, schema: DatasetSchema) -> dict[str, Reading]:
    """Measure one episode."""
    intervals = np.diff(episode.columns[TIMESTAMP]).astype(np.float64) * schema.control_rate / 1e9
    even = intervals[intervals <= GAP_PERIODS]
    longest = int(np.argmax(intervals))
    return {
        "period_error": reading(abs(float(np.median(intervals)) - 1)),
        "jitter": reading(float(even.std()) if len(even) else 0.0),
        "gap": reading(float(intervals[longest]), f"before row {longest + 1}"),
    }
