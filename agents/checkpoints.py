"""Checkpoints of a training run: safetensors, so that reading one never runs anything.

One file holds the networks, the optimiser's moments, the normaliser, the curriculum, where the environments stand, the
random generator and the counters: what it takes to go on as if nothing had happened. It is written under a temporary
name and renamed, and carries a sha256 of its contents: it is whole, or is passed over. An off-policy run's memory
lies in files beside it (`agents/replay.py`), which it names with their hashes.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

from training_ground.agents.files import write_atomic
from training_ground.agents.replay import Replay, Segment, read_segment, remove_unused, segments
from training_ground.agents.rollouts import LaneState
from training_ground.configs.errors import AgentError

if TYPE_CHECKING:
    from training_ground.agents.learner import RolloutPPO
    from training_ground.agents.normaliser import Normaliser
    from training_ground.agents.off_policy import OffPolicyLearner

SCHEMA_VERSION = 3
MAX_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Counters:
    """Where a run stands.

    Attributes:
        steps: Environment steps done.
        updates: Updates done.
        episodes: Episodes finished.
        seconds: Wall-clock time over all sessions, s.
        learning_rate: Learning rate of the next update.
        model_hash: Compiled robot that the run trains on.
    """

    steps: int
    updates: int
    episodes: int
    seconds: float
    learning_rate: float
    model_hash: str


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and found whole."""

    path: Path
    counters: Counters
    tensors: dict[str, torch.Tensor]


def checkpoint_path(folder: Path, steps: int) -> Path:
    """Return the file of the checkpoint after `steps` steps; names sort by steps."""
    return folder / f"step_{steps:012d}.safetensors"


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a folder, the oldest first."""
    return sorted(folder.glob("step_*.safetensors"))


def save_checkpoint(folder: Path, model: RolloutPPO | OffPolicyLearner, counters: Counters, keep: int) -> Path:
    """Write a checkpoint and remove all but the newest `keep`.

    Raises:
        AgentError: The disk is full or the folder cannot be written; older checkpoints are untouched.
    """
    tensors = {f"policy/{k}": v.detach().contiguous() for k, v in model.policy.state_dict().items()}
    for prefix, optimiser in _optimisers(model).items():
        for index, moments in optimiser.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"{prefix}/{index}/{key}"] = torch.as_tensor(value).contiguous()
    tensors.update(_normaliser_tensors(model.normaliser))
    states = model.collector.states
    tensors["environments/episodes"] = torch.tensor([state.episode for state in states])
    tensors["environments/levels"] = torch.tensor([state.level for state in states], dtype=torch.float64)
    curriculum = model.curriculum
    tensors["curriculum"] = torch.tensor([curriculum.level, curriculum.coped], dtype=torch.float64)
    for i, state in enumerate(states):
        tensors[f"environments/{i}/actions"] = torch.from_numpy(state.actions).contiguous()
    tensors["random/torch"] = torch.get_rng_state()
    coefficient = getattr(model, "log_ent_coef", None)
    if coefficient is not None:
        tensors["entropy/log_coefficient"] = coefficient.detach().clone()
    replay = _replay(model)
    if replay is not None:
        tensors.update(replay.save(folder))
    path = write_checkpoint(folder, tensors, counters, keep)
    if replay is not None:
        remove_unused(folder, (s for kept in list_checkpoints(folder) for s in _segments_of(kept)))
    return path


def write_checkpoint(folder: Path, tensors: dict[str, torch.Tensor], counters: Counters, keep: int) -> Path:
    """Write a checkpoint of a learner's arrays and remove all but the newest `keep`; see `save_checkpoint`."""
    state = json.dumps({"schema_version": SCHEMA_VERSION, **asdict(counters)})
    metadata = {"state": state, "sha256": _digest(state, tensors)}
    path = checkpoint_path(folder, counters.steps)
    write_atomic(path, safetensors.torch.save(tensors, metadata))
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink(missing_ok=True)
    return path


def _optimisers(model: Any) -> dict[str, torch.optim.Optimizer]:
    """By the prefix that their arrays have in a checkpoint."""
    single = getattr(model.policy, "optimizer", None)
    if single is not None:
        return {"optimizer": single}
    found = {"actor_optimizer": model.actor.optimizer, "critic_optimizer": model.critic.optimizer}
    return found | ({"entropy_optimizer": model.ent_coef_optimizer} if model.ent_coef_optimizer is not None else {})


def _replay(model: Any) -> Replay | None:
    return getattr(model, "replay_buffer", None)


def _segments_of(path: Path) -> list[Segment]:
    """What a checkpoint needs of the replay memory; nothing where it is damaged."""
    try:
        with safetensors.safe_open(str(path), framework="pt") as stream:
            names = [name for name in stream.keys() if name.startswith("replay/")]  # noqa: SIM118 (no mapping)
            return segments({name: stream.get_tensor(name) for name in names})
    except (OSError, safetensors.SafetensorError, ValueError):
        return []


def _normaliser_tensors(normaliser: Normaliser) -> dict[str, torch.Tensor]:
    tensors = {"normaliser/returns": torch.from_numpy(normaliser.returns)}
    for name in ("obs_rms", "ret_rms"):
        moments: Any = getattr(normaliser, name, None)
        if moments is not None:
            for key in ("mean", "var", "count"):
                tensors[f"normaliser/{name}/{key}"] = torch.as_tensor(
                    getattr(moments, key), dtype=torch.float64
                ).clone()
    return tensors


def _digest(state: str, tensors: dict[str, torch.Tensor]) -> str:
    total = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        value = tensors[name].detach()
        total.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        total.update(value.contiguous().numpy().tobytes())
    return total.hexdigest()


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint.

    Raises:
        AgentError: It is damaged, too large, or of another version.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise AgentError(f"{path}: larger than {MAX_BYTES} bytes; no checkpoint")
        with safetensors.safe_open(str(path), framework="pt") as stream:
            metadata = stream.metadata() or {}
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (no mapping)
        state = json.loads(metadata["state"])
        if state.pop("schema_version") != SCHEMA_VERSION:
            raise AgentError(f"{path}: written by another version of the training ground")
        if metadata["sha256"] != _digest(metadata["state"], tensors):
            raise AgentError(f"{path}: its sha256 is wrong: the file is damaged")
        counters = Counters(**state)
        for segment in segments(tensors):
            read_segment(segment, path.parent, MAX_BYTES)
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, TypeError) as problem:
        raise AgentError(f"{path}: damaged, or no checkpoint: {problem}") from problem
    return Checkpoint(path, counters, tensors)


def last_good_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that is whole, and what was wrong with newer ones."""
    problems: list[str] = []
    for path in reversed(list_checkpoints(folder)):
        try:
            return load_checkpoint(path), problems
        except AgentError as problem:
            problems.append(str(problem))
    return None, problems


def environment_states(checkpoint: Checkpoint) -> list[LaneState]:
    """Return where the run's environments stood."""
    episodes = checkpoint.tensors["environments/episodes"].tolist()
    levels = checkpoint.tensors["environments/levels"].tolist()
    actions = [checkpoint.tensors[f"environments/{i}/actions"].numpy() for i in range(len(episodes))]
    return [LaneState(*state) for state in zip(episodes, actions, levels, strict=True)]


def restore(checkpoint: Checkpoint, model: RolloutPPO | OffPolicyLearner) -> None:
    """Put a checkpoint's state into a freshly built model, whose environments are at `environment_states` already.

    Raises:
        AgentError: The network in the configuration is not the checkpoint's.
    """
    tensors = checkpoint.tensors
    policy = {k.removeprefix("policy/"): v for k, v in tensors.items() if k.startswith("policy/")}
    try:
        model.policy.load_state_dict(policy)
    except RuntimeError as problem:
        reason = " ".join(str(problem).split())[:300]
        raise AgentError(f"{checkpoint.path}: the configured network is not the checkpoint's: {reason}") from problem
    for prefix, optimiser in _optimisers(model).items():
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"{prefix}/"):
                _, index, key = name.split("/")
                moments.setdefault(int(index), {})[key] = value
        optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    coefficient, replay = getattr(model, "log_ent_coef", None), _replay(model)
    if coefficient is not None and "entropy/log_coefficient" in tensors:
        coefficient.data.copy_(tensors["entropy/log_coefficient"])
    if replay is not None:
        replay.load(checkpoint.path.parent, tensors, checkpoint.counters.steps)
    normaliser = model.normaliser
    for name in ("obs_rms", "ret_rms"):
        statistics: Any = getattr(normaliser, name, None)
        if statistics is not None and f"normaliser/{name}/mean" in tensors:
            statistics.mean = tensors[f"normaliser/{name}/mean"].numpy()
            statistics.var = tensors[f"normaliser/{name}/var"].numpy()
            statistics.count = float(tensors[f"normaliser/{name}/count"])
    normaliser.returns = tensors["normaliser/returns"].numpy()
    model.curriculum.level, model.curriculum.coped = tensors["curriculum"].tolist()
    torch.set_rng_state(tensors["random/torch"])
    model.num_timesteps = checkpoint.counters.steps
    model._n_updates = checkpoint.counters.updates
