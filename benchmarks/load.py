"""Time to load a compiled robot without visuals: the model from the cache, and the body in the engine."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from _measure import quick, report, seconds, target

from training_ground.assets.catalog import load_model, robot_names
from training_ground.envs.registration import make
from training_ground.envs.world import World


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    repeats = 5 if quick(argv, __doc__) else 25
    found: dict[str, dict[str, float]] = {}
    for robot in robot_names():
        model = load_model(robot)  # compiled here, if it never was
        times: dict[str, list[float]] = {"model": [], "world": [], "body": []}
        for _ in range(repeats):
            times["model"].append(seconds(lambda robot=robot: load_model(robot)))
            worlds: list[World] = []
            times["world"].append(seconds(lambda worlds=worlds: worlds.append(World())))
            times["body"].append(seconds(lambda model=model, worlds=worlds: worlds[0].load(model)))
            worlds[0].close()
        found[robot] = {f"{part}_ms": statistics.median(values) * 1e3 for part, values in times.items()}
        found[robot]["loaded_ms"] = found[robot]["model_ms"] + found[robot]["body_ms"]
    whole = [seconds(lambda: make("Stand", robot="g1").close()) for _ in range(repeats)]
    worst = max(found, key=lambda robot: found[robot]["loaded_ms"])
    return report(
        {
            "targets": [
                target("compiled G1-29 loaded, without visuals", found["g1"]["loaded_ms"], "ms", at_most=50),
                target(f"slowest robot loaded: {worst}", found[worst]["loaded_ms"], "ms", at_most=50),
            ],
            "robots": found,
            "environment_ms": statistics.median(whole) * 1e3,
        }
    )


if __name__ == "__main__":
    main()
