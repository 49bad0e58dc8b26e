"""A policy where there is no PyTorch: ONNX Runtime's actions against torch's own, and the time of one.

The shipped policy and random networks of its size, one an activation and an output. A fresh interpreter acts, as on a
robot's computer; torch's forward pass through the same arrays is computed here, in another process.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _measure import quick, report, seconds, summary, target

from training_ground.agents.bundle_format import BundleSpec
from training_ground.agents.network_specs import NetworkSpec
from training_ground.agents.policy import SHIPPED, load_policy

SHIPPED_NAME = "stand_g1"
OBSERVATIONS = 2000
CALLS = 200
"""Calls between two looks at the clock."""
FORBIDDEN = ("torch", "stable_baselines3", "onnx")


def act(folder: Path, out: Path, rounds: int) -> dict[str, Any]:
    """In the fresh interpreter: act on every observation and measure."""
    policy = load_policy(folder, runtime="onnx")
    observations = np.load(out.with_suffix(".in.npy"), allow_pickle=False)
    np.save(out, np.stack([policy.act(o) for o in observations]))
    one, times = observations[0], []
    for _ in range(rounds):
        times.append(seconds(lambda: [policy.act(one) for _ in range(CALLS)]) / CALLS)
    return {"seconds": times, "imported": [name for name in FORBIDDEN if name in sys.modules]}


def torch_actions(folder: Path, observations: np.ndarray) -> np.ndarray:
    """The normaliser in float64, torch's layers, the bounds as stable-baselines3 applies them."""
    import torch

    from training_ground.agents.bundle import read_bundle

    read = read_bundle(folder)
    spec, tensors = read.policy.spec, read.tensors
    deviation = np.sqrt(tensors["observation.variance"] + spec.normaliser.epsilon)
    clip = spec.normaliser.clip
    normal = ((observations - tensors["observation.mean"]) / deviation).clip(-clip, clip)
    actions = layers(torch, spec, tensors, normal.astype(np.float32))
    assert spec.env.bounds is not None
    low, high = spec.env.bounds
    return (low + 0.5 * (actions + 1) * (high - low) if spec.network.output == "tanh" else actions).clip(low, high)


def layers(torch: Any, spec: BundleSpec, tensors: dict[str, Any], x: np.ndarray) -> np.ndarray:
    """Torch's forward pass from normalised observations."""
    assert isinstance(spec.network, NetworkSpec)
    between = {"elu": torch.nn.functional.elu, "tanh": torch.tanh, "relu": torch.relu}[spec.network.activation]
    count = len(spec.network.layers) - 1
    with torch.no_grad():
        value = torch.as_tensor(x)
        for i in range(count):
            weight, bias = (torch.as_tensor(tensors[f"{kind}.{i}"]) for kind in ("weight", "bias"))
            value = torch.nn.functional.linear(value, weight, bias)
            value = between(value) if i < count - 1 else value
        return (torch.tanh(value) if spec.network.output == "tanh" else value).numpy()


def random_bundle(folder: Path, activation: str, output: str) -> None:
    """Write a network with random weights, of the shipped one's sizes and for the same environment."""
    import torch

    from training_ground.agents.bundle import read_bundle
    from training_ground.agents.export import save_policy

    read = read_bundle(SHIPPED / SHIPPED_NAME)
    assert isinstance(read.policy.spec.network, NetworkSpec)
    network = read.policy.spec.network.model_copy(update={"activation": activation, "output": output})
    spec = read.policy.spec.model_copy(update={"network": network})
    generator = np.random.default_rng(0)
    tensors: dict[str, Any] = {}
    for i, (inputs, outputs) in enumerate(zip(network.layers[:-1], network.layers[1:], strict=True)):
        tensors[f"weight.{i}"] = (generator.standard_normal((outputs, inputs)) / np.sqrt(inputs)).astype(np.float32)
        tensors[f"bias.{i}"] = generator.standard_normal(outputs).astype(np.float32) / 10
    moments = (read.tensors["observation.mean"], read.tensors["observation.variance"])
    save_policy(folder, spec, tensors, moments, lambda x: layers(torch, spec, tensors, x))


def compare(folder: Path, scratch: Path, rounds: int) -> dict[str, Any]:
    """Let a fresh interpreter act, and compare with torch."""
    from training_ground.agents.bundle import read_bundle

    tensors = read_bundle(folder).tensors
    mean, variance = tensors["observation.mean"], tensors["observation.variance"]
    drawn = np.random.default_rng(1).standard_normal((OBSERVATIONS, len(mean))) * 2 * np.sqrt(variance) + mean
    observations, out = drawn.astype(np.float32), scratch / f"{folder.name}.npy"
    np.save(out.with_suffix(".in.npy"), observations)
    command = [sys.executable, __file__, "--act", str(folder), str(out), str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    actions = np.load(out, allow_pickle=False)
    difference = float(np.abs(actions - torch_actions(folder, observations)).max())
    return {"largest_difference": difference, **json.loads(done.stdout)}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, return."""
    rounds = 20 if quick(argv, __doc__) else 200
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        found = {SHIPPED_NAME: compare(SHIPPED / SHIPPED_NAME, scratch, rounds)}
        for activation in ("elu", "tanh", "relu"):
            for output in ("linear", "tanh"):
                folder = scratch / f"random_{activation}_{output}"
                random_bundle(folder, activation, output)
                found[folder.name] = compare(folder, scratch, rounds)
    shipped = statistics.median(found[SHIPPED_NAME]["seconds"]) * 1e6
    numpy_policy = load_policy(SHIPPED_NAME)
    zeros = np.zeros(79, np.float32)
    numpy_times = [seconds(lambda: [numpy_policy.act(zeros) for _ in range(CALLS)]) / CALLS for _ in range(rounds)]
    worst = max(f["largest_difference"] for f in found.values())
    what = f"ONNX against torch, {len(found)} networks × {OBSERVATIONS} observations: largest difference of an action"
    imported = sorted({name for f in found.values() for name in f["imported"]})
    return report(
        {
            "targets": [
                target(what, worst, "", at_most=1e-6),
                target(f"one action of {SHIPPED_NAME} in ONNX Runtime", shipped, "µs", at_most=100),
                target("modules of PyTorch that it imports", len(imported), "", at_most=0),
            ],
            "imported": imported,
            "largest_difference": {name: f["largest_difference"] for name, f in found.items()},
            "onnx_us": {name: summary(f["seconds"], 1e6) for name, f in found.items()},
            "numpy_us": {SHIPPED_NAME: summary(numpy_times, 1e6)},
        }
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--act"]:
        print(json.dumps(act(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        main()
