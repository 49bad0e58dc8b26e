"""Write a dataset with the real LeRobot, and compare what was imported from it; the same for our own exports.

Runs in an environment of its own (`make lerobot`), without training_ground.

    python lerobot_import_check.py write FOLDER           write a dataset with LeRobot: video, pictures, two tasks
    python lerobot_import_check.py imported FOLDER STORE  STORE holds what LeRobot reads in FOLDER
    python lerobot_import_check.py back STORE AGAIN       AGAIN, an export of STORE imported, has what LeRobot held
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from lerobot_check import SCRATCH, import_lerobot
from plain_store import read_store, same

TASKS = ("put it there", "take it away")
LENGTHS = (40, 7, 33, 21)
CAMERA, STILL = "observation.images.front", "observation.images.still"


def made(number: int, length: int) -> list[dict[str, Any]]:
    """Return the frames of an episode."""
    random, frames = np.random.default_rng(number), []
    rows, columns = np.mgrid[0:64, 0:96]
    for t in range(length):
        picture = np.stack([rows * 2 + 5 * t, columns + 9 * number, rows + columns], axis=-1) % 200
        frames.append(
            {
                "observation.state": random.normal(size=4).astype("f4"),
                "observation.matrix": random.normal(size=(2, 3)),
                "count": np.array([t - 3]),
                "action": random.normal(size=2).astype("f4"),
                "next.reward": np.array([0.25 * t], "f4"),
                "next.success": np.array([t == length - 1 and number % 2 == 0]),
                CAMERA: picture.astype(np.uint8),
                STILL: picture[:32, :32].astype(np.uint8),
                "task": TASKS[number % 2],
            }
        )
    return frames


def write(folder: Path) -> None:
    """Write a dataset of several files with LeRobot's own API."""
    picture = {"names": ["height", "width", "channels"]}
    features = {
        "observation.state": {"dtype": "float32", "shape": (4,), "names": ["a", "b", "c", "d"]},
        "observation.matrix": {"dtype": "float64", "shape": (2, 3), "names": None},
        "count": {"dtype": "int64", "shape": (1,), "names": None},
        "action": {"dtype": "float32", "shape": (2,), "names": {"motors": ["left", "right"]}},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        "next.success": {"dtype": "bool", "shape": (1,), "names": None},
        CAMERA: {"dtype": "video", "shape": (64, 96, 3), **picture},
        STILL: {"dtype": "image", "shape": (32, 32, 3), **picture},
    }
    dataset = import_lerobot().create("local/made", 25, features, root=folder, robot_type="arm", use_videos=True)
    dataset.meta.update_chunk_settings(chunks_size=2, data_files_size_in_mb=0.001, video_files_size_in_mb=0.001)
    for number, length in enumerate(LENGTHS):
        for frame in made(number, length):
            dataset.add_frame(frame)
        dataset.save_episode()
    dataset.finalize()
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.suffix in (".parquet", ".mp4"))
    print(f"LeRobot wrote {len(LENGTHS)} episodes: {', '.join(files)}")


def read_imported(store: Path) -> tuple[dict[str, Any], list[Any]]:
    """Read a store that was imported: no episode is left out."""
    schema, episodes = read_store(store, cut_off=False)
    assert all(metadata["env_id"] == "imported:lerobot" for metadata, _ in episodes)
    return schema, episodes


def imported(folder: Path, store: Path) -> None:
    """Compare a store with what LeRobot reads."""
    dataset = import_lerobot()("local/made", root=folder)
    schema, episodes = read_imported(store)
    channels = {channel["name"]: channel for channel in schema["channels"]}
    assert schema["control_rate"] == dataset.fps == 25 and schema["robot"] == "arm"
    assert channels["action"]["components"] == ["left", "right"] and channels[CAMERA]["role"] == "picture"
    assert len(episodes) == dataset.num_episodes == len(LENGTHS)
    compared, start, worst = 0, 0, 0.0
    for number, (metadata, columns) in enumerate(episodes):
        length = LENGTHS[number]
        frames = [dataset[start + t] for t in range(length)]
        assert metadata["length"] == length and metadata["instruction"] == TASKS[number % 2]
        assert metadata["success"] == (number % 2 == 0)
        expected = made(number, length)
        for name in ("observation.state", "observation.matrix", "count", "action"):
            wanted = np.stack([frame[name] for frame in expected]).astype(columns[name].dtype)
            compared += same(columns[name][:-1].reshape(wanted.shape), wanted, name)
            theirs = np.stack([np.asarray(frame[name]) for frame in frames])  # as float32 where float64
            assert np.array_equal(theirs.reshape(wanted.shape[0], -1), wanted.reshape(length, -1).astype(theirs.dtype))
        assert np.array_equal(columns["reward"][1:], [frame["next.reward"][0] for frame in expected])
        assert np.array_equal(columns["timestamp_ns"], np.arange(length + 1) * 40_000_000)
        assert not columns["action"][-1].any() and np.array_equal(columns["count"][-1], columns["count"][-2])
        assert np.array_equal(columns[STILL][:-1], [frame[STILL] for frame in expected]), "PNG loses nothing"
        for t in range(length):
            shown = frames[t][CAMERA].numpy().transpose(1, 2, 0) * 255
            worst = max(worst, float(np.abs(shown - columns[CAMERA][t]).max()))
        start += length
    assert worst <= 2, f"pictures differ by {worst} from those that LeRobot decodes"
    print(f"{len(episodes)} episodes that LeRobot wrote: {compared} numbers equal, pictures within {worst:.0f}/255")


def back(store: Path, again: Path) -> None:
    """Compare a store with what came back from an export, to which LeRobot may have appended."""
    (schema, episodes), (found, others) = read_store(store, cut_off=False), read_imported(again)
    kept = {channel["name"]: channel for channel in found["channels"]}
    for channel in schema["channels"]:
        if channel["role"] != "picture":
            assert kept[channel["name"]] == channel, channel["name"]
    compared = 0
    for (metadata, columns), (theirs, values) in zip(episodes, others, strict=False):
        for key in ("seed", "success", "failure", "kwargs", "policy", "terminated", "truncated", "started_ns"):
            assert theirs[key] == metadata[key], key
        assert theirs["instruction"] == metadata["instruction"]
        for channel in schema["channels"]:
            name = channel["name"]
            if name == "reward":
                continue  # float32 there
            if channel["role"] == "picture":
                error = np.mean((values[name][:-1].astype(float) - columns[name][:-1]) ** 2)
                assert 10 * np.log10(255**2 / error) > 30, name
                continue
            rows = slice(1, None) if channel["role"] in ("reward", "event") else slice(None, -1)
            compared += same(values[name][rows], columns[name][rows], name)
        assert np.array_equal(values["reward"][1:], columns["reward"][1:].astype("f4"))
        assert values["phase"][1:-1].tolist() == columns["phase"][1:-1].tolist()
        assert np.array_equal(values["timestamp_ns"], columns["timestamp_ns"])
    more = others[len(episodes) :]
    assert [metadata["instruction"] for metadata, _ in more] == [f"appended task {i}" for i in range(len(more))]
    print(f"{len(episodes)} exported episodes came back, {compared} numbers equal in bits; {len(more)} were appended")


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    try:
        {"write": write, "imported": imported, "back": back}[what](*map(Path, paths))
    finally:
        shutil.rmtree(SCRATCH, ignore_errors=True)
