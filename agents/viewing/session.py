"""A session: an environment and a policy that a viewer advances, pauses, pushes and starts again."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Any

import gymnasium
import numpy as np

from training_ground.agents.episodes import EpisodeRecord, EpisodeTally
from training_ground.agents.policy import Policy
from training_ground.configs.errors import AgentError
from training_ground.envs import rotations
from training_ground.envs.env import HumanoidEnv

HISTORY_S = 20.0
"""Simulated time that the plots show, s."""
MAX_PUSH = 5.0
"""m/s: no push is stronger."""
PUSH_CHANNEL = "push_velocity"


class Session:
    """Runs episodes of a policy, one control step at a time.

    Args:
        env: Flat observations.
        policy: Who acts.
        seed: Of the first episode; those that follow count on.
        through: What wraps `env`, such as a recorder, and takes its resets and steps; `env` itself where absent.

    Attributes:
        ended: Whether the episode is over; the next `step` does nothing until `reset`.
        reward: Of the last step.
        info: As the environment's last step gave it.
        records: Episodes that have ended.
        times: Simulated time of the last steps in this episode, s.
        history: Each reward term at those times.
        push: (3,) world velocity, m/s, of the last push, or None; `push_age_s` tells how long ago it was.
    """

    def __init__(
        self,
        env: HumanoidEnv,
        policy: Policy,
        *,
        seed: int = 0,
        through: gymnasium.Env[Any, Any] | None = None,
    ) -> None:
        self.env, self.policy, self.seed = env, policy, seed
        self._driven: gymnasium.Env[Any, Any] = env if through is None else through
        length = round(HISTORY_S / env.control_timestep)
        self.terms = env.task.terms
        self.times: deque[float] = deque(maxlen=length)
        self.history: dict[str, deque[float]] = {name: deque(maxlen=length) for name in self.terms}
        self.records: list[EpisodeRecord] = []
        self.reset(seed)

    @property
    def time(self) -> float:
        """Simulated time since the episode's start, s."""
        return self.env.steps * self.env.control_timestep

    @property
    def push_age_s(self) -> float:
        """Simulated time since the last push, s."""
        return math.inf if self.push is None else self.time - self._push_time

    def reset(self, seed: int | None = None) -> None:
        """Start an episode: from `seed`, or from the seed after the last one's."""
        self.seed = self.seed + 1 if seed is None else seed
        self._observation, start = self._driven.reset(seed=self.seed)
        self._randomisation = dict(start.get("randomisation", {}))
        self.policy.reset(self.env)
        self._tally = EpisodeTally()
        self.ended = False
        self.reward = 0.0
        self.info: dict[str, Any] = {"reward_terms": {}, "success": False, "failure": None, "phase": ""}
        self.push: tuple[float, float, float] | None = None
        self._push_time = 0.0
        self.times.clear()
        for values in self.history.values():
            values.clear()

    def use(self, policy: Policy) -> None:
        """Let another policy act from the next step on.

        Raises:
            AgentError: It does not fit; the one before stays.
        """
        policy.reset(self.env)
        self.policy = policy

    def step(self) -> bool:
        """Advance by one control step, unless the episode is over; returns whether it is over now."""
        if self.ended:
            return True
        action = self.policy.act(np.asarray(self._observation))
        self._observation, reward, terminated, truncated, self.info = self._driven.step(action)
        self.reward = float(reward)
        self._tally.add(self.reward, self.info)
        self._notice_push()
        self.times.append(self.time)
        for name, value in self.info["reward_terms"].items():
            self.history[name].append(float(value))
        self.ended = terminated or truncated
        if self.ended:
            self.records.append(self._record())
        return self.ended

    def give_push(self, speed: float, direction_deg: float) -> None:
        """Change the velocity of the whole robot at once.

        Args:
            speed: m/s.
            direction_deg: As the robot sees it: 0 is forward, 90 to its left.

        Raises:
            AgentError: The speed is not between 0 and `MAX_PUSH`, or the robot stands on a stand.
        """
        if not 0 <= speed <= MAX_PUSH:
            raise AgentError(f"push of {speed:g} m/s: allowed are 0 to {MAX_PUSH:g}")
        if self.env.stance != "free":
            raise AgentError("a mounted robot cannot be pushed: its base is fixed")
        angle = rotations.yaw(self.env.robot.base.orientation) + math.radians(direction_deg)
        push = (speed * math.cos(angle), speed * math.sin(angle), 0.0)
        self.env.robot.body.add_base_velocity(push)
        # The step that follows belongs to it: its arrow must not be gone before the robot has moved.
        self.push, self._push_time = push, self.time

    def goals(self) -> list[tuple[float, float, float]]:
        """Places (3,) in the world that the task wants reached, m."""
        state = self.env.task.values().get("hand_goal")
        flat = [float(x) for x in np.ravel(np.asarray(state))] if state is not None else []
        return [(flat[i], flat[i + 1], flat[i + 2]) for i in range(0, len(flat) - 2, 3)]

    def _notice_push(self) -> None:
        given = self.env.task.values().get(PUSH_CHANNEL)
        if given is not None:
            x, y = (float(v) for v in np.ravel(np.asarray(given)))
            if x or y:
                self.push, self._push_time = (x, y, 0.0), self.time

    def _record(self) -> EpisodeRecord:
        return EpisodeRecord(
            seed=self.seed,
            success=bool(self.info["success"]),
            success_any=self._tally.success_any,
            failure=self.info["failure"],
            steps=self.env.steps,
            seconds=self.time,
            total_reward=self._tally.total_reward,
            metrics=self._tally.metrics(),
            randomisation=self._randomisation,
        )


class Clock:
    """Says how many steps are due so that simulated time runs `speed` times as fast as the wall's.

    Attributes:
        speed: Wanted ratio.
        achieved: Ratio over about the last second.
    """

    MOST: int = 20
    """Steps in one go: a machine that is too slow falls behind instead of freezing the viewer."""

    def __init__(self, timestep: float, speed: float = 1.0) -> None:
        self.timestep, self.speed, self.achieved = timestep, speed, 0.0
        self._last = time.monotonic()
        self._credit = 0.0
        self._window: deque[tuple[float, int]] = deque()

    def due(self, now: float | None = None) -> int:
        """Return the number of steps to take now."""
        now = time.monotonic() if now is None else now
        elapsed, self._last = now - self._last, now
        self._credit += elapsed * self.speed / self.timestep
        steps = min(int(self._credit), self.MOST)
        self._credit = min(self._credit - steps, 1.0)
        self._window.append((now, steps))
        while now - self._window[0][0] > 1.0:
            self._window.popleft()
        span = now - self._window[0][0]
        if span > 0.2:
            self.achieved = sum(n for _, n in list(self._window)[1:]) * self.timestep / span
        return steps

    def skip(self) -> None:
        """Let the time since the last call pass without steps: a pause."""
        self._last, self._credit, self.achieved = time.monotonic(), 0.0, 0.0
        self._window.clear()
