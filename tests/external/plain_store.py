"""A store as anybody else would read it, with pyarrow, PyAV and `dataset.json` alone, and the comparison of values.

What the checks beside this file share; it imports nothing of training_ground.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

Columns = dict[str, np.ndarray]


def read_store(store: Path, *, cut_off: bool = True) -> tuple[dict[str, Any], list[tuple[dict[str, Any], Columns]]]:
    """Read a store: its description, and metadata and columns of every episode in the order of their numbers.

    Args:
        store: Its folder.
        cut_off: Whether episodes that did not run to their end are returned as well.
    """
    schema = json.loads((store / "dataset.json").read_text())
    channels = {c["name"]: c for c in schema["channels"]}
    episodes = []
    for path in sorted((store / "episodes").glob("episode_*.parquet")):
        table = pq.read_table(path)
        metadata = json.loads(pq.read_metadata(path).metadata[b"training_ground.episode"])
        columns = {}
        for name in table.column_names:
            values, channel = table.column(name).to_pylist(), channels.get(name, {})
            if channel.get("storage"):
                columns[name] = read_video(store / "media" / f"{metadata['media'][name]['sha256']}.mkv", values)
            elif channel.get("shape"):
                columns[name] = np.frombuffer(b"".join(values), channel["dtype"]).reshape(-1, *channel["shape"])
            else:
                columns[name] = np.array(values, channel.get("dtype"))
        if cut_off or metadata["terminated"] or metadata["truncated"]:
            episodes.append((metadata, columns))
    return schema, episodes


def read_video(path: Path, numbers: list[int]) -> np.ndarray:
    """Return a store's pictures, a row each: the frame of that number."""
    import av

    with av.open(str(path)) as container:
        pictures = np.array([picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)])
    return pictures[numbers]


def same(found: Any, wanted: np.ndarray, what: str) -> int:
    """Compare dtype, shape and every bit, or texts; return how many values were compared."""
    found = np.asarray(found)
    if wanted.dtype == object:
        assert found.tolist() == wanted.tolist(), f"{what}: values differ"
        return wanted.size
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape), (
        f"{what}: is {found.dtype} {found.shape}, the store has {wanted.dtype} {wanted.shape}"
    )
    assert found.tobytes() == np.ascontiguousarray(wanted).tobytes(), f"{what}: values differ"
    return wanted.size
