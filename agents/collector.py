"""The learner's side of rollouts: worker processes that are asked for whole ones, watched, and replaced when lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from training_ground.agents.curriculum import Ranges
from training_ground.agents.rollouts import (
    Arrays,
    Ends,
    GaussianPolicy,
    LaneState,
    RolloutBlock,
    Share,
    serve_rollouts,
)
from training_ground.agents.stepping import make_env
from training_ground.agents.workers import START_TIMEOUT_S, Worker, WorkerLost, close_all
from training_ground.configs.errors import AgentError

ROLLOUT_TIMEOUT_S = 300.0
REPLACEMENTS = 3
"""Times in a row that a worker is replaced before it is given up."""


class Collector(VecEnv):
    """The environments of a run, `envs_per_worker` in each of `workers` processes.

    To stable-baselines3 it is a vector environment that can be reset but not stepped: `collect` does the stepping.

    Args:
        env_id: Task id.
        kwargs: Keyword arguments of the environment.
        workers: Processes.
        envs_per_worker: Environments in each.
        steps: Of each environment in a rollout.
        seed: Of the run.
        states: Where the environments stand; at the beginning of their first episodes where absent.
        ranges: What changes with the curriculum's level.
        level: Of the first episodes, where `states` is absent.
        privileged: Channels that stand behind each observation, for the critic alone.
        timeout_s: Longest wait for a rollout.
        report: Called with a sentence where a worker had to be replaced.

    Attributes:
        states: Where each environment stands after the last rollout.
        seen: Numbers of an observation that the actor sees; the privileged ones stand behind them.
    """

    def __init__(
        self,
        env_id: str,
        kwargs: dict[str, Any],
        *,
        workers: int,
        envs_per_worker: int,
        steps: int,
        seed: int = 0,
        states: Sequence[LaneState] = (),
        ranges: Ranges | None = None,
        level: float = 1.0,
        privileged: Sequence[str] = (),
        timeout_s: float = ROLLOUT_TIMEOUT_S,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        observation, action, more = _spaces(env_id, kwargs, privileged)
        total = workers * envs_per_worker
        none = np.zeros((0, action.shape[0]), np.float32)
        self.states = list(states) or [LaneState(0, none, level)] * total
        if len(self.states) != total:
            raise AgentError(f"{len(self.states)} environments were saved; workers × envs_per_worker = {total}")
        self.seen = observation.shape[0] - more
        self._timeout_s, self._report = timeout_s, report
        self._block = RolloutBlock(steps, total, observation.shape[0], action.shape[0])
        self.arrays: Arrays = self._block.arrays()
        self._shares = [Share(w * envs_per_worker, envs_per_worker) for w in range(workers)]
        self._arguments = [(self._block, env_id, kwargs, share, seed, ranges, privileged) for share in self._shares]
        self._closed = False
        self._workers: list[Worker] = []
        try:
            self._workers += [self._start(w) for w in range(workers)]
            for w in range(workers):
                self._workers[w].receive(START_TIMEOUT_S)
        except BaseException:
            self.close()
            raise
        super().__init__(total, observation, action)

    def _start(self, w: int) -> Worker:
        share = self._shares[w]
        label = f"worker {w} (environments {share.first} to {share.first + share.count - 1})"
        return Worker(label, serve_rollouts, self._arguments[w])

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid or 0 for worker in self._workers]

    def reset(self) -> NDArray[np.float32]:
        """Bring every environment to its state and return the observations (environments, n)."""
        self._everywhere([None] * len(self._workers), [self.states[share.own] for share in self._shares])
        return self.arrays.observation[0].copy()

    def collect(self, policy: GaussianPolicy, number: int, level: float = 1.0) -> Ends:
        """Do one rollout and return the episodes that ended in it; what happened stands in `arrays`.

        Args:
            policy: Acts in every environment.
            number: Of the rollout in the run; the exploration follows from it.
            level: Of the curriculum, for the episodes that begin in it.

        Raises:
            AgentError: A worker failed, or was lost again and again; or an observation or reward is not finite.
        """
        states = [self.states[share.own] for share in self._shares]
        ends: Ends = {}
        for some in self._everywhere(states, [(policy, number, level)] * len(self._workers)):
            ends.update(some)
        self._check_finite()
        self._follow(level)
        return ends

    def advance(self) -> None:
        """Make the rollout's last observations the first ones of the next."""
        self.arrays.observation[0] = self.arrays.observation[-1]

    def _everywhere(self, before: Sequence[Any], messages: Sequence[Any]) -> list[Any]:
        """Send each worker its message and return the answers; a new one in a lost one's place first gets `before`."""
        for worker, message in zip(self._workers, messages, strict=True):
            worker.try_send(message, self._timeout_s)
        deadline = time.monotonic() + self._timeout_s
        answers = []
        for w in range(len(self._workers)):
            lost = 0
            while True:
                try:
                    answers.append(self._workers[w].receive(max(0.1, deadline - time.monotonic())))
                    break
                except WorkerLost as problem:
                    lost += 1
                    if lost > REPLACEMENTS:
                        raise AgentError(f"{problem}, and so did {REPLACEMENTS} others in its place") from problem
                    self._report(f"{problem}; another goes on in its place")
                    self._replace(w, before[w], messages[w])
                    deadline = time.monotonic() + self._timeout_s
        return answers

    def _replace(self, w: int, before: Any, message: Any) -> None:
        self._workers[w].close(0.0)
        self._workers[w] = worker = self._start(w)
        worker.receive(START_TIMEOUT_S)
        if before is not None:
            worker.send(before, self._timeout_s)
            worker.receive(self._timeout_s)
        worker.try_send(message, self._timeout_s)

    def _follow(self, level: float) -> None:
        """Bring `states` up to the end of the rollout."""
        for i, state in enumerate(self.states):
            actions, ends = self.arrays.action[:, i], np.flatnonzero(self.arrays.done[:, i])
            if len(ends):
                self.states[i] = LaneState(state.episode + len(ends), actions[ends[-1] + 1 :].copy(), level)
            else:
                self.states[i] = replace(state, actions=np.concatenate([state.actions, actions]))

    def _check_finite(self) -> None:
        arrays = self.arrays
        if np.isfinite(arrays.observation.sum()) and np.isfinite(arrays.reward.sum()):
            return
        for name, what in (("observation", "an observation"), ("reward", "a reward")):
            bad = np.argwhere(~np.isfinite(getattr(arrays, name)))
            if len(bad):
                raise AgentError(
                    f"environment {bad[0][1]}: {what} is not finite; training stops before it reaches the weights"
                )

    def close(self) -> None:
        """End every worker."""
        if not self._closed:
            self._closed = True
            close_all(self._workers)

    # ---- what stable-baselines3 asks of a vector environment ---------------------------------------------------------

    def step_async(self, actions: NDArray[np.float32]) -> None:
        """Refuse: the workers step by themselves."""
        raise AgentError("the environments of a run are not stepped one by one; `collect` does whole rollouts")

    def step_wait(self) -> Any:
        """Refuse, as `step_async`."""
        raise AgentError("the environments of a run are not stepped one by one; `collect` does whole rollouts")

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Do nothing: the seeds of all episodes follow from the run's."""
        return [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return `render_mode`, which is None; nothing else crosses the processes."""
        if attr_name == "render_mode":
            return [None] * self.num_envs
        raise AttributeError(f"'{attr_name}' does not cross the worker processes")

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: nothing crosses the worker processes but weights and what comes back."""
        raise AttributeError(f"'{attr_name}' does not cross the worker processes")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Refuse, as `set_attr`."""
        raise AttributeError(f"'{method_name}' does not cross the worker processes")

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Any = None
    ) -> list[bool]:
        """Return False: the workers count episodes themselves, no wrapper does."""
        return [False] * self.num_envs


def _spaces(
    env_id: str, kwargs: dict[str, Any], privileged: Sequence[str]
) -> tuple[gymnasium.spaces.Box, gymnasium.spaces.Box, int]:
    """Return the spaces, and how many of an observation's numbers are privileged; the environment that they are read
    from, made in this process, is closed again.
    """
    env = make_env(env_id, kwargs)
    more = 0
    try:
        observation, action = env.observation_space, env.action_space
        if privileged:
            base: Any = env.unwrapped
            env.reset(seed=0)
            more = len(base.privileged(privileged))
    finally:
        env.close()
    for kind, space in (("observation", observation), ("action", action)):
        if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
            raise AgentError(f"{env_id}: training needs a flat Box as {kind} space, not {space}")
    if more:
        size = observation.shape[0] + more  # pyright: ignore[reportOptionalSubscript]
        observation = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
    return observation, action, more  # pyright: ignore[reportReturnType]
