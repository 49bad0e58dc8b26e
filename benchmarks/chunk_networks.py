"""The networks that foresee chunks of actions, side by side: an update, a decision, and ONNX Runtime against torch.

Sizes as in the documentation of imitation: Reach on the G1, 16 actions foreseen, layers of 256, random weights.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _measure import alternate, median_ratio, quick, report, seconds, summary, target

from training_ground.agents.bundle_format import SCHEMA_VERSION, BundleSpec, NormaliserSpec, Provenance
from training_ground.agents.signature import Signature, signature_of
from training_ground.agents.stepping import make_env

KINDS: dict[str, dict[str, Any]] = {"perceptron": {}, "transformer": {"transformer": {}}, "flow": {"flow": {}}}
BATCH, UPDATES, DECISIONS, OBSERVATIONS = 256, 5, 20, 500
CLIP, EPSILON = 10.0, 1e-4


def model_of(signature: Signature, own: dict[str, Any]) -> Any:
    """A fresh model of one kind, for observations of mean 0 and variance 1."""
    from training_ground.agents.imitation.kinds import make_model, tokens_of
    from training_ground.agents.imitation.settings import ImitationSettings
    from training_ground.configs.training import NetworkConfig, NormalisationConfig

    size, actions = signature.observation_size, signature.action_size
    moments = (np.zeros(size), np.ones(size)), (np.zeros(actions), np.full(actions, 0.01))
    configs = NetworkConfig(hidden=(256, 256, 256)), NormalisationConfig(clip=CLIP, epsilon=EPSILON)
    seen = np.ones(size, bool)
    return make_model(ImitationSettings(**own), *configs, *moments, seen, 0, tokens_of(signature, size))


def policies(folder: Path, signature: Signature, model: Any) -> tuple[Any, Any]:
    """The model's bundle, run in ONNX Runtime and in numpy."""
    from training_ground.agents.export import save_policy
    from training_ground.agents.onnx_runtime import load_onnx

    made = Provenance(
        algorithm="bc", steps=None, seconds=None, seed=0, commit="unknown", created="", versions={}, config={}
    )
    spec = BundleSpec(
        schema_version=SCHEMA_VERSION,
        name=folder.name,
        network=model.spec,
        chunk=model.settings.chunk,
        normaliser=NormaliserSpec(clip=CLIP, epsilon=EPSILON),
        env=signature,
        env_kwargs={},
        provenance=made,
    )
    moments = (model.moments["observation/mean"], model.moments["observation/variance"])
    plain = save_policy(folder, spec, model.arrays(), moments, model.forward())
    return load_onnx(folder), plain


def largest_difference(model: Any, policy: Any) -> float:
    """Of an action in ONNX Runtime and in torch, over many observations."""
    generator, spec = np.random.default_rng(1), policy.spec
    seen = generator.normal(0, 2, (OBSERVATIONS, spec.env.observation_size)).astype(np.float32)
    noise = [generator.standard_normal((OBSERVATIONS, spec.network.noise)).astype(np.float32)]
    noise = noise if spec.network.noise else []
    wanted = model.forward()(model.normalisation(seen), *noise)
    wanted = wanted if spec.bounds is None else wanted.clip(*spec.bounds)
    return float(np.abs(policy.infer(seen, *noise) - wanted).max())


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    import torch

    torch.set_num_threads(1)
    rounds = 3 if quick(argv, __doc__) else 30
    with contextlib.closing(make_env("TrainingGround/Reach-v0", {"robot": "g1"})) as env:
        signature = signature_of(env)
    generator, shape = np.random.default_rng(0), (BATCH, 16, signature.action_size)
    seen = generator.standard_normal((BATCH, signature.observation_size), np.float32)
    batch = {"observation": seen, "action": generator.standard_normal(shape, np.float32) * np.float32(0.1)}
    batch["is_pad"] = np.zeros(shape[:2], bool)
    models = {kind: model_of(signature, own) for kind, own in KINDS.items()}
    updates = {k: lambda m=m: seconds(lambda: [m.update(batch, 0) for _ in range(UPDATES)]) for k, m in models.items()}
    learned = alternate(updates, rounds)
    with tempfile.TemporaryDirectory() as name:
        loaded = {kind: policies(Path(name) / kind, signature, model) for kind, model in models.items()}
    runs = {f"{k}, {p.runtime}": p for k, pair in loaded.items() for p in pair}
    decisions = {k: lambda p=p: seconds(lambda: [p.infer(seen[0]) for _ in range(DECISIONS)]) for k, p in runs.items()}
    decided = alternate(decisions, rounds)
    differences = {kind: largest_difference(models[kind], loaded[kind][0]) for kind in KINDS}
    slowest = max(summary(decided[f"{kind}, onnx"], 1e6 / DECISIONS)["median"] for kind in KINDS)
    period = 1e6 / signature.control_rate
    return report(
        {
            "targets": [
                target(
                    "ONNX against torch: largest difference of an action", max(differences.values()), "", at_most=1e-5
                ),
                target("slowest decision in ONNX Runtime, in a control period", slowest, "µs", at_most=period),
            ],
            "largest_difference": differences,
            "weights": {kind: model.spec.weights for kind, model in models.items()},
            "update_ms": {kind: summary(values, 1e3 / UPDATES) for kind, values in learned.items()},
            "update_ratio": {kind: median_ratio(values, learned["perceptron"]) for kind, values in learned.items()},
            "decision_us": {kind: summary(values, 1e6 / DECISIONS) for kind, values in decided.items()},
            "decision_ratio": {k: median_ratio(values, decided["perceptron, onnx"]) for k, values in decided.items()},
        }
    )


if __name__ == "__main__":
    main()
