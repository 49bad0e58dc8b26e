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
from training_ground.agents.stepping import full_id
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.store import Store
from training_ground.envs.registration import make


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


def measure(task: str, policy: str, rounds: int, **options: Any) -> dict[str, Any]:
    """What recording costs in one task of the G1.

    Args:
        task: Name of the task.
        policy: Who acts.
        rounds: Episodes.
        options: Of the environment.
    """
    actor = load_policy(policy, env_id=full_id(task))
    conditions: dict[str, Any] = getattr(actor, "conditions", {})
    env = make(task, **{**conditions, **options})
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(env, Store.create(Path(folder) / "store", make_schema(env)), policy=policy)
        nothing = gymnasium.Wrapper(env)
        episode(recorder, actor, 0)
        found, bare = [], []
        for seed in range(1, 1 + rounds):
            found.append(episode(recorder, actor, seed))
            bare.append(episode(nothing, actor, seed))
        recorder.close()
    clocks = statistics.median(part["added_us"] for part in bare)
    overheads = [(part["added_us"] - clocks) / part["env_us"] for part in found]
    ends = [part["end_ms"] * 1e3 / part["steps"] / part["env_us"] for part in found]
    return {
        "overhead_percent": summary(overheads, 100),
        "of_which_writing_percent": summary(ends, 100),
        "clocks_us": clocks,
        "env_step_us": summary([part["env_us"] for part in found]),
        "last_step_with_writing_ms": summary([part["end_ms"] for part in found]),
        "last_step_with_writing_wall_ms": summary([part["wall"] for part in found], 1e3),
        "steps": statistics.median(part["steps"] for part in found),
        "channels": len(make_schema(env).channels),
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    short = quick(argv, __doc__)
    rounds = 2 if short else 12
    length = {"episode_length_s": 2.0} if short else {}  # otherwise the tasks' own
    found = {
        "Stand": measure("Stand", "stand_g1", rounds, robot="g1", **length),
        "Walk": measure("Walk", "walk_g1", rounds, robot="g1", **length),
        "PressButton": measure("PressButton", "expert", rounds, robot="g1_dex3"),
    }
    targets = [
        target(f"recording a G1 episode of {task} ÷ env.step", one["overhead_percent"]["median"], "%", at_most=3.0)
        for task, one in found.items()
    ]
    return report({"targets": targets, **found})


if __name__ == "__main__":
    main()
