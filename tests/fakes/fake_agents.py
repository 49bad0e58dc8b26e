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


def make_bundle(folder: Path, env: Any, seed: int = 0) -> Any:
    """Write a bundle with random weights for `env` and return its policy."""
    from training_ground.agents.bundle import save_bundle
    from training_ground.agents.bundle_format import BundleSpec, NetworkSpec, NormaliserSpec, Provenance
    from training_ground.agents.signature import signature_of

    signature = signature_of(env)
    generator = np.random.default_rng(seed)
    layers = (signature.observation_size, 8, signature.action_size)
    tensors: dict[str, Any] = {"observation.mean": np.zeros(layers[0]), "observation.variance": np.ones(layers[0])}
    for i in range(2):
        tensors[f"weight.{i}"] = generator.standard_normal((layers[i + 1], layers[i])).astype(np.float32)
        tensors[f"bias.{i}"] = generator.standard_normal(layers[i + 1]).astype(np.float32)
    spec = BundleSpec(
        schema_version=1,
        name="point_point",
        network=NetworkSpec(layers=layers, activation="elu"),
        normaliser=NormaliserSpec(clip=10.0, epsilon=1e-4),
        env=signature,
        env_kwargs={"length": 20},
        provenance=Provenance(
            algorithm="ppo", steps=1, seconds=1.0, seed=0, commit="unknown", created="2026", versions={}, config={}
        ),
    )
    observations = generator.standard_normal((16, layers[0])).astype(np.float32)
    hidden = (observations / np.sqrt(1 + 1e-4)).astype(np.float32) @ tensors["weight.0"].T + tensors["bias.0"]
    hidden = np.where(hidden > 0, hidden, np.exp(np.minimum(hidden, 0)) - 1)
    actions = np.clip(hidden @ tensors["weight.1"].T + tensors["bias.1"], -1, 1).astype(np.float32)
    return save_bundle(folder, spec, tensors, {"observation": observations, "action": actions})
