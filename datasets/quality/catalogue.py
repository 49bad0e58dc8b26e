"""All measures that there are, of an episode and of a dataset."""

from __future__ import annotations

from training_ground.datasets.quality import activity, clock, completeness, labels, limits, smoothness, structure
from training_ground.datasets.quality.collection import DATASET_MEASURES, EPISODE_MEASURES
from training_ground.datasets.quality.measure import Measure

READABLE = Measure("readable", "1", "1 where the episode can be read and fits the schema.", "What its values mean.")
REPLAY = Measure(
    "replay_match",
    "1",
    "1 where the episode, simulated again from its seed, is the same in every bit; on request.",
    "What the simulator itself gets wrong.",
)
EPISODE = (
    READABLE,
    *completeness.MEASURES,
    *clock.MEASURES,
    *limits.MEASURES,
    *structure.MEASURES,
    *smoothness.MEASURES,
    *activity.MEASURES,
    *labels.MEASURES,
    *EPISODE_MEASURES,
    REPLAY,
)
"""Measures of an episode."""
DATASET = DATASET_MEASURES
"""Measures of a dataset."""
