"""One episode, from reset to its end, and the record of how it went."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np

from training_ground.agents.deadline import DeadlineMonitor, Timing
from training_ground.agents.policy import Policy
from training_ground.configs.errors import AgentError

MAX_STEPS = 1_000_000
"""No episode is longer: an environment without a time limit must not hold an evaluation for ever."""


@dataclass(frozen=True)
class EpisodeRecord:
    """How one episode went.

    Attributes:
        seed: Seed given to `reset`.
        success: The task's success predicate at the end.
        success_any: It held at some step.
        failure: Why it was terminated, such as `fall`; None where it was not.
        steps: Control steps.
        seconds: Simulated time, s; NaN where the environment does not state its control rate.
        total_reward: Sum of rewards.
        metrics: Mean of each reward term a step (`reward/<term>`), and what the environment gave at the end as
            `info["metrics"]`.
        randomisation: What was drawn for this episode.
        timing: How long the policy took; None where nothing measured it.
    """

    seed: int
    success: bool
    success_any: bool
    failure: str | None
    steps: int
    seconds: float
    total_reward: float
    metrics: dict[str, float] = field(default_factory=dict)
    randomisation: dict[str, Any] = field(default_factory=dict)
    timing: Timing | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data; NaN becomes None. Times depend on the machine and are told by the evaluation alone."""
        data = asdict(replace(self, timing=None))
        del data["timing"]
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in data.items()}


class EpisodeTally:
    """Adds up an episode's steps; used by evaluation and by the training workers alike."""

    def __init__(self) -> None:
        self.steps, self.total_reward, self.success_any = 0, 0.0, False
        self.terms: dict[str, float] = {}

    def add(self, reward: float, info: dict[str, Any]) -> None:
        """Count one step."""
        self.steps += 1
        self.total_reward += reward
        self.success_any = self.success_any or bool(info.get("success", False))
        terms = self.terms
        for name, value in info.get("reward_terms", {}).items():
            terms[name] = terms.get(name, 0.0) + value

    def metrics(self) -> dict[str, float]:
        """Return the mean of each reward term a step."""
        return {f"reward/{name}": float(total) / self.steps for name, total in self.terms.items()}


def run_episode(
    env: gymnasium.Env[Any, Any], policy: Policy, seed: int, on_step: Callable[[Any], None] | None = None
) -> EpisodeRecord:
    """Run one episode of `policy` from `reset(seed=seed)`.

    Args:
        env: Without an episode under way that anybody still needs.
        policy: Who acts.
        seed: Of the episode.
        on_step: Called with the environment, unwrapped, after each step.

    Raises:
        AgentError: The policy does not fit the environment, or the reward is not finite.
    """
    observation, start = env.reset(seed=seed)
    policy.reset(env)
    tally = EpisodeTally()
    terminated = truncated = False
    info: dict[str, Any] = {}
    while not (terminated or truncated):
        observation, reward, terminated, truncated, info = env.step(policy.act(observation))
        tally.add(float(reward), info)
        if on_step is not None:
            on_step(env.unwrapped)
        if not math.isfinite(tally.total_reward):
            raise AgentError(f"seed {seed}, step {tally.steps}: the reward is {float(reward)}")
        if tally.steps >= MAX_STEPS:
            raise AgentError(f"seed {seed}: no end after {MAX_STEPS} steps; give the environment a time limit")
    metrics = tally.metrics()
    metrics.update({k: float(v) for k, v in info.get("metrics", {}).items() if np.isfinite(v)})
    return EpisodeRecord(
        seed=seed,
        success=bool(info.get("success", False)),
        success_any=tally.success_any,
        failure=info.get("failure"),
        steps=tally.steps,
        seconds=tally.steps / control_rate(env),
        total_reward=tally.total_reward,
        metrics=metrics,
        randomisation=dict(start.get("randomisation", {})),
        timing=policy.timing if isinstance(policy, DeadlineMonitor) else None,
    )


def control_rate(env: gymnasium.Env[Any, Any]) -> float:
    """Return the control rate of an environment, Hz; NaN where it does not state it."""
    base: Any = env.unwrapped
    return float(base.describe()["control_rate"]) if hasattr(base, "describe") else math.nan
