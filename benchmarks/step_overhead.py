"""env.step over the bare physics steps that it contains: G1 with 29 joints, 200 Hz × 4.

Both run from the same kept states of an upright robot, in turns: ten control steps of the environment, against forty
calls of `stepSimulation` in a tight loop and nothing else. A second measure takes the environment's own trajectory: the
physics steps inside it, each timed on its own, with the torques that the robot really had.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pybullet as engine
from _measure import alternate, clock, median_ratio, quick, report, seconds, summary, target

from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make
from training_ground.envs.world import actuator_backend

CONTROL_STEPS = 10


class Bench:
    """One environment and its kept states."""

    def __init__(self, states: int) -> None:
        self.env: HumanoidEnv = make("Stand", robot="g1", push_speed=(0.0, 0.0))
        self.client = self.env.world.client
        generator = np.random.default_rng(0)
        count = self.env.model.default_position.shape
        self.actions = generator.uniform(-0.1, 0.1, (CONTROL_STEPS, *count)).astype(np.float32)
        self.kept = []
        for seed in range(states):
            self.env.reset(seed=seed)
            for action in self.actions[: 2 + seed % 6]:
                self.env.step(action)
            self.kept.append(self.env.save())
        self.turn = {"env": 0, "bare": 0, "inside": 0}

    def _restore(self, who: str) -> None:
        self.env.restore(self.kept[self.turn[who] % len(self.kept)])
        self.turn[who] += 1

    def steps(self) -> float:
        """CPU seconds of a control step."""
        self._restore("env")
        step = self.env.step
        start = clock()
        for action in self.actions:
            step(action)
        return (clock() - start) / CONTROL_STEPS

    def bare(self) -> float:
        """CPU seconds of the physics steps of a control step, in a tight loop."""
        self._restore("bare")
        substeps = self.env.config.decimation
        step, client = engine.stepSimulation, self.client
        start = clock()
        for _ in range(CONTROL_STEPS * substeps):
            step(client)
        return (clock() - start) / CONTROL_STEPS


def inside(states: int) -> float:
    """CPU seconds of the physics steps of a control step on the environment's own trajectory, median."""
    bench = Bench(states)
    spent = [0.0]
    bench.env.world.substeps.close()  # the Python loop, in which each physics step can be timed

    def timed() -> None:
        spent[0] += seconds(lambda: engine.stepSimulation(bench.client))

    bench.env.world.substeps._step = timed
    found = []
    for _ in range(states):
        spent[0] = 0.0
        bench.steps()
        found.append(spent[0] / CONTROL_STEPS)
    bench.env.close()
    return statistics.median(found)


def measure(rounds: int) -> dict[str, Any]:
    """Both numbers for the backend that is in force."""
    bench = Bench(12)
    found = alternate({"env": bench.steps, "bare": bench.bare}, rounds)
    bench.env.close()
    own = inside(12)
    ratio = median_ratio(found["env"], found["bare"])
    return {
        "backend": actuator_backend()[0],
        "ratio": ratio,
        "ratio_on_own_trajectory": statistics.median(found["env"]) / own,
        "env_step_us": summary(found["env"], 1e6),
        "bare_us": summary(found["bare"], 1e6),
    }


def other_backend(arguments: list[str]) -> dict[str, Any]:
    """The same in a process without the compiled substeps."""
    environment = {**os.environ, "TG_ACTUATOR": "numpy"}
    command = [sys.executable, __file__, "--only", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return json.loads(done.stdout[done.stdout.index("{") :])


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--only" in arguments:
        result = measure(12 if "--quick" in arguments else 60)
        print(json.dumps(result))
        return result
    short = quick(arguments, __doc__)
    own = measure(12 if short else 60)
    numpy = other_backend(["--quick"] if short else [])
    return report(
        {
            "targets": [
                target("env.step ÷ bare stepSimulation, G1-29, 200 Hz × 4", own["ratio"], "", at_most=1.25),
                target("the same, stretch", own["ratio"], "", at_most=1.15),
            ],
            "native": own,
            "numpy": numpy,
        }
    )


if __name__ == "__main__":
    main()
