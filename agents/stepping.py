"""Inside a training worker: environments that step in shared memory. Imports no torch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.agents.episodes import EpisodeTally
from training_ground.agents.seeds import next_training_seed, training_seeds
from training_ground.agents.workers import CONTEXT, reply
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


@dataclass
class Arrays:
    """Views of a `Block`: first axis the environment."""

    action: NDArray[np.float32]
    observation: NDArray[np.float32]
    terminal: NDArray[np.float32]
    reward: NDArray[np.float32]
    done: NDArray[np.uint8]


class Block:
    """Shared memory of a vector environment; anonymous, so that a killed process leaves nothing behind."""

    def __init__(self, environments: int, observation_size: int, action_size: int) -> None:
        self._sizes = (environments, observation_size, action_size)
        self._buffers = {
            "action": CONTEXT.RawArray("f", environments * action_size),
            "observation": CONTEXT.RawArray("f", environments * observation_size),
            "terminal": CONTEXT.RawArray("f", environments * observation_size),
            "reward": CONTEXT.RawArray("f", environments),
            "done": CONTEXT.RawArray("B", environments),
        }

    def arrays(self) -> Arrays:
        """Return numpy views; in another process they see the same memory."""
        count = self._sizes[0]
        types = {"done": np.uint8}
        views = {
            name: np.frombuffer(buffer, dtype=types.get(name, np.float32)).reshape(count, -1)  # pyright: ignore
            for name, buffer in self._buffers.items()
        }
        return Arrays(**{**views, "reward": views["reward"][:, 0], "done": views["done"][:, 0]})


class Lane:
    """One environment of a worker: steps, counts, and begins the next episode by itself."""

    def __init__(self, env: gymnasium.Env[Any, Any], generator: np.random.Generator) -> None:
        self.env = env
        self._generator = generator
        self._tally = EpisodeTally()
        self._began = time.monotonic()

    def reset(self) -> NDArray[np.float32]:
        """Begin an episode with the next training seed."""
        self._tally, self._began = EpisodeTally(), time.monotonic()
        return self.env.reset(seed=next_training_seed(self._generator))[0]

    def step(self, arrays: Arrays, i: int) -> dict[str, Any] | None:
        """Step environment `i` of `arrays`; return what stable-baselines3 wants to know at an episode's end."""
        observation, reward, terminated, truncated, info = self.env.step(arrays.action[i].copy())
        self._tally.add(float(reward), info)
        arrays.reward[i] = reward
        done = terminated or truncated
        arrays.done[i] = done
        end = None
        if done:
            arrays.terminal[i] = observation
            end = self._end(terminated, truncated, info)
            observation = self.reset()
        arrays.observation[i] = observation
        return end

    def _end(self, terminated: bool, truncated: bool, info: dict[str, Any]) -> dict[str, Any]:
        tally = self._tally
        success = bool(info.get("success", False))
        seconds = time.monotonic() - self._began
        return {
            "TimeLimit.truncated": truncated and not terminated,
            "episode": {"r": tally.total_reward, "l": tally.steps, "t": seconds},
            "is_success": success,
            "outcome": {"success": success, "failure": info.get("failure"), "metrics": tally.metrics()},
        }


def serve_environments(
    connection: Connection,
    env_id: str,
    kwargs: dict[str, Any],
    block: Block,
    first: int,
    count: int,
    seed: int,
    stream: int,
) -> None:
    """Serve environments `first` to `first + count - 1` of `block` until the pipe closes."""
    lanes = [Lane(make_env(env_id, kwargs), training_seeds(seed, stream, first + k)) for k in range(count)]
    arrays = block.arrays()
    reply(connection, None)
    while True:
        message = connection.recv()
        ends: dict[int, dict[str, Any]] = {}
        for k, lane in enumerate(lanes):
            if message == "reset":
                arrays.observation[first + k] = lane.reset()
            else:
                end = lane.step(arrays, first + k)
                if end is not None:
                    ends[first + k] = end
        reply(connection, ends)
