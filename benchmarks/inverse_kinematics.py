"""How many hand poses inverse kinematics reaches, how exactly, and how long it takes.

The poses are those of joint angles drawn anywhere within the limits, so each can be reached; the search begins at the
default pose and knows nothing of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from _measure import clock, quick, report, summary, target

from training_ground.agents.experts.inverse_kinematics import solve
from training_ground.assets.catalog import load_model, robot_names
from training_ground.assets.kinematics import Chain


def measure(chain: Chain, count: int) -> dict[str, Any]:
    """Solve poses; shares of those reached and of solutions beyond a joint limit, and the time of each, s."""
    generator = np.random.default_rng(0)
    lower, upper = np.maximum(chain.lower, -np.pi), np.minimum(chain.upper, np.pi)
    times, reached, broken = [], 0, 0
    for _ in range(count):
        goal = chain.pose(generator.uniform(lower, upper))
        start = clock()
        solution = solve(chain, goal)
        times.append(clock() - start)
        reached += solution.reached
        broken += bool(((solution.angles < chain.lower) | (solution.angles > chain.upper)).any())
    return {"reached": reached / count, "beyond_limits": broken / count, "seconds": times}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    count = 20 if quick(argv, __doc__) else 200
    found = {}
    for robot in robot_names():
        model = load_model(robot)
        for hand in model.hands:
            found[f"{robot}, {hand.side} arm"] = measure(Chain(model, hand.frame, model.groups["arms"]), count)
    worst = min(found, key=lambda name: found[name]["reached"])
    slowest = max(found, key=lambda name: statistics.median(found[name]["seconds"]))
    beyond = max(f["beyond_limits"] for f in found.values())
    goals = f"{count} hand poses, 1 mm and 1°"
    return report(
        {
            "targets": [
                target(f"{goals}: reached by {worst}, the worst", found[worst]["reached"], "", at_least=0.95),
                target("solutions beyond a joint limit", beyond, "", at_most=0),
                target(
                    f"median time of a pose: {slowest}, the slowest",
                    statistics.median(found[slowest]["seconds"]) * 1e3,
                    "ms",
                    at_most=10.0,
                ),
            ],
            "arms": {
                name: {"reached": f["reached"], "time_ms": summary(f["seconds"], 1e3)} for name, f in found.items()
            },
        }
    )


if __name__ == "__main__":
    main()
