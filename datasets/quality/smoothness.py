"""Smoothness of motion: spectral arc length and jerk, by joint group and hand.

Smoothness is a property of one movement. An episode of many movements scores lower than one of few, so these are held
against the other episodes of the dataset (`outlier`) rather than against numbers that would fit every task.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from training_ground.datasets.episode_file import Episode
from training_ground.datasets.quality.measure import SPEEDS, Array, Measure, Reading, first_of, flat, reading
from training_ground.datasets.schema import DatasetSchema

CUTOFF_HZ, THRESHOLD, PADDING = 10.0, 0.05, 4
"""As the authors set them: highest frequency, least amplitude that counts, powers of two of zeros appended."""
MOST_PADDED = 20
"""No zeros are appended beyond two to the power of this: so long an episode is resolved finely enough."""
PEAK_RAD, PEAK_M = 0.1, 0.05
"""A group whose speed never exceeds this does not move, rad/s; a hand, m/s."""
SHORTEST = 20
"""Rows below which nothing is said."""
_KINDS = {
    "leg": r"leg|hip|knee|ankle",
    "hand": r"hand|thumb|index|middle|ring|pinky|finger|grip",
    "arm": r"arm|shoulder|elbow|wrist",
    "trunk": r"waist|torso|trunk|spine|pelvis|head|neck",
}

MEASURES = (
    Measure(
        "sparc",
        "1",
        "Spectral arc length of the speed profile, negative, nearer to 0 is smoother; the least smooth group.",
        "Whether the motion is the right one. Episodes of many movements score lower than those of one.",
        "Balasubramanian, Melendez-Calderon, Roby-Brami, Burdet: J. NeuroEng. Rehabil. 12:112, 2015 (SPARC); "
        "IEEE Trans. Biomed. Eng. 59(8), 2012",
    ),
    Measure(
        "log_dimensionless_jerk",
        "1",
        "−ln of the dimensionless jerk of the speed profile, nearer to 0 is smoother; the least smooth group.",
        "As for sparc; falls with the length of the movement, and noise weighs more than in sparc.",
        "Hogan and Sternad: J. Motor Behav. 41(6), 2009; Balasubramanian et al. 2015",
    ),
    Measure(
        "jerk_rms",
        "rad/s³",
        "Root mean square of the joints' jerk, by second differences of their speeds; the worst group.",
        "Jerk above half of the control rate.",
    ),
)


def spectral_arc_length(speed: Array, rate: float) -> float:
    """Return the spectral arc length of a speed profile.

    −∫ √((1/ωc)² + (dV/dω)²) dω from 0 to ωc, with V the amplitude spectrum over its value at 0 and ωc the last
    frequency up to `CUTOFF_HZ` at which V reaches `THRESHOLD`. Zeros before or after the movement change nothing.

    Args:
        speed: (rows,) speed, not negative, in any unit.
        rate: Rows a second.
    """
    exponent = math.ceil(math.log2(len(speed)))
    count = 2 ** max(exponent, min(exponent + PADDING, MOST_PADDED))
    amplitude = np.abs(np.fft.rfft(speed, count))
    amplitude = amplitude / amplitude[0]
    if not np.isfinite(amplitude).all():
        return math.nan
    frequency = np.arange(len(amplitude)) * rate / count
    last = int(np.flatnonzero((frequency <= CUTOFF_HZ) & (amplitude >= THRESHOLD))[-1])
    if last == 0:
        return 0.0
    steps = np.diff(frequency[: last + 1]) / frequency[last]
    return -float(np.hypot(steps, np.diff(amplitude[: last + 1])).sum())


def log_dimensionless_jerk(speed: Array, rate: float) -> float:
    """Return −ln(T³ / v_peak² · ∫ (d²v/dt²)² dt) of a speed profile; −ln(204.8) for a movement of least jerk.

    Args:
        speed: (rows,) speed, not negative, in any unit; the movement and no rest.
        rate: Rows a second.
    """
    jerk = np.diff(speed, 2) * rate**2
    seconds = np.float64(len(speed) - 1) / rate
    return -float(np.log(np.maximum(seconds**3 / speed.max() ** 2 * (jerk**2).sum() / rate, 1e-300)))


def groups(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the joints of each group, by their names: `left arm`, `right leg`, `trunk`, …; `joints` for the rest."""
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        side = next((s for s in ("left", "right") if re.search(rf"(^|_){s}(_|$)", name)), "")
        kind = next((kind for kind, pattern in _KINDS.items() if re.search(pattern, name)), "joints")
        found.setdefault(f"{side} {kind}".strip(), []).append(index)
    return found


def measure(episode: Episode, schema: DatasetSchema) -> dict[str, Reading]:
    """Measure one episode."""
    speed = first_of(episode, SPEEDS)
    if speed is None or speed.shape[1] != len(schema.joint_names):
        return {m.name: Reading(None, "there is no channel of joint speeds") for m in MEASURES}
    if episode.length < SHORTEST:
        return {m.name: Reading(None, f"shorter than {SHORTEST} steps") for m in MEASURES}
    if not np.isfinite(speed).all():
        return {m.name: Reading(None, "values are not finite") for m in MEASURES}
    rate = schema.control_rate
    of = {group: speed[:, joints] for group, joints in groups(schema.joint_names).items()}
    profiles = {group: np.linalg.norm(values, axis=1) for group, values in of.items()}
    profiles = {group: profile for group, profile in profiles.items() if profile.max() > PEAK_RAD}
    jerks = {group: float(np.sqrt((np.diff(of[group], 2, axis=0) ** 2).mean())) * rate**2 for group in profiles}
    profiles |= _hands(episode, rate)
    if not profiles:
        return {m.name: Reading(None, "nothing moves") for m in MEASURES}
    arcs = {group: spectral_arc_length(profile, rate) for group, profile in profiles.items()}
    logs = {group: log_dimensionless_jerk(_movement(profile), rate) for group, profile in profiles.items()}
    return {
        "sparc": reading(min(arcs.values()), min(arcs, key=lambda group: arcs[group])),
        "log_dimensionless_jerk": reading(min(logs.values()), min(logs, key=lambda group: logs[group])),
        "jerk_rms": reading(max(jerks.values()), max(jerks, key=lambda group: jerks[group]))
        if jerks
        else Reading(None, "no joint moves"),
    }


def _hands(episode: Episode, rate: float) -> dict[str, Array]:
    """Speed profiles of the hands that move, m/s, as far as there is a channel of their positions."""
    if "hand_position" not in episode.columns:
        return {}
    places = flat(episode, "hand_position")
    if places.shape[1] % 3 or not np.isfinite(places).all():
        return {}
    moved = np.diff(places.reshape(len(places), -1, 3), axis=0) * rate
    speeds = np.linalg.norm(moved, axis=2)
    return {f"hand {i}": speeds[:, i] for i in range(speeds.shape[1]) if speeds[:, i].max() > PEAK_M}


def _movement(speed: Array) -> Array:
    """Cut off the rest before and after: what is slower than `THRESHOLD` of the peak."""
    rows = np.flatnonzero(speed >= THRESHOLD * speed.max())
    cut = speed[max(rows[0] - 1, 0) : rows[-1] + 2]
    return cut if len(cut) >= SHORTEST else speed
