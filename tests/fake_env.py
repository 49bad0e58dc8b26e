"""A small deterministic environment with the interface of `HumanoidEnv`: tests of datasets need no physics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.store import Store
from training_ground.envs.channels import Channel

JOINTS = ("left_knee_joint", "right_knee_joint", "waist_joint")
MODEL_HASH = "ab" * 32


class FakeEnv(gymnasium.Env[Any, Any]):
    """Three joints that follow the action; the episode ends by a fall (odd seeds) or after `steps` steps."""

    def __init__(
        self,
        steps: int = 30,
        noise: dict[str, float] | None = None,
        joints: tuple[str, ...] = JOINTS,
        model_hash: str = MODEL_HASH,
        drift: float = 0.0,
        sleep_s: float = 0.0,
        render_mode: None = None,
    ) -> None:
        self.options = {"steps": steps, "noise": noise}
        self.sleep_s = sleep_s
        self.steps, self.noise, self.model_hash, self.drift = steps, noise, model_hash, drift
        n = len(joints)
        self.joints = joints
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2 * n,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (n,), np.float32)
        self.channels = (
            Channel("joint_position", (n,), "rad", "joint", "observation", "Angles.", joints),
            Channel("joint_velocity", (n,), "rad/s", "joint", "observation", "Speeds.", joints),
            Channel("action", (n,), "1", "joint", "action", "Action applied from this step to the next.", joints),
            Channel("base_pose", (2, 2), "m", "world", "state", "A matrix.", ("x", "y"), "float64"),
            Channel("contact", (2,), "1", "none", "state", "Feet.", ("left", "right"), "bool"),
            Channel("counter", (), "1", "none", "state", "Steps.", (), "int64"),
            Channel("reward_upright", (), "1", "none", "reward", "A term."),
            Channel("success", (), "1", "none", "event", "Predicate.", (), "bool"),
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.seed = seed if seed is not None else int(self.np_random.integers(2**31))
        self.generator = np.random.default_rng([self.seed, 1])
        n = len(self.joints)
        self.position = self.generator.uniform(-1, 1, n)
        self.velocity = np.zeros(n)
        self.action = np.zeros(n, np.float32)
        self.count, self.reward = 0, 0.0
        self.friction = float(self.generator.uniform(0.5, 1.0))
        return self._observe(), {"seed": self.seed, "randomisation": {"friction": self.friction}}

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(self.sleep_s)
        self.action = np.clip(action, -1, 1).astype(np.float32)
        self.velocity = (
            self.friction * self.velocity + self.action + 1e-3 * self.generator.normal(size=len(self.joints))
        )
        self.position = self.position + 0.02 * self.velocity + self.drift
        self.count += 1
        self.reward = float(np.exp(-(self.position @ self.position)))
        terminated = self.seed % 2 == 1 and self.count >= self.steps // 2
        truncated = not terminated and self.count >= self.steps
        info = {
            "reward_terms": {"upright": self.reward},
            "success": not terminated,
            "failure": "fall" if terminated else None,
            "phase": "stand" if self.count % 7 else "recover",
        }
        return self._observe(), self.reward, terminated, truncated, info

    def _observe(self) -> NDArray[np.float32]:
        flat = np.concatenate([self.position, self.velocity]).astype(np.float32)
        if self.noise:
            flat += self.noise["scale"] * self.generator.normal(size=flat.size).astype(np.float32)
        return flat

    def frame(self) -> dict[str, NDArray[Any]]:
        x = float(self.position[0])
        values: dict[str, Any] = {
            "joint_position": self.position,
            "joint_velocity": self.velocity,
            "action": self.action,
            "base_pose": [[x, 2 * x], [3 * x, 4 * x]],
            "contact": [x > 0, x <= 0],
            "counter": self.count,
            "reward_upright": self.reward,
            "success": True,
        }
        return {c.name: np.array(values[c.name], dtype=c.dtype).reshape(c.shape) for c in self.channels}

    def describe(self) -> dict[str, Any]:
        return {
            "env_id": "TrainingGround/Fake-v0",
            "options": self.options,
            "instruction": "Keep three joints at zero.",
            "robot": "fake",
            "model_hash": self.model_hash,
            "joint_names": list(self.joints),
            "control_rate": 50.0,
            "physics": {"timestep": 0.005},
            "versions": {"training-ground": "0.1.0"},
        }


def make(name: str = "TrainingGround/Fake-v0", **options: Any) -> FakeEnv:
    """As `envs.registration.make`."""
    return FakeEnv(**options)


def make_slow(env_id: str, kwargs: dict[str, Any]) -> FakeEnv:
    """As `agents.stepping.make_env`, with steps that take a while."""
    return FakeEnv(**kwargs, sleep_s=0.001)


def play(
    recorder: gymnasium.Env[Any, Any],
    seeds: Iterable[int],
    span: float = 1.0,
    look: Callable[[], None] = lambda: None,
) -> None:
    """Play an episode a seed, acting at random within ±span; the same actions for the same seed.

    Args:
        recorder: What is reset and stepped.
        seeds: Of the episodes.
        span: Largest action.
        look: Called after each reset and each step.
    """
    for seed in seeds:
        recorder.reset(seed=seed)
        look()
        generator, done = np.random.default_rng(seed), False
        while not done:
            _, _, terminated, truncated, _ = recorder.step(generator.uniform(-span, span, 3).astype(np.float32))
            look()
            done = terminated or truncated


def record(path: Path, seeds: Iterable[int] = range(4), span: float = 1.0, **options: Any) -> Store:
    """Play an episode a seed into a new store."""
    env = FakeEnv(**options)
    store = Store.create(path, make_schema(env))
    play(Recorder(env, store, policy="random"), seeds, span)
    return store
