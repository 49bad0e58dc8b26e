"""Chunked actions: a policy says the next actions all at once, and they are carried out one a control step.

As in ACT (Zhao et al. 2023, arXiv 2304.13705): either the first few of each chunk are carried out and then the next one
is asked for, or a chunk is asked for in every step and what the last ones say of this step is averaged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from training_ground.agents.network import Float32
from training_ground.configs.loading import StrictModel

MAX_HORIZON = 1000


class ChunkSpec(StrictModel):
    """How the actions of a chunk are carried out."""

    horizon: Annotated[int, Field(ge=1, le=MAX_HORIZON)]
    """Actions in a chunk, one a control step."""
    execute: Annotated[int, Field(ge=1, le=MAX_HORIZON)] = 1
    """How many of them are carried out before the next chunk is asked for."""
    ensemble: Annotated[float, Field(ge=0)] | None = None
    """m of ACT's temporal ensembling: a chunk is asked for in every step, and of all actions that were foreseen for it
    the mean is taken with weights exp(-m i), i = 0 for the oldest. None carries out chunks one after the other."""

    @model_validator(mode="after")
    def _consistent(self) -> ChunkSpec:
        if self.execute > self.horizon:
            raise ValueError(f"execute = {self.execute}: a chunk has no more than horizon = {self.horizon} actions")
        if self.ensemble is not None and self.execute != 1:
            raise ValueError(f"execute = {self.execute}: with ensemble a chunk is asked for in every step: leave it 1")
        return self


class ChunkPlayer:
    """Carries out chunks.

    Args:
        spec: How.
    """

    def __init__(self, spec: ChunkSpec) -> None:
        self.spec = spec
        self.reset()

    def reset(self) -> None:
        """Begin an episode: forget what was foreseen."""
        self._chunks: deque[Float32] = deque(maxlen=self.spec.horizon)
        self._next = self.spec.execute

    def act(self, foresee: Callable[[], Float32]) -> Float32:
        """Return the action (m,) of this control step.

        Args:
            foresee: Gives the chunk (horizon, m) that begins now; not called where one is still being carried out.
        """
        spec = self.spec
        if spec.ensemble is not None:
            self._chunks.append(foresee())
            newest = len(self._chunks) - 1
            foreseen = np.stack([chunk[newest - i] for i, chunk in enumerate(self._chunks)])
            weights = np.exp(-spec.ensemble * np.arange(len(foreseen)))
            return ((weights / weights.sum()) @ foreseen).astype(np.float32)
        if self._next == spec.execute:
            self._chunks.append(foresee())
            self._next = 0
        self._next += 1
        return self._chunks[-1][self._next - 1]
