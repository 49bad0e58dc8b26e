"""LeRobot's side of `data_speed.py`; run by a Python that has lerobot (`make lerobot` makes one)."""

# pyright: reportMissingImports=false

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
os.environ.update(HF_HOME=f"{sys.argv[1]}/hf", HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
sys.path.append(str(Path(__file__).parent.parent / "tests" / "external"))

from _data_made import ACTED, OBSERVED, RATE, WINDOW, serve, starts, timed, trajectory
from lerobot_check import import_lerobot

logging.disable(logging.WARNING)
LeRobotDataset = import_lerobot()
FEATURES = {
    "observation.state": {"dtype": "float32", "shape": (OBSERVED,), "names": None},
    "action": {"dtype": "float32", "shape": (ACTED,), "names": None},
}
state: dict[str, Any] = {"made": 0}


def write(episodes: int) -> dict[str, float]:
    """Frames a second of writing so many episodes into a new dataset."""
    ready = [trajectory(seed) for seed in range(episodes)]
    root = Path(sys.argv[1]) / f"data{state['made']}"
    state["made"] += 1
    dataset = LeRobotDataset.create("bench/data", fps=RATE, features=FEATURES, root=root, use_videos=False)

    def call() -> int:
        for observation, action in ready:
            for seen, done in zip(observation, action, strict=False):
                dataset.add_frame({"observation.state": seen, "action": done, "task": "bench"})
            dataset.save_episode()
        dataset.finalize()
        return sum(len(action) for _, action in ready)

    found = timed(call)
    deltas = [k / RATE for k in range(WINDOW)]
    state["dataset"] = LeRobotDataset(
        "bench/data", root=root, delta_timestamps={"observation.state": deltas, "action": deltas}
    )
    state["root"], state["episodes"] = root, episodes
    return found


def windows(count: int) -> dict[str, float]:
    """Random windows a second."""
    dataset, chosen = state["dataset"], starts(state["made"], count, state["episodes"])
    length = len(dataset) // state["episodes"]

    def call() -> int:
        for number, first in chosen:
            item = dataset[int(number * length + first)]
            assert len(item["observation.state"]) == len(item["action"]) == WINDOW
        return count

    return timed(call)


def size(_: int) -> float:
    """Bytes a frame."""
    return sum(p.stat().st_size for p in state["root"].rglob("*") if p.is_file()) / len(state["dataset"])


serve({"write": write, "windows": windows, "size": size})
