"""Statistics of a channel: of one episode, and merged over many without a second look at the values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics over rows, one number a component.

    Attributes:
        count: Rows.
        min, max: (n,) in the type of the values.
        mean, std: (n,) float64; `std` divides by `count`.
        quantiles: (n,) float64 by name (`q01`, `q10`, `q50`, `q90`, `q99`), linear between the two nearest values.
    """

    count: int
    min: NDArray[Any]
    max: NDArray[Any]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    quantiles: dict[str, NDArray[np.float64]]


def statistics(values: NDArray[Any]) -> Statistics:
    """Return the statistics of (rows, n) finite values."""
    numbers = values.astype(np.float64)
    return Statistics(
        len(values),
        values.min(axis=0),
        values.max(axis=0),
        numbers.mean(axis=0),
        numbers.std(axis=0),
        quantiles(values),
    )


def moments(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return min, max, mean and deviation of (rows, n) values as (4, n); not finite where a value is not."""
    with np.errstate(invalid="ignore", over="ignore"):
        numbers = values.astype(np.float64)
        return np.stack([numbers.min(axis=0), numbers.max(axis=0), numbers.mean(axis=0), numbers.std(axis=0)])


def quantiles(values: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Return the quantiles of (rows, n) values, by name."""
    found = np.quantile(values.astype(np.float64), list(QUANTILES.values()), axis=0)
    return dict(zip(QUANTILES, found, strict=True))


def merge(parts: Sequence[Statistics], sample: NDArray[Any] | None = None) -> Statistics:
    """Return the statistics of all rows together.

    Count, extremes, mean and deviation are exact (Chan, Golub and LeVeque, 1979); quantiles do not merge, so they are
    those of `sample`.

    Args:
        parts: Statistics of disjoint rows; at least one.
        sample: (rows, n) all rows, or rows drawn evenly from all parts; without it the result has no quantiles.
    """
    counts = np.array([part.count for part in parts], dtype=np.float64)[:, None]
    means = np.stack([part.mean for part in parts])
    variances = np.stack([part.std**2 for part in parts])
    total = counts.sum()
    mean = (means * counts).sum(axis=0) / total
    variance = ((variances + (means - mean) ** 2) * counts).sum(axis=0) / total
    return Statistics(
        int(total),
        np.min([part.min for part in parts], axis=0),
        np.max([part.max for part in parts], axis=0),
        mean,
        np.sqrt(variance),
        {} if sample is None else quantiles(sample),
    )


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a success rate; (0, 1) without any trial.

    Unlike the normal approximation it stays inside [0, 1] and is honest at 0 and at `trials` successes.

    Args:
        successes: Number of successes.
        trials: Number of independent trials.
        confidence: Coverage, such as 0.95.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927).
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"successes = {successes} must lie between 0 and trials = {trials}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence = {confidence} must lie between 0 and 1")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate = successes / trials
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high
