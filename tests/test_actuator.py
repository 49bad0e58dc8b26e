"""The actuator model against hand-computed torques."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from training_ground.configs.errors import SimulationError
from training_ground.envs.actuator import FRICTION_SHARE, FRICTION_SPEED, Actuator, ActuatorParameters

TIMESTEP = 0.005


def make(joints=1, delay=0, **values):
    defaults = {
        "kp": 0.0,
        "kd": 0.0,
        "effort": 50.0,
        "velocity": 20.0,
        "saturation": 2.0,
        "friction": 0.0,
        "inertia": 1.0,
        "strength": 1.0,
    }
    arrays: Any = {name: np.full(joints, values.get(name, default)) for name, default in defaults.items()}
    return ActuatorParameters(**arrays, delay=delay)


def torque(actuator, position=0.0, velocity=0.0):
    joints = actuator.target.shape
    return float(actuator.compute(np.full(joints, position), np.full(joints, velocity))[0])


def test_proportional_derivative_and_feedforward():
    actuator = Actuator(make(kp=40.0, kd=2.0), TIMESTEP)
    actuator.target[:] = 0.5
    actuator.feedforward[:] = 3.0
    assert torque(actuator, position=0.1, velocity=1.5) == pytest.approx(40 * 0.4 - 2 * 1.5 + 3)


@pytest.mark.parametrize(
    ("command", "velocity", "expected"),
    [
        (1000, 0, 50),  # stall: the limit, not the stall torque
        (1000, 9.9, 50),  # below the knee at half the no-load speed (saturation 2)
        (1000, 15, 25),  # driving on the line: 100 · (1 − 15/20)
        (1000, 20, 0),  # no-load speed
        (1000, 30, 0),  # beyond it: nothing, and no torque against the command
        (-1000, 15, -50),  # braking keeps the full limit
        (-1000, 30, -50),
        (-1000, -15, -25),
        (1000, -15, 50),
        (10, 15, 10),  # a torque below the line passes
    ],
)
def test_torque_speed_limit(command, velocity, expected):
    actuator = Actuator(make(), TIMESTEP)
    actuator.feedforward[:] = command
    assert torque(actuator, velocity=velocity) == pytest.approx(expected)


def test_no_speed_limit():
    actuator = Actuator(make(velocity=np.inf), TIMESTEP)
    actuator.feedforward[:] = 1000
    assert torque(actuator, velocity=1e6) == 50


@pytest.mark.parametrize("delay", [0, 1, 3, 32])
def test_delay_counts_physics_steps(delay):
    actuator = Actuator(make(kp=1.0, effort=1e6, delay=delay), TIMESTEP)
    actuator.reset(np.array([7.0]))
    seen = []
    for step in range(100):
        actuator.target[:] = step
        seen.append(torque(actuator))
    assert seen == [7.0] * delay + list(range(100 - delay))


def test_strength_scales_the_motor_after_its_limits():
    actuator = Actuator(make(strength=0.8), TIMESTEP)
    actuator.feedforward[:] = 10
    assert torque(actuator) == pytest.approx(8)
    actuator.feedforward[:] = 1000
    assert torque(actuator) == pytest.approx(40)


def test_friction_opposes_motion_and_saturates():
    actuator = Actuator(make(friction=0.6, strength=0.5), TIMESTEP)
    assert torque(actuator) == 0.0
    assert torque(actuator, velocity=5.0) == -0.6  # the weak motor does not weaken its friction
    assert torque(actuator, velocity=-5.0) == 0.6
    assert torque(actuator, velocity=FRICTION_SPEED / 2) == pytest.approx(-0.3)


def test_friction_never_reverses_a_light_joint():
    inertia, velocity = 1e-4, 0.04
    actuator = Actuator(make(friction=2.0, inertia=inertia), TIMESTEP)
    change = torque(actuator, velocity=velocity) * TIMESTEP / inertia
    assert change == pytest.approx(-FRICTION_SHARE * velocity)


def test_zero_torque_has_one_sign():
    actuator = Actuator(make(joints=9), TIMESTEP)
    for command in (0.0, -0.0):
        for velocity in (20.0, -20.0, 0.0, -0.0):
            actuator.feedforward[:] = command
            assert not np.signbit(actuator.compute(np.zeros(9), np.full(9, velocity))).any()


def test_reset_and_restore_repeat_bit_for_bit():
    generator = np.random.default_rng(0)
    actuator = Actuator(make(joints=5, kp=30.0, kd=1.0, friction=0.2, delay=3), TIMESTEP)
    inputs = generator.normal(size=(40, 3, 5))

    def run(rows):
        out = []
        for target, position, velocity in rows:
            actuator.target[:] = target
            out.append(actuator.compute(position, velocity).copy())
        return np.array(out)

    actuator.reset(np.zeros(5))
    first = run(inputs)
    actuator.reset(np.zeros(5))
    run(inputs[:17])
    state = actuator.save()
    rest = run(inputs[17:])
    actuator.restore(state)
    assert np.array_equal(run(inputs[17:]), rest)
    assert np.array_equal(rest, first[17:])


def test_position_control_off_leaves_the_feedforward():
    actuator = Actuator(make(kp=40.0, kd=2.0), TIMESTEP)
    actuator.target[:], actuator.feedforward[:] = 1.0, 4.0
    actuator.set_position_control(False)
    assert torque(actuator, velocity=1.0) == 4.0
    actuator.set_position_control(True)
    assert torque(actuator, velocity=1.0) == 42.0


def test_randomised():
    nominal = make(joints=2, kp=10.0, friction=0.1)
    changed = nominal.randomised(
        {"kp_scale": [1.1, 0.9], "motor_strength": 0.9, "delay_s": 0.011, "joint_friction": 0.2}, TIMESTEP
    )
    assert changed.kp.tolist() == pytest.approx([11, 9])
    assert changed.strength.tolist() == [0.9, 0.9]
    assert changed.friction.tolist() == pytest.approx([0.3, 0.3])
    assert changed.delay == 2
    assert nominal.kp.tolist() == [10, 10]


def test_bad_parameters_are_named():
    good = make(joints=3)
    cases = {
        "kp": (np.array([1.0, -2.0, 1.0]), r"kp\[1\] = -2"),
        "kd": (np.array([1.0, 1.0, np.nan]), r"kd\[2\] = nan"),
        "saturation": (np.array([0.5, 1.0, 1.0]), r"saturation\[0\] = 0.5"),
        "effort": (np.array([np.inf, 1.0, 1.0]), r"effort\[0\] = inf"),
        "strength": (np.ones(2), "strength: shape"),
        "delay": (-1, "delay = -1"),
        "friction_speed": (0.0, "friction_speed = 0"),
    }
    for name, (value, message) in cases.items():
        with pytest.raises(SimulationError, match=message):
            dataclasses.replace(good, **{name: value})
    with pytest.raises(SimulationError, match="did you mean 'kp_scale'"):
        good.randomised({"kp_scal": 1.0}, TIMESTEP)
    with pytest.raises(SimulationError, match="at most 32"):
        Actuator(make(delay=33), TIMESTEP)
    with pytest.raises(SimulationError, match="shape"):
        Actuator(good, TIMESTEP).configure(make(joints=2))
