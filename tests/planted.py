"""A small robot that moves smoothly, and faults that can be planted in any recording with the same channel names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_env
import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.episode_file import Episode, content_hash
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.store import Store
from training_ground.envs.channels import Channel

JOINTS = fake_env.JOINTS
Columns = dict[str, NDArray[Any]]


class ArmEnv(fake_env.FakeEnv):
    """Three joints pulled to where the action says; every channel that a measure looks at, as real robots have them."""

    def __init__(self, steps: int = 150, drift: float = 0.0) -> None:
        super().__init__(steps=steps, drift=drift)
        n = len(JOINTS)
        self.options = {"steps": steps}
        self.channels = (
            Channel("joint_angle", (n,), "rad", "joint", "state", "Angles.", JOINTS, "float64"),
            Channel("joint_speed", (n,), "rad/s", "joint", "state", "Speeds.", JOINTS, "float64"),
            Channel("joint_torque", (n,), "N·m", "joint", "state", "Torques.", JOINTS),
            Channel("action", (n,), "1", "joint", "action", "Where to go.", JOINTS),
            Channel("base_orientation", (4,), "1", "world", "state", "Quaternion.", (), "float64"),
            Channel("joint_position", (n,), "rad", "joint", "observation", "Angles.", JOINTS),
            Channel("reward_near", (), "1", "none", "reward", "A term."),
            Channel("push", (), "N·s", "none", "event", "A push.", (), "float64"),
            Channel("touched", (), "1", "none", "event", "A flag.", (), "bool"),
            Channel("success", (), "1", "none", "event", "Predicate.", (), "bool"),
        )

    def step(self, action: NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.action = np.clip(action, -1, 1).astype(np.float32)
        self.torque = 100 * (self.action - self.position) - 20 * self.velocity
        self.velocity = self.velocity + 0.02 * self.torque
        self.position = self.position + 0.02 * self.velocity + self.drift
        self.count += 1
        self.reward = float(np.float32(np.exp(-(self.position @ self.position))))
        info = {"success": True, "failure": None, "phase": "stand" if self.count % 7 else "recover"}
        return self._observe(), self.reward, False, self.count >= self.steps, info

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        self.torque = np.zeros(len(JOINTS))
        return super().reset(**arguments)

    def frame(self) -> dict[str, NDArray[Any]]:
        half = 0.1 * float(self.position[0])
        values: dict[str, Any] = {
            "joint_angle": self.position,
            "joint_speed": self.velocity,
            "joint_torque": np.clip(self.torque, -50, 50),
            "action": self.action,
            "base_orientation": [0, 0, np.sin(half), np.cos(half)],
            "joint_position": self.position,
            "reward_near": self.reward,
            "push": float(self.count % 50 == 10),
            "touched": self.count % 50 == 10,
            "success": True,
        }
        return {c.name: np.array(values[c.name], dtype=c.dtype).reshape(c.shape) for c in self.channels}

    def describe(self) -> dict[str, Any]:
        n = len(JOINTS)
        limits = {"lower": [-2.5] * n, "upper": [2.5] * n, "velocity": [20.0] * n, "effort": [100.0] * n}
        return super().describe() | {"joint_limits": limits, "phases": ["stand", "recover"]}


def make(name: str = "", **options: Any) -> ArmEnv:
    """As `envs.registration.make`."""
    return ArmEnv(**options)


def record(path: Path, seeds: Any, still: int = 0) -> Store:
    """Record episodes that swing, after standing still for some steps."""
    env = ArmEnv()
    store = Store.create(path, make_schema(env))
    recorder = Recorder(env, store, policy="swing")
    for seed in seeds:
        recorder.reset(seed=seed)
        generator, done, t = np.random.default_rng(seed), False, 0
        phase, rate = generator.uniform(0, 6, 3), generator.permutation([2.0, 3.0, 4.5])
        home = env.position.copy()
        while not done:
            time = 0.02 * max(t - still, 0)  # ever faster: played backwards it is another motion
            swing = np.clip(home + 0.7 * np.sin(rate * time * (0.4 + 0.3 * time)) * np.cos(phase), -1, 1)
            done = recorder.step(swing.astype(np.float32))[3]
            t += 1
    return store


def planted(episode: Episode, fault: Callable[[Columns], dict[str, Any] | None]) -> Episode:
    """Return a copy with a fault; its hash is that of what it holds now."""
    columns = {name: values.copy() for name, values in episode.columns.items()}
    changes = fault(columns) or {}
    changes |= {"content_sha256": content_hash(columns), "length": len(columns["action"]) - 1}
    return Episode(episode.metadata.model_copy(update=changes), columns, episode.number)


def _middle(c: Columns) -> int:
    return len(c["action"]) // 2


def nan(c: Columns) -> None:
    c["joint_speed"][_middle(c), 0] = np.nan


def cut_off(c: Columns) -> dict[str, Any]:
    return {"terminated": False, "truncated": False}


def stuck_sensor(c: Columns) -> None:
    at = _middle(c)
    c["joint_speed"][at : at + 5] = c["joint_speed"][at]
    c["joint_speed"][at - 30 : at - 25] = c["joint_speed"][at - 30]


def lost_rows(c: Columns) -> None:
    at = _middle(c)
    for name in c:
        c[name] = np.delete(c[name], slice(at, at + 8), axis=0)


def lost_rows_stamped_over(c: Columns) -> None:
    times = c["timestamp_ns"]
    at = int(np.argmax(np.abs(c["joint_speed"][8:-8]).max(axis=1))) + 4
    for name in c:
        c[name] = np.delete(c[name], slice(at, at + 8), axis=0)
    c["timestamp_ns"] = times[: len(c["action"])]


def jitter(c: Columns) -> None:
    c["timestamp_ns"][1:-1] += np.random.default_rng(0).integers(-5_000_000, 5_000_000, len(c["action"]) - 2)


def wrong_rate(c: Columns) -> None:
    c["timestamp_ns"] = c["timestamp_ns"] * 11 // 10


def offset(c: Columns) -> None:
    c["joint_angle"][:, 0] += 4


def degrees(c: Columns) -> None:
    c["joint_angle"] = np.degrees(c["joint_angle"])


def swapped_joints(c: Columns) -> None:
    order = np.argsort(np.abs(c["joint_speed"]).sum(axis=0))[[0, -1]]  # the laziest with the busiest
    c["joint_speed"][:, order] = c["joint_speed"][:, order[::-1]]


def wrong_sign(c: Columns) -> None:
    c["joint_speed"][:, np.argmax(np.abs(c["joint_speed"]).sum(axis=0))] *= -1


def teleport(c: Columns) -> None:
    c["joint_angle"][_middle(c) :, 0] += 0.4


def overload(c: Columns) -> None:
    c["joint_torque"][_middle(c)] = 1e4


def quaternion(c: Columns) -> None:
    c["base_orientation"] *= 1.05


def action_noise(c: Columns) -> None:
    c["action"][:-1] += np.random.default_rng(0).uniform(-0.4, 0.4, c["action"][:-1].shape)
    np.clip(c["action"], -1, 1, out=c["action"])


def action_spike(c: Columns) -> None:
    c["action"][_middle(c), 0] = 3


def actions_backwards(c: Columns) -> None:
    c["action"][:-1] = c["action"][:-1][::-1]


def wait(c: Columns) -> None:
    first = dict(c)
    for name, values in first.items():
        c[name] = np.concatenate([np.repeat(values[:1], 100, axis=0), values])
    c["joint_speed"][:100] = 0
    c["timestamp_ns"] = np.arange(len(c["action"])) * 20_000_000


def wrong_success(c: Columns) -> dict[str, Any]:
    return {"success": not c["success"][-1]}


def contradiction(c: Columns) -> dict[str, Any]:
    c["success"][-1] = True
    return {"success": True, "failure": "fall"}


def strange_phase(c: Columns) -> None:
    c["phase"][_middle(c)] = "fly"


def wrong_reward(c: Columns) -> None:
    c["reward"][_middle(c)] += 1


Fault = Callable[[Columns], dict[str, Any] | None]
FAULTS: dict[Fault, set[str]] = {
    nan: {"non_finite_share"},
    cut_off: {"complete_end"},
    stuck_sensor: {"repeated_share"},
    lost_rows: {"gap"},
    lost_rows_stamped_over: {"state_jump"},
    jitter: {"jitter"},
    wrong_rate: {"period_error"},
    offset: {"joint_limit_excess"},
    degrees: {"joint_limit_excess", "velocity_mismatch", "state_jump"},
    swapped_joints: {"velocity_mismatch"},
    wrong_sign: {"velocity_mismatch"},
    teleport: {"state_jump"},
    overload: {"joint_torque_ratio"},
    quaternion: {"unit_norm_error"},
    action_noise: {"action_reversal_share"},
    action_spike: {"action_excess", "action_jump"},
    actions_backwards: {"action_response"},
    wait: {"idle_start_s"},
    wrong_success: {"success_mismatch"},
    contradiction: {"outcome_contradiction"},
    strange_phase: {"unknown_phases"},
    wrong_reward: {"reward_mismatch"},
}
"""Each fault, and the measures that see it: these and no other."""
