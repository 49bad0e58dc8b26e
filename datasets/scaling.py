"""Normalisation of a column: an offset and a scale for each component, taken from statistics over training episodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.statistics import Statistics


@dataclass(frozen=True, eq=False)
class Scaling:
    """`apply` returns (values − offset) / scale; a component that never changes becomes 0 and not infinite.

    Attributes:
        offset, scale: (n,) float64, for the flattened components of a row.
    """

    offset: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def standard(cls, statistics: Statistics) -> Scaling:
        """To mean 0 and deviation 1."""
        return cls._make(statistics.mean, statistics.std)

    @classmethod
    def range(cls, statistics: Statistics) -> Scaling:
        """To [−1, 1], from the smallest to the largest value."""
        return cls._between(np.asarray(statistics.min, np.float64), np.asarray(statistics.max, np.float64))

    @classmethod
    def quantiles(cls, statistics: Statistics) -> Scaling:
        """To [−1, 1] from the first to the last percentile: outliers fall outside and do not squeeze the rest."""
        return cls._between(statistics.quantiles["q01"], statistics.quantiles["q99"])

    @classmethod
    def _between(cls, low: NDArray[np.float64], high: NDArray[np.float64]) -> Scaling:
        return cls._make((low + high) / 2, (high - low) / 2)

    @classmethod
    def _make(cls, offset: NDArray[np.float64], scale: NDArray[np.float64]) -> Scaling:
        # Rounding gives a constant such as 0.1 a deviation of 1e-17, and division by that would make it noise.
        constant = scale <= 1e-9 * np.maximum(1.0, np.abs(offset))
        return cls(offset, np.where(constant, 1.0, scale))

    def apply(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise (..., *shape) values."""
        shape = self._shape(values)
        factor = (1 / self.scale).astype(np.float32).reshape(shape)
        # Offsets are taken away in the values' own precision: far from zero, float32 has little left after it.
        kind = np.float64 if values.dtype.itemsize > 4 else np.float32
        return ((values - self.offset.astype(kind).reshape(shape)) * factor).astype(np.float32)

    def undo(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return what `apply` was given, such as actions from what a network says."""
        shape = self._shape(values)
        return values * self.scale.reshape(shape) + self.offset.reshape(shape)

    def _shape(self, values: NDArray[Any]) -> tuple[int, ...]:
        """Return the trailing axes of `values` that hold the components."""
        for axes in range(values.ndim + 1):
            shape = values.shape[values.ndim - axes :]
            if int(np.prod(shape, dtype=int)) == self.offset.size and (axes or self.offset.size == 1):
                return shape
        raise ValueError(f"values of shape {values.shape} do not end in {self.offset.size} components")
