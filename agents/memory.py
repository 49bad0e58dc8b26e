"""What a policy remembers of its episode, told beside what it observes: the largest that numbers have been so far.

A button springs back. Nothing that is observed then says whether it has been pressed already, and a policy without
memory has to guess by the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.signature import Signature
from training_ground.configs.errors import AgentError, unknown


def places_of(signature: Signature, channels: Sequence[str]) -> NDArray[np.int64]:
    """Return (k,) where the numbers of channels stand in an observation, of a history in its newest row.

    Raises:
        AgentError: There is no such channel.
    """
    names = [channel.name for channel in signature.channels]
    for name in channels:
        if name not in names:
            raise AgentError("remembered: " + unknown("channel", name, names))
    found = np.concatenate([[c.name in channels] * c.size for c in signature.channels])
    return np.flatnonzero(found)


class Memory:
    """Keeps the largest of some numbers of an episode's observations.

    Args:
        places: (k,) where they stand; empty for a policy that remembers nothing.
    """

    def __init__(self, places: Sequence[int] | NDArray[np.int64] = ()) -> None:
        self._places = np.asarray(places, np.int64)
        self.reset()

    def reset(self) -> None:
        """Begin an episode."""
        self._largest = np.full(len(self._places), -np.inf, np.float32)

    def beside(self, observation: NDArray[Any]) -> NDArray[Any]:
        """Return an observation (n,) with the largest so far (k,) behind it, its own among them."""
        if not len(self._places):
            return observation
        self._largest = np.maximum(self._largest, observation[self._places])
        return np.concatenate([observation, self._largest])
