"""DAgger's rounds: the learner acts until some step, then the task's expert takes over and shows how to go on.

DAgger (Ross et al. 2011, arXiv 1011.0686) asks the expert for the action in every state that the learner visits. The
scripted experts cannot be asked so: they are plans that are carried out in time, and what one says first wherever it
is put is the first, hardly moving, step of a new plan. So the learner plays into a state of its own, the expert
plans anew from there and plays on to the end, and only its actions are learned: takeover, as in HG-DAgger (Kelly et
al. 2019, arXiv 1810.02890), at a step that is drawn.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.agents.chunks import ChunkPlayer, ChunkSpec
from training_ground.agents.experts.catalog import TaskExpert
from training_ground.agents.imitation.data import TAKEOVER
from training_ground.agents.network import Float32, Network
from training_ground.datasets.index import Index
from training_ground.datasets.labels import label, spoken_of
from training_ground.datasets.store import Store


class ChunkActor:
    """A learner's network as a policy, in numpy.

    Args:
        network: Gives a chunk (horizon m).
        chunk: How it is carried out.
        low, high: (m,) of the actions.
    """

    def __init__(self, network: Network, chunk: ChunkSpec, low: Float32, high: Float32) -> None:
        self._network, self._low, self._high = network, low, high
        self._player = ChunkPlayer(chunk)

    def reset(self) -> None:
        """Begin an episode."""
        self._player.reset()

    def act(self, observation: NDArray[np.float32]) -> Float32:
        """Return the action (m,) of this control step."""
        return self._player.act(
            lambda: self._network(observation).reshape(-1, len(self._low)).clip(self._low, self._high)
        )


class TakeoverPolicy:
    """The learner until a step that is drawn for each episode, then the task's expert.

    Args:
        learner: Who begins.
        latest: Steps; the expert takes over before so many are done.
        seed: Of the draw, with the episode's own.
        hash: Of the learner's weights.
    """

    name = TAKEOVER

    def __init__(self, learner: ChunkActor, latest: int, seed: int, hash: str) -> None:
        self._learner, self._expert = learner, TaskExpert()
        self._latest, self._seed, self.hash = latest, seed, hash
        self._env: gymnasium.Env[Any, Any] | None = None

    def row(self, episode_seed: int) -> int:
        """The step from which on the expert acts."""
        return int(np.random.default_rng([self._seed, episode_seed]).integers(self._latest))

    def reset(self, env: gymnasium.Env[Any, Any]) -> None:
        """Begin an episode; an AgentError says why the expert cannot act here."""
        self._env, self._step = env, 0
        self._turn = self.row(max(0, int(env.unwrapped.np_random_seed or 0)))
        self._learner.reset()
        self._expert.reset(env)

    def act(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the action of whose turn it is."""
        assert self._env is not None
        if self._step == self._turn:
            self._expert.reset(self._env)
        self._step += 1
        return (self._expert if self._step > self._turn else self._learner).act(observation)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of an episode goes to another process."""
        return {**self.__dict__, "_env": None}


def mark(store: Store, policy: TakeoverPolicy) -> None:
    """Write down from which row on the expert acted in episodes that do not say so yet."""
    index = Index.open(store)
    said, lengths = spoken_of(index, ["event"]), index.column("length")
    fresh: dict[int, dict[str, Any]] = {}
    for number, length in zip(index.numbers.tolist(), lengths, strict=True):
        if number not in said:
            row = min(policy.row(store.metadata(number).seed), int(length))
            fresh[number] = {"event": [{"row": row, "name": TAKEOVER}]}
    if fresh:
        label(index, fresh, "dagger", source="rule")
