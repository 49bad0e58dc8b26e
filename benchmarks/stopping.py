"""Emergency stops of robots that reach at random: time and way of a hand until a stable stop."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from _measure import quick, report, target

from training_ground.envs.registration import make
from training_ground.envs.safety.options import SafetyOptions

ROBOTS = ("g1_dex3", "g1_grippers")
SPEEDS = (0.0, 0.5, 1.0, 1.5, math.inf)
"""m/s of the faster hand: the classes in which stops are counted."""
REACH = 0.3
"""Size of the actions."""
RAMP = 25
"""Control steps in which they are reached; a stop comes after 10 to 24."""


def stops(robot: str, count: int) -> list[tuple[float, float | None, float | None]]:
    """Speed of the faster hand, m/s, and time, s, and distance, m, of as many stops; None where one found no rest."""
    env = make("PressButton", robot=robot, safety={"after_emergency_stop": "hold"}, episode_length_s=60.0)
    generator, found = np.random.default_rng(0), []
    monitor = env.task.monitor
    assert monitor is not None
    for seed in range(count):
        env.reset(seed=seed)
        goal = REACH * generator.uniform(-1, 1, env.action.shape)
        for k in range(int(generator.integers(10, RAMP))):
            env.step((0.5 - 0.5 * math.cos(math.pi * k / RAMP)) * goal.astype(np.float32))
        hands = [env.robot.frame(hand.grip or hand.frame).linear_velocity for hand in env.model.hands]
        monitor.emergency_stop()
        stop = monitor.watched.stop
        while stop is not None and stop.time is None and stop.elapsed < 2.0:
            env.step(np.zeros_like(env.action))
        if stop is not None:
            found.append((max(math.hypot(*v) for v in hands), stop.time, stop.distance))
    env.close()
    return found


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    count = 8 if quick(argv, __doc__) else 60
    assumed = SafetyOptions().stopping_s
    rows, shares = [], []
    for robot in ROBOTS:
        measured = stops(robot, count)
        within = sum(time is not None and time <= assumed for _, time, _ in measured)
        shares.append(target(f"stops within {assumed:g} s, {robot}", within / len(measured), "", at_least=0.95))
        for low, high in pairwise(SPEEDS):
            some = [(t, d) for v, t, d in measured if low <= v < high and t is not None and d is not None]
            if some:
                times, ways = zip(*some, strict=True)
                rows.append(
                    {
                        "robot": robot,
                        "hand_m_per_s": [low, high if math.isfinite(high) else None],
                        "stops": len(some),
                        "time_s": {"median": statistics.median(times), "most": max(times)},
                        "distance_m": {"median": statistics.median(ways), "most": max(ways)},
                    }
                )
    return report({"targets": shares, "stops": rows})


if __name__ == "__main__":
    main()
