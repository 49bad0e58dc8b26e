"""An object's passive joints as actuators: what they move, and whether the physics step bears their springs."""

from __future__ import annotations

import numpy as np

from training_ground.assets.dynamics import gain_share, largest_timestep, mass_matrix
from training_ground.assets.mechanisms import UNLIMITED
from training_ground.assets.objects import ObjectSpec
from training_ground.assets.poses import Array
from training_ground.configs.errors import SimulationError
from training_ground.envs.actuator import ActuatorParameters

_FRICTION_SPEED = 1e-3
"""m/s or rad/s: what friction holds creeps no faster."""


def parameters(spec: ObjectSpec, fixed: bool) -> ActuatorParameters:
    """A spring is a motor without limit that holds a target; a damper its derivative gain."""
    joints = list(spec.mechanisms.values())
    count = len(joints)
    return ActuatorParameters(
        kp=np.array([joint.spring for joint in joints]),
        kd=np.array([joint.damping for joint in joints]),
        effort=np.full(count, UNLIMITED),
        velocity=np.full(count, np.inf),
        saturation=np.ones(count),
        friction=np.array([joint.friction for joint in joints]),
        inertia=moved_inertia(spec, fixed),
        strength=np.ones(count),
        friction_speed=_FRICTION_SPEED,
    )


def moved_inertia(spec: ObjectSpec, fixed: bool) -> Array:
    """Return (n,) what each joint's gains may count on, kg or kg·m²: the least of three positions along the travel.

    Joints that feel one another, through a chain or a free base, get less than each moves alone, so that gains in
    proportion to these are stable on all of them at once.
    """
    joints = list(spec.mechanisms.values())
    tree = spec.tree()
    least = np.full(len(joints), np.inf)
    for share in (0.0, 0.5, 1.0):
        position = np.array([joint.lower + share * (joint.upper - joint.lower) for joint in joints])
        matrix = mass_matrix(tree, position)
        mobility = np.linalg.inv(matrix[6:, 6:]) if fixed else np.linalg.inv(matrix)[6:, 6:]
        alone = 1.0 / np.diag(mobility)  # each joint's, all else free to move
        together = np.linalg.eigvalsh(mobility * np.sqrt(np.outer(alone, alone)))[-1]  # 1 where none feels another
        least = np.minimum(least, alone / together)
    return least


def require_stable(name: str, spec: ObjectSpec, motors: ActuatorParameters, timestep: float) -> None:
    """Refuse a spring or damper that would feed itself energy at the world's physics step."""
    share = gain_share(motors.kp, motors.kd, motors.inertia, timestep)
    i = int(share.argmax())
    if share[i] >= 1.0:
        kp, kd, inertia = (float(values[i]) for values in (motors.kp, motors.kd, motors.inertia))
        raise SimulationError(
            f"'{name}', joint '{list(spec.mechanisms)[i]}': spring = {kp:g} and damping = {kd:g} use "
            f"{share[i]:.0%} of the stability bound at physics_timestep = {timestep:g} s; lower physics_timestep "
            f"to less than {largest_timestep(kp, kd, inertia):.2g} s, lower them, or raise the piece's mass"
        )
