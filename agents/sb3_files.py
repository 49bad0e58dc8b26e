"""Read a stable-baselines3 `.zip` for its weights alone. What is pickled in it is never decoded.

A `.zip` of `model.save()` holds `policy.pth`, the weights, and `data`, a JSON whose values are in part base64 of
pickles: loading those runs whatever code the file's author put there. Here the weights are read by torch's restricted
unpickler, and of `data` only what is plain JSON.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.bundle_format import MAX_WEIGHTS, read_capped
from training_ground.configs.errors import AgentError

MAX_ZIP = 1_000_000_000
MAX_ENTRIES, MAX_TENSORS = 64, 4_096
MAX_MEMBER = {"policy.pth": 512_000_000, "data": 16_000_000, "_stable_baselines3_version": 100}
"""The members that are read, and the most bytes that each may have."""
LEAST_TORCH = (2, 6)
"""Before, `weights_only` could be made to run code (CVE-2025-32434)."""
ENTRY = b"PK\x01\x02"
"""Begins every entry of a zip file's directory."""
SAFE_NAME = re.compile(r"((?!\.\.?(/|$))[A-Za-z0-9_.-]+(/|$))+")
ACTOR_CRITIC, SOFT, DETERMINISTIC = "mlp_extractor.policy_net.", "actor.latent_pi.", "actor.mu."
IGNORED = (
    "log_std",
    "mlp_extractor.value_net.",
    "value_net.",
    "critic.",
    "critic_target.",
    "actor_target.",
    "actor.log_std",
)
"""What the deterministic action does not need."""
OWN_CLASSES = re.compile(r"(stable_baselines3|sb3_contrib)\.[a-z0-9_.]+")

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]
Kind = Literal["actor_critic", "soft", "deterministic"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, eq=False)
class Actor:
    """The deterministic actor of a model.

    Attributes:
        layers: Weights (outputs, inputs) and biases (outputs,).
        kind: What the weights belong to: PPO or A2C, SAC or TQC, TD3 or DDPG.
        output: Of the last layer.
        about: The plain part of `data`; for people, and for defaults.
        version: Of stable-baselines3; None where unknown.
        sha256: Of the file.
    """

    layers: list[Layer]
    kind: Kind
    output: Literal["linear", "tanh"]
    about: dict[str, Any]
    version: str | None
    sha256: str


def read_actor(path: Path) -> Actor:
    """Read the actor of PPO, A2C, SAC, TQC, TD3 or DDPG with an `MlpPolicy`. Runs nothing that the file holds.

    Raises:
        AgentError: The file is damaged, too large, no such model, or its policy is not a plain multilayer perceptron.
        ModuleNotFoundError: torch is not installed.
    """
    data = read_capped(path, MAX_ZIP)
    archive = _open(path, data, MAX_ENTRIES)
    if "policy.pth" not in archive.namelist():
        raise AgentError(f"{path}: holds no policy.pth: not a model that stable-baselines3 saved")
    about, version = _about(path, archive), None
    if "_stable_baselines3_version" in archive.namelist():
        text = _read(path, archive, "_stable_baselines3_version").decode("ascii", "replace").strip()
        version = text if re.fullmatch(r"[0-9][0-9A-Za-z.+]*", text) else None
    module = details(about, "policy_class").get("__module__")
    if isinstance(module, str) and not OWN_CLASSES.fullmatch(module):
        raise AgentError(f"{path}: a policy class of its own, of the module '{module[:80]}'; only MlpPolicy is known")
    weights = _weights(path, _read(path, archive, "policy.pth"))
    squashed = details(about, "policy_kwargs").get("squash_output") is True
    layers, kind = _layers(path, weights)
    output = "linear" if kind == "actor_critic" and not squashed else "tanh"
    return Actor(layers, kind, output, about, version, hashlib.sha256(data).hexdigest())


def details(about: dict[str, Any], key: str) -> dict[str, Any]:
    """Return what `data` says in plain JSON of a value that it holds as a pickle; empty where it says nothing."""
    value = about.get(key)
    return value if isinstance(value, dict) else {}


def _open(path: Path, data: bytes, entries: int) -> zipfile.ZipFile:
    """Open a zip file that is in memory; its directory is short, its names are harmless."""
    crowded = AgentError(f"{path}: more than {entries} entries")
    if data.count(ENTRY) > MAX_TENSORS:  # before anything is made of them; those of a zip file inside count too
        raise crowded
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, struct.error) as problem:
        raise AgentError(f"{path}: damaged or no zip file: {problem}") from problem
    names = archive.namelist()
    if len(names) > entries:
        raise crowded
    if len(set(names)) != len(names):
        raise AgentError(f"{path}: an entry stands twice")
    for name in names:
        if not SAFE_NAME.fullmatch(name):
            raise AgentError(f"{path}: the entry {name[:80]!r} has a name that no model needs")
    return archive


def _read(path: Path, archive: zipfile.ZipFile, name: str) -> bytes:
    cap = MAX_MEMBER[name]
    try:
        with archive.open(name) as stream:
            data = stream.read(cap + 1)
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, RuntimeError, zlib.error) as problem:
        raise AgentError(f"{path}: '{name}' cannot be read: {problem}") from problem
    if len(data) > cap:
        raise AgentError(f"{path}: '{name}' has more than {cap} bytes")
    return data


def _about(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    """What `data` says in plain JSON, two levels deep; the pickles in it are dropped as they are, undecoded."""
    if "data" not in archive.namelist():
        return {}
    try:
        data = json.loads(_read(path, archive, "data").decode("utf-8"))
    except (ValueError, RecursionError) as problem:
        raise AgentError(f"{path}: 'data' is damaged JSON: {problem}") from problem
    if not isinstance(data, dict):
        raise AgentError(f"{path}: 'data' is no JSON object")
    return {
        key: {k: v for k, v in value.items() if k != ":serialized:"} if isinstance(value, dict) else value
        for key, value in data.items()
    }


def _weights(path: Path, data: bytes) -> dict[str, NDArray[np.float32]]:
    """The tensors of a `.pth` file, which is a zip file once more."""
    import torch

    found = tuple(int(x) for x in torch.__version__.split(".")[:2])
    if found < LEAST_TORCH:
        raise AgentError(f"torch {torch.__version__} cannot read weights safely; 2.6 and later can")
    records = _open(path, data, MAX_TENSORS).infolist()
    if any(r.compress_type for r in records) or sum(r.file_size for r in records) > len(data):
        raise AgentError(f"{path}: policy.pth is compressed, which torch's own files never are")
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as problem:  # whatever torch thinks of a damaged or hostile file
        reason = (str(problem).strip() or type(problem).__name__).splitlines()[0][:200]
        raise AgentError(f"{path}: policy.pth holds more than weights, or is damaged: {reason}") from problem
    if not isinstance(state, Mapping):
        raise AgentError(f"{path}: policy.pth is no dictionary of weights")
    weights: dict[str, NDArray[np.float32]] = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
            raise AgentError(f"{path}: policy.pth: {str(name)[:80]!r} is no dense tensor")
        if name.startswith(IGNORED):
            continue
        if tensor.dtype not in (torch.float32, torch.float64) or tensor.numel() > MAX_WEIGHTS:
            raise AgentError(f"{path}: '{name}': {tensor.numel()} numbers of {tensor.dtype}; allowed are float32")
        weights[name] = tensor.detach().to(torch.float32).contiguous().numpy().copy()
        if not np.isfinite(weights[name]).all():
            raise AgentError(f"{path}: '{name}' holds values that are not finite")
    if not any(name.startswith("log_std") for name in state) and any(n.startswith("action_net") for n in state):
        raise AgentError(f"{path}: the actions are not continuous; only a Box action space can be imported")
    return weights


def _layers(path: Path, weights: dict[str, NDArray[np.float32]]) -> tuple[list[Layer], Kind]:
    """Put the tensors in the order in which they act; every one of them must have its place."""
    left, kind = dict(weights), KINDS[0]
    if any(name.startswith("action_net.") for name in left):
        layers = [*_stack(path, left, ACTOR_CRITIC), _layer(path, left, "action_net")]
    elif any(name.startswith(SOFT) for name in left):
        layers, kind = [*_stack(path, left, SOFT), _layer(path, left, "actor.mu")], KINDS[1]
    elif any(name.startswith(DETERMINISTIC) for name in left):
        layers, kind = _stack(path, left, DETERMINISTIC), KINDS[2]
    else:
        raise AgentError(f"{path}: no actor of PPO, A2C, SAC, TQC, TD3 or DDPG; it holds {_some(weights)}")
    for (_, bias), (weight, _) in itertools.pairwise(layers):
        if weight.shape[1] != len(bias):
            raise AgentError(f"{path}: a layer of {len(bias)} outputs before one of {weight.shape[1]} inputs")
    if left:
        raise AgentError(f"{path}: no plain MlpPolicy; beyond the actor's layers it holds {_some(left)}")
    return layers, kind


def _stack(path: Path, weights: dict[str, NDArray[np.float32]], prefix: str) -> list[Layer]:
    """Layers `<prefix>0`, `<prefix>2`, …: activations lie between them."""
    places = [name.removeprefix(prefix).partition(".")[0] for name in weights if name.startswith(prefix)]
    count = len(set(places))
    if set(places) != {str(2 * i) for i in range(count)}:
        raise AgentError(f"{path}: '{prefix}' has layers at {sorted(set(places))[:12]}, not at 0, 2, 4, …")
    return [_layer(path, weights, f"{prefix}{2 * i}") for i in range(count)]


def _layer(path: Path, weights: dict[str, NDArray[np.float32]], name: str) -> Layer:
    weight, bias = weights.pop(f"{name}.weight", None), weights.pop(f"{name}.bias", None)
    if weight is None or bias is None or weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise AgentError(f"{path}: '{name}' is no linear layer with weights and biases")
    return weight, bias


def _some(names: Mapping[str, Any]) -> str:
    listed = sorted(names)
    return ", ".join(n[:80] for n in listed[:4]) + (f" and {len(listed) - 4} more" if len(listed) > 4 else "")
