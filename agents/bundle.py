"""Policy bundles: a learned policy as a folder that is safe to load and runs in numpy or as ONNX, without torch.

policy.safetensors   weights (float32) and the normaliser's mean and variance (float64)
spec.json            what they are for: network, joints in order, channels, control rate, model hash, provenance
golden.safetensors   observations, noise where a policy draws its actions, and what the trained network gave for them
policy.onnx          the same policy for ONNX runtimes, normaliser included; it follows from the first two, bit for bit
card.md, evaluation.json   for people: what the policy does and how well it was measured to do it
manifest.json        size and sha256 of each file above
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from training_ground.agents.bundle_format import (
    MAX_BYTES,
    MAX_WEIGHTS,
    ONNX_FILE,
    REQUIRED,
    SCHEMA_VERSION,
    BundleSpec,
    FileEntry,
    Manifest,
    read_files,
    read_json,
    read_tensors,
)
from training_ground.agents.files import to_json, write_atomic
from training_ground.agents.graph_network import network_of
from training_ground.agents.learned import LearnedPolicy
from training_ground.agents.memory import places_of
from training_ground.agents.network import Float32, Normalisation, unscale
from training_ground.agents.onnx_format import check_onnx
from training_ground.agents.onnx_graph import graph_of, write_onnx
from training_ground.configs.errors import AgentError

GOLDEN_COUNT = 16
GOLDEN_TOLERANCE = 1e-5
"""Largest difference between numpy and the trained network, absolute and relative; float32 sums in another order."""


class BundlePolicy(LearnedPolicy):
    """A learned policy in numpy: normalise, network, scale or clip to the action space."""

    runtime = "numpy"

    def __init__(self, spec: BundleSpec, tensors: dict[str, NDArray[Any]], hash: str) -> None:
        super().__init__(spec, hash)
        normalisation = Normalisation(
            tensors["observation.mean"],
            np.sqrt(tensors["observation.variance"] + spec.normaliser.epsilon),
            spec.normaliser.clip,
        )
        self._network = network_of(spec.network, tensors, normalisation)
        self._bounds = spec.bounds

    def _forward(self, observation: NDArray[Any], *noise: Float32) -> Float32:
        action = self._network(observation, *noise)
        if self._bounds is None:
            return action
        if self.spec.network.output == "tanh":
            action = unscale(action, *self._bounds)
        return action.clip(*self._bounds)


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle that has been read and found sound.

    Attributes:
        policy: It, in numpy.
        tensors: The arrays of `policy.safetensors`.
        golden: `observation` (16, n), with the clock's numbers and what is remembered behind, and `action` (16, m), of
            a chunk all actions one after the other; `noise` (16, m) where the network wants it.
        onnx: The bytes of `policy.onnx`; None where the bundle has none.
    """

    policy: BundlePolicy
    tensors: dict[str, NDArray[Any]]
    golden: dict[str, NDArray[Any]]
    onnx: bytes | None


def expected_tensors(spec: BundleSpec) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    """Return dtype and shape of each array of `policy.safetensors`."""
    size = spec.network.sizes[0]
    expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "observation.mean": (np.float64, (size,)),
        "observation.variance": (np.float64, (size,)),
    }
    return expected | {name: (np.float32, shape) for name, shape in spec.network.shapes.items()}


def load_bundle(folder: Path | str) -> BundlePolicy:
    """Return a bundle's policy in numpy; see `read_bundle` for what is checked and raised."""
    return read_bundle(folder).policy


def read_bundle(folder: Path | str, leave_out: Sequence[str] = ()) -> Bundle:
    """Read a bundle and check it: sizes, sha256, schema, shapes, finiteness and its golden vectors.

    Args:
        folder: The bundle.
        leave_out: Files that are neither read nor checked.

    Raises:
        AgentError: Anything is missing, damaged, inconsistent or too large; the message names the file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AgentError(f"{folder}: no bundle: a bundle is a folder with manifest.json")
    manifest, contents = read_files(folder, leave_out)
    path = folder / "spec.json"
    spec = read_json(path, contents["spec.json"], BundleSpec)
    _check_spec(path, spec)
    tensors = read_tensors(folder / "policy.safetensors", contents["policy.safetensors"], expected_tensors(spec))
    if (tensors["observation.variance"] < 0).any():
        raise AgentError(f"{folder / 'policy.safetensors'}: 'observation.variance' holds negative values")
    digest = hashlib.sha256("".join(manifest.files[name].sha256 for name in REQUIRED).encode()).hexdigest()
    policy = BundlePolicy(spec, tensors, digest)
    golden = read_tensors(folder / "golden.safetensors", contents["golden.safetensors"], _golden_shapes(spec))
    check_golden(folder, policy, golden)
    onnx = contents.get(ONNX_FILE)
    if onnx is not None:
        check_onnx(folder / ONNX_FILE, onnx, graph_of(spec, tensors, digest))
    return Bundle(policy, tensors, golden, onnx)


def _check_spec(path: Path, spec: BundleSpec) -> None:
    (inputs, outputs), env = spec.network.sizes, spec.env
    try:
        places_of(env, spec.remembered)
    except AgentError as problem:
        raise AgentError(f"{path}: {problem}") from problem
    if (inputs, outputs) != (spec.inputs, spec.outputs):
        told = spec.inputs - env.observation_size
        told = f" + {told} of clock and memory" if told else ""
        chunk = "" if spec.chunk is None else f" × chunk.horizon = {spec.chunk.horizon}"
        raise AgentError(
            f"{path}: the network goes from {inputs} to {outputs}, the environment's sizes are "
            f"{env.observation_size}{told} and {env.action_size}{chunk}"
        )
    if spec.network.weights > MAX_WEIGHTS:
        raise AgentError(f"{path}: the network has {spec.network.weights} weights, more than {MAX_WEIGHTS}")
    for field in ("action_low", "action_high"):
        bound = getattr(env, field)
        if bound is not None and len(bound) != env.action_size:
            raise AgentError(f"{path}: env.{field} has {len(bound)} entries, not {env.action_size}")
    if (env.action_low is None) != (env.action_high is None):
        raise AgentError(f"{path}: env.action_low and env.action_high must both be given or both be null")
    if spec.network.output == "tanh" and env.action_low is None:
        raise AgentError(f"{path}: network.output = 'tanh' needs bounds to be mapped to, and env.action_low is null")


def _golden_shapes(spec: BundleSpec) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    sizes = {"observation": spec.inputs, "action": spec.outputs, "noise": spec.network.noise}
    return {name: (np.float32, (GOLDEN_COUNT, size)) for name, size in sizes.items() if size}


def check_golden(folder: Path, policy: LearnedPolicy, golden: dict[str, NDArray[Any]]) -> None:
    """Compare what a policy does with what the trained network did.

    Raises:
        AgentError: An action differs by more than `GOLDEN_TOLERANCE`.
    """
    inputs = [golden[name] for name in ("observation", "noise") if name in golden]
    actions = np.stack([policy.infer(*one) for one in zip(*inputs, strict=True)])
    error = np.abs(actions - golden["action"])
    if not np.allclose(actions, golden["action"], rtol=GOLDEN_TOLERANCE, atol=GOLDEN_TOLERANCE):
        raise AgentError(
            f"{folder}: the weights do not give the golden actions (largest difference {error.max():.2g}, run by "
            f"{policy.runtime}): weights and specification do not belong together"
        )


def save_bundle(
    folder: Path, spec: BundleSpec, tensors: dict[str, NDArray[Any]], golden: dict[str, NDArray[Any]]
) -> BundlePolicy:
    """Write a bundle and load it again, which checks all of it.

    `policy.onnx` is left out where the package `onnx` is not installed; `add_onnx` adds it later.

    Args:
        folder: Created if missing; the manifest is written last, so an interrupted export is no bundle.
        spec: What the policy is for.
        tensors: Arrays by the keys of `expected_tensors`.
        golden: As of `Bundle`, float32, the action from the trained network itself.

    Raises:
        AgentError: The disk is full, or what was written does not load.
    """
    (folder / "manifest.json").unlink(missing_ok=True)
    for stale in ("card.md", "evaluation.json", ONNX_FILE):
        (folder / stale).unlink(missing_ok=True)
    write_atomic(folder / "policy.safetensors", safetensors.numpy.save(tensors))
    write_atomic(folder / "spec.json", spec.model_dump_json(indent=2) + "\n")
    write_atomic(folder / "golden.safetensors", safetensors.numpy.save(golden))
    write_manifest(folder)
    if find_spec("onnx") is not None:
        add_onnx(folder)
    return load_bundle(folder)


def add_onnx(folder: Path) -> BundlePolicy:
    """Write a bundle's `policy.onnx` from its arrays, or write it anew. Needs the package `onnx`.

    Nothing else changes: the policy's hash and what was measured of it stay.

    Raises:
        AgentError: The rest of the bundle is not sound, or the disk is full.
    """
    bundle = read_bundle(folder, leave_out=(ONNX_FILE,))
    graph = graph_of(bundle.policy.spec, bundle.tensors, bundle.policy.hash)
    write_atomic(folder / ONNX_FILE, write_onnx(graph))
    write_manifest(folder)
    return load_bundle(folder)


def write_manifest(folder: Path) -> None:
    """Write `manifest.json` over every file of the bundle that is there."""
    files: dict[str, FileEntry] = {}
    for name in sorted(MAX_BYTES.keys() - {"manifest.json"}):
        path = folder / name
        if path.is_file():
            data = path.read_bytes()
            files[name] = FileEntry(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
    manifest = Manifest(schema_version=SCHEMA_VERSION, files=files)
    write_atomic(folder / "manifest.json", to_json(manifest.model_dump()))
