"""Intervals for counts, times and quantiles that hold for any number of trials, small ones included."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import bdtr, gammaincinv


def poisson_interval(count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a Poisson mean of which `count` events were seen.

    Source: F. Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (1936): half the quantiles of
    chi-squared with 2k and 2k + 2 degrees of freedom.
    """
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(gammaincinv(count, tail))
    return low, float(gammaincinv(count + 1, 1 - tail))


def time_between(total: float, count: int, confidence: float = 0.95) -> tuple[float, float | None]:
    """Return two one-sided bounds, each at `confidence`, of the mean time between events.

    The lower one is 2T / χ²(confidence; 2k + 2): without any event T / 3.0 at 95 %. The upper one is
    2T / χ²(1 - confidence; 2k), and None without any event.

    Args:
        total: T, observed time.
        count: k, events in it.
        confidence: Of each bound.
    """
    low, high = poisson_interval(count, 2 * confidence - 1)
    return total / high, total / low if count else None


def quantile_interval(
    values: Sequence[float], share: float, confidence: float = 0.95
) -> tuple[float | None, float | None]:
    """Return the interval of a quantile between two order statistics, whatever the distribution.

    How many of n values lie below the quantile is binomial, so the ranks follow from n alone. None stands for an end
    that so few values cannot tell: the upper one of the 95th percentile takes 72 of them at 95 %.

    Source: H. A. David, H. N. Nagaraja, "Order statistics", 3rd edition, 2003, section 7.1.
    """
    ordered, n, tail = sorted(values), len(values), (1 - confidence) / 2
    # The quantile lies above the r-th value unless less than r values lie below it.
    low = max((r for r in range(1, n + 1) if bdtr(r - 1, n, share) <= tail), default=None)
    high = min((r for r in range(1, n + 1) if bdtr(r - 1, n, share) >= 1 - tail), default=None)
    return (None if low is None else ordered[low - 1]), (None if high is None else ordered[high - 1])


def quantile(values: Sequence[float], share: float) -> float:
    """Return a quantile, linear between the two nearest values; NaN for no value."""
    if not values:
        return math.nan
    ordered, place = sorted(values), share * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
