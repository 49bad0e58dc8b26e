"""Demonstrations of several tasks as one learner sees them: shared observations, actions, phrases."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.language import embed
from training_ground.agents.multitask import Interface, Wiring, require_alike, shared
from training_ground.agents.signature import Signature, signature_of
from training_ground.agents.stepping import make_env
from training_ground.configs.errors import AgentError
from training_ground.configs.instructions import InstructionFile
from training_ground.datasets.array_build import refresh
from training_ground.datasets.arrays import View
from training_ground.datasets.schema import ACTION
from training_ground.datasets.store import Store

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TaskData:
    """Successful demonstrations of one task, N control steps of E episodes.

    Attributes:
        task: Its name.
        signature: Of the environment in which they were recorded.
        observations: (N, d) its own flat ones.
        actions: (N, m).
        last: (N,) row of the last action of the episode that a row belongs to.
        episode: (N,) index of that episode, from 0 on.
        row: (N,) control steps since it began.
        instructions: (E) what each episode asked for.
        numbers: (E) of the episodes in the store.
        sha256: Over the content hashes of these episodes.
    """

    task: str
    signature: Signature
    observations: Float32
    actions: Float32
    last: NDArray[np.int64]
    episode: NDArray[np.int64]
    row: NDArray[np.int64]
    instructions: tuple[str, ...]
    numbers: tuple[int, ...]
    sha256: str


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples, those of a task one after the other.

    Attributes:
        seen: Of each task its index and its own observations.
        times: (count,) s since the episode's beginning.
        heard: (count, 384) embeddings of phrases that were drawn.
        done: (count, horizon, m) actions.
    """

    seen: list[tuple[int, Float32]]
    times: NDArray[np.float64]
    heard: Float32
    done: Float32


def read_task(task: str, path: Path, most: int | None = None) -> TaskData:
    """Read the successful demonstrations of a store, in the order of their numbers.

    Args:
        task: Whose they must be.
        path: The store.
        most: The first so many.

    Raises:
        AgentError: None succeeded, they are of another task, or of several environments.
        DatasetError: The store is damaged.
    """
    store = Store.open(path)
    view = refresh(store)
    chosen = [i for i in range(len(view)) if view.manifest.success[i] and not view.manifest.terminated[i]][:most]
    if not chosen:
        raise AgentError(f"{path}: no successful episode among {len(view)}")
    numbers = tuple(int(view.numbers[i]) for i in chosen)
    first = store.metadata(numbers[0])
    for number in numbers:
        other = store.metadata(number)
        if (other.env_id, other.kwargs) != (first.env_id, first.kwargs):
            raise AgentError(f"{path}: episode {number} was recorded in another environment than episode {numbers[0]}")
    env = make_env(first.env_id, first.kwargs)
    try:
        signature, name = signature_of(env), _task_name(env)
    finally:
        env.close()
    if name != task:
        raise AgentError(f"{path}: holds task '{name}', not '{task}'")
    lengths = np.array([view.manifest.rows[i] - 1 for i in chosen])
    ends = np.cumsum(lengths)
    return TaskData(
        task,
        signature,
        _rows(view, chosen, [channel.name for channel in signature.channels]),
        _rows(view, chosen, [ACTION]),
        np.repeat(ends - 1, lengths),
        np.repeat(np.arange(len(chosen)), lengths),
        np.concatenate([np.arange(length) for length in lengths]),
        tuple(view.manifest.instructions[view.manifest.instruction[i]] for i in chosen),
        numbers,
        hashlib.sha256("".join(view.manifest.content_sha256[i] for i in chosen).encode()).hexdigest(),
    )


def _task_name(env: Any) -> str:
    return str(env.unwrapped.task.id)


def _rows(view: View, chosen: Sequence[int], names: Sequence[str]) -> Float32:
    """(N, d) columns side by side, without the last row of each episode, in which no action was taken."""
    episodes = []
    for i in chosen:
        rows = view.manifest.rows[i]
        columns = [np.asarray(view.episode(name, i), np.float32).reshape(rows, -1) for name in names]
        episodes.append(np.concatenate(columns, axis=1)[:-1])
    return np.concatenate(episodes)


class Demonstrations:
    """What a learner draws batches from.

    Args:
        tasks: Their data.
        unseen: Channels that are left out; see `multitask.shared`.
        phrasings: Of each task; only `training` ones are read.

    Attributes:
        interface: How the tasks are seen.
        size: n, m: numbers of a shared observation and of an action.
        mean, variance: (n,) of the observations over the tasks that fill a slot, each with the same weight; 0 and 1 for
            flags.
        action_mean, action_deviation: (m,) likewise.

    Raises:
        AgentError: The tasks cannot share a policy.
        ConfigError: An episode's instruction is not how its task asks.
    """

    def __init__(
        self, tasks: Sequence[TaskData], unseen: Mapping[str, Sequence[str]], phrasings: Mapping[str, InstructionFile]
    ) -> None:
        self.tasks = tuple(tasks)
        require_alike({data.task: data.signature for data in tasks})
        self.interface: Interface = shared({data.task: data.signature.channels for data in tasks}, unseen)
        self.wirings: list[Wiring] = [self.interface.wiring(d.task, d.signature.channels) for d in tasks]
        self.size = self.interface.size, tasks[0].signature.action_size
        self.mean, self.variance = self._moments()
        actions = [(d.actions.mean(axis=0, dtype=np.float64), d.actions.var(axis=0, dtype=np.float64)) for d in tasks]
        self.action_mean, variance = _pooled(*(np.array(part) for part in zip(*actions, strict=True)))
        self.action_deviation = np.sqrt(variance + 1e-6)
        phrases = [_phrases(data, phrasings[data.task]) for data in tasks]
        texts = list(dict.fromkeys(text for lists in phrases for said in lists for text in said))
        numbers = {text: i for i, text in enumerate(texts)}
        self._embeddings = embed(texts)
        self._said = [[np.array([numbers[text] for text in said]) for said in lists] for lists in phrases]

    def _moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        size = self.interface.size
        mean, variance = np.zeros(size), np.ones(size)
        filled: list[tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]] = []
        for data, wiring in zip(self.tasks, self.wirings, strict=True):
            one, two, there = np.zeros(size), np.zeros(size), np.zeros(size, bool)
            rows = data.observations[:, wiring.source]
            one[wiring.target], two[wiring.target] = rows.mean(axis=0, dtype=np.float64), rows.var(0, dtype=np.float64)
            there[wiring.target] = True
            filled.append((one, two, there))
        ones, twos, there = (np.array(part) for part in zip(*filled, strict=True))
        for i in np.flatnonzero(there.any(axis=0)):
            mean[i], variance[i] = _pooled(ones[there[:, i], i], twos[there[:, i], i])
        return mean, variance

    @property
    def phrases(self) -> int:
        """Different sentences to learn from."""
        return len(self._embeddings)

    def draw(self, count: int, horizon: int, generator: np.random.Generator) -> Batch:
        """Draw a batch, about as many samples of each task.

        Args:
            count: Samples.
            horizon: Actions of each; behind the end of an episode its last one is repeated.
            generator: Of all that is random.
        """
        seen, heard, done, times = [], [], [], []
        shares = np.diff(np.linspace(0, count, len(self.tasks) + 1).astype(np.int64))
        for i, (data, share) in enumerate(zip(self.tasks, shares.tolist(), strict=True)):
            rows = generator.integers(len(data.actions), size=share)
            seen.append((i, data.observations[rows]))
            times.append(data.row[rows] / data.signature.control_rate)
            wanted = np.minimum(rows[:, None] + np.arange(horizon), data.last[rows][:, None])
            done.append(data.actions[wanted])
            said, which = self._said[i], generator.random(share)
            lists = [said[episode] for episode in data.episode[rows]]
            heard += [one[int(part * len(one))] for one, part in zip(lists, which, strict=True)]
        return Batch(seen, np.concatenate(times), self._embeddings[heard], np.concatenate(done))

    def see(self, seen: Sequence[tuple[int, Float32]], clip: float, epsilon: float) -> Float32:
        """Return shared observations (count, n), normalised; zeros in empty slots."""
        deviation = np.sqrt(self.variance + epsilon)
        parts = []
        for i, own in seen:
            wiring = self.wirings[i]
            part = np.tile(wiring.flags, (len(own), 1))
            at = wiring.target
            part[:, at] = ((own[:, wiring.source] - self.mean[at]) / deviation[at]).clip(-clip, clip)
            parts.append(part)
        return np.concatenate(parts)

    def filled(self, seen: Sequence[tuple[int, Float32]]) -> NDArray[np.bool_]:
        """Return (count, n) where `see` puts numbers of the task itself, not a flag or nothing."""
        there = np.zeros((len(self.tasks), self.interface.size), bool)
        for one, wiring in zip(there, self.wirings, strict=True):
            one[wiring.target] = True
        return np.concatenate([np.tile(there[i], (len(own), 1)) for i, own in seen])


def _phrases(data: TaskData, file: InstructionFile) -> list[tuple[str, ...]]:
    """Training phrases of each episode."""
    known = {asked: file.phrases(asked, "training") for asked in dict.fromkeys(data.instructions)}
    return [known[asked] for asked in data.instructions]


def _pooled(
    means: NDArray[np.float64], variances: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of several sets that count the same, along the first axis."""
    return means.mean(axis=0), variances.mean(axis=0) + means.var(axis=0)
