"""Task files by name: those of `envs/tasks`, then those in each plugin's folder `tasks`; nothing heavy is imported.

A plugin is an entry point in the group `training_ground.plugins` that names a package. A task's id is its file's name
in camel case: `pick_place.py` holds `PickPlace`, which Gymnasium knows as `TrainingGround/PickPlace-v0`.
"""

from __future__ import annotations

import functools
import importlib.util
import warnings
from importlib.metadata import entry_points
from pathlib import Path

import gymnasium

NAMESPACE = "TrainingGround"
PLUGIN_GROUP = "training_ground.plugins"


def _package_folders() -> list[tuple[str, Path]]:
    """Packages of tasks, ours first: (import name, folder)."""
    found = [("training_ground.envs.tasks", Path(__file__).parent / "tasks")]
    for entry in entry_points(group=PLUGIN_GROUP):
        try:
            spec = importlib.util.find_spec(entry.module)
        except ImportError as problem:  # a plugin's fault must not take our own tasks away
            warnings.warn(f"plugin '{entry.name}': its tasks are not there: {problem}", stacklevel=2)
            continue
        for place in (spec.submodule_search_locations or ()) if spec else ():
            found.append((f"{entry.module}.tasks", Path(place) / "tasks"))
    return found


@functools.cache
def task_modules() -> dict[str, str]:
    """Import name of each task's module by the task's name, sorted; a plugin's task cannot replace one of ours."""
    found: dict[str, str] = {}
    for package, folder in _package_folders():
        for path in folder.glob("*/*.py"):
            if not path.name.startswith("_"):
                name = "".join(part.capitalize() for part in path.stem.split("_"))
                found.setdefault(name, f"{package}.{path.parent.name}.{path.stem}")
    return dict(sorted(found.items()))


def task_ids() -> list[str]:
    """Gymnasium ids of all tasks, sorted."""
    return [f"{NAMESPACE}/{name}-v0" for name in task_modules()]


def register_ids() -> None:
    """Tell Gymnasium of every task."""
    for identifier in task_ids():
        if identifier not in gymnasium.registry:
            gymnasium.register(
                identifier, entry_point="training_ground.envs.registration:make", kwargs={"name": identifier}
            )
