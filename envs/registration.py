"""Task files become Gymnasium ids: walked, so that a new task is one new file."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

import gymnasium

from training_ground.configs.errors import SimulationError, unknown
from training_ground.envs import tasks as task_package
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.task import Task

NAMESPACE = "TrainingGround"
PLUGINS = "training_ground.plugins"


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not found.ispkg:
            yield importlib.import_module(found.name)


@functools.cache
def tasks() -> dict[str, type[Task]]:
    """Task classes by id, sorted: those of `envs/tasks/` and those that plugins bring."""
    found: list[type[Task]] = []
    for module in _modules(task_package):
        found += [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__
        ]
    for entry in entry_points(group=PLUGINS):
        plugin = entry.load()
        if isinstance(plugin, type) and issubclass(plugin, Task):
            found.append(plugin)
    return {task.id: task for task in sorted(found, key=lambda task: task.id)}


def task_ids() -> list[str]:
    """Gymnasium ids of all tasks, sorted."""
    return [f"{NAMESPACE}/{name}-v0" for name in tasks()]


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


def register_envs() -> None:
    """Tell Gymnasium of every task; called by its plugin mechanism when it is imported."""
    for identifier in task_ids():
        if identifier not in gymnasium.registry:
            gymnasium.register(
                identifier,
                entry_point="training_ground.envs.registration:make",
                kwargs={"name": identifier},
                nondeterministic=False,
            )
