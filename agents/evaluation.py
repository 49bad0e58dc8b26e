"""Evaluate a policy over unseen seeds: episodes are work items, and none that finished is lost."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from training_ground.agents.deadline import Timing
from training_ground.agents.episodes import EpisodeRecord, run_episode
from training_ground.agents.policy import Policy
from training_ground.agents.seeds import check_unseen
from training_ground.agents.statistics import bootstrap_interval, interquartile_mean, wilson_interval
from training_ground.agents.stepping import make_env
from training_ground.agents.workers import Worker, reply, spread
from training_ground.configs.errors import AgentError

EPISODE_TIMEOUT_S = 600.0


@dataclass
class Evaluation:
    """Episodes of one policy in one environment.

    Attributes:
        policy: Its name.
        policy_hash: sha256 of a bundle; None for zero and random.
        env_id: Task id.
        kwargs: Keyword arguments of the environment.
        requested: Episodes asked for.
        episodes: Those that finished, by seed.
        seconds: Wall-clock time, s.
        environment: What the environment said of itself (`describe()`): every option resolved, hashes, versions.
        runtime: What ran the network; None for zero and random.
        training: Where the weights of a learned policy come from: its bundle's provenance; None for others.
    """

    policy: str
    policy_hash: str | None
    env_id: str
    kwargs: dict[str, Any]
    requested: int
    episodes: list[EpisodeRecord] = field(default_factory=list)
    seconds: float = 0.0
    environment: dict[str, Any] = field(default_factory=dict)
    runtime: str | None = None
    training: dict[str, Any] | None = None

    @property
    def complete(self) -> bool:
        """Whether every requested episode finished."""
        return len(self.episodes) == self.requested

    def timing(self) -> Timing | None:
        """Return how long the policy took over all finished episodes; None where nothing measured it."""
        timed = [(r.seed, r.timing) for r in self.episodes if r.timing is not None]
        if not timed:
            return None
        total = Timing(timed[0][1].deadline_s)
        for seed, timing in timed:
            total.merge(timing, seed)
        return total

    def summary(self) -> dict[str, Any]:
        """Return rates, intervals and means over the finished episodes; plain data, None where there is nothing."""
        records = self.episodes
        successes = sum(r.success for r in records)
        low, high = wilson_interval(successes, len(records))
        returns = [r.total_reward for r in records]
        names = sorted({name for r in records for name in r.metrics})
        return {
            "episodes": len(records),
            "requested": self.requested,
            "complete": self.complete,
            "successes": successes,
            "success_rate": successes / len(records) if records else None,
            "wilson_95": [low, high],
            "success_any_rate": _mean([float(r.success_any) for r in records]),
            "failures": dict(Counter(r.failure for r in records if r.failure is not None)),
            "seconds_mean": _mean([r.seconds for r in records]),
            "steps_mean": _mean([float(r.steps) for r in records]),
            "return_mean": _mean(returns),
            "return_bootstrap_95": [_finite(x) for x in bootstrap_interval(returns)],
            "return_interquartile_mean": _finite(interquartile_mean(returns)),
            "metrics": {name: _mean([r.metrics[name] for r in records if name in r.metrics]) for name in names},
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        timing = self.timing()
        return {
            "schema_version": 1,
            "policy": self.policy,
            "policy_hash": self.policy_hash,
            "runtime": self.runtime,
            "env_id": self.env_id,
            "kwargs": self.kwargs,
            "environment": self.environment,
            "training": self.training,
            "seconds": round(self.seconds, 3),
            "summary": self.summary(),
            **({} if timing is None else {"deadline": timing.to_json()}),
            "episodes": [r.to_json() for r in self.episodes],
        }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _mean(values: list[float]) -> float | None:
    return _finite(float(np.mean(values))) if values else None


def evaluate(
    policy: Policy,
    env_id: str,
    kwargs: dict[str, Any],
    seeds: Iterable[int],
    workers: int = 2,
    on_episode: Callable[[Evaluation, EpisodeRecord], None] | None = None,
    timeout_s: float = EPISODE_TIMEOUT_S,
) -> Evaluation:
    """Run one episode a seed and return how they went.

    The result does not depend on `workers`: each episode starts from its seed alone. On Ctrl-C the KeyboardInterrupt
    goes on to the caller; `on_episode` has seen every finished episode.

    Args:
        policy: Checked against the environment before the first episode.
        env_id: Task id.
        kwargs: Keyword arguments of the environment.
        seeds: From 1,000,000: those below are for training (`agents/seeds.py`).
        workers: Processes; 0 runs in this one.
        on_episode: Called with the evaluation so far and the newest episode.
        timeout_s: Longest time for one episode.

    Raises:
        AgentError: A seed may have been trained on, the policy does not fit, or a worker died or hangs.
        SimulationError: The environment refuses its arguments.
    """
    listed = check_unseen(seeds)
    if workers < 0:
        raise AgentError(f"workers = {workers}: 0 (this process) or more")
    result = Evaluation(policy.name, getattr(policy, "hash", None), env_id, kwargs, len(listed))
    result.runtime = getattr(policy, "runtime", None)
    spec = getattr(policy, "spec", None)
    result.training = None if spec is None else spec.provenance.model_dump(mode="json")
    begin = time.monotonic()

    def finish(record: EpisodeRecord) -> None:
        result.episodes.append(record)
        result.episodes.sort(key=lambda r: r.seed)
        result.seconds = time.monotonic() - begin
        if on_episode is not None:
            on_episode(result, record)

    if not workers:
        env = make_env(env_id, kwargs)
        try:
            result.environment = _describe(env)
            for seed in listed:
                finish(run_episode(env, policy, seed))
        finally:
            env.close()
    elif listed:
        arguments = (policy, env_id, kwargs)
        count = min(workers, len(listed))
        pool = [Worker(f"evaluation worker {i}", serve_episodes, arguments) for i in range(count)]
        spread(pool, listed, finish, timeout_s=timeout_s, greet=result.environment.update)
    return result


def _describe(env: Any) -> dict[str, Any]:
    base = env.unwrapped
    return base.describe() if hasattr(base, "describe") else {}


def serve_episodes(connection: Connection, policy: Policy, env_id: str, kwargs: dict[str, Any]) -> None:
    """Run the episodes that are asked for, one seed at a time, until the pipe closes."""
    env = make_env(env_id, kwargs)
    env.reset(seed=0)
    policy.reset(env)
    reply(connection, _describe(env))
    while True:
        reply(connection, run_episode(env, policy, connection.recv()))
