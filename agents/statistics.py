"""Intervals and averages for evaluations: a number without its uncertainty is not a result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from training_ground.datasets.statistics import wilson_interval as wilson_interval  # a data card needs it as well


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
