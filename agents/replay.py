"""The memory of an off-policy run: a ring of transitions, kept beside the checkpoints as plain arrays.

Transitions are numbered from the beginning of the run. A checkpoint writes those since the one before into one more
file, `replay_<first>_<end>.safetensors`, which never changes again, and names the files that it needs with their
sha256: saving costs what is new, not what is held, and several checkpoints share their files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from training_ground.agents.files import write_atomic
from training_ground.agents.network import Normalisation
from training_ground.configs.errors import AgentError

HEADER_BYTES = 10_000
"""More than the header of a file of six arrays ever takes."""


@dataclass(frozen=True)
class Segment:
    """A file of transitions `first` to `end` - 1."""

    first: int
    end: int
    sha256: str

    def path(self, folder: Path) -> Path:
        """Return its file in the folder of the checkpoints."""
        return folder / f"replay_{self.first:012d}_{self.end:012d}.safetensors"


class Replay(BaseBuffer):
    """The newest transitions; to stable-baselines3 a replay buffer.

    Observations are kept as the environment gave them and normalised when they are drawn, actions as the policy's tanh
    gave them, in [-1, 1].

    Args:
        buffer_size: Most transitions held, all environments together.
        observation_space, action_space: Flat ones.
        device, n_envs, optimize_memory_usage: What stable-baselines3 hands every buffer; without effect.
        stride: Transitions after which an environment's next one comes, usually; makes files smaller.

    Attributes:
        count: Transitions seen since the beginning of the run.
        held: Of these, how many are held.
        normalisation: Of the observations that are drawn.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: Any = "cpu",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        stride: int = 1,
    ) -> None:
        super().__init__(buffer_size, observation_space, action_space, device, n_envs)
        size, actions = observation_space.shape[0], self.action_dim  # pyright: ignore[reportOptionalSubscript]
        self._arrays: dict[str, NDArray[Any]] = {
            "observation": np.zeros((buffer_size, size), np.float32),
            "next_observation": np.zeros((buffer_size, size), np.float32),
            "action": np.zeros((buffer_size, actions), np.float32),
            "reward": np.zeros(buffer_size, np.float32),
            "terminal": np.zeros(buffer_size, np.uint8),
        }
        self.count = self.held = 0
        self.normalisation = Normalisation()
        self._stride = stride
        self._segments: list[Segment] = []
        self._saved = 0
        self._generator = np.random.default_rng(0)
        self._shown: dict[str, NDArray[Any]] = {}
        self._share = 0.0

    def show(self, rows: dict[str, NDArray[Any]], share: float) -> None:
        """Let `share` of each sample be of these transitions, named as in `add_transitions`; they are never forgotten.

        They are not part of a checkpoint: show them again after `load`.
        """
        self._shown, self._share = rows, share

    def add_transitions(self, rows: dict[str, NDArray[Any]]) -> None:
        """Add transitions: by name `observation`, `next_observation` (k, n), `action` (k, m), `reward`, `terminal` (k).

        `terminal` is 1 where nothing follows; an episode that was only cut off by time goes on.
        """
        self._place(self.count, rows)
        self.count += len(rows["reward"])
        self.held = min(self.held + len(rows["reward"]), self.buffer_size)

    def _place(self, first: int, rows: dict[str, NDArray[Any]]) -> None:
        size = len(rows["reward"])
        kept = min(size, self.buffer_size)
        places = np.arange(first + size - kept, first + size) % self.buffer_size
        for name, array in self._arrays.items():
            array[places] = rows[name][size - kept :]

    def begin_update(self, key: Sequence[int]) -> None:
        """Let the next samples follow from `key` alone."""
        self._generator = np.random.default_rng(key)

    def sample(self, batch_size: int, env: Any = None) -> ReplayBufferSamples:
        """Return transitions, drawn with replacement and normalised."""
        shown = round(batch_size * self._share)
        drawn = self._generator.integers(0, self.held, batch_size - shown)
        places = (self.count - self.held + drawn) % self.buffer_size
        rows = {name: array[places] for name, array in self._arrays.items()}
        if shown:
            others = self._generator.integers(0, len(self._shown["reward"]), shown)
            rows = {name: np.concatenate([array, self._shown[name][others]]) for name, array in rows.items()}
        return self._samples(rows)

    def _get_samples(self, batch_inds: NDArray[Any], env: Any = None) -> ReplayBufferSamples:
        return self._samples({name: array[batch_inds] for name, array in self._arrays.items()})

    def _samples(self, rows: dict[str, NDArray[Any]]) -> ReplayBufferSamples:
        normalise = self.normalisation
        return ReplayBufferSamples(
            torch.from_numpy(normalise(rows["observation"])),
            torch.from_numpy(rows["action"]),
            torch.from_numpy(normalise(rows["next_observation"])),
            torch.from_numpy(rows["terminal"][:, None].astype(np.float32)),
            torch.from_numpy(rows["reward"][:, None]),
        )

    # ---- beside the checkpoints --------------------------------------------------------------------------------------

    def save(self, folder: Path) -> dict[str, torch.Tensor]:
        """Write what is new; return what a checkpoint has to hold of it.

        Raises:
            AgentError: The disk is full.
        """
        oldest = self.count - self.held
        first = max(self._saved, oldest)
        if first < self.count:
            data = self._pack(first, self.count)
            segment = Segment(first, self.count, hashlib.sha256(data).hexdigest())
            write_atomic(segment.path(folder), data)
            self._segments.append(segment)
            self._saved = self.count
        self._segments = [s for s in self._segments if s.end > oldest]
        ranges = np.array([(s.first, s.end) for s in self._segments], np.int64).reshape(-1, 2)
        hashes = b"".join(bytes.fromhex(s.sha256) for s in self._segments)
        return {
            "replay/ranges": torch.from_numpy(ranges),
            "replay/sha256": torch.frombuffer(bytearray(hashes), dtype=torch.uint8).reshape(-1, 32)
            if hashes
            else torch.zeros((0, 32), dtype=torch.uint8),
        }

    def _pack(self, first: int, end: int) -> bytes:
        places = np.arange(first, end) % self.buffer_size
        rows = {name: array[places] for name, array in self._arrays.items()}
        # What follows one transition is, but at the ends of episodes, what the one after it begins with.
        following = rows.pop("next_observation")
        own = np.ones(len(places), bool)
        own[: -self._stride] = (following[: -self._stride] != rows["observation"][self._stride :]).any(axis=1)
        rows |= {"next_observation": following[own], "own": own.astype(np.uint8), "stride": np.array([self._stride])}
        return safetensors.numpy.save(rows)

    def load(self, folder: Path, tensors: dict[str, torch.Tensor], count: int) -> None:
        """Hold again what a checkpoint names; `count` is how many transitions its run had seen.

        Raises:
            AgentError: A file is missing, damaged, or of another environment.
        """
        self._segments = segments(tensors)
        self.count = self._saved = count
        first = max(count - self.buffer_size, self._segments[0].first if self._segments else count)
        self.held = count - first
        for segment in self._segments:
            if segment.end > first:
                self._place(segment.first, self._unpack(segment, folder))

    def _unpack(self, segment: Segment, folder: Path) -> dict[str, NDArray[Any]]:
        path, size = segment.path(folder), segment.end - segment.first
        row = sum(array[:1].nbytes for array in self._arrays.values())
        data = read_segment(segment, folder, size * (row + 1) + HEADER_BYTES)
        try:
            rows = safetensors.numpy.load(data)
            own, stride = rows.pop("own").astype(bool), int(rows.pop("stride")[0])
            given = rows["next_observation"]
            rows["next_observation"] = np.zeros((size, *given.shape[1:]), np.float32)
            rows["next_observation"][~own] = rows["observation"][np.flatnonzero(~own) + stride]
            rows["next_observation"][own] = given
            for name, array in self._arrays.items():
                if rows[name].shape != (size, *array.shape[1:]) or rows[name].dtype != array.dtype:
                    raise AgentError(f"{path}: '{name}' is not of this environment: shape {list(rows[name].shape)}")
        except (safetensors.SafetensorError, KeyError, IndexError, ValueError) as problem:
            raise AgentError(f"{path}: damaged, or of another environment: {problem}") from problem
        return rows


def segments(tensors: dict[str, torch.Tensor]) -> list[Segment]:
    """Return the files that a checkpoint with these arrays needs; none where it is of no off-policy run."""
    if "replay/ranges" not in tensors:
        return []
    ranges, hashes = tensors["replay/ranges"].tolist(), tensors["replay/sha256"].numpy()
    return [Segment(int(a), int(b), h.tobytes().hex()) for (a, b), h in zip(ranges, hashes, strict=True)]


def read_segment(segment: Segment, folder: Path, most_bytes: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        AgentError: It is missing, larger than `most_bytes`, or its sha256 is not the checkpoint's.
    """
    path = segment.path(folder)
    try:
        if path.stat().st_size > most_bytes:
            raise AgentError(f"{path}: larger than {most_bytes} bytes; no part of a replay memory")
        data = path.read_bytes()
    except OSError as problem:
        raise AgentError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    if hashlib.sha256(data).hexdigest() != segment.sha256:
        raise AgentError(f"{path}: its sha256 is not the checkpoint's: the file is damaged")
    return data


def remove_unused(folder: Path, kept: Iterable[Segment]) -> None:
    """Delete the files of transitions that no checkpoint needs any more."""
    needed = {segment.path(folder) for segment in kept}
    for path in folder.glob("replay_*.safetensors"):
        if path not in needed:
            path.unlink(missing_ok=True)
