"""Noise for policies that draw their actions: the same in every run of an episode."""

from __future__ import annotations

import numpy as np

from training_ground.agents.network import Float32


class Noise:
    """Standard normal numbers from a generator that begins anew with each episode, from the episode's seed.

    So an episode does not depend on those before it, nor on what else draws numbers.

    Args:
        size: Numbers drawn at a time.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.reset(0)

    def reset(self, seed: int | None) -> None:
        """Begin an episode with this seed; one that is unknown counts as 0."""
        self._generator = np.random.default_rng(max(0, seed or 0))

    def draw(self, *shape: int) -> Float32:
        """Return (*shape, size) numbers."""
        return self._generator.standard_normal((*shape, self.size)).astype(np.float32)
