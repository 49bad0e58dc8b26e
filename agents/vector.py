"""Many environments for stable-baselines3: a few processes that hold several environments each.

Arrays cross in shared memory; one message a process and a step starts it, one ends it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from training_ground.agents.stepping import Block, serve_environments
from training_ground.agents.workers import START_TIMEOUT_S, Worker, close_all
from training_ground.configs.errors import AgentError

STEP_TIMEOUT_S = 60.0


class ProcessVecEnv(VecEnv):
    """A stable-baselines3 vector environment over `workers` processes with `envs_per_worker` environments each.

    Each episode starts with its own seed from the training range (`agents/seeds.py`). `infos[i]` is empty but at an
    episode's end: `terminal_observation` (n,), `TimeLimit.truncated`, `episode` (r return, l steps, t seconds),
    `is_success` and `outcome` (success, failure, metrics).

    Args:
        env_id: Task id.
        kwargs: Keyword arguments of the environment.
        workers: Processes.
        envs_per_worker: Environments in each.
        seed: Of the run; with `stream` it decides every episode's seed.
        stream: Steps that the run had done before; a resumed run sees new episodes.
        timeout_s: Longest wait for a step; a process that takes longer is named and ended.
    """

    def __init__(
        self,
        env_id: str,
        kwargs: dict[str, Any],
        *,
        workers: int,
        envs_per_worker: int,
        seed: int = 0,
        stream: int = 0,
        timeout_s: float = STEP_TIMEOUT_S,
    ) -> None:
        observation, action = _spaces(env_id, kwargs)
        total = workers * envs_per_worker
        self._timeout_s = timeout_s
        self._block = Block(total, observation.shape[0], action.shape[0])
        self._arrays = self._block.arrays()
        self._envs_per_worker = envs_per_worker
        self._workers: list[Worker] = []
        self._closed = False
        try:
            for w in range(workers):
                first = w * envs_per_worker
                label = f"worker {w} (environments {first} to {first + envs_per_worker - 1})"
                arguments = (env_id, kwargs, self._block, first, envs_per_worker, seed, stream)
                self._workers.append(Worker(label, serve_environments, arguments))
            for worker in self._workers:
                worker.receive(START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        super().__init__(total, observation, action)

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid or 0 for worker in self._workers]

    def _exchange(self, message: str) -> list[Any]:
        for worker in self._workers:
            worker.send(message)
        return self._collect()

    def _collect(self) -> list[Any]:
        deadline = time.monotonic() + self._timeout_s
        return [worker.receive(max(0.1, deadline - time.monotonic())) for worker in self._workers]

    def reset(self) -> NDArray[np.float32]:
        """Start a new episode in every environment and return the observations (environments, n)."""
        self._exchange("reset")
        return self._arrays.observation.copy()

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Start a step with `actions` (environments, m)."""
        self._arrays.action[:] = actions
        for worker in self._workers:
            worker.send("step")

    def step_wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Return observations, rewards, dones and infos; an ended environment has already begun its next episode.

        Raises:
            AgentError: A worker died or hangs, or an observation or reward is not finite; the message names it.
        """
        ends: list[dict[int, dict[str, Any]]] = self._collect()
        arrays = self._arrays
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for finished in ends:
            for i, end in finished.items():
                infos[i] = {**end, "terminal_observation": arrays.terminal[i].copy()}
        self._check_finite()
        return arrays.observation.copy(), arrays.reward.copy(), arrays.done.astype(bool), infos

    def _check_finite(self) -> None:
        arrays = self._arrays
        if np.isfinite(arrays.observation.sum()) and np.isfinite(arrays.reward.sum()):
            return
        for name in ("observation", "reward"):
            bad = np.argwhere(~np.isfinite(getattr(arrays, name).reshape(self.num_envs, -1)))
            if len(bad):
                env, place = bad[0]
                where = f"number {place} of the observation" if name == "observation" else "the reward"
                raise AgentError(
                    f"environment {env}: {where} is not finite; training stops before it reaches the weights"
                )

    def close(self) -> None:
        """End every worker."""
        if not self._closed:
            self._closed = True
            close_all(self._workers)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Do nothing: the seeds of all episodes were decided when the workers started."""
        return [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return `render_mode`, which is None; nothing else crosses the processes."""
        if attr_name == "render_mode":
            return [None] * self.num_envs
        raise AttributeError(f"'{attr_name}' does not cross the worker processes")

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: nothing crosses the worker processes but actions and what comes back."""
        raise AttributeError(f"'{attr_name}' does not cross the worker processes")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Refuse, as `set_attr`."""
        raise AttributeError(f"'{method_name}' does not cross the worker processes")

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Any = None
    ) -> list[bool]:
        """Return False: the workers count episodes themselves, no wrapper does."""
        return [False] * self.num_envs


def _spaces(env_id: str, kwargs: dict[str, Any]) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Box]:
    """Return the spaces, read from an environment made in this process and closed again."""
    from training_ground.agents.stepping import make_env

    env = make_env(env_id, kwargs)
    try:
        observation, action = env.observation_space, env.action_space
    finally:
        env.close()
    for kind, space in (("observation", observation), ("action", action)):
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            raise AgentError(f"{env_id}: training needs a flat Box as {kind} space, not {space}")
    return observation, action  # pyright: ignore[reportReturnType]
