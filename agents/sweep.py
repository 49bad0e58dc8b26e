"""Evaluate a policy at several values of one option of its environment: how far it goes, and where it ends."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from training_ground.agents.episodes import EpisodeRecord
from training_ground.agents.evaluation import Evaluation, evaluate
from training_ground.agents.policy import Policy
from training_ground.agents.stepping import make_env
from training_ground.configs.errors import AgentError, TrainingGroundError
from training_ground.configs.loading import apply_overrides


@dataclass
class Sweep:
    """Evaluations of one policy that differ in one option.

    Attributes:
        option: Dotted name of the environment's keyword argument.
        values: Its values, in order; where the option is a range, its two ends are both the value.
        evaluations: One a value, as far as they have begun.
    """

    option: str
    values: list[Any]
    evaluations: list[Evaluation] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether every requested episode finished."""
        return len(self.evaluations) == len(self.values) and all(e.complete for e in self.evaluations)

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data; each evaluation as `Evaluation.to_json` gives it."""
        return {
            "schema_version": 1,
            "option": self.option,
            "values": self.values,
            "evaluations": [evaluation.to_json() for evaluation in self.evaluations],
        }


def sweep(
    policy: Policy,
    env_id: str,
    kwargs: dict[str, Any],
    option: str,
    values: Sequence[Any],
    seeds: Iterable[int],
    workers: int = 2,
    on_episode: Callable[[Sweep, EpisodeRecord], None] | None = None,
) -> Sweep:
    """Run one episode a seed at each value; every value meets the same seeds.

    Args:
        policy: See `evaluate`, also for what is raised.
        env_id: Task id.
        kwargs: Keyword arguments of the environment.
        option: Dotted name of the one that changes.
        values: Its values, at least one, none twice.
        seeds: From 1,000,000.
        workers: Processes; 0 runs in this one.
        on_episode: Called with the sweep so far and the newest episode.

    Raises:
        AgentError: There is no value, or one stands twice.
        SimulationError: The environment has no such option, or refuses a value; no episode has run then.
    """
    if not values:
        raise AgentError(f"sweep over '{option}': give at least one value")
    double = next((value for i, value in enumerate(values) if value in list(values)[:i]), None)
    if double is not None:
        raise AgentError(f"sweep over '{option}': the value {double} stands twice")
    conditions = [set_option(env_id, kwargs, option, value) for value in values]
    result, listed = Sweep(option, list(values)), list(seeds)

    def finish(evaluation: Evaluation, record: EpisodeRecord) -> None:
        if not result.evaluations or result.evaluations[-1] is not evaluation:
            result.evaluations.append(evaluation)
        if on_episode is not None:
            on_episode(result, record)

    for given in conditions:
        evaluate(policy, env_id, given, listed, workers, finish)
    return result


def set_option(env_id: str, kwargs: dict[str, Any], option: str, value: Any) -> dict[str, Any]:
    """Return `kwargs` with the option at `value`, or at the range (value, value) where the option is a range.

    Raises:
        TrainingGroundError: The environment has no such option, or refuses the value.
    """
    now = _current(env_id, kwargs, option)
    pair = [value, value]
    single = isinstance(value, list) or not isinstance(now, (list, tuple)) or len(now) != 2
    choices = ([value, pair] if now is None and not isinstance(value, list) else [value]) if single else [pair]
    problems: list[TrainingGroundError] = []
    for choice in choices:
        given = apply_overrides(kwargs, [f"{option}={json.dumps(choice)}"])
        try:
            make_env(env_id, given).close()
        except TrainingGroundError as problem:
            problems.append(problem)
        else:
            return given
    raise problems[0]


def _current(env_id: str, kwargs: dict[str, Any], option: str) -> Any:
    """What the environment says that the option is now; None where it is not set, or unknown."""
    env = make_env(env_id, kwargs)
    try:
        base: Any = env.unwrapped
        found: Any = base.describe().get("options", {}) if hasattr(base, "describe") else {}
    finally:
        env.close()
    for part in option.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
