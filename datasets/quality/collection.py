"""Measures of a whole dataset: how much of the states it covers, and what stands in it twice.

Episodes are added one by one. Of each its content hash and its start are kept, a few hundred bytes, and of the last
ones the path of the joints.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.quality.measure import ANGLES, Measure, Reading, first_of, reading, start_of
from training_ground.datasets.schema import DatasetSchema

BIN_RAD = 0.1
"""Width of a bin of occupancy, rad."""
FARTHEST_RAD = 1000.0
PATH_ROWS = 32
"""Rows of the path that is kept of an episode."""
START_DIGITS = 3
"""Starts that are equal when rounded to so many decimals are equal."""
MOST_COMPARED = 2000
"""Earlier episodes with the same start that one is compared with."""
MOST_PATHS = 20_000
"""Episodes whose path is kept, the last ones; of 30 joints that is 80 MB."""

EPISODE_MEASURES = (
    Measure(
        "duplicate",
        "1",
        "1 where an earlier episode has the same content.",
        "A copy in which one bit differs: `nearest_distance` sees that.",
        "content_sha256",
    ),
    Measure(
        "nearest_distance",
        "rad",
        "Root mean square distance of the joints' path from that of the nearest earlier episode with an equal start.",
        "Copies whose beginning was cut off, and other scenes that the robot treats alike.",
    ),
)
DATASET_MEASURES = (
    Measure("episodes", "1", "Episodes that could be read.", "Whether they are of any use."),
    Measure("duplicate_share", "1", "Share of episodes whose content an earlier one has.", "Near copies."),
    Measure(
        "distinct_start_share",
        "1",
        "Different first rows over episodes.",
        "Starts that differ in a way that does not matter.",
    ),
    Measure(
        "state_entropy",
        "bit",
        f"Entropy of a joint's angle in bins of {BIN_RAD:g} rad over all rows; mean over joints.",
        "Combinations of joints; where objects are; that a robot shakes.",
        "Shannon 1948, occupancy entropy of marginals",
    ),
    Measure(
        "success_share", "1", "Share of episodes with success, of those that say.", "Success that is labelled wrongly."
    ),
)


class Collection:
    """What is kept of the episodes added so far."""

    def __init__(self, schema: DatasetSchema) -> None:
        self._schema = schema
        self._first: dict[str, int] = {}
        self._starts: dict[bytes, list[tuple[int, NDArray[np.float32]]]] = {}
        self._order: deque[bytes] = deque()  # starts of the paths that are kept, the oldest first
        self._different: set[bytes] = set()
        self._bins: list[Counter[int]] = [Counter() for _ in schema.joint_names]
        self._episodes = self._twice = 0
        self._outcomes: Counter[bool] = Counter()

    @np.errstate(all="ignore")
    def add(self, episode: Episode) -> dict[str, Reading]:
        """Compare an episode with those before, and count it in."""
        result = self.compare(episode)
        number = self._number(episode)
        self._episodes += 1
        if episode.metadata.success is not None:
            self._outcomes[episode.metadata.success] += 1
        self._first.setdefault(_content(episode, number), number)
        self._twice += result["duplicate"].value == 1
        angles = self._angles(episode)
        if angles is not None:
            for counter, values in zip(self._bins, angles.T, strict=True):
                bins = np.floor(np.clip(values, -FARTHEST_RAD, FARTHEST_RAD) / BIN_RAD).astype(np.int64)
                counter.update(dict(zip(*(part.tolist() for part in np.unique(bins, return_counts=True)), strict=True)))
            self._keep(self._start(episode), number, _path(angles))
        return result

    def _keep(self, start: bytes, number: int, path: NDArray[np.float32]) -> None:
        self._different.add(start)
        self._starts.setdefault(start, []).append((number, path))
        self._order.append(start)
        if len(self._order) > MOST_PATHS:
            oldest = self._order.popleft()
            del self._starts[oldest][0]
            if not self._starts[oldest]:
                del self._starts[oldest]

    @np.errstate(all="ignore")
    def compare(self, episode: Episode) -> dict[str, Reading]:
        """Measure how near an episode is to those that were added."""
        number = self._number(episode)
        twin = self._first.get(_content(episode, number))
        duplicate = reading(0.0) if twin is None else reading(1.0, f"of episode {twin}")
        return {"duplicate": duplicate, "nearest_distance": self._nearest(episode)}

    def _nearest(self, episode: Episode) -> Reading:
        angles = self._angles(episode)
        if angles is None:
            return Reading(None, "there are no joint angles that could be compared")
        before = self._starts.get(self._start(episode))
        if not before:
            return Reading(None, "no earlier episode starts like it")
        before = before[-MOST_COMPARED:]
        apart = np.stack([path for _, path in before]).astype(np.float64) - _path(angles)
        distance = np.sqrt((apart**2).mean(axis=(1, 2)))
        which = int(np.argmin(distance))
        return reading(float(distance[which]), f"from episode {before[which][0]}")

    def _angles(self, episode: Episode) -> NDArray[np.float64] | None:
        angles = first_of(episode, ANGLES)
        fits = angles is not None and angles.shape[1] == len(self._bins) and np.isfinite(angles).all()
        return angles if fits else None

    def _start(self, episode: Episode) -> bytes:
        start = np.round(start_of(episode, self._schema), START_DIGITS) + 0.0  # no -0.0: it has other bits
        return hashlib.sha256(start.tobytes()).digest()

    def _number(self, episode: Episode) -> int:
        return self._episodes if episode.number is None else episode.number

    def readings(self) -> dict[str, Reading]:
        """Measure the dataset as it is so far."""
        count = self._episodes
        nothing = Reading(None, "there is no episode")
        result = dict.fromkeys((m.name for m in DATASET_MEASURES), nothing) | {"episodes": reading(float(count))}
        if not count:
            return result
        entropies = [_entropy(counter) for counter in self._bins if counter]
        said = self._outcomes.total()
        return result | {
            "duplicate_share": reading(self._twice / count),
            "distinct_start_share": reading(len(self._different) / count)
            if self._different
            else Reading(None, "there are no joint angles"),
            "state_entropy": reading(float(np.mean(entropies))) if entropies else Reading(None, "no joint angles"),
            "success_share": reading(self._outcomes[True] / said, f"of {said}") if said else nothing,
        }


def _content(episode: Episode, number: int) -> str:
    return episode.metadata.content_sha256 or f"episode {number}"


def _path(angles: NDArray[np.float64]) -> NDArray[np.float32]:
    rows = np.linspace(0, len(angles) - 1, PATH_ROWS).round().astype(int)
    return angles[rows].astype(np.float32)


def _entropy(counter: Counter[int]) -> float:
    share = np.array(list(counter.values()), dtype=np.float64) / counter.total()
    return float(-(share * np.log2(share)).sum())
