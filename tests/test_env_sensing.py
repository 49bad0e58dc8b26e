"""Noise, latency and dropout: each changes what it should in what a policy sees, and nothing of the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from training_ground.configs.errors import SimulationError
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make

STEPS = 40


def run(noise: dict[str, Any] | None, steps: int = STEPS) -> tuple[HumanoidEnv, np.ndarray, np.ndarray, dict[str, Any]]:
    """The environment, what was seen and what was true (rows: reset, then each step), and the reset's info."""
    env = make("Stand", robot="g1_legs", noise=noise, push_speed=(0.0, 0.0))
    observation, info = env.reset(seed=3)
    seen: list[Any] = [observation]
    true = [env.observation.read(env).copy()]
    generator = np.random.default_rng(0)
    for _ in range(steps):
        action = generator.uniform(-0.2, 0.2, env.action_space.shape).astype(np.float32)
        observation, _, terminated, _, _ = env.step(action)
        seen.append(observation)
        true.append(env.observation.read(env).copy())
        assert not terminated
    return env, np.stack(seen), np.stack(true), info


def part(env: HumanoidEnv, rows: np.ndarray, channel: str) -> np.ndarray:
    return rows[:, env.observation.slices[channel]]


def test_without_noise_the_policy_sees_the_truth():
    _, seen, true, info = run(None)
    assert np.array_equal(seen, true)
    assert info["randomisation"] == {}


def test_noise_has_its_width_in_its_channels():
    widths = {"joint_position": 0.02, "projected_gravity": 0.05}
    env, seen, true, _ = run({"scale": widths})
    for channel in env.observation.observed:
        error = np.abs(part(env, seen, channel.name) - part(env, true, channel.name))
        width = widths.get(channel.name, 0.0)
        assert error.max() <= width + 1e-6, channel.name
        if width:
            assert error.max() > 0.95 * width
            assert error.mean() == pytest.approx(width / 2, rel=0.1)
    env.close()


def test_noise_leaves_the_physics_alone():
    """The same seed's two noise widths give the same motion: sensors do not act on the world."""
    _, seen, true, _ = run({"scale": {"joint_position": 0.01}})
    _, other_seen, other_true, _ = run({"scale": {"joint_position": 0.1}})
    assert np.array_equal(true, other_true)
    assert not np.array_equal(seen, other_seen)


@pytest.mark.parametrize("latency", [1, 3])
def test_latency_shows_an_earlier_observation(latency):
    _, seen, true, info = run({"latency_steps": (latency, latency)})
    assert info["randomisation"] == {"latency_steps": latency}
    assert np.array_equal(seen[latency:], true[:-latency])
    assert all(np.array_equal(row, true[0]) for row in seen[:latency])


def test_latency_is_drawn_for_each_episode():
    env = make("Stand", robot="g1_legs", noise={"latency_steps": (0, 4)})
    drawn = {env.reset(seed=seed)[1]["randomisation"]["latency_steps"] for seed in range(40)}
    assert drawn == {0, 1, 2, 3, 4}
    env.close()


def test_dropout_repeats_a_channels_last_sample():
    chance = 0.3
    env, seen, true, _ = run({"dropout": chance}, 60)
    lost = total = 0
    for channel in env.observation.observed:
        shown, truth = part(env, seen, channel.name), part(env, true, channel.name)
        for step in range(1, len(seen)):
            fresh = np.array_equal(shown[step], truth[step])
            assert fresh or np.array_equal(shown[step], shown[step - 1]), f"{channel.name} is neither new nor the last"
            total += 1
            lost += not fresh
    assert np.array_equal(seen[0], true[0])
    assert lost / total == pytest.approx(chance, abs=0.08)
    env.close()


def test_frame_tells_the_truth():
    """A record holds what was, whatever a policy saw."""
    env = make("Stand", robot="g1_legs", noise={"scale": {"joint_position": 0.5}})
    observation, _ = env.reset(seed=0)
    frame = env.frame()
    assert frame["joint_position"] == pytest.approx(frame["joint_angle"] - env.model.default_position, abs=1e-6)
    assert isinstance(observation, np.ndarray)
    assert np.abs(observation[env.observation.slices["joint_position"]] - frame["joint_position"]).max() > 0.1
    env.close()


def test_history_stands_behind_the_newest_observation():
    generator = np.random.default_rng(0)
    options: dict[str, Any] = {"robot": "g1_legs", "noise": {"scale": {"joint_position": 0.01}}}
    plain, stacked = make("Stand", **options), make("Stand", observation_history=3, **options)
    rows: list[Any] = [plain.reset(seed=3)[0]] * 3
    first: Any = stacked.reset(seed=3)[0]
    assert np.array_equal(first, np.concatenate(rows))
    for step in range(6):
        action = generator.uniform(-0.2, 0.2, plain.action_space.shape).astype(np.float32)
        rows.append(plain.step(action)[0])
        seen: Any = stacked.step(action)[0]
        assert stacked.observation_space.contains(seen)
        assert np.array_equal(seen, np.concatenate(rows[:-4:-1]))
        if step == 3:
            kept = stacked.save()
            after: Any = stacked.step(action)[0]
            stacked.restore(kept)
            again: Any = stacked.step(action)[0]
            assert np.array_equal(again, after)
            stacked.restore(kept)
    one, three = plain.observation.mirror(), stacked.observation.mirror()
    assert np.array_equal(three.sign[three.permutation], np.tile(one.sign[one.permutation], 3))
    assert np.array_equal(three.permutation[-one.sign.size :], 2 * one.sign.size + one.permutation)
    with pytest.raises(SimulationError, match="observation_history = 3"):
        make("Stand", observation_history=3, observation_format="dict")
    plain.close()
    stacked.close()
