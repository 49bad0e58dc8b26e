"""A curriculum: ranges that episodes are drawn from grow while the robot copes. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium

from training_ground.configs.errors import AgentError
from training_ground.configs.training import CurriculumConfig

MEMORY = 50
"""Episodes that the mean is about."""

Value = float | tuple[float, ...]


@dataclass(frozen=True)
class Ranges:
    """What changes with the level.

    Attributes:
        ends: By name of a keyword argument, its value at level 0 and at level 1.
    """

    ends: dict[str, tuple[Value, Value]] = field(default_factory=dict)

    def at(self, level: float) -> dict[str, Any]:
        """Values at a level between 0 and 1, by name."""
        return {name: _between(low, high, level) for name, (low, high) in self.ends.items()}

    def apply(self, env: gymnasium.Env[Any, Any], level: float) -> None:
        """Let the environment's next episodes be drawn from the values at a level."""
        if self.ends:
            base: Any = env.unwrapped
            base.adjust(**self.at(level))


def _between(low: Value, high: Value, level: float) -> Value:
    if isinstance(low, tuple) and isinstance(high, tuple):
        return tuple(a + level * (b - a) for a, b in zip(low, high, strict=True))
    assert isinstance(low, float) and isinstance(high, float), "a task's field keeps its shape"
    return low + level * (high - low)


def _ranges(config: CurriculumConfig, env: gymnasium.Env[Any, Any]) -> Ranges:
    base: Any = env.unwrapped
    if not hasattr(base, "adjust"):
        raise AgentError("curriculum: only environments of the training ground have one")
    whole: dict[str, Any] = base.adjustable
    base.adjust(**config.start)
    starts: dict[str, Any] = base.adjustable
    base.adjust(**whole)
    return Ranges({name: (_value(starts[name]), _value(whole[name])) for name in config.start})


def _value(given: Any) -> Value:
    return tuple(float(x) for x in given) if isinstance(given, tuple) else float(given)


class Curriculum:
    """The level of a run, from 0 to 1.

    It rises by `step` after an update where episodes last longer than `raise_above` of their time limit on average,
    and falls where they last less than `lower_below`; or where a larger share of them succeeds, and a smaller one.

    Attributes:
        ranges: What changes with the level.
        level: Of the episodes that begin next.
        coped: Mean share of the time limit that the last episodes lasted, or of those that succeeded.
    """

    def __init__(self, config: CurriculumConfig | None = None, env: gymnasium.Env[Any, Any] | None = None) -> None:
        """Begin at level 0, or stay at 1 where there is no curriculum.

        Args:
            config: None where there is none.
            env: Has the values of level 1; only a curriculum needs it.

        Raises:
            AgentError: The environment is not one of the training ground.
            SimulationError: The environment cannot change an option, or a value is not allowed.
        """
        self._config, self.ranges, self._limit = config, Ranges(), 0
        if config is not None and env is not None:
            self.ranges, self._limit = _ranges(config, env), getattr(env.unwrapped, "max_steps", 0)
        self.level = 1.0 if config is None else 0.0
        self.coped = 0.0

    def see(self, ends: Iterable[Mapping[str, Any]]) -> None:
        """Count the episodes that ended in a rollout in, by their last infos, and change the level."""
        config = self._config
        if config is None:
            return
        for info in ends:
            share = float(info["is_success"]) if config.measure == "success" else info["episode"]["l"] / self._limit
            self.coped += (share - self.coped) / MEMORY
        if self.coped > config.raise_above:
            self.level = min(1.0, self.level + config.step)
        elif self.coped < config.lower_below:
            self.level = max(0.0, self.level - config.step)
