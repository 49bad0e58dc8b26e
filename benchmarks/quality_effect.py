"""What the quality gate's filtering does to success: the same policy learned from demonstrations as they were recorded,
from the same with faults in a third of them, and from what the gate lets pass of those.

The faults are such as happen where people and wires are: an encoder with an offset, arms that are wired the wrong way
round, actions that are stamped late, a trembling hand, a recording that begins too early. They are in what a policy
learns from, observations and actions, and in the states beside. Success is of 200 unseen seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _measure import report, target
from numpy.typing import NDArray

from training_ground.agents import training
from training_ground.agents.policy import load_policy
from training_ground.agents.recording import record
from training_ground.agents.stepping import full_id
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.quality.gate import check, load_limits
from training_ground.datasets.store import Store

Columns = dict[str, NDArray[Any]]
Fault = Callable[[Columns, Sequence[str], np.random.Generator], None]

ANGLES, SPEEDS, ACTIONS = (
    ("joint_angle", "joint_position"),
    ("joint_speed", "joint_velocity"),
    ("action", "previous_action"),
)
FIRST_SEED = 1_001_000
SHARE = 1 / 3
"""Of the demonstrations that get a fault."""


def encoder_offset(c: Columns, joints: Sequence[str], generator: np.random.Generator) -> None:
    """One arm joint reads 0.3 rad too much."""
    joint = generator.choice([i for i, name in enumerate(joints) if "shoulder" in name or "elbow" in name])
    for name in ANGLES:
        c[name][:, joint] += 0.3


def arms_swapped(c: Columns, joints: Sequence[str], generator: np.random.Generator) -> None:
    """What the left arm does is read as the right one's, and the other way round."""
    other = {"left": "right", "right": "left"}
    order = [
        joints.index(other[n.split("_")[0]] + n[n.index("_") :]) if n.split("_")[0] in other else i
        for i, n in enumerate(joints)
    ]
    for name in (*ANGLES, *SPEEDS):
        c[name][:] = c[name][:, order]


def late_actions(c: Columns, joints: Sequence[str], generator: np.random.Generator) -> None:
    """Actions are stamped 0.2 s late."""
    for name in ACTIONS:
        c[name][10:] = c[name][:-10].copy()
        c[name][:10] = c[name][10]
    c["action"][-1] = 0


def trembling_hand(c: Columns, joints: Sequence[str], generator: np.random.Generator) -> None:
    """Actions have noise that the robot is too slow to follow."""
    c["action"][:-1] += generator.uniform(-0.3, 0.3, c["action"][:-1].shape).astype(np.float32)
    np.clip(c["action"], -1, 1, out=c["action"])
    c["previous_action"][1:] = c["action"][:-1]


def early_begin(c: Columns, joints: Sequence[str], generator: np.random.Generator) -> None:
    """Two seconds of standing still before anything happens."""
    for name, values in dict(c).items():
        c[name] = np.concatenate([np.repeat(values[:1], 100, axis=0), values])
    c["action"][:100] = 0
    c["previous_action"][:100] = 0
    c["timestamp_ns"] = np.arange(len(c["action"])) * 20_000_000


FAULTS: tuple[Fault, ...] = (encoder_offset, arms_swapped, late_actions, trembling_hand, early_begin)


def spoiled(store: Store, numbers: Sequence[int], path: Path) -> dict[int, str]:
    """Write the episodes with a fault in every third of them, all equally often; say which has which, by number."""
    generator, found = np.random.default_rng(0), dict[int, str]()
    chosen = generator.permutation(len(numbers))[: round(SHARE * len(numbers))].tolist()
    new = Store.create(path, store.schema)

    def episodes() -> Any:
        for place, number in enumerate(numbers):
            episode = store.read(number)
            if place in chosen:
                fault = FAULTS[chosen.index(place) % len(FAULTS)]
                columns = {name: values.copy() for name, values in episode.columns.items()}
                fault(columns, store.schema.joint_names, generator)
                found[place] = fault.__name__
                metadata = episode.metadata.model_copy(update={"length": len(columns["action"]) - 1})
                episode = Episode(metadata, columns)
            yield dataclasses.replace(episode, number=None)

    new.extend(episodes())
    return found


def passing(store: Store, path: Path) -> set[int]:
    """Write what the gate lets pass; return the numbers that it does not."""
    preset, limits = "default", load_limits("default")[1]
    good = {one.number for one in check(store, limits, preset).episodes if one.verdict == "pass"}
    Store.create(path, store.schema).extend(
        dataclasses.replace(store.read(number), number=None) for number in sorted(good)
    )
    return set(store.episodes()) - good


def learned(preset: str, data: Path, folder: Path, name: str, updates: int | None, episodes: int) -> dict[str, Any]:
    """Success of a policy learned from a dataset."""
    overrides = [f"bc.datasets=['{data}']", f"eval.episodes={episodes}", f"eval.seed={FIRST_SEED}"]
    overrides += [f"total_steps={updates}"] if updates else []
    run = training.start(preset, overrides, name=name, root=folder)
    assert run.evaluation is not None
    found = run.evaluation.summary()
    return {"successes": found["successes"], "interval": found["wilson_95"], "seconds": round(run.seconds)}


def measure(
    task: str, preset: str, count: int, folder: Path, updates: int | None, episodes: int, **options: Any
) -> dict[str, Any]:
    """The effect on one task.

    Args:
        task, preset: What is learned, and how.
        count: Demonstrations.
        folder: Where those are kept, or looked for.
        updates: Of each policy; the preset's where absent.
        episodes: Unseen ones.
        options: Of the environment.
    """
    path = folder / task
    record(load_policy("expert"), full_id(task), options, range(count), path)
    source = Store.open(path)
    numbers = [n for n in source.episodes() if (m := source.metadata(n)).success and m.seed < count]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        work = Path(scratch)
        whole = work / "whole"
        Store.create(whole, source.schema).extend(dataclasses.replace(source.read(n), number=None) for n in numbers)
        faults = spoiled(source, numbers, work / "spoiled")
        refused = passing(Store.open(work / "spoiled"), work / "passed")
        seen = {
            fault.__name__: [
                sum(number in refused for number, name in faults.items() if name == fault.__name__),
                sum(name == fault.__name__ for name in faults.values()),
            ]
            for fault in FAULTS
        }
        names = ("whole", "spoiled", "passed")
        success = {name: learned(preset, work / name, work / "runs", name, updates, episodes) for name in names}
    return {
        "demonstrations": len(numbers),
        "spoiled": len(faults),
        "refused": {**seen, "good": [len(refused - set(faults)), len(numbers) - len(faults)]},
        "success": success,
        "episodes": episodes,
    }


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few demonstrations and updates")
    parser.add_argument("--data", type=Path, help="where demonstrations are kept from one run to the next")
    parser.add_argument("--task", choices=["Reach", "PressButton"], action="append", help="only this one")
    given = parser.parse_args(argv)
    small = given.quick
    tasks = given.task or (["Reach"] if small else ["Reach", "PressButton"])
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.data or Path(scratch)
        found = {}
        if "Reach" in tasks:
            sizes = (20, folder, 20, 3) if small else (1000, folder, None, 200)
            found["Reach"] = measure("Reach", "reach_bc", *sizes, robot="g1", episode_length_s=3.0)
        if "PressButton" in tasks:
            sizes = (20, folder, 20, 3) if small else (1200, folder, None, 200)
            found["PressButton"] = measure("PressButton", "press_button_bc", *sizes, robot="g1_dex3")
    gained = {
        task: (one["success"]["passed"]["successes"] - one["success"]["spoiled"]["successes"]) / one["episodes"]
        for task, one in found.items()
    }
    targets = [
        target(f"{task}: success that the gate brings back", gain, "1", at_least=0.0) for task, gain in gained.items()
    ]
    return report({"targets": targets, **found})


if __name__ == "__main__":
    main()
