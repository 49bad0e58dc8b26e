"""Tasks and environments by name."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from training_ground.configs.errors import SimulationError, unknown
from training_ground.envs.catalog import NAMESPACE, task_ids, task_modules
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.task import Task

__all__ = ["make", "task", "task_ids", "tasks"]


@functools.cache
def tasks() -> dict[str, type[Task]]:
    """Task classes by name, sorted.

    Raises:
        SimulationError: A task's file does not hold the class that its name promises.
    """
    found: dict[str, type[Task]] = {}
    for name, module_name in task_modules().items():
        value = getattr(importlib.import_module(module_name), name, None)
        if not (isinstance(value, type) and issubclass(value, Task) and value.id == name):
            raise SimulationError(f"{module_name}: must hold a Task named {name} with id = '{name}'")
        found[name] = value
    return found


def task(name: str) -> type[Task]:
    """Find a task by its id, with or without namespace and version; upper and lower case count as the same.

    Raises:
        SimulationError: There is none; the nearest name is offered.
    """
    short = name.removeprefix(f"{NAMESPACE}/").removesuffix("-v0")
    for known, found in tasks().items():
        if known.lower() == short.lower():
            return found
    raise SimulationError(unknown("task", short, tasks()))


def make(name: str, **options: Any) -> HumanoidEnv:
    """Make an environment without Gymnasium's wrappers.

    Args:
        name: Task id, such as `Stand` or `TrainingGround/Stand-v0`.
        **options: As `HumanoidEnv` takes them.
    """
    return HumanoidEnv(task(name), **options)
