"""Simulated seconds a second of one core, against Gymnasium's Humanoid-v5 and PyBullet's HumanoidBulletEnv-v0.

Every environment is stepped without wrappers, with random actions drawn beforehand, and reset when it ends, so that the
time has upright robots, falling ones and resets in it as training has. Peers that are not installed are left out, with
the reason.
"""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
from _measure import alternate, clock, median_ratio, quick, report, summary, target

from training_ground.envs.registration import make

OURS = {"g1": {"robot": "g1"}, "g1_legs": {"robot": "g1_legs"}}
PEERS = {
    "Humanoid-v5": ("mujoco", "gymnasium[mujoco]"),
    "HumanoidBulletEnv-v0": ("pybullet_envs_gymnasium", "pybullet-envs-gymnasium"),
}


class Runner:
    """Steps one environment for a share of a second at a time, going on where it was.

    Args:
        env: Without wrappers.
        timestep: Simulated seconds of a step.
        scale: Share of the action range that the random actions fill.
        budget: CPU seconds of a round, about.
    """

    def __init__(self, env: Any, timestep: float, scale: float, budget: float) -> None:
        self.env, self.timestep, self.budget = env, timestep, budget
        space = env.action_space
        generator = np.random.default_rng(0)
        drawn = generator.uniform(-1, 1, (4096, *space.shape))
        self.actions = (scale * drawn * space.high).astype(space.dtype)
        self.steps = self.episodes = 0
        env.reset(seed=0)

    def __call__(self) -> float:
        """One round: simulated seconds a CPU second."""
        env, actions, count = self.env, self.actions, 0
        start = clock()
        while True:
            for _ in range(20):
                _, _, terminated, truncated, _ = env.step(actions[self.steps % 4096])
                self.steps += 1
                count += 1
                if terminated or truncated:
                    env.reset()
                    self.episodes += 1
            spent = clock() - start
            if spent >= self.budget:
                return count * self.timestep / spent


def peer(name: str, budget: float) -> tuple[Runner | None, str | None]:
    """A peer's runner, or why there is none."""
    module, package = PEERS[name]
    try:
        importlib.import_module(module)
        env = gymnasium.make(name).unwrapped
    except (ImportError, gymnasium.error.Error) as problem:
        return None, f"pip install '{package}': {problem}"
    scene = getattr(env, "scene", None)
    env.reset(seed=0)
    scene = getattr(env, "scene", None)
    timestep = float(scene.dt) if scene is not None else float(getattr(env, "dt"))  # noqa: B009 (unknown to Env)
    return Runner(env, timestep, 1.0, budget), None


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    short = quick(argv, __doc__)
    budget, rounds = (0.3, 6) if short else (1.0, 20)
    runners: dict[str, Runner] = {}
    for name, options in OURS.items():
        env = make("Stand", **options)
        runners[name] = Runner(env, env.control_timestep, 0.3, budget)
    skipped = {}
    for name in PEERS:
        runner, reason = peer(name, budget)
        if runner is not None:
            runners[name] = runner
        else:
            skipped[name] = reason
    candidates: dict[str, Callable[[], float]] = dict(runners)
    found = alternate(candidates, rounds)

    def ratio(ours: str, theirs: str) -> float | None:
        return median_ratio(found[ours], found[theirs]) if theirs in found else None

    mujoco, bullet = "Humanoid-v5", "HumanoidBulletEnv-v0"
    return report(
        {
            "targets": [
                target(f"real-time factor of one core, G1-29 ÷ {mujoco}", ratio("g1", mujoco), "", at_least=0.9),
                target("the same, stretch", ratio("g1", mujoco), "", at_least=1.2),
                target(f"G1 legs ÷ {mujoco}", ratio("g1_legs", mujoco), "", at_least=1.6),
                target(f"G1-29 ÷ {bullet}", ratio("g1", bullet), "", at_least=1.5),
            ],
            "real_time_factor": {name: summary(values) for name, values in found.items()},
            "steps_an_episode": {name: runner.steps / max(1, runner.episodes) for name, runner in runners.items()},
            "step_s": {name: runner.timestep for name, runner in runners.items()},
            "steps_a_second": {name: statistics.median(found[name]) / r.timestep for name, r in runners.items()},
            "skipped": skipped,
        }
    )


if __name__ == "__main__":
    main()
