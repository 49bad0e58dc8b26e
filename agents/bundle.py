"""Policy bundles: a learned policy as a folder that is safe to load and runs in plain numpy, without torch.

policy.safetensors   weights (float32) and the normaliser's mean and variance (float64)
spec.json            what they are for: network, joints in order, channels, control rate, model hash, provenance
golden.safetensors   observations and the actions that the trained network gave for them
card.md, evaluation.json   for people: what the policy does and how well it was measured to do it
manifest.json        size and sha256 of each file above
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from training_ground.agents.bundle_format import (
    MAX_BYTES,
    MAX_WEIGHTS,
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
from training_ground.agents.network import Float32, Network, Normalisation, unscale
from training_ground.agents.signature import signature_of
from training_ground.configs.errors import AgentError

GOLDEN_COUNT = 16
GOLDEN_TOLERANCE = 1e-5
"""Largest difference between numpy and the trained network, absolute and relative; float32 sums in another order."""


class BundlePolicy:
    """A learned policy: normalise, multilayer perceptron, scale or clip to the action space.

    Attributes:
        name: The bundle's name.
        hash: sha256 (hex) over the manifest's files that decide what the policy does.
        spec: What it is for.
    """

    def __init__(self, spec: BundleSpec, tensors: dict[str, NDArray[Any]], hash: str) -> None:
        self.spec, self.hash, self.name = spec, hash, spec.name
        count = len(spec.network.layers) - 1
        self._network = Network(
            [(tensors[f"weight.{i}"].T.copy(), tensors[f"bias.{i}"]) for i in range(count)],
            spec.network.activation,
            Normalisation(
                tensors["observation.mean"],
                np.sqrt(tensors["observation.variance"] + spec.normaliser.epsilon),
                spec.normaliser.clip,
            ),
            spec.network.output,
        )
        low, high = spec.env.action_low, spec.env.action_high
        self._bounds = (
            None if low is None or high is None else (np.asarray(low, np.float32), np.asarray(high, np.float32))
        )

    @property
    def conditions(self) -> dict[str, Any]:
        """Keyword arguments of the environment that it was measured in: those of training, and its own."""
        evaluated = self.spec.provenance.config.get("eval")
        own = evaluated.get("kwargs") if isinstance(evaluated, dict) else None
        return {**self.spec.env_kwargs, **(own if isinstance(own, dict) else {})}

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Begin an episode; an AgentError lists how `env` differs from the one the policy was trained in."""
        if getattr(self, "_checked", None) is not env.unwrapped:
            self.check(env)
            self._checked = env.unwrapped

    def __getstate__(self) -> dict[str, Any]:
        """Leave the environment behind when the policy goes to another process."""
        return {key: value for key, value in self.__dict__.items() if key != "_checked"}

    def check(self, env: gymnasium.Env[Any, Any], ignore: Sequence[str] = ()) -> None:
        """Compare `env` with what the policy was trained for.

        Args:
            env: The environment that it shall act in.
            ignore: Fields of the signature that may differ, such as `model_hash`.

        Raises:
            AgentError: Joints (names and order), model, channels, control or rate differ; the message lists what.
        """
        found = self.spec.env.differences(signature_of(env), ignore)
        if found:
            raise AgentError(f"policy '{self.name}' does not fit this environment: {'; '.join(found)}")

    def act(self, observation: NDArray[Any]) -> Float32:
        """Return the deterministic action.

        Args:
            observation: (n,) or a batch (k, n), raw, as the environment returns it.

        Raises:
            AgentError: The observation has the wrong length or is not finite.
        """
        size = self.spec.env.observation_size
        if observation.shape[-1:] != (size,):
            raise AgentError(f"policy '{self.name}': observation of shape {observation.shape}, not ({size},)")
        action = self._network(observation)
        if self._bounds is not None:
            if self.spec.network.output == "tanh":
                action = unscale(action, *self._bounds)
            action = action.clip(*self._bounds)
        if not np.isfinite(action).all():
            raise AgentError(f"policy '{self.name}': the action is not finite; the observation: {observation}")
        return action


def expected_tensors(spec: BundleSpec) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    """Return dtype and shape of each array of `policy.safetensors`."""
    layers = spec.network.layers
    expected: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
        "observation.mean": (np.float64, (layers[0],)),
        "observation.variance": (np.float64, (layers[0],)),
    }
    for i, (inputs, outputs) in enumerate(itertools.pairwise(layers)):
        expected[f"weight.{i}"] = (np.float32, (outputs, inputs))
        expected[f"bias.{i}"] = (np.float32, (outputs,))
    return expected


def load_bundle(folder: Path | str) -> BundlePolicy:
    """Read a bundle and check it: sizes, sha256, schema, shapes, finiteness and its golden vectors.

    Raises:
        AgentError: Anything is missing, damaged, inconsistent or too large; the message names the file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AgentError(f"{folder}: no bundle: a bundle is a folder with manifest.json")
    manifest, contents = read_files(folder)
    path = folder / "spec.json"
    spec = read_json(path, contents["spec.json"], BundleSpec)
    _check_spec(path, spec)
    tensors = read_tensors(folder / "policy.safetensors", contents["policy.safetensors"], expected_tensors(spec))
    if (tensors["observation.variance"] < 0).any():
        raise AgentError(f"{folder / 'policy.safetensors'}: 'observation.variance' holds negative values")
    digest = hashlib.sha256("".join(manifest.files[name].sha256 for name in REQUIRED).encode()).hexdigest()
    policy = BundlePolicy(spec, tensors, digest)
    golden = read_tensors(folder / "golden.safetensors", contents["golden.safetensors"], _golden_shapes(spec))
    _check_golden(folder, policy, golden)
    return policy


def _check_spec(path: Path, spec: BundleSpec) -> None:
    layers, env = spec.network.layers, spec.env
    if (layers[0], layers[-1]) != (env.observation_size, env.action_size):
        raise AgentError(
            f"{path}: network.layers go from {layers[0]} to {layers[-1]}, the environment's sizes are "
            f"{env.observation_size} and {env.action_size}"
        )
    if spec.network.weights > MAX_WEIGHTS:
        raise AgentError(f"{path}: network.layers make {spec.network.weights} weights, more than {MAX_WEIGHTS}")
    for field in ("action_low", "action_high"):
        bound = getattr(env, field)
        if bound is not None and len(bound) != env.action_size:
            raise AgentError(f"{path}: env.{field} has {len(bound)} entries, not {env.action_size}")
    if (env.action_low is None) != (env.action_high is None):
        raise AgentError(f"{path}: env.action_low and env.action_high must both be given or both be null")
    if spec.network.output == "tanh" and env.action_low is None:
        raise AgentError(f"{path}: network.output = 'tanh' needs env.action_low and env.action_high to scale to")


def _golden_shapes(spec: BundleSpec) -> dict[str, tuple[type[np.generic], tuple[int, ...]]]:
    return {
        "observation": (np.float32, (GOLDEN_COUNT, spec.env.observation_size)),
        "action": (np.float32, (GOLDEN_COUNT, spec.env.action_size)),
    }


def _check_golden(folder: Path, policy: BundlePolicy, golden: dict[str, NDArray[Any]]) -> None:
    actions = np.stack([policy.act(o) for o in golden["observation"]])
    error = np.abs(actions - golden["action"])
    if not np.allclose(actions, golden["action"], rtol=GOLDEN_TOLERANCE, atol=GOLDEN_TOLERANCE):
        raise AgentError(
            f"{folder}: the weights do not give the golden actions (largest difference {error.max():.2g}): "
            "weights and specification do not belong together"
        )


def save_bundle(
    folder: Path, spec: BundleSpec, tensors: dict[str, NDArray[Any]], golden: dict[str, NDArray[Any]]
) -> BundlePolicy:
    """Write a bundle and load it again, which checks all of it.

    Args:
        folder: Created if missing; the manifest is written last, so an interrupted export is no bundle.
        spec: What the policy is for.
        tensors: Arrays by the keys of `expected_tensors`.
        golden: `observation` (16, n) and `action` (16, m), float32, the action from the trained network itself.

    Raises:
        AgentError: The disk is full, or what was written does not load.
    """
    (folder / "manifest.json").unlink(missing_ok=True)
    for stale in ("card.md", "evaluation.json"):
        (folder / stale).unlink(missing_ok=True)
    write_atomic(folder / "policy.safetensors", safetensors.numpy.save(tensors))
    write_atomic(folder / "spec.json", spec.model_dump_json(indent=2) + "\n")
    write_atomic(folder / "golden.safetensors", safetensors.numpy.save(golden))
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
