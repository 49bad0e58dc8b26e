"""Growth of the resident memory over 500,000 control steps with resets (20,000 with --quick)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _measure import quick, report, target

from training_ground.envs.randomisation import default_noise, default_randomisation
from training_ground.envs.registration import make

PAGE = 4096


def resident() -> float:
    """Resident memory of this process, MB."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * PAGE / 1e6


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    short = quick(argv, __doc__)
    steps, warm = (20_000, 4_000) if short else (500_000, 20_000)
    env = make("Stand", robot="g1", randomisation=default_randomisation(), noise=default_noise())
    actions = np.random.default_rng(0).uniform(-1, 1, (997, len(env.model.joint_names))).astype(np.float32)
    env.reset(seed=0)
    readings, resets, started = [], 0, time.monotonic()
    for count in range(warm + steps):
        if count >= warm and (count - warm) % (steps // 20) == 0:
            readings.append(resident())
        _, _, terminated, truncated, _ = env.step(actions[count % 997])
        if terminated or truncated:
            env.reset()
            resets += 1
        if count % 1000 == 0:
            env.restore(env.save())  # snapshots must not pile up either
    readings.append(resident())
    growth = 100 * (readings[-1] - readings[0]) / readings[0]
    env.close()
    return report(
        {
            "targets": [target(f"memory over {steps} steps with resets, growth", growth, "%", at_most=1.0)],
            "resident_mb": [round(value, 2) for value in readings],
            "resets": resets,
            "wall_s": round(time.monotonic() - started, 1),
        }
    )


if __name__ == "__main__":
    main()
