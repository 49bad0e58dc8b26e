"""What every benchmark shares: alternating rounds, medians, targets, one JSON object.

Times are CPU time of the process, all threads together, unless a name says `wall`: what other processes do there
then costs the caches and not the clock, and "one core" means what it says. Candidates that are compared take turns, in
an order that alternates, so that a machine that slows down slows all of them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

clock = time.process_time


def quick(argv: Sequence[str] | None, description: str | None) -> bool:
    """Whether `--quick` was given: fewer repetitions, numbers that show the order of magnitude."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    return bool(parser.parse_args(argv).quick)


def alternate(candidates: Mapping[str, Callable[[], float]], rounds: int, warm: int = 1) -> dict[str, list[float]]:
    """Let candidates take turns: each call measures one round and returns its number.

    Args:
        candidates: Name → what measures it once.
        rounds: Numbers wanted of each.
        warm: Rounds before, whose numbers are dropped.
    """
    found: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates)
    for count in range(-warm, rounds):
        for name in order if count % 2 else reversed(order):
            number = candidates[name]()
            if count >= 0:
                found[name].append(number)
    return found


def seconds(call: Callable[[], Any]) -> float:
    """CPU seconds of one call."""
    start = clock()
    call()
    return clock() - start


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Median over rounds of one round's ratio: both of a round ran next to each other."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def summary(values: Sequence[float], scale: float = 1.0) -> dict[str, float]:
    """Median, and the quarters around it."""
    low, middle, high = (
        statistics.quantiles([v * scale for v in values], n=4) if len(values) > 1 else [values[0] * scale] * 3
    )
    return {"median": middle, "quarter": low, "three_quarters": high, "rounds": len(values)}


def target(
    what: str, value: float | None, unit: str, *, at_least: float | None = None, at_most: float | None = None
) -> dict[str, Any]:
    """One row of the table that `tg bench` prints; a value of None is not met."""
    low = -float("inf") if at_least is None else at_least
    high = float("inf") if at_most is None else at_most
    bound = {"at_most": at_most} if at_least is None else {"at_least": at_least}
    return {"what": what, "value": value, "unit": unit, **bound, "met": value is not None and low <= value <= high}


def machine() -> dict[str, Any]:
    """Where the numbers come from."""
    packages = ("training-ground", "pybullet", "numpy", "gymnasium", "mujoco", "pybullet-envs-gymnasium", "onnxruntime")
    versions = {}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "python": platform.python_version(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "versions": versions,
    }


def report(result: dict[str, Any]) -> dict[str, Any]:
    """Print the JSON object and return it."""
    result = {**result, "machine": machine()}
    print(json.dumps(result, indent=2))
    return result
