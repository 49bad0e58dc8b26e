"""What an environment is, as plain data: what a dataset, a policy bundle and an evaluation keep of it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from typing import TYPE_CHECKING, Any

from training_ground.envs.world import ENGINE, ENGINE_API

if TYPE_CHECKING:
    from training_ground.envs.env import HumanoidEnv

VERSIONS = ("training-ground", "pybullet", "numpy", "gymnasium")
"""Packages whose versions decide what a simulation gives."""


def described(env: HumanoidEnv) -> dict[str, Any]:
    """Return everything that makes an environment what it is, as plain JSON data."""
    options = env.config.model_dump(mode="json") | env.task.config.model_dump(mode="json")
    options["stance"] = env.stance
    legs = {} if env.legs is None else {"legs": env.legs.describe()}
    text = json.dumps(options | legs, sort_keys=True)
    return {
        **legs,
        "env_id": f"TrainingGround/{env.task.id}-v0",
        "options": options,
        "config_hash": hashlib.sha256(text.encode()).hexdigest(),
        "instruction": env.task.instruction,
        "robot": env.model.name,
        "model_hash": env.model.hash,
        "joint_names": list(env.model.joint_names),
        "joint_limits": {
            "lower": env.model.lower.tolist(),
            "upper": env.model.upper.tolist(),
            "velocity": env.model.velocity_limit.tolist(),
            "effort": env.model.effort_limit.tolist(),
        },
        "phases": list(env.task.phases),
        "control_rate": 1 / env.control_timestep,
        "action_joints": list(env.action_joints),
        "action_scale": env.action_scale.tolist(),
        "action_origin": env.action_origin.tolist(),
        "reference": env.task.reference_model() if env.config.control == "joint_position" else None,
        "physics": {
            "engine": ENGINE,
            "engine_api": ENGINE_API,
            "timestep": env.config.physics_timestep,
            "decimation": env.config.decimation,
            "solver_iterations": env.config.solver_iterations,
            "gravity": env.world.gravity,
        },
        "versions": {name: _version(name) for name in VERSIONS},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
