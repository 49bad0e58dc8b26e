"""Pushes: what the robot sees of them, which were withstood, and which one felled it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from training_ground.envs import rotations
from training_ground.envs.pushes import DIRECTIONS, Pushes, direction
from training_ground.envs.registration import make


def test_directions_are_eighths_of_a_turn_to_the_left():
    names = [DIRECTIONS[direction((math.cos(a), math.sin(a)))] for a in np.radians([0, 40, 90, 180, -180, -90, -30])]
    assert names == ["front", "front_left", "left", "back", "back", "right", "front_right"]


def test_every_push_is_counted_once_and_the_last_one_fells():
    env: Any = make("Stand", robot="g1_legs", push_speed=(0.4, 0.6), push_interval_s=0.2)
    env.reset(seed=4)
    given, ended, info = [], False, {}
    while not ended:
        heading = rotations.yaw(env.robot.base.orientation)
        _, _, terminated, truncated, info = env.step(np.zeros(12, np.float32))
        ended = terminated or truncated
        x, y = env.frame()["push_velocity"]
        if x or y:
            c, s = math.cos(heading), math.sin(heading)
            given.append((c * x + s * y, c * y - s * x))
    env.close()
    metrics = info["metrics"]
    assert info["failure"] == "fall" and len(given) > 2
    assert (metrics["push_forward"], metrics["push_left"]) == pytest.approx(given[-1], abs=1e-6)
    expected = [direction(push) for push in given[:-1]]
    assert [metrics[f"withstood_{name}"] for name in DIRECTIONS] == [expected.count(i) for i in range(8)]


@pytest.mark.parametrize(("steps", "failure", "counted"), [(99, None, 0), (100, None, 1), (200, "fall", 0)])
def test_the_last_push_counts_when_it_is_decided(steps: int, failure: str | None, counted: int):
    env: Any = SimpleNamespace(steps=steps, control_timestep=0.02, outcome=SimpleNamespace(failure=failure))
    assert Pushes({}, last=(0.0, 0.5)).metrics(env)["withstood_left"] == counted
    assert Pushes({}).metrics(env) == {}
