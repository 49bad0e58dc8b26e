"""What differs from episode to episode: drawn from the environment's generator, applied, and written down."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer

from training_ground.configs.loading import StrictModel


def ordered(pair: tuple[float, float]) -> tuple[float, float]:
    """Check a range's order, for configurations."""
    if pair[0] > pair[1]:
        raise ValueError("the first number of a range must not exceed the second")
    return pair


NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Steps = Annotated[int, Field(ge=0, le=50)]
Lost = Annotated[int, Field(ge=0, le=100)]
Scale = Annotated[tuple[Positive, Positive], AfterValidator(ordered)]
NonNegativeRange = Annotated[tuple[NonNegative, NonNegative], AfterValidator(ordered)]


LARGEST_SHIFT = 0.025
"""m by which a torso's centre of mass may shift along each axis: by then ballast takes three quarters of its mass."""


def _symmetric(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] != 0.0 or pair[1] > LARGEST_SHIFT:
        raise ValueError(f"the first number must be 0, the second at most {LARGEST_SHIFT} m")
    return pair


class Randomisation(StrictModel):
    """Ranges of what is drawn, uniformly, for each episode; an absent one is not randomised.

    The widths that `default_randomisation` uses follow the locomotion settings of MuJoCo Playground and unitree_rl_gym.
    """

    friction: NonNegativeRange | None = None
    """Coulomb coefficient of the ground."""
    mass_scale: Scale | None = None
    """Factor on the mass and inertia of every link."""
    centre_of_mass: Annotated[NonNegativeRange, AfterValidator(_symmetric)] | None = None
    """(0, high): shift of the torso's centre of mass along each axis, m, drawn in [-high, high]; high ≤ 0.025."""
    gain_scale: Scale | None = None
    """Factor on the gains kp and kd, each joint and gain on its own."""
    motor_strength: Scale | None = None
    """Factor on the torque that each motor gives."""
    delay_s: NonNegativeRange | None = None
    """Delay of the joint targets, s; rounded to whole physics steps, at most 32."""
    joint_friction: NonNegativeRange | None = None
    """Coulomb friction added to every joint, N·m."""
    lost_motors: Annotated[tuple[Lost, Lost], AfterValidator(ordered)] | None = None
    """How many motors, drawn from all, give no torque; both ends included."""

    @model_serializer(mode="wrap")
    def _unless_new(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what came later and is not used: hashes from before it still hold."""
        data = plain(self)
        return {key: value for key, value in data.items() if key != "lost_motors" or value is not None}


class Noise(StrictModel):
    """What lies between the simulator's truth and what a policy sees."""

    scale: dict[str, NonNegative] = Field(default_factory=dict)
    """Half width of uniform noise, by observation channel, in the channel's unit."""
    latency_steps: Annotated[tuple[Steps, Steps], AfterValidator(ordered)] = (0, 0)
    """Control steps by which the observation lags; drawn for each episode from this range, both ends included."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Chance that a channel's sample is lost in a step; the policy then sees the last one that came."""


def default_randomisation() -> Randomisation:
    """Ranges that a policy meant for hardware should survive."""
    return Randomisation(
        friction=(0.4, 1.2),
        mass_scale=(0.9, 1.1),
        centre_of_mass=(0.0, 0.02),
        gain_scale=(0.9, 1.1),
        motor_strength=(0.9, 1.1),
        delay_s=(0.0, 0.015),
    )


def default_noise() -> Noise:
    """Sensor noise of unitree_rl_gym (joint position, velocity, gyroscope, gravity) and MuJoCo Playground (velocity of
    the base), and up to one step of latency; for a free robot.
    """
    return Noise(
        scale={
            "joint_position": 0.01,
            "joint_velocity": 1.5,
            "base_linear_velocity": 0.1,
            "base_angular_velocity": 0.2,
            "projected_gravity": 0.05,
        },
        latency_steps=(0, 1),
    )


def draw(ranges: Randomisation, joints: int, generator: np.random.Generator) -> dict[str, Any]:
    """Draw one episode's values.

    Args:
        ranges: What to draw.
        joints: Number of joints (n).
        generator: The episode's own.

    Returns:
        Name → number, or list of numbers (per joint (n) or per axis (3)); only what is randomised.
    """
    drawn: dict[str, Any] = {}
    for name in ("friction", "mass_scale", "delay_s", "joint_friction"):
        bounds = getattr(ranges, name)
        if bounds is not None:
            drawn[name] = float(generator.uniform(*bounds))
    if ranges.centre_of_mass is not None:
        reach = ranges.centre_of_mass[1]
        drawn["centre_of_mass"] = generator.uniform(-reach, reach, 3).tolist()
    if ranges.gain_scale is not None:
        drawn["kp_scale"] = generator.uniform(*ranges.gain_scale, joints).tolist()
        drawn["kd_scale"] = generator.uniform(*ranges.gain_scale, joints).tolist()
    if ranges.motor_strength is not None:
        drawn["motor_strength"] = generator.uniform(*ranges.motor_strength, joints).tolist()
    if ranges.lost_motors is not None:
        count = min(joints, int(generator.integers(ranges.lost_motors[0], ranges.lost_motors[1] + 1)))
        lost = sorted(int(i) for i in generator.choice(joints, count, replace=False))
        strength = drawn.get("motor_strength", [1.0] * joints)
        drawn["motor_strength"] = [0.0 if i in lost else strength[i] for i in range(joints)]
        drawn["lost_motors"] = lost
    return drawn
