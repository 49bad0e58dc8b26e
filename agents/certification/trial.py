"""One trial of a product test: an episode, and what is measured of it beside what an evaluation tells."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np

from training_ground.agents.certification.result import Trial
from training_ground.agents.deadline import DeadlineMonitor, Timing
from training_ground.agents.episodes import EpisodeRecord, run_episode
from training_ground.configs.errors import SimulationError
from training_ground.envs.cell_task import SENSOR_S, CellTask
from training_ground.envs.env import HumanoidEnv

POSE_ERROR = "hand_position_error"
"""Channel of a task that commands poses: goal minus position of each hand, base frame, m."""
DIVERGED = "diverged"
"""Failure of a trial that could not be simulated to its end."""
_BUTTON = 1
"""Stream of a trial's seed that the moment of an emergency stop is drawn from."""


class Watch:
    """Looks at each control step of a trial, and presses the red button where it is time to.

    Args:
        env: Unwrapped.
        stop_at_s: When, s; None for never.
    """

    def __init__(self, env: HumanoidEnv, stop_at_s: float | None = None) -> None:
        self._stop_at = math.inf if stop_at_s is None else stop_at_s
        self._free = env.stance == "free"
        self._poses = POSE_ERROR in {channel.name for channel in env.channels}
        self.steps = 0
        self.energy = self.distance = self.hand_force = self._force = 0.0
        self.pose_errors: tuple[tuple[float, float, float], ...] = ()

    def __call__(self, env: HumanoidEnv) -> None:
        """After a step."""
        self.steps += 1
        robot, dt = env.robot, env.control_timestep
        self.energy += dt * float(np.abs(robot.joint_torque * robot.joint_velocity).sum())
        if self._free:
            self.distance += dt * math.hypot(*robot.base.linear_velocity[:2])
        if isinstance(env.task, CellTask):
            # Filtered as the tasks do that judge a force (`CellTask.steady`).
            self._force += dt / (SENSOR_S + dt) * (env.task.largest_force() - self._force)
            self.hand_force = max(self.hand_force, self._force)
        if self._poses:
            errors = np.asarray(env.task.values()[POSE_ERROR]).reshape(-1, 3).tolist()
            self.pose_errors = tuple((x, y, z) for x, y, z in errors)
        if env.steps * dt >= self._stop_at and env.task.monitor is not None:
            self._stop_at = math.inf
            env.task.monitor.emergency_stop()

    def trial(self, env: HumanoidEnv, record: EpisodeRecord) -> Trial:
        """Return the trial that an episode of this environment was."""
        found = record.metrics
        persons = "least_separation" in found
        shares = [value for name, value in found.items() if name.startswith("contact_")]
        lost = record.randomisation.get("lost_motors", ())
        return Trial(
            seed=record.seed,
            success=record.success,
            success_any=record.success_any,
            failure=record.failure,
            steps=record.steps,
            seconds=record.seconds,
            total_reward=record.total_reward,
            cycle_time=found.get("cycle_time") if record.success else None,
            energy=self.energy,
            distance=self.distance if self._free else None,
            contact_share=max(shares, default=0.0) if persons else None,
            contact_steps=int(found.get("steps_contact", 0)) if persons else None,
            separation_steps=int(found.get("steps_separation", 0)) if persons else None,
            least_separation=found.get("least_separation"),
            hand_force=self.hand_force if isinstance(env.task, CellTask) else None,
            protective_stops=_whole(found.get("protective_stops")),
            emergency_stops=_whole(found.get("emergency_stops")),
            stop_time=found.get("stop_time"),
            stop_distance=found.get("stop_distance"),
            pose_errors=self.pose_errors,
            pose_accuracy=found.get("pose_accuracy"),
            pose_repeatability=found.get("pose_repeatability"),
            lost_motors=tuple(env.model.joint_names[i] for i in lost),
            metrics=found,
        )


def run_trial(
    env: gymnasium.Env[Any, Any], policy: DeadlineMonitor, seed: int, stop_at_s: tuple[float, float] | None = None
) -> tuple[Trial, Timing]:
    """Run one trial; all but the timing follows from the environment, the policy and the seed.

    Args:
        env: One of the training ground.
        policy: Who is tested.
        seed: Of the episode.
        stop_at_s: Range from which the moment of an emergency stop is drawn, s; None for no stop.

    Raises:
        AgentError: As `run_episode`.
        SimulationError: No step could be simulated.
    """
    base: Any = env.unwrapped
    moment = None if stop_at_s is None else float(np.random.default_rng([seed, _BUTTON]).uniform(*stop_at_s))
    watch = Watch(base, moment)
    try:
        record = run_episode(env, policy, seed, watch)
    except SimulationError:
        if watch.steps == 0:
            raise
        # Whoever makes the simulation diverge has failed; the test goes on.
        seconds = watch.steps * base.control_timestep
        record = EpisodeRecord(seed, False, False, DIVERGED, watch.steps, seconds, 0.0)
    return watch.trial(base, record), policy.timing


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)
