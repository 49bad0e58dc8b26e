"""Intervals against published and hand-computed values; seeds kept apart."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.stats

from training_ground.agents.seeds import check_unseen, training_seed
from training_ground.agents.statistics import (
    bootstrap_interval,
    holm,
    interquartile_mean,
    interquartile_means,
    mcnemar_p_value,
    paired_rate_interval,
    probability_of_improvement,
    sign_flip_p_value,
    stratified_interval,
    wilson_interval,
)
from training_ground.configs.errors import AgentError


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # R: binom::binom.confint(x, n, methods = "wilson")
        (0, 10, 0.0, 0.2775328),
        (5, 10, 0.2365931, 0.7634069),
        (81, 263, 0.2552799, 0.3661982),  # Newcombe 1998, Statistics in Medicine 17, table I: 0.2553 to 0.3662
        (1, 29, 0.0061, 0.1718),  # the same: 0.0061 to 0.1718
        (200, 200, 0.9811545, 1.0),
    ],
)
def test_wilson_known_values(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=6e-5)


def test_wilson_claims_from_the_facts() -> None:
    # Wilson's lower bound passes 99 % between 380 and 381 clean runs; 299 is the one-sided exact bound at 95 %.
    assert 1 - 0.99**299 >= 0.95 > 1 - 0.99**298
    assert wilson_interval(380, 380)[0] < 0.99 < wilson_interval(381, 381)[0]


def test_wilson_edges() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(3, 3, 0.99)[0] < wilson_interval(3, 3, 0.9)[0]
    for bad in ((-1, 3), (4, 3)):
        with pytest.raises(ValueError, match="successes"):
            wilson_interval(*bad)
    with pytest.raises(ValueError, match="confidence"):
        wilson_interval(1, 2, 1.0)


def test_interquartile_mean() -> None:
    assert interquartile_mean([1, 2, 3, 4]) == 2.5
    assert interquartile_mean([100.0, 3, 1, 2, 4, 5, 6, -50]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert interquartile_mean([1, 2, 3, 4, 10]) == pytest.approx((0.75 * 2 + 3 + 0.75 * 4) / 2.5)
    assert math.isnan(interquartile_mean([]))


def test_bootstrap_is_reproducible_and_covers() -> None:
    values = list(range(100))
    assert bootstrap_interval(values) == bootstrap_interval(values)
    low, high = bootstrap_interval(values)
    assert 42 < low < 45.5 and 53.5 < high < 57


def test_mcnemar() -> None:
    first, second = [True] * 10 + [False] * 2, [False] * 8 + [True] * 3 + [False]
    assert mcnemar_p_value(first, second) == pytest.approx(2 * (1 + 9) / 2**9)
    assert mcnemar_p_value([True, False], [True, False]) == 1.0
    with pytest.raises(ValueError, match="paired"):
        mcnemar_p_value([True], [])


def test_training_and_evaluation_seeds_never_meet() -> None:
    drawn = [training_seed(0, 0, episode) for episode in range(2000)]
    assert max(drawn) < 1_000_000 and min(drawn) >= 0 and len(set(drawn)) > 1900
    assert check_unseen(range(1_000_000, 1_000_003)) == [1_000_000, 1_000_001, 1_000_002]
    for bad, message in (([999_999], "training"), ([-1], "training"), ([2**31], "too large"), ([10**6] * 2, "twice")):
        with pytest.raises(AgentError, match=message):
            check_unseen(bad)


# ---- strata and pairs -----------------------------------------------------------------------------------------------


def pairs(both: int, only_first: int, only_second: int, neither: int) -> tuple[list[bool], list[bool]]:
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return first, second


@pytest.mark.parametrize(
    ("table", "confidence", "low", "high"),
    [
        ((4, 9, 3, 16), 0.95, -0.027, 0.390),  # Tango 1998, Statistics in Medicine 17
        ((43, 0, 1, 0), 0.90, -0.096, 0.037),  # the same
        ((53, 16, 8, 9), 0.95, -0.020, 0.207),  # Agresti and Min 2005, Statistics in Medicine 24
        ((1, 1, 7, 12), 0.95, -0.517, -0.026),  # Fagerland et al. 2014, Statistics in Medicine 33
    ],
)
def test_paired_rate_interval_known_values(table: Any, confidence: float, low: float, high: float) -> None:
    assert paired_rate_interval(*pairs(*table), confidence) == pytest.approx((low, high), abs=6e-4)
    first, second = pairs(*table)
    assert paired_rate_interval(second, first, confidence) == pytest.approx((-high, -low), abs=6e-4)


def test_paired_rate_interval_edges() -> None:
    assert paired_rate_interval([], []) == (-1.0, 1.0)
    low, high = paired_rate_interval([True] * 50, [True] * 50)
    assert -0.08 < low < 0 < high < 0.08 and low == pytest.approx(-high)
    low, high = paired_rate_interval([True] * 50, [False] * 50)
    assert 0.85 < low < high <= 1.0
    with pytest.raises(ValueError, match="paired"):
        paired_rate_interval([True], [])


def test_mcnemar_known_value() -> None:
    assert mcnemar_p_value(*pairs(1, 1, 7, 12)) == pytest.approx(0.0703, abs=5e-5)  # Fagerland et al. 2014
    assert mcnemar_p_value(*pairs(0, 3, 9, 0)) == pytest.approx(scipy.stats.binomtest(3, 12).pvalue)


def test_sign_flips_known_value() -> None:
    # Fisher 1935, section 21: Darwin's maize; 863 of 2^15 assignments reach 314 on one side, 835 exceed it.
    maize = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    assert sign_flip_p_value(maize) == pytest.approx(2 * 863 / 2**15)
    assert sign_flip_p_value([0.0, 0.0]) == sign_flip_p_value([]) == 1.0
    assert sign_flip_p_value([1.0]) == 1.0 and sign_flip_p_value([2.0] * 10) == 2 / 2**10


def test_sign_flips_drawn_agree_with_scipy() -> None:
    differences = np.random.default_rng(3).normal(0.25, 1.0, 60)
    ours = sign_flip_p_value(differences.tolist())
    assert ours == sign_flip_p_value(differences.tolist())
    theirs = float(scipy.stats.ttest_1samp(differences, 0)[1])  # pyright: ignore[reportArgumentType]
    assert 0.01 < theirs < 0.2 and ours == pytest.approx(theirs, abs=0.01)


def test_holm_known_value() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []


def test_probability_of_improvement_is_mann_whitney() -> None:
    generator = np.random.default_rng(5)
    first, second = generator.integers(0, 9, 40).astype(float), generator.integers(0, 9, 25).astype(float)
    theirs = scipy.stats.mannwhitneyu(first, second).statistic / (40 * 25)
    assert probability_of_improvement([first.tolist()], [second.tolist()]) == pytest.approx(theirs)
    both = probability_of_improvement([first.tolist(), [1.0], []], [second.tolist(), [2.0], [3.0]])
    assert both == pytest.approx(theirs / 2), "a mean over the strata that have values of both"
    assert math.isnan(probability_of_improvement([[]], [[1.0]]))


def test_stratified_interval_leaves_out_what_differs_between_strata() -> None:
    near, far = [0.0, 1.0, 2.0] * 10, [100.0, 101.0, 102.0] * 10
    mean = partial(np.mean, axis=1)
    low, high = stratified_interval([near, far], mean)
    assert (low, high) == stratified_interval([near, far, []], mean)
    assert 50.7 < low < 51 < high < 51.3
    wide = bootstrap_interval(near + far)
    assert wide[1] - wide[0] > 20 * (high - low)
    assert all(math.isnan(x) for x in stratified_interval([[]]))
    assert stratified_interval([[3.0] * 4]) == (3.0, 3.0)


@pytest.mark.slow
def test_intervals_cover_as_often_as_they_say() -> None:
    """2,000 experiments: the nominal 95 % within two points, the deviation of such a count being half a point."""
    generator, trials = np.random.default_rng(1), 2000
    shapes = (1.0, 3.0)  # of gamma distributions, skewed as cycle times are
    big = np.concatenate([generator.gamma(shape, 1.0, 2_000_000) for shape in shapes])
    truth = float(interquartile_means(big))
    hits = 0
    for trial in range(trials):
        low, high = stratified_interval([generator.gamma(s, 1.0, 60).tolist() for s in shapes], samples=500, seed=trial)
        hits += low <= truth <= high
    assert 0.93 < hits / trials < 0.97
    hits = rejected = 0
    for _ in range(trials):
        luck = generator.random(80)  # how hard a seed is, for both policies
        first, second = (luck + 0.3 * generator.random(80) < limit for limit in (0.95, 0.85))
        low, high = paired_rate_interval(first.tolist(), second.tolist())
        hits += low <= 0.1 <= high
        even = luck + 0.3 * generator.random(80) < 0.95
        rejected += mcnemar_p_value(first.tolist(), even.tolist()) < 0.05
    assert 0.93 < hits / trials < 0.97
    assert rejected / trials < 0.05, "the exact test keeps its level"
