"""A policy's network in plain numpy: normalise, then a multilayer perceptron. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def _elu(x: Float32) -> Float32:
    return np.where(x > 0, x, np.expm1(np.minimum(x, np.float32(0))))


def _relu(x: Float32) -> Float32:
    return np.maximum(x, np.float32(0))


ACTIVATIONS: dict[str, Callable[[Float32], Float32]] = {"elu": _elu, "tanh": np.tanh, "relu": _relu}


def unscale(actions: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> Float32:
    """Bring actions (..., m) from [-1, 1] to their bounds (m,), as stable-baselines3's squashed policies do."""
    return (low + 0.5 * (actions + 1.0) * (high - low)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Normalisation:
    """What a network does to observations first: clip((x - mean) / deviation), in float64.

    Attributes:
        mean: (n,) or a number.  deviation: the same, above 0.  clip: of the result.
    """

    mean: NDArray[np.float64] | float = 0.0
    deviation: NDArray[np.float64] | float = 1.0
    clip: float = np.inf

    def first(self, count: int) -> Normalisation:
        """That of the first `count` numbers alone."""
        mean, deviation = (v[:count] if isinstance(v, np.ndarray) else v for v in (self.mean, self.deviation))
        return Normalisation(mean, deviation, self.clip)

    def __call__(self, observations: NDArray[Any]) -> Float32:
        """Normalise observations (..., n)."""
        return ((observations - self.mean) / self.deviation).clip(-self.clip, self.clip).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Network:
    """A multilayer perceptron behind a normalisation.

    Attributes:
        layers: Weights (inputs, outputs) and biases (outputs,) of each layer.
        activation: Name of a function of `ACTIVATIONS`, after each layer but the last.
        normalisation: Of the observations.
        output: `linear`, or `tanh` after the last layer.
    """

    layers: Sequence[tuple[Float32, Float32]]
    activation: str
    normalisation: Normalisation
    output: str = "linear"

    @property
    def inputs(self) -> int:
        """Numbers of an observation."""
        return len(self.layers[0][0])

    def __call__(self, observations: NDArray[Any]) -> Float32:
        """Outputs (..., m) for raw observations (..., n)."""
        x, activate = self.normalisation(observations), ACTIVATIONS[self.activation]
        for weight, bias in self.layers[:-1]:
            x = activate(x @ weight + bias)
        weight, bias = self.layers[-1]
        x = x @ weight + bias
        return np.tanh(x) if self.output == "tanh" else x
