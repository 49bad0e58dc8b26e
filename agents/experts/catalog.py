"""Experts by task: the files of `agents/experts`, then those in each plugin's folder `experts`."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.agents.experts.expert import Expert
from training_ground.configs.errors import AgentError, unknown
from training_ground.envs.catalog import task_modules
from training_ground.envs.env import HumanoidEnv

_log = logging.getLogger("training_ground.expert")


def expert_names() -> list[str]:
    """Return the tasks that have an expert, sorted."""
    return [task for task in task_modules() if _module(task) is not None]


def find_expert(task: str) -> type[Expert]:
    """Return the expert of a task, a class named after it.

    Raises:
        AgentError: It has none; the nearest task that has one is offered.
    """
    module = _module(task)
    if module is None:
        raise AgentError(unknown("expert for task", task, expert_names()))
    found = getattr(importlib.import_module(module), task, None)
    if not (isinstance(found, type) and issubclass(found, Expert)):
        raise AgentError(f"{module}: must hold an Expert named {task}")
    return found


def _module(task: str) -> str | None:
    """Import name of the expert's module: ours, or that in the folder `experts` of the plugin that has the task."""
    home, _, file = task_modules().get(task, "").rpartition(".")
    package = home.split(".tasks.")[0]
    for folder in ("training_ground.agents.experts", f"{package}.experts"):
        name = f"{folder}.{file}"
        try:
            if file and importlib.util.find_spec(name) is not None:
                return name
        except ModuleNotFoundError:
            continue
    return None


class TaskExpert:
    """The policy `expert`: plays the scripted expert of whatever task it is put before."""

    name = "expert"

    def __init__(self) -> None:
        self._expert: Expert | None = None
        self._told = False

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Begin an episode with the task's expert.

        Raises:
            AgentError: The task has none, or the environment's actions are not joint positions.
        """
        inner = env.unwrapped
        if not isinstance(inner, HumanoidEnv):
            raise AgentError(f"policy 'expert': plays tasks of the training ground, not {env}")
        kind = find_expert(inner.task.id)
        if not isinstance(self._expert, kind):
            self._expert = kind()
        self._expert.reset(env)
        self._told = False

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the expert's action; where it gives up, the log says why, once an episode."""
        if self._expert is None:
            raise AgentError("policy 'expert': reset(env) must come before act(observation)")
        action = self._expert.act(observation)
        if self._expert.trouble and not self._told:
            self._told = True
            env = self._expert.env
            _log.warning("%s, seed %d: the expert gives up: %s", env.task.id, env.episode_seed, self._expert.trouble)
        return action

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of an episode goes to another process."""
        return {"_expert": None, "_told": False}
