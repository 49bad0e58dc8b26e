"""Pictures a second: colour, depth and segmentation of the G1 at 84 × 84, and larger ones."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from _measure import quick, report, seconds, target

from training_ground.envs.registration import make

SIZES = ((84, 84), (224, 224), (640, 480))


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    repeats = 8 if quick(argv, __doc__) else 40
    env = make("Stand", robot="g1", visuals=True)
    env.reset(seed=0)
    quiet = np.zeros(len(env.model.joint_names), np.float32)
    x, y, z = env.robot.base.position
    found = {}
    for width, height in SIZES:
        times = []
        for count in range(repeats + 2):
            if env.steps < 20:
                env.step(quiet)  # a robot that moves: nothing of the last picture can be used again
            eye = (x + 1.8, y - 1.2 + 0.01 * count, z + 0.4)
            times.append(
                seconds(lambda e=eye, w=width, h=height: env.world.camera(e, (x, y, z - 0.1), width=w, height=h))
            )
        found[f"{width}x{height}"] = 1 / statistics.median(times[2:])
    env.close()
    return report(
        {
            "targets": [target("RGB-D 84×84 of the G1", found["84x84"], "FPS", at_least=40)],
            "pictures_a_second": found,
        }
    )


if __name__ == "__main__":
    main()
