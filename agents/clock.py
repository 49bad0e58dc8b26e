"""The time since an episode's beginning, as a policy is told it beside what it observes.

Scripted experts wait: until a hand has come to rest, or a grip has closed. Nothing that is observed says for how long
already, so a policy without memory that shall act like them needs a clock.
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from training_ground.configs.loading import StrictModel

WAVES = 5


class ClockSpec(StrictModel):
    """What a clock says behind the observation: with T = `longest_s` and s = min(seconds, T) these eleven numbers:
    2 s / T - 1, then sin(2 pi s / p) for the periods p = T, T/2, T/4, T/8, T/16, then cos of the same.
    """

    longest_s: Annotated[float, Field(gt=0, le=3600)]
    """s from which on it stands still: about as long as the longest demonstration."""

    @property
    def size(self) -> int:
        """How many numbers it says."""
        return 1 + 2 * WAVES

    def tell(self, seconds: Any) -> NDArray[np.float32]:
        """Return (..., 11) numbers from -1 to 1 for the time (...) since the episode's beginning, s."""
        share = np.minimum(np.asarray(seconds, np.float64) / self.longest_s, 1.0)[..., None]
        waves = 2.0 * np.pi * share * 2.0 ** np.arange(WAVES)
        return np.concatenate([2.0 * share - 1.0, np.sin(waves), np.cos(waves)], axis=-1).astype(np.float32)


class Clock:
    """Counts the control steps of an episode.

    Args:
        spec: What it says; None for a clock that says nothing.
        rate: Control steps in a second, Hz.
    """

    def __init__(self, spec: ClockSpec | None, rate: float) -> None:
        self._spec, self._rate = spec, rate
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self._step = 0

    def beside(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Return an observation (n,) with this step's time behind it, and count the step; to be called once in each."""
        if self._spec is None:
            return observation
        self._step += 1
        return np.concatenate([observation, self._spec.tell((self._step - 1) / self._rate)])
