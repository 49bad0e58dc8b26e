"""Intervals and averages for evaluations: a number without its uncertainty is not a result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np


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


def interquartile_mean(values: Sequence[float]) -> float:
    """Return the mean of the middle half, with fractional weights at its ends; NaN for no value.

    Source: Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if ordered.size == 0:
        return math.nan
    edges = np.arange(ordered.size + 1) / ordered.size
    weights = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0.0, None)
    return float(np.dot(weights, ordered) / weights.sum())


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean; (NaN, NaN) for no value. Same seed, same interval."""
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    means = data[generator.integers(0, data.size, size=(samples, data.size))].mean(axis=1)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def two_level_interval(
    groups: Sequence[Sequence[float]],
    statistic: Callable[[Sequence[float]], float],
    confidence: float = 0.95,
    samples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic over values that come in groups, such as runs.

    Groups are drawn anew, and values within each: the interval is as wide as the groups differ. Same seed, same
    interval; (NaN, NaN) for no value.

    Source: Davison and Hinkley, "Bootstrap methods and their application", 1997, section 3.8.
    """
    data = [np.asarray(group, dtype=np.float64) for group in groups if len(group)]
    if not data:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(samples):
        chosen = [data[i] for i in generator.integers(0, len(data), len(data))]
        found.append(statistic(np.concatenate([g[generator.integers(0, len(g), len(g))] for g in chosen]).tolist()))
    low, high = np.quantile(found, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def mcnemar_p_value(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the exact two-sided p-value that two policies succeed equally often on the same seeds.

    Args:
        first: Success of one policy, seed by seed.
        second: Success of the other, over the same seeds in the same order.

    Source: Q. McNemar, Psychometrika 12 (1947); exact binomial form.
    """
    if len(first) != len(second):
        raise ValueError(f"paired seeds are needed: {len(first)} and {len(second)} episodes")
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1)) / 2**discordant
    return min(1.0, 2 * tail)
