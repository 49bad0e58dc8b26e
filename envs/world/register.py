"""What the engine's numbers are called."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Register:
    """Names of a world's bodies and of their links.

    Attributes:
        segments: What `CameraImage.segmentation` counts: (body name, link name) pairs.
        names: Of each body, by the engine's number.
        links: Of each body, in the engine's order with the base first.
    """

    def __init__(self) -> None:
        self.segments: list[tuple[str, str]] = []
        self.names: dict[int, str] = {}
        self.links: dict[int, tuple[str, ...]] = {}
        self._start: dict[int, int] = {}

    def enter(self, number: int, name: str, links: tuple[str, ...]) -> None:
        """Note a body's name and its links', in the engine's order with the base first."""
        self.names[number] = name
        self.links[number] = links
        self._start[number] = len(self.segments)
        self.segments.extend((name, link) for link in links)

    def segment(self, mask: NDArray[np.int32]) -> NDArray[np.int32]:
        """Turn the engine's body + link code into an index into `segments`; -1 is nothing."""
        codes, inverse = np.unique(mask, return_inverse=True)
        index = np.full(len(codes), -1, dtype=np.int32)
        for i, code in enumerate(codes.tolist()):
            if code >= 0:
                index[i] = self._start[code & 0xFFFFFF] + (code >> 24)
        return index[inverse].reshape(mask.shape)
