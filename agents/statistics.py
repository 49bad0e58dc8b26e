"""Intervals and averages for evaluations: a number without its uncertainty is not a result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.statistics import wilson_interval as wilson_interval  # a data card needs it as well

Array = NDArray[np.float64]
EXACT_SIGNS = 16
"""Up to so many pairs every assignment of signs is tried; of more, `PERMUTATIONS` are drawn."""
PERMUTATIONS = 20_000
DRAWN_AT_ONCE = 500


def interquartile_mean(values: Sequence[float]) -> float:
    """Return the mean of the middle half, with fractional weights at its ends; NaN for no value.

    Source: Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021.
    """
    data = np.asarray(values, dtype=np.float64)
    return float(interquartile_means(data)) if data.size else math.nan


def interquartile_means(rows: Array) -> Array:
    """Return the interquartile mean of each row of (..., n) values, n at least 1."""
    ordered = np.sort(rows, axis=-1)
    edges = np.arange(ordered.shape[-1] + 1) / ordered.shape[-1]
    weights = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0.0, None)
    return ordered @ (weights / weights.sum())


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, samples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean; (NaN, NaN) for no value. Same seed, same interval."""
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    means = data[generator.integers(0, data.size, size=(samples, data.size))].mean(axis=1)
    return _percentiles(means, confidence)


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
    found: list[float] = []
    for _ in range(samples):
        chosen = [data[i] for i in generator.integers(0, len(data), len(data))]
        found.append(statistic(np.concatenate([g[generator.integers(0, len(g), len(g))] for g in chosen]).tolist()))
    return _percentiles(found, confidence)


def _percentiles(found: Sequence[float] | Array, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(found, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return float(low), float(high)


def stratified_interval(
    strata: Sequence[Sequence[float]],
    statistic: Callable[[Array], Array] = interquartile_means,
    confidence: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a statistic of all values, drawn anew within each stratum.

    Strata, such as the conditions of a test, are fixed: the interval is about new seeds in the same conditions. Same
    seed, same interval; (NaN, NaN) for no value.

    Args:
        strata: Values of each.
        statistic: Of the rows of (k, n) values, (k).
        confidence: Coverage, such as 0.95.
        samples: Times that the values are drawn.
        seed: Of the generator.

    Source: Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS 2021.
    """
    data = [np.asarray(values, dtype=np.float64) for values in strata if len(values)]
    if not data:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    found = []
    for first in range(0, samples, DRAWN_AT_ONCE):
        count = min(DRAWN_AT_ONCE, samples - first)
        drawn = [values[generator.integers(0, values.size, (count, values.size))] for values in data]
        found.append(statistic(np.concatenate(drawn, axis=1)))
    return _percentiles(np.concatenate(found), confidence)


def probability_of_improvement(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> float:
    """Return how probably a value of the first is larger than one of the second, a tie counted half.

    It is the mean over strata, such as the conditions of a test, of the Mann-Whitney statistic divided by the number of
    pairs; NaN where no stratum has values of both.

    Source: Agarwal et al., NeurIPS 2021, section 4.3; Mann and Whitney, Annals of Mathematical Statistics 18 (1947).
    """
    shares = [_share_larger(np.asarray(a, float), np.asarray(b, float)) for a, b in zip(first, second, strict=True)]
    known = [share for share in shares if not math.isnan(share)]
    return float(np.mean(known)) if known else math.nan


def _share_larger(first: Array, second: Array) -> float:
    if not first.size or not second.size:
        return math.nan
    ordered = np.sort(second)
    below = np.searchsorted(ordered, first, "left")
    level = np.searchsorted(ordered, first, "right") - below
    return float((below + 0.5 * level).sum() / (first.size * second.size))


def mcnemar_p_value(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Return the exact two-sided p-value that two policies succeed equally often on the same seeds.

    Args:
        first: Success of one policy, seed by seed.
        second: Success of the other, over the same seeds in the same order.

    Source: Q. McNemar, Psychometrika 12 (1947); exact binomial form.
    """
    _check_paired(first, second)
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    discordant = only_first + only_second
    if discordant == 0:
        return 1.0
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1)) / 2**discordant
    return min(1.0, 2 * tail)


def paired_rate_interval(
    first: Sequence[bool], second: Sequence[bool], confidence: float = 0.95
) -> tuple[float, float]:
    """Return the score interval of rate(first) - rate(second) over the same seeds; (-1, 1) without any.

    Args:
        first: Success of one policy, seed by seed.
        second: Success of the other, over the same seeds in the same order.
        confidence: Coverage, such as 0.95.

    Source: T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17 (1998).
    """
    from scipy.optimize import brentq

    _check_paired(first, second)
    count = len(first)
    if not count:
        return -1.0, 1.0
    b = sum(x and not y for x, y in zip(first, second, strict=True))
    c = sum(y and not x for x, y in zip(first, second, strict=True))
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    found, aside = (b - c) / count, 1e-9  # of the estimate itself: where its variance is 0 it would pass for a limit

    def beyond(difference: float) -> float:
        return (b - c - count * difference) ** 2 - z * z * _score_variance(b, c, count, difference)

    def limit(first: float, last: float) -> float:
        return float(brentq(beyond, first, last))  # pyright: ignore[reportArgumentType]  # without full_output a number

    low = -1.0 if beyond(-1.0) <= 0 else limit(-1.0, found - aside)
    high = 1.0 if beyond(1.0) <= 0 else limit(found + aside, 1.0)
    return low, high


def _score_variance(b: int, c: int, count: int, difference: float) -> float:
    """Variance of b - c if the rates differ by `difference`, the other probabilities being the likeliest."""
    middle = -b - c + (2 * count - b + c) * difference
    last = -c * difference * (1 - difference)
    only_second = (math.sqrt(max(middle * middle - 8 * count * last, 0.0)) - middle) / (4 * count)
    return count * max(2 * only_second + difference * (1 - difference), 0.0)


def sign_flip_p_value(differences: Sequence[float], seed: int = 0) -> float:
    """Return the two-sided p-value that paired differences have mean zero: how often random signs give as much.

    Exact for up to 16 differences that are not zero; with more, 20,000 assignments are drawn, and the one that was
    found is counted among them. Same seed, same value; 1 where nothing differs.

    Source: R. A. Fisher, "The design of experiments", 1935, section 21; Phipson and Smyth, Statistical Applications in
    Genetics and Molecular Biology 9 (2010), for the drawn ones.
    """
    data = np.asarray(differences, dtype=np.float64)
    sizes, found = np.abs(data[data != 0]), abs(float(data.sum()))
    if not sizes.size:
        return 1.0
    enough = found - 1e-12 * float(sizes.sum())
    if sizes.size <= EXACT_SIGNS:
        codes = np.arange(2**sizes.size)[:, None] >> np.arange(sizes.size) & 1
        return float(np.mean(np.abs((1.0 - 2.0 * codes) @ sizes) >= enough))
    generator, reached = np.random.default_rng(seed), 0
    for _ in range(PERMUTATIONS // DRAWN_AT_ONCE):
        signs = 1.0 - 2.0 * generator.integers(0, 2, (DRAWN_AT_ONCE, sizes.size))
        reached += int(np.sum(np.abs(signs @ sizes) >= enough))
    return (reached + 1) / (PERMUTATIONS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values that hold for all of several tests together, in the order given.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6
    (1979).
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, most = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = most
    return adjusted


def _check_paired(first: Sequence[bool], second: Sequence[bool]) -> None:
    if len(first) != len(second):
        raise ValueError(f"paired seeds are needed: {len(first)} and {len(second)} episodes")
