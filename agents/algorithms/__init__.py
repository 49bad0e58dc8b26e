"""Learning algorithms: one file each, found by walking this folder.

A file `agents/algorithms/<name>.py` has
- `Settings`: a `StrictModel`; the presets' key `<name>` holds it;
- `build(settings, network, environments, normaliser, seed, symmetry) -> BaseAlgorithm`: a stable-baselines3 model;
- `set_learning_rate(model, rate)`;
- `after_update(model, settings) -> dict[str, float]`: called after each update; adapts what the algorithm adapts and
  returns what to log;
- `actor(model) -> (weights, biases, act)`: the deterministic policy's layers as numpy arrays, and a function from
  normalised observations to actions by the trained network itself, for the bundle's golden vectors;
- where they differ from these: `OUTPUT = "linear"`, what follows the last layer, and `RECORD_STEPS = 1`, environment
  steps between two progress records.

An algorithm that learns from recorded episodes has, beside `Settings` and in place of the rest,
- `check_config(config, env)`: look at its datasets before a run's folder is made;
- `learn(config, folder, checkpoint, env, report) -> (updates, seconds)`: the whole run, up to its bundle.
`bc`, `dagger` and `distil` share `agents/imitation/`; their `total_steps` are updates of the weights.

SAC and TQC share `_off_policy.py`.

Importing a file must not import torch: a typo in a preset is reported without it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

from training_ground.configs.errors import AgentError, unknown


def algorithm_names() -> list[str]:
    """Return the algorithms of this folder."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def find_algorithm(name: str) -> ModuleType:
    """Return an algorithm's module.

    Raises:
        AgentError: There is none of that name.
    """
    if name not in algorithm_names():
        raise AgentError(unknown("algorithm", name, algorithm_names()))
    return import_module(f"training_ground.agents.algorithms.{name}")
