"""Learned balance policies as legs of robots in cells with stance `free`: see `envs/legs.py`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from training_ground.agents.bundle import load_bundle
from training_ground.agents.policy import bundle_folder
from training_ground.configs.errors import AgentError
from training_ground.envs.legs import LegPolicy


def _channels(joints: int, driven: int) -> list[tuple[str, tuple[int, ...]]]:
    base = [(name, (3,)) for name in ("base_linear_velocity", "base_angular_velocity", "projected_gravity")]
    return [*base, ("joint_position", (joints,)), ("joint_velocity", (joints,)), ("previous_action", (driven,))]


@cache
def leg_policy(name: str | Path) -> LegPolicy:
    """Return a bundle as what drives legs, for `training_ground.envs.legs.offer`.

    Args:
        name: A shipped policy's, or the path of a bundle's folder or of a run.

    Raises:
        AgentError: There is none, it is damaged, or it sees or does something else than such a policy.
    """
    policy = load_bundle(bundle_folder(name))
    env = policy.spec.env
    found = [(channel.name, channel.shape) for channel in env.channels]
    expected = _channels(len(env.joint_names), len(env.action_joints))
    if found != expected or env.control != "joint_position" or not env.action_joints:
        raise AgentError(
            f"policy '{policy.name}': cannot drive legs: it must move some joints with control 'joint_position' and "
            f"see {', '.join(name for name, _ in expected)} of every joint that is not locked, and nothing else"
        )
    driven = [env.joint_names.index(joint) for joint in env.action_joints]
    default, origin, kp, kd = (np.array(v) for v in (env.default_position, env.action_origin, env.kp, env.kd))
    return LegPolicy(
        name=policy.name,
        hash=policy.hash,
        model_hash=env.model_hash,
        control_rate=env.control_rate,
        joints=env.joint_names,
        driven=env.action_joints,
        default=default,
        origin=origin[driven],
        scale=np.array(env.action_scale),
        kp=kp[driven],
        kd=kd[driven],
        act=policy.act,
    )
