"""Demonstrations of several tasks as one learner sees them: shared observations, actions, phrases."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.bundle_format import DataOrigin
from training_ground.agents.imitation.data import Moments, Part, pooled
from training_ground.agents.language import embed
from training_ground.agents.multitask import Interface, Wiring, require_alike, shared
from training_ground.agents.signature import Signature, signature_of
from training_ground.agents.stepping import make_env
from training_ground.configs.errors import AgentError
from training_ground.configs.instructions import InstructionFile
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
        origin: Which episodes they are.
    """

    task: str
    signature: Signature
    observations: Float32
    actions: Float32
    last: NDArray[np.int64]
    episode: NDArray[np.int64]
    row: NDArray[np.int64]
    instructions: tuple[str, ...]
    origin: DataOrigin


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples, those of a task one after the other.

    Attributes:
        seen: Of each task its index and its own observations.
        times: (count,) s since the episode's beginning.
        heard: (count, 384) embeddings of phrases that were drawn.
        done: (count, horizon, m) actions.
        behind: (count, horizon) whether one is behind the end of its episode, and the last one stands there.
    """

    seen: list[tuple[int, Float32]]
    times: NDArray[np.float64]
    heard: Float32
    done: Float32
    behind: NDArray[np.bool_]


def read_task(task: str, path: Path) -> TaskData:
    """Read the successful demonstrations of a store, by their seeds.

    Args:
        task: Whose they must be.
        path: The store.

    Raises:
        AgentError: None succeeded, or they are of another task.
        DatasetError: The store is damaged, or its episodes do not fit the environment that the first was recorded in.
    """
    store = Store.open(path)
    if not len(store):
        raise AgentError(f"{path}: holds no episode")
    first = store.metadata(store.episodes()[0])
    with contextlib.closing(make_env(first.env_id, first.kwargs)) as env:
        signature, name = signature_of(env), str(env.unwrapped.task.id)  # type: ignore[attr-defined]
        if name != task:
            raise AgentError(f"{path}: holds task '{name}', not '{task}'")
        part = Part(path, env, horizon=1, only_successes=True)
    counts = part.counts
    episode = np.repeat(np.arange(len(counts)), counts)
    row = np.concatenate([np.arange(count) for count in counts])
    blocks = [
        part.read(*block) for block in zip(*(np.array_split(x, len(counts)) for x in (episode, row)), strict=True)
    ]
    return TaskData(
        task,
        signature,
        np.concatenate([block["observation"] for block in blocks]),
        np.concatenate([block["action"][:, 0] for block in blocks]).astype(np.float32),
        np.repeat(np.cumsum(counts) - 1, counts),
        episode,
        np.concatenate([block["step"] for block in blocks]),
        tuple(part.said.tolist()),
        part.origin,
    )


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
        action: Mean and variance (m,) of the actions likewise.
        known: Of each different instruction the embeddings (k, 384) of its phrases.
        spread: (T, n) deviation of each task's own numbers, in units of that over all of them; 0 where it has none. The
            handle of a drawer moves by centimetres from episode to episode, and is half a metre from that of a door.

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
        self.mean, self.variance, self.spread = self._moments()
        actions = [(d.actions.mean(axis=0, dtype=np.float64), d.actions.var(axis=0, dtype=np.float64)) for d in tasks]
        self.action: Moments = pooled(actions, [1] * len(tasks))
        phrases = [_phrases(data, phrasings[data.task]) for data in tasks]
        texts = list(dict.fromkeys(text for lists in phrases for said in lists for text in said))
        numbers = {text: i for i, text in enumerate(texts)}
        self._embeddings = embed(texts)
        self._said = [[np.array([numbers[text] for text in said]) for said in lists] for lists in phrases]
        different = dict.fromkeys(said for lists in phrases for said in lists)
        self.known = [self._embeddings[[numbers[text] for text in said]] for said in different]

    def _moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64], Float32]:
        size = self.interface.size
        mean, variance, own = np.zeros(size), np.ones(size), np.zeros((len(self.tasks), size))
        found: dict[int, list[Moments]] = {}
        for task, (data, wiring) in enumerate(zip(self.tasks, self.wirings, strict=True)):
            rows = data.observations[:, wiring.source]
            moments = rows.mean(axis=0, dtype=np.float64), rows.var(axis=0, dtype=np.float64)
            own[task, wiring.target] = moments[1]
            for i, at in enumerate(wiring.target.tolist()):
                found.setdefault(at, []).append((moments[0][i : i + 1], moments[1][i : i + 1]))
        for at, several in found.items():
            mean[at : at + 1], variance[at : at + 1] = pooled(several, [1] * len(several))
        return mean, variance, np.sqrt(own / np.maximum(variance, 1e-12)).astype(np.float32)

    def draw(self, count: int, horizon: int, generator: np.random.Generator) -> Batch:
        """Draw a batch, about as many samples of each task.

        Args:
            count: Samples.
            horizon: Actions of each; behind the end of an episode its last one is repeated.
            generator: Of all that is random.
        """
        seen, heard, done, behind, times = [], [], [], [], []
        shares = np.diff(np.linspace(0, count, len(self.tasks) + 1).astype(np.int64))
        for i, (data, share) in enumerate(zip(self.tasks, shares.tolist(), strict=True)):
            rows = generator.integers(len(data.actions), size=share)
            seen.append((i, data.observations[rows]))
            times.append(data.row[rows] / data.signature.control_rate)
            wanted, last = rows[:, None] + np.arange(horizon), data.last[rows][:, None]
            done.append(data.actions[np.minimum(wanted, last)])
            behind.append(wanted > last)
            said, which = self._said[i], generator.random(share)
            lists = [said[episode] for episode in data.episode[rows]]
            heard += [one[int(part * len(one))] for one, part in zip(lists, which, strict=True)]
        times, done, behind = (np.concatenate(parts) for parts in (times, done, behind))
        return Batch(seen, times, self._embeddings[heard], done, behind)

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


def _phrases(data: TaskData, file: InstructionFile) -> list[tuple[str, ...]]:
    """Training phrases of each episode."""
    known = {asked: file.phrases(asked, "training") for asked in dict.fromkeys(data.instructions)}
    return [known[asked] for asked in data.instructions]
