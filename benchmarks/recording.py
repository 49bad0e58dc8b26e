"""What recording adds to env.step on the G1: a frame copied at every step, the episode encoded at its end.

Both are timed in the same steps, the environment's own and the recorder's around it, so that their ratio does not
depend on which of two runs the machine was faster in. What reading the clocks costs is measured on a wrapper that does
nothing, and taken off. CPU time: waiting for the disk at the end of an episode is not in it and is reported as
wall-clock time beside it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
from _measure import clock, quick, report, summary, target

from training_ground.agents.policy import Policy, load_policy
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.store import Store
from training_ground.envs.registration import make

SECONDS = 10.0
"""Length of an episode, s: 500 steps."""


def episode(recorder: Any, policy: Policy, seed: int) -> dict[str, float]:
    """Seconds of one episode: the environment's, what the recorder adds, and those of the last step.

    Args:
        recorder: A recorder, or a wrapper that does nothing.
        policy: Who acts.
        seed: Of the episode.
    """
    inner = recorder.env
    step, spent = inner.step, [0.0]

    def timed(action: Any) -> Any:
        start = clock()
        result = step(action)
        spent[0] += clock() - start
        return result

    observation, _ = recorder.reset(seed=seed)
    policy.reset(recorder)
    inner.step = timed  # type: ignore[method-assign]
    whole, steps, ended = 0.0, 0, False
    last = wall = 0.0
    while not ended:
        action = policy.act(observation)
        wall, start = time.perf_counter(), clock()
        observation, _, terminated, truncated, _ = recorder.step(action)
        last = clock() - start
        whole += last
        steps, ended = steps + 1, terminated or truncated
    wall = time.perf_counter() - wall
    inner.step = step  # type: ignore[method-assign]
    return {
        "added_us": (whole - spent[0]) / steps * 1e6,
        "env_us": spent[0] / steps * 1e6,
        "end_ms": last * 1e3,
        "wall": wall,
        "steps": steps,
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    short = quick(argv, __doc__)
    rounds, length = (2, 2.0) if short else (12, SECONDS)
    policy = load_policy("stand_g1")
    conditions: dict[str, Any] = getattr(policy, "conditions", {})
    env = make("Stand", **{**conditions, "robot": "g1", "episode_length_s": length})
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(env, Store.create(Path(folder) / "store", make_schema(env)), policy="stand_g1")
        nothing = gymnasium.Wrapper(env)
        episode(recorder, policy, 0)
        found, bare = [], []
        for seed in range(1, 1 + rounds):
            found.append(episode(recorder, policy, seed))
            bare.append(episode(nothing, policy, seed))
        recorder.close()
    clocks = statistics.median(part["added_us"] for part in bare)
    overheads = [(part["added_us"] - clocks) / part["env_us"] for part in found]
    ends = [part["end_ms"] * 1e3 / part["steps"] / part["env_us"] for part in found]
    overhead = statistics.median(overheads)
    return report(
        {
            "targets": [target("recording a G1 episode ÷ env.step", overhead * 100, "%", at_most=3.0)],
            "overhead_percent": summary(overheads, 100),
            "of_which_writing_percent": summary(ends, 100),
            "clocks_us": clocks,
            "env_step_us": summary([part["env_us"] for part in found]),
            "last_step_with_writing_ms": summary([part["end_ms"] for part in found]),
            "last_step_with_writing_wall_ms": summary([part["wall"] for part in found], 1e3),
            "steps": found[0]["steps"],
            "channels": len(make_schema(env).channels),
        }
    )


if __name__ == "__main__":
    main()
