"""What the tests of agents share: the fake task, made known to this process and its children, and a small bundle."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent


def install(monkeypatch: Any) -> str:
    """Make the fake task known, also to processes started from here, and return its id."""
    # A spawned process gets this process's sys.path.
    monkeypatch.syspath_prepend(str(FOLDER))
    return f"fake_tasks:{importlib.import_module('fake_tasks').ENV_ID}"


ACTIVATIONS: dict[str, Any] = {
    "elu": lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
}


def make_bundle(
    folder: Path, env: Any, seed: int = 0, activation: Any = "elu", output: Any = "linear", hidden: tuple = (8,)
) -> Any:
    """Write a bundle with random weights for `env` and return its policy."""
    from training_ground.agents.bundle import save_bundle
    from training_ground.agents.bundle_format import BundleSpec, NormaliserSpec, Provenance
    from training_ground.agents.network_specs import NetworkSpec
    from training_ground.agents.signature import signature_of

    signature = signature_of(env)
    generator = np.random.default_rng(seed)
    layers = (signature.observation_size, *hidden, signature.action_size)
    tensors: dict[str, Any] = {"observation.mean": np.zeros(layers[0]), "observation.variance": np.ones(layers[0])}
    for i in range(len(layers) - 1):
        drawn = generator.standard_normal((layers[i + 1], layers[i])) / np.sqrt(layers[i])
        tensors[f"weight.{i}"] = drawn.astype(np.float32)
        tensors[f"bias.{i}"] = generator.standard_normal(layers[i + 1]).astype(np.float32)
    spec = BundleSpec(
        schema_version=1,
        name="point_point",
        network=NetworkSpec(layers=layers, activation=activation, output=output),
        normaliser=NormaliserSpec(clip=10.0, epsilon=1e-4),
        env=signature,
        env_kwargs={"length": 20},
        provenance=Provenance(
            algorithm="ppo", steps=1, seconds=1.0, seed=0, commit="unknown", created="2026", versions={}, config={}
        ),
    )
    observations = generator.standard_normal((16, layers[0])).astype(np.float32)
    x: Any = (observations / np.sqrt(1 + 1e-4)).astype(np.float32)
    for i in range(len(layers) - 1):
        x = x @ tensors[f"weight.{i}"].T + tensors[f"bias.{i}"]
        x = ACTIVATIONS[activation](x) if i < len(layers) - 2 else x
    if output == "tanh":
        low, high = env.action_space.low, env.action_space.high
        x = low + (np.tanh(x) + 1) * (high - low) / 2
    actions = np.clip(x, env.action_space.low, env.action_space.high).astype(np.float32)
    return save_bundle(folder, spec, tensors, {"observation": observations, "action": actions})
