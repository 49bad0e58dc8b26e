"""What one scenario's expert does to another: its actions, replayed unchanged with the same seed.

An open-loop replay is lost in most other episodes of its own scenario as well, so a replay on another seed would part
any two scenarios, even one and itself. Here both episodes have the same seed: what is drawn comes from the same random
numbers. Where two scenarios are one, so are the episodes, and the replay repeats them to the last bit; what makes it
fail is then what the scenarios differ in. Two controls are measured beside: `repeats`, the replay in its own episode,
which must succeed, and `other_seed`, the replay in the next episode of its own scenario, which tells how much a mere
seed does. Where two scenarios draw different quantities the same random numbers go to other uses, and a failure says
less: `same_draws` is false.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.experts.catalog import find_expert
from training_ground.agents.experts.expert import Expert
from training_ground.configs.errors import SimulationError, TrainingGroundError
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.registration import make
from training_ground.envs.scenarios import Scenario

SHIFT = 0.15
"""Share by which a cycle must be longer or shorter to count as another."""


@dataclass
class Course:
    """What an episode went through.

    Attributes:
        phases: In the order in which each began, up to success.
        cycle_s: Time until success first held, s; None where it never did.
        failure: What ended it, if anything.
    """

    phases: list[str] = field(default_factory=list)
    cycle_s: float | None = None
    failure: str | None = None

    def see(self, env: HumanoidEnv) -> None:
        """Note the last control step."""
        outcome = env.outcome
        self.failure = outcome.failure
        if self.cycle_s is None and outcome.phase not in self.phases:
            self.phases.append(outcome.phase)
        if self.cycle_s is None and outcome.success:
            self.cycle_s = env.steps * env.control_timestep


@dataclass(frozen=True, eq=False)
class Play:
    """An episode of a scenario's expert.

    Attributes:
        course: How it went.
        success: Whether it ended in success.
        joints: Those that the actions move, in order.
        actions: (steps, joints) float32.
        draws: Names of what the episode drew.
        trouble: Why there is no success, as far as known.
    """

    course: Course
    success: bool
    joints: tuple[str, ...]
    actions: NDArray[np.float32]
    draws: frozenset[str]
    trouble: str = ""


def play(env: HumanoidEnv, expert: Expert, seed: int) -> Play:
    """Have the expert do an episode, and keep its actions."""
    observation, _ = env.reset(seed=seed)
    expert.reset(env)
    course, actions, ended = Course(), [], False
    while not ended:
        actions.append(expert.act(observation))  # pyright: ignore[reportArgumentType]
        observation, _, terminated, truncated, _ = env.step(actions[-1])
        course.see(env)
        ended = terminated or truncated
    trouble = course.failure or expert.trouble or ("" if env.outcome.success else "out of time")
    return Play(course, env.outcome.success, env.action_joints, np.array(actions), _draws(env), trouble)


def replay(env: HumanoidEnv, seed: int, source: Play) -> Course:
    """Repeat an expert's actions, joint by joint by name; other joints hold still, and so do all after the last action.

    It ends with success, with a failure, or when the cycle is longer than the expert's by more than `SHIFT`.
    """
    env.reset(seed=seed)
    course, action = Course(), np.zeros(len(env.action_joints), np.float32)
    places = [env.action_joints.index(name) for name in source.joints]
    longest = (1.0 + SHIFT) * (source.course.cycle_s or math.inf)
    while course.cycle_s is None and (env.steps - 1) * env.control_timestep < longest:
        action[places] = source.actions[min(env.steps, len(source.actions) - 1)]
        try:
            _, _, terminated, truncated, _ = env.step(action)
        except SimulationError:
            course.failure = "diverged"
            break
        course.see(env)
        if terminated or truncated:
            break
    return course


def difference(source: Course, found: Course) -> str:
    """Return what differs between an expert's episode and its replay, in words; empty where nothing does."""
    if found.failure:
        return f"fails: {found.failure}"
    if found.cycle_s is None or source.cycle_s is None:
        return f"no success within {1.0 + SHIFT:.0%} of the cycle"
    shift = found.cycle_s / source.cycle_s - 1.0
    if abs(shift) > SHIFT:
        return f"cycle {shift:+.0%}"
    return f"phases: {', '.join(found.phases)}" if found.phases != source.phases else ""


def _missing(source: Play, target: Play, robot: str) -> str:
    """Say which joints a robot lacks for a replay; empty where it has them all."""
    missing = [name for name in source.joints if name not in target.joints]
    more = f" and {len(missing) - 1} more" if missing[1:] else ""
    return f"{robot} has no joint {missing[0]}{more}" if missing else ""


def _draws(env: HumanoidEnv) -> frozenset[str]:
    """Names of what was drawn, such as `cell.part.yaw`."""

    def names(drawn: Any, above: str) -> list[str]:
        if not isinstance(drawn, dict):
            return [above]
        return [name for key, value in drawn.items() for name in names(value, f"{above}.{key}")]

    return frozenset(names(env.drawn, ""))


# ---- scenarios of one template ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Played:
    """What a scenario's own expert did on one seed.

    Attributes:
        scenario: Its identifier.
        success: Of the expert.
        cycle_s: Of the expert, s.
        trouble: Why there is no success.
        repeats: Whether the replay in the same episode gave the same course; None without success, as the next.
        other_seed: What differed in the replay with the next seed; empty where nothing did.
    """

    scenario: str
    success: bool
    cycle_s: float | None = None
    trouble: str = ""
    repeats: bool | None = None
    other_seed: str | None = None


@dataclass(frozen=True)
class Comparison:
    """One scenario's expert in another, on one seed.

    Attributes:
        first, second: Identifiers, in the catalogue's order.
        source: The one whose expert was replayed: the first, where its expert succeeded; None where neither did.
        why: What differed, or which joints a replay lacks; empty where nothing did, or where there was no success to
            replay.
        same_draws: Whether both episodes drew the same quantities.
    """

    first: str
    second: str
    source: str | None = None
    why: str = ""
    same_draws: bool = True


@dataclass(frozen=True)
class Examined:
    """Scenarios of one template on one seed."""

    template: str
    seed: int
    played: tuple[Played, ...]
    comparisons: tuple[Comparison, ...]


class Stage:
    """Environments and experts of the scenarios of one template; those of the template before are closed."""

    def __init__(self) -> None:
        self._template = ""
        self._open: dict[str, tuple[HumanoidEnv, Expert]] = {}

    def examine(self, scenarios: Sequence[Scenario], seed: int) -> Examined:
        """Play every expert, and replay it in the scenarios that come after it.

        What goes wrong with a scenario itself is its trouble, and does not end the others.
        """
        plays: dict[str, Play] = {}
        played = []
        for one in scenarios:
            try:
                plays[one.id] = play(*self._get(one), seed)
                played.append(self._controls(one, seed, plays[one.id]))
            except TrainingGroundError as problem:
                played.append(Played(one.id, False, trouble=str(problem)))
        pairs = [self._compare(first, second, plays, seed) for first, second in combinations(scenarios, 2)]
        return Examined(scenarios[0].template, seed, tuple(played), tuple(pairs))

    def _controls(self, one: Scenario, seed: int, source: Play) -> Played:
        if not source.success:
            return Played(one.id, False, trouble=source.trouble)
        env, _ = self._get(one)
        again, other = replay(env, seed, source), replay(env, seed + 1, source)
        repeats = (again.cycle_s, again.phases) == (source.course.cycle_s, source.course.phases)
        return Played(one.id, True, source.course.cycle_s, "", repeats, difference(source.course, other))

    def _compare(self, first: Scenario, second: Scenario, plays: dict[str, Play], seed: int) -> Comparison:
        if first.id not in plays or second.id not in plays:
            return Comparison(first.id, second.id)
        source, target = (first, second) if plays[first.id].success else (second, first)
        played, there = plays[source.id], plays[target.id]
        same, why = played.draws == there.draws, _missing(played, there, target.robot)
        if not why and not played.success:
            return Comparison(first.id, second.id, same_draws=same)
        if not why:
            why = difference(played.course, replay(self._get(target)[0], seed, played))
        return Comparison(first.id, second.id, source.id, why, same)

    def _get(self, one: Scenario) -> tuple[HumanoidEnv, Expert]:
        if one.template != self._template:
            self.close()
            self._template = one.template
        if one.id not in self._open:
            expert = find_expert(one.template)()
            self._open[one.id] = (make(one.env_id, **one.kwargs), expert)
        return self._open[one.id]

    def close(self) -> None:
        """Free the engine's memory."""
        with contextlib.ExitStack() as stack:
            for env, _ in self._open.values():
                stack.callback(env.close)
        self._open = {}
