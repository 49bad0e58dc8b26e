"""A cell with nothing but a person, and a task in it that is never done: what the tests of the safety monitor share."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml

from training_ground.envs.cell_task import CellTask
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.task import Outcome

FACING = [0.0, 0.0, 3.14159265]
"""rpy of one who looks at the robot."""


class Bay(CellTask):
    """Nothing to do."""

    id = "Bay"
    instruction = "Wait."
    terms = ("nothing",)
    failures: ClassVar[tuple[str, ...]] = ("unsafe",)
    episode_length_s = 20.0

    def evaluate(self) -> Outcome:
        """Say that nothing is done."""
        return Outcome({"nothing": 0.0}, False)


def bay(folder: Path, person: dict[str, Any] | None = None, *, cell: dict[str, Any] | None = None, **options: Any
        ) -> HumanoidEnv:  # fmt: skip
    """Make an environment around a person, given as an item's fields; without one there is only a bench far away."""
    items: dict[str, Any] = {"bench": {"part": "bench", "at": [0, -2.5, 0], "fixed": True}}
    if person is not None:
        items["person"] = {"part": "person", "at": [1.2, 0, 0], "rpy": FACING, "fixed": True, **person}
    plain = {"name": "bay", "title": "Bay", "sectors": ["service"], "items": items, **(cell or {})}
    path = folder / "bay.yaml"
    path.write_text(yaml.safe_dump(plain, sort_keys=False), encoding="utf-8")
    return HumanoidEnv(type("Bay", (Bay,), {"cell": str(path)}), **options)


def still(env: HumanoidEnv) -> np.ndarray:
    """The action that holds the default pose."""
    return np.zeros(env.action_space.shape or (), np.float32)
