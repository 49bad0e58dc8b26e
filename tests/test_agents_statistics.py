"""Intervals against published and hand-computed values; seeds kept apart."""

from __future__ import annotations

import math

import pytest

from training_ground.agents.seeds import check_unseen, training_seed
from training_ground.agents.statistics import bootstrap_interval, interquartile_mean, mcnemar_p_value, wilson_interval
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
