"""The scripted experts: how often each does its task over unseen seeds, how long it takes, how many episodes a minute.

python benchmarks/experts.py                          every task, nominal tier, 100 seeds each
python benchmarks/experts.py --tiers --task BinPick   all tiers of one
python benchmarks/experts.py --tier tight --tier flow --episodes 20 --out docs/results/experts/experts.json
"""

from __future__ import annotations

import argparse
import json
import resource
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _measure import report, target

from training_ground.agents.evaluation import Evaluation, evaluate
from training_ground.agents.experts.catalog import expert_names
from training_ground.agents.files import write_atomic
from training_ground.agents.policy import load_policy
from training_ground.agents.statistics import wilson_interval
from training_ground.assets.layout import TIERS
from training_ground.assets.library import load_cell
from training_ground.envs.cell_task import CellTask
from training_ground.envs.registration import task

FIRST_SEED = 1_000_000
"""No training has seen it, nor those that follow."""
WORKERS = CORES = 2


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one task, two seeds")
    parser.add_argument("--task", action="append", help="only this one; may be given several times")
    parser.add_argument("--tier", action="append", choices=TIERS, help="only this one; may be given several times")
    parser.add_argument("--tiers", action="store_true", help="every tier, not only the nominal one")
    parser.add_argument("--robot", help="another robot than the task's own")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes; 0 measures in this one")
    parser.add_argument("--out", type=Path, help="also put each row into this file, in the place of an older one")
    given = parser.parse_args(argv)
    stations = [name for name in expert_names() if issubclass(task(name), CellTask)]
    names = given.task or (["PressButton"] if given.quick else stations)
    rows: list[dict[str, Any]] = []
    for name in names:
        kind = task(name)
        assert issubclass(kind, CellTask)
        every = ["nominal", *load_cell(kind.cell).tiers]
        for tier in given.tier or (every if given.tiers else ["nominal"]):
            kwargs = {"tier": tier} | ({"robot": given.robot} if given.robot else {})
            seeds = range(FIRST_SEED, FIRST_SEED + (2 if given.quick else given.episodes))
            workers, before = 0 if given.quick else given.workers, cpu_seconds()
            done = evaluate(load_policy("expert"), f"TrainingGround/{name}-v0", kwargs, seeds, workers=workers)
            rows.append(row(name, tier, done, cpu_seconds() - before))
            if given.out is not None:
                put(given.out, rows[-1])
    return report(
        {
            "targets": [
                target(f"{r['task']}, {r['tier']}", r["success_rate"], "of 1", at_least=0.95)
                for r in rows
                if r["tier"] == "nominal"
            ],
            "experts": rows,
        }
    )


def put(path: Path, measured: dict[str, Any]) -> None:
    """Put a row into a file of rows, in the place of an older one of the same task, tier and robot; sorted."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    rows = [r for r in old if any(r[key] != measured[key] for key in ("task", "tier", "robot"))] + [measured]
    rows.sort(key=lambda r: (r["task"], TIERS.index(r["tier"]), r["robot"]))
    write_atomic(path, json.dumps(rows, indent=1) + "\n")


def cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in found)


def row(name: str, tier: str, done: Evaluation, spent: float) -> dict[str, Any]:
    """Sum up the episodes of a task's expert in a tier; `spent` in CPU seconds."""
    records = done.episodes
    successes = sum(r.success for r in records)
    low, high = wilson_interval(successes, len(records))
    cycles = [r.metrics["cycle_time"] for r in records if r.success]
    return {
        "task": name,
        "tier": tier,
        "robot": done.environment["robot"],
        "config_hash": done.environment["config_hash"],
        "model_hash": done.environment["model_hash"],
        "episodes": len(records),
        "first_seed": FIRST_SEED,
        "successes": successes,
        "success_rate": successes / len(records),
        "wilson_95": [round(low, 4), round(high, 4)],
        "cycle_time_s": {
            "median": round(float(np.median(cycles)), 2) if cycles else None,
            "p95": round(float(np.percentile(cycles, 95)), 2) if cycles else None,
        },
        "failures": dict(Counter(r.failure or "no success" for r in records if not r.success)),
        "failed_seeds": [r.seed for r in records if not r.success],
        "cpu_seconds_per_episode": round(spent / len(records), 2),
        "episodes_per_minute": round(60 * CORES * len(records) / spent, 1),
    }


if __name__ == "__main__":
    main()
