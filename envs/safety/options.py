"""What the safety monitor is set to."""

from __future__ import annotations

from typing import Literal

from training_ground.assets.spec import NonNegative, Positive
from training_ground.configs.loading import StrictModel

Cause = Literal["contact", "separation", "joint_limit", "torque_limit", "workspace", "fall"]


class SafetyOptions(StrictModel):
    """Settings of the safety monitor."""

    stops: tuple[Cause, ...] = ("contact", "separation")
    """What stops the robot. A stop for `separation` is a protective one: it ends where the distance has been regained.
    All others are emergency stops, which end with the episode."""
    after_emergency_stop: Literal["unsafe", "hold"] = "unsafe"
    """Whether the episode fails with `unsafe` once the robot stands still, or goes on with a robot that does."""
    stopping_s: Positive = 0.4
    """s that the robot is taken to need for a stop. Measured with the G1 (`docs/safety.md`); `stop_time` in an
    episode's metrics tells whether it held."""
    sensing_s: NonNegative = 0.0
    """Age of what is known of people, s: 0 is the simulator's truth."""
    intrusion: NonNegative = 0.0
    """C of ISO 13855, m: how far a part of the body gets before it is detected."""
    uncertainty: NonNegative = 0.0
    """Z_d + Z_r of ISO/TS 15066, m: how wrong the measured places of the person and of the robot may be."""
