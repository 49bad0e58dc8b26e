"""Pictures of an episode, to look at: as files, or side by side as one strip. Depth is drawn near bright, far dark."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError, unknown
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.files import describe, write_new
from training_ground.datasets.schema import DatasetSchema

MAX_STRIP_PIXELS = 64_000_000
GAP = 4
"""Pixels from one picture of a strip to the next."""
_GREYS = ("uint8", "uint16", "float32")


def picture_channels(schema: DatasetSchema) -> list[str]:
    """Return the names of the channels that can be looked at: (H, W, 3 or 4) uint8, or (H, W) or (H, W, 1) depth or
    grey. What others call a picture may be something else.
    """
    pictures = [c for c in schema.channels if c.storage is not None or c.role == "picture"]
    colours = {c.name for c in pictures if c.dtype == "uint8" and len(c.shape) == 3 and c.shape[2] in (3, 4)}
    flat = {c.name for c in pictures if c.dtype in _GREYS and len(c.shape) in (2, 3) and c.shape[2:] in ((), (1,))}
    return [c.name for c in pictures if c.name in colours | flat]


def choose_channel(schema: DatasetSchema, name: str | None) -> str:
    """Return the channel of that name, or the first that can be looked at.

    Raises:
        DatasetError: There is none.
    """
    known = picture_channels(schema)
    if not known:
        raise DatasetError("there are no pictures in this dataset; record with --set observation_format=dict")
    if name is not None and name not in known:
        raise DatasetError(unknown("picture channel", name, known))
    return name or known[0]


def evenly(episode: Episode, channel: str, count: int) -> list[int]:
    """Return `count` rows, evenly from the first to the last; fewer where there are fewer rows."""
    rows = len(episode.columns[channel])
    return sorted({int(row) for row in np.linspace(0, rows - 1, min(count, rows)).round()})


def viewable(sample: NDArray[Any], bounds: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """Return a sample as (H, W, 3) uint8.

    Args:
        sample: (H, W, 3 or 4) uint8, or (H, W) or (H, W, 1).
        bounds: What is drawn white and black, in the sample's unit; its own extremes where absent.
    """
    if sample.shape[2:] in ((3,), (4,)):
        return sample[:, :, :3]
    sample = sample.reshape(sample.shape[:2])
    near, far = bounds or (float(sample.min()), float(sample.max()))
    grey = 255 - 255 * np.clip((sample - near) / max(far - near, 1e-9), 0, 1)
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


def strip(episode: Episode, channel: str, rows: Sequence[int]) -> NDArray[np.uint8]:
    """Return the samples of `rows` side by side, (H, W, 3).

    Raises:
        DatasetError: The picture would be too large, or a frame cannot be read.
    """
    _, height, width = episode.columns[channel].shape[:3]
    if height * (width + GAP) * len(rows) > MAX_STRIP_PIXELS:
        raise DatasetError(
            f"{len(rows)} pictures of {width} × {height} are more than a strip may hold: take fewer rows"
        )
    samples = [episode.columns[channel][row] for row in rows]
    bounds = min(float(s.min()) for s in samples), max(float(s.max()) for s in samples)
    result = np.full((height, len(samples) * (width + GAP) - GAP, 3), 255, np.uint8)
    for place, sample in enumerate(samples):
        start = place * (width + GAP)
        result[:, start : start + width] = viewable(sample, bounds)
    return result


def write_frames(episode: Episode, channel: str, rows: Sequence[int], folder: Path) -> list[Path]:
    """Write the samples of `rows` as PNG files named by row, depth as 16-bit millimetres; return the paths.

    Raises:
        DatasetError: A file is there already, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise DatasetError(f"{folder}: {describe(problem)}") from problem
    written = []
    for row in rows:
        sample = episode.columns[channel][row]
        sample = sample.reshape(sample.shape[:2]) if sample.shape[2:] == (1,) else sample
        if sample.dtype == np.float32:
            sample = np.clip(np.rint(1000 * sample), 0, 65535).astype(np.uint16)
        written.append(write_png(folder / f"{channel}_{row:06d}.png", sample))
    return written


def write_png(path: Path, pixels: NDArray[Any]) -> Path:
    """Write a PNG file that does not exist; return its path.

    Raises:
        DatasetError: It exists, or cannot be written.
    """
    import io

    from PIL import Image

    if path.exists():
        raise DatasetError(f"{path}: exists already; choose another name")
    raw = io.BytesIO()
    Image.fromarray(pixels).save(raw, "PNG")
    write_new(path.parent, raw.getvalue(), lambda: iter([path.name]))
    return path
