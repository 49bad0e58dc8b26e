"""The desk at which a person works: episodes one after the other, kept with the task's own verdict or thrown away."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.agents.recording import recorded_seeds
from training_ground.agents.teleoperation.teleoperator import NAME, Teleoperator
from training_ground.agents.viewing.session import Session
from training_ground.configs.errors import AgentError
from training_ground.configs.loading import validate
from training_ground.datasets.recorder import Recorder, open_or_create
from training_ground.datasets.schema import PolicyInfo
from training_ground.envs.env import HumanoidEnv

TIMED = 250
"""Control steps whose time is remembered."""


@dataclass(frozen=True)
class Saved:
    """An episode that was kept.

    Attributes:
        number: In the store.
        success, failure: The task's verdict at its end.
        complete: Whether it ran to its own end, and was not ended by hand.
    """

    number: int
    seed: int
    steps: int
    success: bool
    failure: str | None
    complete: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return vars(self).copy()


class Desk:
    """Runs episodes that a person acts in, and keeps in a store those that the person wants kept.

    Each goes through the environment's own actions and the recorder of every other policy: it replays bit for bit.
    Nothing is written before `save`, and success is what the task says, whoever asks.

    Args:
        env: Where the person works.
        path: A store that fits the environment, or where to make one; its episodes stay.
        operator: Who acts, as the episodes shall name the person; a pseudonym will do.
        seed: Of the first episode; those of which the store has one already, from teleoperation in this environment,
            are left out.

    Attributes:
        session: The episode that runs.
        teleoperator: Who acts in it.
        running: Whether time goes on.
        saved: What was kept, in order.
        discarded: How many episodes with at least one step were thrown away.
        recovered: What a killed run had left behind in the store and was cleared away.

    Raises:
        AgentError: The robot or the task cannot be teleoperated.
        DatasetError: There is something else at `path`, it cannot be written, or the operator's name is too long.
    """

    def __init__(self, env: HumanoidEnv, path: Path, *, operator: str | None = None, seed: int = 0) -> None:
        self._env = env
        self._info = validate(PolicyInfo, {"name": NAME, "operator": operator}, "teleoperation", AgentError)
        self.teleoperator = Teleoperator()
        env.reset(seed=seed)
        self.teleoperator.reset(env)
        self._store = open_or_create(path, env)
        self.recovered = self._store.recovered
        self._taken = recorded_seeds(self._store, env, self._info, complete=False)
        self._recorder = Recorder(env, None, policy=self._info, keep_partial=True)
        self.running = False
        self.saved: list[Saved] = []
        self.discarded = 0
        self._times: deque[float] = deque(maxlen=TIMED)
        self.session = Session(env, self.teleoperator, seed=self._free(seed), through=self._recorder)

    @property
    def begun(self) -> bool:
        """Whether the episode has a step, and so something to keep."""
        return self.session.env.steps > 0

    def go(self) -> None:
        """Let time go on.

        Raises:
            AgentError: The episode is over.
        """
        if self.session.ended:
            raise AgentError("the episode is over: save or discard it first")
        self.running = True

    def pause(self) -> None:
        """Let time stand still; targets can be set meanwhile."""
        self.running = False

    def step(self) -> bool:
        """Take a control step, unless the episode is over; returns whether it is over now; time then stands still."""
        began = time.perf_counter()
        ended = self.session.step()
        self._times.append(time.perf_counter() - began)
        self.running = self.running and not ended
        return ended

    @property
    def step_times(self) -> Sequence[float]:
        """Wall-clock time of the last control steps, policy, simulation and recorder together, s."""
        return tuple(self._times)

    def save(self) -> Saved:
        """Keep the episode as it is now, with the task's verdict, and get the next seed's ready.

        Raises:
            AgentError: It has not begun.
            DatasetError: It cannot be written; it is still there to be saved.
        """
        if not self.begun:
            raise AgentError("there is nothing to save: the episode has not begun")
        self.running = False
        self._recorder.cut_off()
        episode = self._recorder.episode
        assert episode is not None
        number, metadata = self._store.append(episode), episode.metadata
        done = Saved(
            number, metadata.seed, metadata.length, bool(metadata.success), metadata.failure, metadata.complete
        )
        self.saved.append(done)
        self._taken.add(metadata.seed)
        self._reset(self._free(metadata.seed + 1))
        return done

    def discard(self, *, again: bool = False) -> None:
        """Throw the episode away, and get the next seed's ready, or the same one's again."""
        self.discarded += self.begun
        self._reset(self.session.seed if again else self._free(self.session.seed + 1))

    def to_json(self) -> dict[str, Any]:
        """Return what was done as plain data; times in ms."""
        times = np.array(self._times) * 1e3
        return {
            "path": str(self._store.path),
            "env_id": self._env.describe()["env_id"],
            "robot": self._env.model.name,
            "operator": self._info.operator,
            "saved": [one.to_json() for one in self.saved],
            "successes": sum(one.success for one in self.saved),
            "discarded": self.discarded,
            "not_saved": int(self.begun),
            "recovered": list(self.recovered),
            "control_step_ms": {
                "median": float(np.median(times)) if len(times) else None,
                "p95": float(np.percentile(times, 95)) if len(times) else None,
                "allowed": 1e3 * self._env.control_timestep,
            },
        }

    def _reset(self, seed: int) -> None:
        self.running = False
        self.session.reset(seed)

    def _free(self, seed: int) -> int:
        while seed in self._taken:
            seed += 1
        return seed
