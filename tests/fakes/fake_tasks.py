"""A task without physics, as a plugin would bring it: push a point to the middle. Trained on in seconds."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import gymnasium
import numpy as np

from training_ground.configs.errors import SimulationError
from training_ground.envs.channels import Channel

ENV_ID = "Fake/Point-v0"
JOINTS = ("slide_x_joint", "slide_y_joint")


class PointEnv(gymnasium.Env):
    """Two joints; the episode fails outside |x| > 2 and ends after `length` steps.

    `trouble` maps a step of one episode to what goes wrong there: `die`, `hang`, `nan`, `raise`.
    """

    def __init__(
        self,
        robot: str = "point",
        length: int = 20,
        joints: tuple[str, ...] = JOINTS,
        rate: float = 50.0,
        model_hash: str = "a" * 64,
        trouble: str | None = None,
        step_s: float = 0.0,
    ) -> None:
        if robot != "point":
            raise SimulationError(f"unknown robot '{robot}'. Allowed: point")
        self.length, self.joints, self.rate = length, tuple(joints), rate
        self.model_hash, self.trouble, self.step_s = model_hash, trouble, step_s
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.channels = (
            Channel("joint_position", (2,), "m", "joint", "observation", "Where the point is.", self.joints),
            Channel("joint_velocity", (2,), "m/s", "joint", "observation", "How fast it moves.", self.joints),
            Channel("energy", (), "J", "none", "state", "Not observed."),
        )

    def describe(self) -> dict[str, Any]:
        """What the environment is."""
        return {
            "env_id": ENV_ID,
            "options": {"robot": "point", "control": "joint_position", "length": self.length},
            "robot": "point",
            "model_hash": self.model_hash,
            "joint_names": list(self.joints),
            "control_rate": self.rate,
            "action_scale": [0.5, 0.5],
        }

    def _observation(self) -> np.ndarray:
        return np.concatenate([self.position, self.velocity]).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        """Start somewhere near the middle."""
        super().reset(seed=seed)
        self.position = self.np_random.uniform(-1, 1, 2)
        self.velocity = np.zeros(2)
        self.steps = 0
        return self._observation(), {"seed": seed, "randomisation": {"start": self.position.tolist()}}

    def step(self, action):
        """Accelerate."""
        if self.step_s:
            time.sleep(self.step_s)
        self.velocity = 0.8 * self.velocity + 0.2 * np.asarray(action, np.float64)
        self.position = self.position + 0.2 * self.velocity
        self.steps += 1
        terms = {"near": float(np.exp(-np.sum(self.position**2))), "effort": -0.01 * float(np.sum(np.square(action)))}
        if self.trouble is not None and self.steps >= 5:
            terms["near"] = self._misbehave(terms["near"])
        fell = bool(np.abs(self.position).max() > 2)
        success = bool(np.abs(self.position).max() < 0.5)
        info = {"reward_terms": terms, "success": success, "failure": "fall" if fell else None, "phase": ""}
        return self._observation(), sum(terms.values()), fell, not fell and self.steps >= self.length, info

    def _misbehave(self, near: float) -> float:
        if self.trouble == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.trouble == "hang":
            time.sleep(1000)
        elif self.trouble == "raise":
            raise SimulationError("the simulation diverged at step 5")
        return float("nan") if self.trouble == "nan" else near


# The id `fake_tasks:Fake/Point-v0` makes Gymnasium import this file, in every process.
if ENV_ID not in gymnasium.registry:
    gymnasium.register(ENV_ID, entry_point="fake_tasks:PointEnv")
