"""Seeds: training and evaluation draw from ranges that cannot meet.

| range | use |
|---|---|
| 0 … 999,999 | training episodes |
| 1,000,000 … 1,999,999 | evaluation: the numbers that are reported |
| from 2,000,000 | validation while training: looking at a run, choosing between checkpoints |
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from training_ground.configs.errors import AgentError

TRAINING_SEEDS = range(0, 1_000_000)
EVALUATION_SEEDS = range(1_000_000, 2_000_000)
VALIDATION_SEEDS = range(2_000_000, 2**31)


def training_seed(run: int, environment: int, episode: int) -> int:
    """Return the seed of a training episode: it follows from the run's seed and from two counters."""
    generator = np.random.default_rng((run, environment, episode))
    return int(generator.integers(TRAINING_SEEDS.start, TRAINING_SEEDS.stop))


def check_unseen(seeds: Iterable[int]) -> list[int]:
    """Return `seeds` as a list if none of them can have been trained on.

    Raises:
        AgentError: A seed lies in the training range, is negative or too large, or stands twice.
    """
    listed = [int(s) for s in seeds]
    for seed in listed:
        if seed < TRAINING_SEEDS.stop:
            raise AgentError(
                f"seed {seed} lies in the range that training uses (below {TRAINING_SEEDS.stop}); "
                f"evaluate with seeds from {EVALUATION_SEEDS.start}"
            )
        if seed >= VALIDATION_SEEDS.stop:
            raise AgentError(
                f"seed {seed} is too large; allowed: {EVALUATION_SEEDS.start} to {VALIDATION_SEEDS.stop - 1}"
            )
    if len(set(listed)) != len(listed):
        raise AgentError("a seed stands twice: each episode of an evaluation needs its own")
    return listed
