"""The trajectories that `data_speed.py` writes, and what it and its peers answer to; numpy alone, for any environment.

200 episodes of 500 frames with an observation of 100 and an action of 29 float32, 516 bytes a frame: smooth random
walks, as joints make them.

A peer is a script that a Python with its library runs: it reads a line from standard input, does what it says, and
writes a line of JSON. So that all take turns in one run.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

FRAMES, OBSERVED, ACTED, WINDOW, RATE = 500, 100, 29, 16, 50


def trajectory(seed: int, frames: int = FRAMES) -> tuple[Any, Any]:
    """Observations (frames + 1, 100) and actions (frames, 29), float32."""
    generator = np.random.default_rng(seed)
    observation = np.cumsum(0.01 * generator.normal(size=(frames + 1, OBSERVED)), axis=0)
    action = np.cumsum(0.01 * generator.normal(size=(frames, ACTED)), axis=0)
    return observation.astype(np.float32), action.astype(np.float32)


def starts(seed: int, count: int, episodes: int) -> Any:
    """Random windows that lie inside their episodes: (count, 2) of episode and first frame."""
    generator = np.random.default_rng([seed, 7])
    return np.stack([generator.integers(episodes, size=count), generator.integers(FRAMES - WINDOW, size=count)], axis=1)


def timed(call: Callable[[], int]) -> dict[str, float]:
    """Things a second that `call` says it did, in CPU time and on the wall clock."""
    cpu, wall = time.process_time(), time.perf_counter()
    done = call()
    return {"cpu": done / (time.process_time() - cpu), "wall": done / (time.perf_counter() - wall)}


def serve(answers: dict[str, Callable[[int], Any]]) -> None:
    """Answer `<what> <number>` lines until the input ends."""
    out, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        what, number = line.split()
        print(json.dumps(answers[what](int(number))), file=out, flush=True)
