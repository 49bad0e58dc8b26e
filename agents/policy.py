"""Policies: whatever maps an observation to an action. Zero and random live here; `load_policy` finds all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import AgentError, unknown

SHIPPED = Path(__file__).resolve().parent / "policies"
"""Folder of the bundles that ship with the package, one folder each, named `<task>_<robot>`."""

MULTITASK = "multitask.json"
"""A folder that has this file holds a policy for several tasks (`agents/multitask_policy.py`), which runs in numpy."""

RUNTIMES = ("numpy", "onnx")
"""What can run a bundle's network."""


class Policy(Protocol):
    """Maps observations to actions.

    `reset` is called after every reset of the environment, before the first `act`; `act` takes the flat observation
    as the environment returned it, (n,) float32, and returns an action inside the environment's action space.
    """

    name: str

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Begin an episode of `env`; an AgentError says why the policy does not fit it."""
        ...

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the action for one observation."""
        ...


class ZeroPolicy:
    """Always the zero action: hold the default pose, or apply no torque."""

    name = "zero"

    def __init__(self) -> None:
        self._action: NDArray[np.float32] | None = None

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Learn the action's shape."""
        self._action = np.zeros(_action_box(env).shape, dtype=np.float32)

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return zeros."""
        if self._action is None:
            raise AgentError("policy 'zero': reset(env) must come before act(observation)")
        return self._action.copy()


class RandomPolicy:
    """Independent actions: uniform where the action space is bounded, standard normal where it is not.

    The generator starts afresh with every episode from the policy's and the episode's seed, so an episode does not
    depend on those before it.
    """

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self._box: gymnasium.spaces.Box | None = None
        self._generator = np.random.default_rng(seed)

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Start the generator for this episode."""
        self._box = _action_box(env)
        self._generator = np.random.default_rng([self.seed, max(0, int(env.unwrapped.np_random_seed or 0))])

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return a random action."""
        if self._box is None:
            raise AgentError("policy 'random': reset(env) must come before act(observation)")
        if self._box.is_bounded():
            return self._generator.uniform(self._box.low, self._box.high).astype(np.float32)
        action = self._generator.standard_normal(self._box.shape)
        return np.clip(action, self._box.low, self._box.high).astype(np.float32)


def _action_box(env: gymnasium.Env[Any, Any]) -> gymnasium.spaces.Box:
    space = env.action_space
    if not isinstance(space, gymnasium.spaces.Box):
        raise AgentError(f"policies act in a Box action space, not in {space}")
    return space


def shipped_policies() -> list[str]:
    """Return the names of the bundles that ship with the package, such as `stand_g1`."""
    if not SHIPPED.is_dir():
        return []
    return sorted(p.name for p in SHIPPED.iterdir() if (p / "manifest.json").is_file())


def shipped_name(env_id: str, robot: str) -> str:
    """Return the name under which a policy ships: `TrainingGround/Stand-v0` and `g1` make `stand_g1`."""
    task = env_id.rsplit("/", 1)[-1].split("-v")[0]
    return f"{task.lower()}_{robot}"


def load_policy(
    name: str | Path,
    *,
    env_id: str | None = None,
    robot: str | None = None,
    seed: int = 0,
    runtime: str = "numpy",
) -> Policy:
    """Return the policy called `name`.

    Args:
        name: `zero`, `random`, `expert` for the scripted one of whatever task it plays, the name of a shipped bundle
            such as `stand_g1`, `shipped` for the one that belongs to `env_id` and `robot`, or the path of a bundle's
            folder or of a training run.
        env_id: Task id, needed by `shipped`.
        robot: Robot name, needed by `shipped`.
        seed: Seed of the random policy.
        runtime: What runs a bundle's network: `numpy` or `onnx`.

    Raises:
        AgentError: There is no such policy or runtime, or its bundle is damaged.
        ModuleNotFoundError: The runtime is not installed.
    """
    if runtime not in RUNTIMES:
        raise AgentError(unknown("runtime", runtime, RUNTIMES))
    text = str(name)
    if text == "zero":
        return ZeroPolicy()
    if text == "random":
        return RandomPolicy(seed)
    if text == "expert":
        from training_ground.agents.experts.catalog import TaskExpert

        return TaskExpert()
    if text == "shipped":
        if env_id is None or robot is None:
            raise AgentError("policy 'shipped' needs a task and a robot")
        text = shipped_name(env_id, robot)
        if text not in shipped_policies():
            raise AgentError(
                f"no policy ships for {env_id} with robot '{robot}': " + unknown("policy", text, choices())
            )
    folder = bundle_folder(text)
    if (folder / MULTITASK).is_file():
        from training_ground.agents.multitask_policy import load

        return load(folder)
    if runtime == "onnx":
        from training_ground.agents.onnx_runtime import load_onnx

        return load_onnx(folder)
    from training_ground.agents.bundle import load_bundle

    return load_bundle(folder)


def bundle_folder(name: str | Path) -> Path:
    """Return the folder of a bundle, given a shipped one's name, the folder itself or a training run's.

    Raises:
        AgentError: There is none.
    """
    text, path = str(name), Path(name)
    if text in shipped_policies():
        return SHIPPED / text
    if path.is_dir():
        nested = path / "bundle"
        return nested if (nested / "manifest.json").is_file() else path
    if path.exists():
        raise AgentError(f"policy '{path}': a bundle is a folder with manifest.json, not a file")
    raise AgentError(unknown("policy", text, choices()) + ", or the path of a bundle's folder")


def choices() -> list[str]:
    """Return every policy name that `load_policy` knows without a path."""
    return ["zero", "random", "expert", "shipped", *shipped_policies()]
