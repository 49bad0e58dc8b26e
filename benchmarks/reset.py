"""Time of a reset, after episodes that ended in a fall, with and without randomisation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from _measure import clock, quick, report, summary, target

from training_ground.envs.randomisation import default_noise, default_randomisation
from training_ground.envs.registration import make

CASES: dict[str, dict[str, Any]] = {
    "Stand, g1": {"name": "Stand", "robot": "g1"},
    "Stand, g1, randomised": {"name": "Stand", "robot": "g1"},
    "Stand, g1_legs": {"name": "Stand", "robot": "g1_legs"},
    "Reach, g1, mounted": {"name": "Reach", "robot": "g1", "stance": "mounted"},
}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    repeats = 60 if quick(argv, __doc__) else 400
    times: dict[str, list[float]] = {}
    for case, options in CASES.items():
        if case.endswith("randomised"):
            options = {**options, "randomisation": default_randomisation(), "noise": default_noise()}
        env = make(**options)
        actions = np.random.default_rng(0).uniform(-1, 1, (8, len(env.model.joint_names))).astype(np.float32)
        found = []
        for seed in range(repeats + 5):
            start = clock()
            env.reset(seed=seed)
            found.append(clock() - start)
            for action in actions:
                if env.step(action)[2]:
                    break
        times[case] = found[5:]
        env.close()
    own = statistics.median(times["Stand, g1"]) * 1e3
    return report(
        {
            "targets": [target("reset, Stand, G1-29", own, "ms", at_most=0.5)],
            "reset_ms": {case: summary(values, 1e3) for case, values in times.items()},
        }
    )


if __name__ == "__main__":
    main()
