"""Minari's side of `data_speed.py`; run by a Python that has minari and h5py: hdf5, its default."""

# pyright: reportMissingImports=false

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from _data_made import ACTED, OBSERVED, WINDOW, serve, starts, timed, trajectory

os.environ["MINARI_DATASETS_PATH"] = sys.argv[1]

import gymnasium
import minari
from minari.data_collector.episode_buffer import EpisodeBuffer

state: dict[str, Any] = {"made": 0}


def buffer(seed: int) -> EpisodeBuffer:
    observation, action = trajectory(seed)
    count = len(action)
    ends = np.zeros(count, bool)
    last = ends.copy()
    last[-1] = True
    return EpisodeBuffer(
        id=None,
        seed=seed,
        observations=observation,
        actions=action,
        rewards=np.zeros(count),
        terminations=ends,
        truncations=last,
        infos={},
    )


def write(episodes: int) -> dict[str, float]:
    """Frames a second of writing so many episodes into a new dataset."""
    ready = [buffer(seed) for seed in range(episodes)]
    name = f"bench/data-v{state['made']}"
    state["made"] += 1

    def call() -> int:
        dataset = minari.create_dataset_from_buffers(
            name,
            ready,
            observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVED,), np.float32),
            action_space=gymnasium.spaces.Box(-np.inf, np.inf, (ACTED,), np.float32),
            description="benchmark",
        )
        state["dataset"], state["name"], state["episodes"] = dataset, name, episodes
        return sum(len(part.actions) for part in ready)

    return timed(call)


def windows(count: int) -> dict[str, float]:
    """Random windows a second."""
    dataset, chosen = state["dataset"], starts(state["made"], count, state["episodes"])

    def call() -> int:
        for number, first in chosen:
            episode = dataset[int(number)]
            observation, action = episode.observations[first : first + WINDOW], episode.actions[first : first + WINDOW]
            assert len(observation) == len(action) == WINDOW
        return count

    return timed(call)


def size(_: int) -> float:
    """Bytes a frame."""
    folder = Path(sys.argv[1]) / state["name"]
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / state["dataset"].total_steps


serve({"write": write, "windows": windows, "size": size})
