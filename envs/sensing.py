"""From truth to what a policy sees: noise, latency and dropout over the flat observation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import SimulationError, unknown
from training_ground.envs.channels import Channel
from training_ground.envs.randomisation import Noise


class Sensing:
    """Degrade flat observations as real sensors do.

    Args:
        noise: What to do; None leaves every observation as it is.
        channels: Observation channels in the order of the flat vector.
    """

    def __init__(self, noise: Noise | None, channels: Sequence[Channel]) -> None:
        self._noise = noise
        self.latency = 0
        self._history: list[NDArray[np.float32]] = []
        if noise is None:
            return
        names = [c.name for c in channels]
        for name in noise.scale:
            if name not in names:
                raise SimulationError(unknown("observation channel in noise.scale", name, names))
        self._scale = np.concatenate([np.full(c.size, noise.scale.get(c.name, 0.0), np.float32) for c in channels])
        sizes = [c.size for c in channels]
        self._owner = np.repeat(np.arange(len(sizes)), sizes)
        self._count = len(sizes)

    def reset(self, generator: np.random.Generator) -> dict[str, Any]:
        """Start an episode and return what was drawn for it."""
        self._history = []
        if self._noise is None:
            return {}
        low, high = self._noise.latency_steps
        self.latency = int(generator.integers(low, high + 1))
        return {"latency_steps": self.latency} if high else {}

    def apply(self, truth: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
        """Return what the policy sees of the true flat observation (d,) float32."""
        if self._noise is None:
            return truth.copy()
        seen = truth + self._scale * generator.uniform(-1.0, 1.0, truth.size).astype(np.float32)
        if self._noise.dropout and self._history:
            lost = (generator.random(self._count) < self._noise.dropout)[self._owner]
            seen[lost] = self._history[-1][lost]
        self._history.append(seen.astype(np.float32, copy=False))
        del self._history[: -self.latency - 1]
        return self._history[0].copy()

    def save(self) -> tuple[int, list[NDArray[np.float32]]]:
        """State for `restore`."""
        return self.latency, list(self._history)

    def restore(self, state: tuple[int, list[NDArray[np.float32]]]) -> None:
        """Return to what `save` gave."""
        self.latency, self._history = state[0], list(state[1])
