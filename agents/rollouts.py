"""Inside a rollout worker: environments, and a copy of the policy that acts in them. Imports no torch.

A worker is asked for whole rollouts: the weights go out once, whole trajectories come back in shared memory. All that
it draws follows from the run's seed and from counters, so that a worker that is lost can be replaced by one that goes
on in the same way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from training_ground.agents.curriculum import Ranges
from training_ground.agents.episodes import EpisodeTally
from training_ground.agents.network import Float32, Network, unscale
from training_ground.agents.seeds import training_seed
from training_ground.agents.stepping import make_env
from training_ground.agents.workers import CONTEXT, reply

NOISE_STREAM = 1
"""Keeps the exploration's random numbers apart from those that episodes are drawn from."""

LOG_DEVIATION_RANGE = (-20.0, 2.0)
"""Within it stable-baselines3's SAC and TQC hold what their network says of the noise."""


@dataclass(frozen=True, eq=False)
class GaussianPolicy:
    """A policy that explores: the network's mean plus noise.

    Attributes:
        network: Gives the mean action (m,); without a `deviation`, after it the logarithm of one, together (2m,).
        deviation: (m,) standard deviation of the noise; None where the network gives it.
        squash: Bounds (low, high), each (m,), into which tanh brings mean plus noise; None leaves it as it is.
    """

    network: Network
    deviation: Float32 | None
    squash: tuple[Float32, Float32] | None = None

    def act(self, observations: Float32, noise: Float32) -> Float32:
        """Return actions (..., m) for raw observations (..., n) and standard normal noise (..., m)."""
        mean, deviation = self.network(observations), self.deviation
        if deviation is None:
            mean, logarithm = np.split(mean, 2, axis=-1)
            deviation = np.exp(logarithm.clip(*LOG_DEVIATION_RANGE))
        actions = mean + noise * deviation
        return actions if self.squash is None else unscale(np.tanh(actions), *self.squash)


@dataclass(frozen=True, eq=False)
class LaneState:
    """Where an environment stands, told by how it came there.

    Attributes:
        episode: Number of its episode, from 0.
        actions: (k, m) float32: what has been done since the episode began.
        level: Of the curriculum when it began.
    """

    episode: int
    actions: Float32
    level: float = 1.0


@dataclass
class Arrays:
    """Views of a `RolloutBlock`: first axis the step, second the environment."""

    observation: NDArray[np.float32]
    action: NDArray[np.float32]
    reward: NDArray[np.float32]
    done: NDArray[np.uint8]


class RolloutBlock:
    """Shared memory of one rollout; anonymous, so that a killed process leaves nothing behind.

    Args:
        steps: Of the rollout; there is one observation more.
        environments: In all workers.
        observation_size, action_size: Of one environment.
    """

    def __init__(self, steps: int, environments: int, observation_size: int, action_size: int) -> None:
        self._shapes = {
            "observation": (steps + 1, environments, observation_size),
            "action": (steps, environments, action_size),
            "reward": (steps, environments),
            "done": (steps, environments),
        }
        self._buffers = {
            name: CONTEXT.RawArray("B" if name == "done" else "f", int(np.prod(shape)))
            for name, shape in self._shapes.items()
        }

    def arrays(self, own: slice = slice(None)) -> Arrays:
        """Return numpy views of some environments' part; in another process they see the same memory."""
        views: dict[str, NDArray[Any]] = {}
        for name, buffer in self._buffers.items():
            flat = np.frombuffer(buffer, np.uint8 if name == "done" else np.float32)  # pyright: ignore
            views[name] = flat.reshape(self._shapes[name])[:, own]
        return Arrays(**views)


@dataclass(frozen=True)
class EpisodeEnd:
    """An episode that ended within a rollout.

    Attributes:
        observation: (n,) its last one, with what is privileged.
        truncated: By the time limit, not by a failure.
        info: `episode` (r return, l steps, t seconds), `is_success` and `outcome` (success, failure, metrics), as
            stable-baselines3 wants to know them.
    """

    observation: Float32
    truncated: bool
    info: dict[str, Any] = field(default_factory=dict)


class Lane:
    """One environment of a worker: steps, counts, and begins the next episode by itself.

    Args:
        env: Any environment with flat observations and actions.
        seed: Of the run.
        index: Of this environment among those of the run.
        ranges: What changes with the curriculum's level.
        privileged: Channels that the critic sees besides; they stand behind the observation.

    Attributes:
        level: Of the episodes that begin from now on.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        seed: int,
        index: int,
        ranges: Ranges | None = None,
        privileged: Sequence[str] = (),
    ) -> None:
        self.env, self._ranges, self._privileged, self.level = env, ranges, privileged, 1.0
        self._key = (seed, index)
        self._bounds: tuple[Any, Any] | None = None
        space = env.action_space
        if isinstance(space, gymnasium.spaces.Box) and space.is_bounded():
            self._bounds = (space.low, space.high)
        self._episode = 0
        self._tally = EpisodeTally()
        self._began = time.monotonic()

    def begin(self, episode: int) -> Float32:
        """Begin an episode and return its first observation."""
        self._episode, self._tally, self._began = episode, EpisodeTally(), time.monotonic()
        if self._ranges is not None:
            self._ranges.apply(self.env, self.level)
        return self._seen(self.env.reset(seed=training_seed(*self._key, episode))[0])

    def _seen(self, observation: Float32) -> Float32:
        if not self._privileged:
            return observation
        base: Any = self.env.unwrapped
        return np.concatenate([observation, base.privileged(self._privileged)])

    def replay(self, state: LaneState) -> Float32:
        """Come to a state by doing again what led to it; return the observation there."""
        self.level = state.level
        observation = self.begin(state.episode)
        for action in state.actions:
            observation = self._step(action)[0]
        return observation

    def _step(self, action: Float32) -> tuple[Float32, float, bool, bool, dict[str, Any]]:
        if self._bounds is not None:
            action = action.clip(*self._bounds)
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._tally.add(float(reward), info)
        return self._seen(observation), float(reward), terminated, truncated, info

    def step(self, action: Float32) -> tuple[Float32, float, EpisodeEnd | None]:
        """Step; return the next observation, which may be a new episode's, the reward, and an end."""
        observation, reward, terminated, truncated, info = self._step(action)
        if not (terminated or truncated):
            return observation, reward, None
        tally, success = self._tally, bool(info.get("success", False))
        told = {
            "TimeLimit.truncated": truncated and not terminated,
            "episode": {"r": tally.total_reward, "l": tally.steps, "t": time.monotonic() - self._began},
            "is_success": success,
            "outcome": {"success": success, "failure": info.get("failure"), "metrics": tally.metrics()},
        }
        end = EpisodeEnd(np.array(observation), truncated and not terminated, told)
        return self.begin(self._episode + 1), reward, end


@dataclass(frozen=True)
class Share:
    """A worker's part of the environments: `count` from `first` on."""

    first: int
    count: int

    @property
    def own(self) -> slice:
        """Their places."""
        return slice(self.first, self.first + self.count)


Ends = dict[tuple[int, int], EpisodeEnd]
"""By step and environment."""


class RolloutWorker:
    """A share of a run's environments. It knows nothing of how it is reached: here it is served in a process of its own
    over a pipe and shared memory; on another machine it would be an actor with arrays of its own.

    Args:
        env_id: Task id.
        kwargs: Keyword arguments of the environment.
        share: Which of the run's environments it holds.
        seed: Of the run.
        ranges: What changes with the curriculum's level.
        privileged: Channels that stand behind each observation, for the critic alone.
    """

    def __init__(
        self,
        env_id: str,
        kwargs: dict[str, Any],
        share: Share,
        seed: int,
        ranges: Ranges | None = None,
        privileged: Sequence[str] = (),
    ) -> None:
        self._share, self._seed = share, seed
        self._lanes = [
            Lane(make_env(env_id, kwargs), seed, share.first + k, ranges, privileged) for k in range(share.count)
        ]

    def come_to(self, states: Sequence[LaneState], arrays: Arrays) -> None:
        """Bring the environments to their states; their observations become the first of `arrays` (steps, count)."""
        for k, (lane, state) in enumerate(zip(self._lanes, states, strict=True)):
            arrays.observation[0, k] = lane.replay(state)

    def roll(self, policy: GaussianPolicy, number: int, level: float, arrays: Arrays) -> Ends:
        """Do one rollout from the first observations of `arrays` (steps, count), and fill them.

        Args:
            policy: Acts in every environment.
            number: Of the rollout in the run; the exploration follows from it.
            level: Of the curriculum, for the episodes that begin in it.
            arrays: This share's.

        Returns:
            The episodes that ended, by step and by the environment's number in the run.
        """
        steps, count, size = arrays.action.shape
        first = self._share.first
        streams = [np.random.default_rng((self._seed, first + k, number, NOISE_STREAM)) for k in range(count)]
        noise = np.stack([stream.standard_normal((steps, size), np.float32) for stream in streams], axis=1)
        for lane in self._lanes:
            lane.level = level
        ends: Ends = {}
        for t in range(steps):
            arrays.action[t] = policy.act(arrays.observation[t, :, : policy.network.inputs], noise[t])
            for k, lane in enumerate(self._lanes):
                observation, arrays.reward[t, k], end = lane.step(arrays.action[t, k])
                arrays.observation[t + 1, k] = observation
                arrays.done[t, k] = end is not None
                if end is not None:
                    ends[t, first + k] = end
        return ends


def serve_rollouts(
    connection: Connection, block: RolloutBlock, env_id: str, kwargs: dict[str, Any], share: Share, *rest: Any
) -> None:
    """Serve a `RolloutWorker`, made from the arguments after the block, until the pipe closes.

    Messages: a list of `LaneState`, to come there; or the arguments of `roll`, to do one and answer with its `Ends`.
    """
    worker = RolloutWorker(env_id, kwargs, share, *rest)
    arrays = block.arrays(share.own)
    reply(connection, None)
    while True:
        message = connection.recv()
        if isinstance(message, list):
            reply(connection, worker.come_to(message, arrays))
        else:
            policy, number, level = message
            reply(connection, worker.roll(policy, number, level, arrays))
