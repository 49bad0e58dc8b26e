"""Make environments from their ids. Imports no torch."""

from __future__ import annotations

from typing import Any

import gymnasium

from training_ground.configs.errors import AgentError
from training_ground.envs.registration import make, task


def full_id(name: str) -> str:
    """Return the full id of a task: `Stand` means `TrainingGround/Stand-v0`.

    Ids that Gymnasium knows stand as they are, also its own form `module:Namespace/Name-v0`, which imports the module:
    a person may write it in a preset or on the command line; a policy bundle cannot hold it.

    Raises:
        SimulationError: The task is unknown; the nearest is offered.
    """
    if ":" in name or (name in gymnasium.registry and not name.startswith("TrainingGround/")):
        return name
    return f"TrainingGround/{task(name).id}-v0"


def make_env(env_id: str, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """Make a task of the training ground, without wrappers, or another environment that Gymnasium knows.

    Raises:
        AgentError: The module that the id names cannot be imported, or does not register the id.
        SimulationError: The task is unknown, or refuses the keyword arguments.
    """
    name = full_id(env_id)
    if name.startswith("TrainingGround/"):
        return make(name, **kwargs)
    try:
        return gymnasium.make(name, disable_env_checker=True, **kwargs)
    except (ImportError, gymnasium.error.Error) as problem:
        raise AgentError(f"task '{name}': {problem}") from problem
