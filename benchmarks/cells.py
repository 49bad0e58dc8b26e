"""Cells: env.step over the bare physics steps that it contains, and how much faster than real time a robot works.

The scripted expert plays an episode; at even times of it the state is kept. From each run, in turns, ten control steps
of the environment, and as many calls of `stepSimulation` in a tight loop.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pybullet as engine
from _measure import alternate, clock, median_ratio, quick, report, summary, target

from training_ground.agents.policy import load_policy
from training_ground.envs.registration import make

TASKS = ("TrayToTray", "BinPick")
CONTROL_STEPS = 10
STATES = 12


class Bench:
    """One environment, and states from an expert's episode."""

    def __init__(self, task: str) -> None:
        self.env = env = make(task)
        expert = load_policy("expert")
        observation, _ = env.reset(seed=1_000_000)
        expert.reset(env)
        kept, actions, ended = [], [], False
        while not ended:
            kept.append(env.save())
            actions.append(expert.act(np.asarray(observation)))
            observation, _, terminated, truncated, _ = env.step(actions[-1])
            ended = terminated or truncated
        starts = [round(i * (len(kept) - CONTROL_STEPS - 1) / (STATES - 1)) for i in range(STATES)]
        self.rounds = [(kept[i], actions[i : i + CONTROL_STEPS]) for i in starts]
        self.turn = {"env": 0, "bare": 0}

    def _next(self, who: str) -> list[Any]:
        state, actions = self.rounds[self.turn[who] % STATES]
        self.turn[who] += 1
        self.env.restore(state)
        return actions

    def steps(self) -> float:
        """CPU seconds of a control step."""
        actions, step = self._next("env"), self.env.step
        start = clock()
        for action in actions:
            step(action)
        return (clock() - start) / CONTROL_STEPS

    def bare(self) -> float:
        """CPU seconds of the physics steps of a control step, in a tight loop."""
        self._next("bare")
        step, client, count = engine.stepSimulation, self.env.world.client, self.env.config.decimation
        start = clock()
        for _ in range(CONTROL_STEPS * count):
            step(client)
        return (clock() - start) / CONTROL_STEPS


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    rounds = STATES if quick(argv, __doc__) else 5 * STATES
    found: dict[str, Any] = {}
    for task in TASKS:
        bench = Bench(task)
        times = alternate({"env": bench.steps, "bare": bench.bare}, rounds)
        found[task] = {
            "ratio": median_ratio(times["env"], times["bare"]),
            "real_time_factor": bench.env.control_timestep / statistics.median(times["env"]),
            "env_step_us": summary(times["env"], 1e6),
            "bare_us": summary(times["bare"], 1e6),
        }
        bench.env.close()
    targets = []
    for task in TASKS:
        targets.append(target(f"env.step ÷ bare stepSimulation, {task}", found[task]["ratio"], "", at_most=1.3))
        targets.append(target(f"real-time factor, {task}", found[task]["real_time_factor"], "", at_least=3.0))
    return report({"targets": targets, "tasks": found})


if __name__ == "__main__":
    main()
