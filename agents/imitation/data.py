"""Recorded episodes as pairs of an observation and the chunk of actions that followed it. Imports no torch."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.agents.bundle_format import DataOrigin
from training_ground.assets.model import Mirror
from training_ground.configs.errors import AgentError
from training_ground.datasets.array_build import refresh
from training_ground.datasets.arrays import View
from training_ground.datasets.index import Index
from training_ground.datasets.labels import spoken_of
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import check_fit
from training_ground.datasets.schema import ACTION, POLICY_OBSERVATION
from training_ground.datasets.store import Store
from training_ground.datasets.windows import PAD, ROW, Windows

TAKEOVER = "takeover"
"""Event of an episode: from its row on the expert acts, and only from there is anything to learn."""

Moments = tuple[NDArray[np.float64], NDArray[np.float64]]


class NothingToLearn(AgentError):
    """A dataset holds no episode that could be learned from."""


class Part:
    """The episodes of one dataset that are learned from.

    Args:
        path: Of the store.
        env: That the policy is for.
        horizon: Actions in a chunk.
        only_successes: Leave out episodes that did not end in success, or of which nobody says so.
        below_seed: Leave out episodes of this seed and of larger ones.
        remembered: (k,) places in the observation of numbers whose largest so far is told.

    Attributes:
        windows: Of the store's training view; episodes by seed, so that it does not matter in which order they ended.
        first: (E,) row of each episode with which there is something to learn.
        counts: (E,) rows of each episode that are learned from.
        said: (E,) what each episode asked for.

    Raises:
        DatasetError: There is no store, or its episodes do not fit the environment.
        AgentError: They are of another task.
        NothingToLearn: None is left.
    """

    def __init__(
        self,
        path: Path,
        env: gymnasium.Env[Any, Any],
        horizon: int,
        only_successes: bool,
        below_seed: int | None = None,
        remembered: Sequence[int] | NDArray[np.int64] = (),
    ) -> None:
        self.path, store = path, Store.open(path)
        check_fit(make_schema(env), store.schema, str(path))
        task = str(store.schema.environment.get("env_id"))
        wanted = str(env.unwrapped.describe()["env_id"])  # type: ignore[attr-defined]
        if task != wanted:
            raise AgentError(f"{path}: episodes of {task}, not of {wanted}")
        index, view = Index.open(store), refresh(store)
        success = dict(zip(index.numbers.tolist(), index.column("success"), strict=True))
        seeds = dict(zip(view.numbers.tolist(), view.manifest.seed, strict=True))
        numbers = [n for n in index.usable() if below_seed is None or seeds[n] < below_seed]
        numbers = sorted((n for n in numbers if success[n] or not only_successes), key=lambda n: (seeds[n], n))
        begin, rows = _takeovers(index), dict(zip(view.numbers.tolist(), view.manifest.rows, strict=True))
        numbers = [n for n in numbers if begin.get(n, 0) < rows[n] - 1]  # otherwise it ended before the expert's turn
        if not numbers:
            what = "successful episodes" if only_successes else "episodes"
            raise NothingToLearn(f"{path}: holds no {what} to learn from, of {len(view)} in all")
        seen = [POLICY_OBSERVATION] if POLICY_OBSERVATION in view.columns else _observed(store)
        size = sum(int(np.prod(view.columns[name].shape[1:], dtype=int)) for name in seen)
        self.history, rest = divmod(int(np.prod(env.observation_space.shape or ())), size)
        if rest:
            raise AgentError(f"{path}: observations of {size} numbers, the policy's have {env.observation_space.shape}")
        self.seen = seen
        self._largest = _largest(view, seen, remembered)
        offsets: dict[str, Any] = {name: range(1 - self.history, 1) for name in seen}
        self.windows = Windows(view, {**offsets, ACTION: range(horizon)}, episodes=numbers)
        self.first = np.array([begin.get(n, 0) for n in numbers], np.int64)
        self.counts = self.windows.counts - self.first
        manifest = view.manifest
        said = [manifest.instructions[manifest.instruction[i]] for i in self.windows.positions]
        self.said = np.array(said, object)
        hashes = dict(zip(index.numbers.tolist(), index.column("content_sha256"), strict=True))
        digest = hashlib.sha256("".join(hashes[n] for n in sorted(numbers)).encode()).hexdigest()
        self.origin = DataOrigin(dataset=str(path), episodes=len(numbers), steps=int(self.counts.sum()), sha256=digest)

    def read(self, episode: NDArray[np.int64], row: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """Return `observation` (B, n), the newest of a history first, `remembered` (B, k), `step` (B,) of its episode
        and what that `said` (B,), `action` (B, H, m) and `is_pad` (B, H).
        """
        before = np.cumsum(self.windows.counts) - self.windows.counts
        batch = self.windows[before[episode] + self.first[episode] + row]
        columns = [batch[name].reshape(len(row), self.history, -1)[:, ::-1] for name in self.seen]
        flat = np.concatenate(columns, axis=2).reshape(len(row), -1)
        chunk = {"action": batch[ACTION], "is_pad": batch[ACTION + PAD]}
        largest = self._largest[self.windows.view.starts[self.windows.positions[episode]] + batch[ROW]]
        found = {"observation": flat.astype(np.float32), "remembered": largest, "step": batch[ROW]}
        return {**found, "said": self.said[episode], **chunk}

    def moments(self) -> tuple[Moments, Moments]:
        """Mean and variance of the observation, and of the action, over the rows that are learned from.

        The older rows of a history count like the newest.
        """
        view, positions = self.windows.view, self.windows.positions
        begin, end = view.starts[positions] + self.first, view.starts[positions + 1] - 1
        rows = np.concatenate([np.arange(a, b) for a, b in zip(begin, end, strict=True)])
        found = []
        for names, repeat in ((self.seen, self.history), ([ACTION], 1)):
            flat = [view.columns[name][rows].reshape(len(rows), -1).astype(np.float64) for name in names]
            mean, variance = (np.tile(np.concatenate([f(x, axis=0) for x in flat]), repeat) for f in (np.mean, np.var))
            found.append((mean, variance))
        return found[0], found[1]


class Demonstrations:
    """Several datasets as one, as `Batches` draws from it and PyTorch's DataLoader takes it.

    Args:
        parts: At least one.

    Attributes:
        counts: (E,) rows to learn from of each episode, those of the first dataset first.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(parts)
        self.counts = np.concatenate([part.counts for part in parts])
        self._ends = np.cumsum(self.counts)
        self._episodes = np.cumsum([0, *(len(part.counts) for part in parts)])

    def __len__(self) -> int:
        """Rows to learn from."""
        return int(self._ends[-1])

    def __getitem__(self, indices: Any) -> dict[str, NDArray[Any]]:
        """Return a batch, in the order asked for: see `Part.read`."""
        indices = np.asarray(indices, np.int64).reshape(-1)
        episode = np.searchsorted(self._ends, indices, side="right")
        row = indices - (self._ends[episode] - self.counts[episode])
        part = np.searchsorted(self._episodes, episode, side="right") - 1
        batch: dict[str, NDArray[Any]] = {}
        for i in np.unique(part):
            chosen = part == i
            for name, values in self.parts[i].read(episode[chosen] - self._episodes[i], row[chosen]).items():
                batch.setdefault(name, np.empty((len(indices), *values.shape[1:]), values.dtype))[chosen] = values
        return batch


def pooled(moments: Sequence[Moments], counts: Sequence[int]) -> Moments:
    """Mean and variance over several datasets of so many rows each."""
    weights = np.array(counts, np.float64)[:, None] / sum(counts)
    means, variances = np.array([m for m, _ in moments]), np.array([v for _, v in moments])
    mean = (weights * means).sum(axis=0)
    return mean, (weights * (variances + (means - mean) ** 2)).sum(axis=0)


def both_sides(moments: Moments, mirror: Mirror) -> Moments:
    """Mean and variance over what was recorded and its mirror image."""
    mean, variance = moments
    mirrored = mirror.sign * mean[mirror.permutation]
    spread = ((mean - mirrored) / 2) ** 2
    return (mean + mirrored) / 2, (variance + variance[mirror.permutation]) / 2 + spread


def _observed(store: Store) -> list[str]:
    return [channel.name for channel in store.schema.channels if channel.role == "observation"]


def _largest(view: View, seen: Sequence[str], places: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (rows, k) the largest that numbers of the observation have been in their episode up to each row."""
    columns = [view.columns[name] for name in seen]
    ends = np.cumsum([int(np.prod(column.shape[1:], dtype=int)) for column in columns])
    largest = np.empty((len(columns[0]), len(places)), np.float32)
    for i, place in enumerate(places):
        column = int(np.searchsorted(ends, place, side="right"))
        flat = columns[column].reshape(len(largest), -1)
        largest[:, i] = flat[:, place - ends[column]]  # counted from the column's end
    for begin, end in itertools.pairwise(view.starts):
        np.maximum.accumulate(largest[begin:end], axis=0, out=largest[begin:end])
    return largest


def _takeovers(index: Index) -> dict[int, int]:
    """Row with which the expert took over, by the number of an episode."""
    said = spoken_of(index, ["event"])
    rows = {n: [e["row"] for e in fields["event"] or () if e["name"] == TAKEOVER] for n, fields in said.items()}
    return {number: max(found) for number, found in rows.items() if found}
