"""What an inspection camera's picture of a round part tells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

BLUE = 30
"""By how much the backdrop is more blue than red, of 255."""
WIDER = 1.3
"""How much wider than the row before it a row of a part may be; where it is more, something else begins."""
EDGE, BAND = 8, 72
"""Pixels above a part's lower end between which its wall is looked at: above is where the hand may be."""
COLUMNS = 64
"""Samples across the wall."""


FACE, OUTLINE = 20.0, 2.0
"""Unevenness of a wall's face, in grey levels, and of its outline, in pixels, from which on it has a bulge."""


def shows_bulge(picture: NDArray[np.uint8]) -> bool | None:
    """Whether the part in a picture has a bulge on the side that is seen; None where no part is to be seen."""
    found = unevenness(picture)
    return None if found is None else found[0] > FACE or found[1] > OUTLINE


def unevenness(picture: NDArray[np.uint8]) -> tuple[float, float] | None:
    """Say how much a standing cylinder before the backdrop differs from a smooth one.

    A smooth wall, straight or leaning, however light falls on it, has a brightness that is a function of the place
    across it plus one of the height: what is left of it after the medians of columns and rows (Tukey's median polish)
    is the unevenness of its face. That of its outline is what its edges differ from straight lines.

    Args:
        picture: (height, width, 3) uint8.

    Returns:
        Of the face the largest mean over 7 × 7 pixels, in grey levels; of the outline the largest difference, in
        pixels. None where no part is to be seen.
    """
    found = outline(picture)
    if found is None:
        return None
    rows, edges = found
    lines = np.stack([_line(rows, edge) for edge in edges.T], axis=1)
    out = np.median(np.lib.stride_tricks.sliding_window_view((edges - lines) * (-1, 1), 3, axis=0), axis=2)
    wall = _unrolled(picture.mean(axis=2), rows, lines)
    for _ in range(3):
        wall = wall - np.median(wall, axis=0, keepdims=True)
        wall = wall - np.median(wall, axis=1, keepdims=True)
    return float(np.abs(_mean(wall, 7)).max()), float(out.max())


def outline(picture: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Rows (k) of the lower wall of the part in a picture, and its first and last pixel in each (k, 2).

    It is followed from the middle of the picture, upwards and down to where it ends or stands on something wider; None
    where it is not there, or does not end.
    """
    colour = picture.astype(np.float64)
    part = colour[..., 2] - colour[..., 0] < BLUE
    middle, centre = part.shape[0] // 2, part.shape[1] // 2
    start = next((run for run in _runs(part[middle]) if run[0] <= centre <= run[1]), None)
    if start is None:
        return None
    below, above = _followed(part, middle, start, 1), _followed(part, middle, start, -1)
    edges = np.array([*above[::-1], start, *below], np.float64)[:-EDGE][-BAND:]
    end = middle + len(below)
    if len(edges) < BAND or end == part.shape[0] - 1:
        return None
    return np.arange(end - EDGE - BAND + 1, end - EDGE + 1), edges


def _runs(row: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last pixel of each run in a row of a mask."""
    steps = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]]).astype(np.int8)))
    return [(int(start), int(stop) - 1) for start, stop in steps.reshape(-1, 2)]


def _followed(part: NDArray[np.bool_], row: int, run: tuple[int, int], step: int) -> list[tuple[int, int]]:
    """Runs that continue a row's run in the rows after it, `step` by `step`, about as wide."""
    found: list[tuple[int, int]] = []
    while 0 <= row + step < part.shape[0]:
        row += step
        left, right = run
        shared = {one: min(one[1], right) - max(one[0], left) for one in _runs(part[row])}
        if not shared or max(shared.values()) < 0:
            break
        following = max(shared, key=lambda one: shared[one])
        if following[1] - following[0] > WIDER * (run[1] - run[0]):
            break
        run = following
        found.append(run)
    return found


def _line(rows: NDArray[Any], edge: NDArray[Any]) -> NDArray[np.float64]:
    """A straight line through an edge that what stands out does not bend: its slope is the median one (Theil-Sen)."""
    rise, run = edge[:, None] - edge, rows[:, None] - rows
    slope = np.median(rise[run > 0] / run[run > 0])
    return np.median(edge - slope * rows) + slope * rows


def _unrolled(grey: NDArray[Any], rows: NDArray[Any], lines: NDArray[Any]) -> NDArray[np.float64]:
    """Brightness (rows, columns) of a wall, each row from edge to edge."""
    share, pixels = (np.arange(COLUMNS) + 0.5) / COLUMNS, np.arange(grey.shape[1])
    return np.array(
        [np.interp(a + share * (b - a), pixels, grey[row]) for row, (a, b) in zip(rows, lines, strict=True)]
    )


def _mean(values: NDArray[Any], size: int) -> NDArray[np.float64]:
    """Means over squares."""
    windows = np.lib.stride_tricks.sliding_window_view(values, (size, size))
    return windows.mean(axis=(2, 3))
