"""Read the evaluation files that the page of results is made from, and put together what belongs together."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from training_ground.agents.statistics import bootstrap_interval, wilson_interval
from training_ground.configs.errors import AgentError
from training_ground.envs.options import EnvOptions
from training_ground.envs.pushes import DIRECTIONS, direction
from training_ground.envs.registration import task

UNIMPORTANT = ("seed", "eval", "checkpoints", "tensorboard")
"""What two trainings of one kind may differ in."""

T = TypeVar("T")
Estimate = tuple[float, float, float]
"""A mean and its 95 % interval."""


@dataclass(frozen=True, eq=False)
class Result:
    """One evaluation.

    Attributes:
        path: Where it stands, below the repository's root.
        data: As `Evaluation.to_json` gives it.
        training: Provenance of the weights; None for a policy that was not learned.
        shipped: Whether the policy ships.
    """

    path: str
    data: dict[str, Any]
    training: dict[str, Any] | None
    shipped: bool

    @cached_property
    def options(self) -> dict[str, Any]:
        """Every option of the environment; one that is younger than the file has its default, which changes nothing."""
        known = EnvOptions().model_dump(mode="json") | task(self.data["env_id"]).config_type().model_dump(mode="json")
        recorded = self.data["environment"]["options"]
        return recorded | {name: default for name, default in known.items() if name not in recorded}

    @property
    def robot(self) -> str:
        """Its name."""
        return self.data["environment"]["robot"]

    @property
    def episodes(self) -> list[dict[str, Any]]:
        """Those that finished."""
        return self.data["episodes"]

    @property
    def seed(self) -> Any:
        """Training seed."""
        return None if self.training is None else self.training["seed"]

    @cached_property
    def kind(self) -> tuple[str, ...]:
        """What results must have in common to be shown together but for the conditions: task, robot, training."""
        if self.training is None:
            trained = self.data["policy"]
        else:
            config = {k: v for k, v in self.training["config"].items() if k not in UNIMPORTANT and v is not None}
            trained = json.dumps(config, sort_keys=True)
        return self.data["env_id"], self.robot, trained

    def conditions(self, without: str | None = None) -> str:
        """The options as one text, one of them (dotted) left out."""
        options = json.loads(json.dumps(self.options))
        if without is not None:
            *path, last = without.split(".")
            inner = options
            for part in path:
                inner = inner[part]
            inner[last] = None
        return json.dumps(options, sort_keys=True)


@dataclass(frozen=True, eq=False)
class Curve:
    """Evaluations of one policy at several values of one option."""

    path: str
    option: str
    values: list[Any]
    results: list[Result]


def read(root: Path) -> tuple[list[Result], list[Curve]]:
    """Read `agents/policies/*/evaluation.json` and `docs/results/*.json` below the repository's root.

    Raises:
        AgentError: A file is damaged, or of another kind.
    """
    results: list[Result] = []
    curves: list[Curve] = []
    for path in sorted((root / "agents" / "policies").glob("*/evaluation.json")):
        provenance = _load(path.with_name("spec.json"))["provenance"]
        results.append(_result(path.relative_to(root).as_posix(), _load(path), provenance, True))
    shipped = {result.data["policy_hash"]: result.training for result in results}
    for path in sorted((root / "docs" / "results").glob("*.json")):
        name, data = path.relative_to(root).as_posix(), _load(path)
        parts = data.get("evaluations", [data])
        found = [
            _result(name, part, part.get("training") or shipped.get(part.get("policy_hash")), _ships(part, shipped))
            for part in parts
        ]
        if "evaluations" in data:
            curves.append(Curve(name, data["option"], data["values"][: len(found)], found))
        else:
            results += found
    return results, curves


def _ships(data: dict[str, Any], shipped: dict[str, Any]) -> bool:
    return data.get("policy_hash") is not None and data["policy_hash"] in shipped


def _load(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise AgentError(f"{path}: cannot be read as JSON: {problem}") from problem


def _result(path: str, data: dict[str, Any], training: dict[str, Any] | None, shipped: bool) -> Result:
    missing = [key for key in ("policy", "env_id", "environment", "episodes", "kwargs") if key not in data]
    if missing:
        raise AgentError(f"{path}: no output of `tg eval --out`: {', '.join(missing)} missing")
    return Result(path, data, training, shipped)


def grouped(items: Iterable[T], key: Callable[[T], Any]) -> list[list[T]]:
    """Return items with the same key together, in the order in which the keys come."""
    groups: dict[Any, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def result_groups(results: Sequence[Result]) -> list[list[Result]]:
    """Return results of one training recipe under the same conditions together, ordered by training seed.

    Raises:
        AgentError: Two files tell of the same policy under the same conditions.
    """
    groups = grouped(results, lambda r: (r.kind, r.conditions()))
    for group in groups:
        group.sort(key=lambda r: (r.seed is None, r.seed, r.path))
        for same in grouped(group, lambda r: r.data["policy_hash"]):
            if len(same) > 1:
                raise AgentError(f"{same[0].path} and {same[1].path} hold the same policy under the same conditions")
    return groups


def curve_groups(curves: Sequence[Curve]) -> list[list[Curve]]:
    """Return the curves of one training recipe over the same option together, ordered by training seed."""
    groups = grouped(curves, lambda c: (c.results[0].kind, c.option, str(c.values), c.results[0].conditions(c.option)))
    return [sorted(group, key=lambda c: (c.results[0].seed is None, c.results[0].seed, c.path)) for group in groups]


def success(results: Iterable[Result]) -> tuple[int, int, float, float]:
    """Return successes, episodes and the Wilson interval of their rate, over all results."""
    records = [record["success"] for result in results for record in result.episodes]
    return sum(records), len(records), *wilson_interval(sum(records), len(records))


def falls(results: Iterable[Result]) -> int:
    """Return the number of episodes that ended in a failure."""
    return sum(record["failure"] is not None for result in results for record in result.episodes)


def metric_names(results: Iterable[Result]) -> set[str]:
    """Return the names of what was measured, reward terms left out: they tell of training, not of the robot."""
    names = {name for result in results for record in result.episodes for name in record["metrics"]}
    return {name for name in names if not name.startswith("reward/")}


def measured(results: Iterable[Result], name: str) -> list[float]:
    """Return a metric of every episode that has it."""
    records = (record["metrics"] for result in results for record in result.episodes)
    return [metrics[name] for metrics in records if name in metrics]


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return mean and bootstrap interval; None for no value."""
    return (float(np.mean(values)), *bootstrap_interval(values)) if values else None


def asymmetry(results: Sequence[Result], name: str, samples: int = 2000) -> Estimate | None:
    """Return left minus right over their mean, of the means over episodes, with its bootstrap interval; as a share.

    Episodes that lack a side are left out.
    """
    one, other = f"{name}_left", f"{name}_right"
    records = (record["metrics"] for result in results for record in result.episodes)
    pairs = np.array([(m[one], m[other]) for m in records if one in m and other in m]).reshape(-1, 2)
    left, right = pairs.T
    if not pairs.sum():
        return None
    drawn = np.random.default_rng(0).integers(0, len(left), size=(samples, len(left)))
    a, b = left[drawn].mean(axis=1), right[drawn].mean(axis=1)
    low, high = np.quantile(2 * (a - b) / np.maximum(a + b, 1e-12), [0.025, 0.975])
    return float(2 * (left.mean() - right.mean()) / (left.mean() + right.mean())), float(low), float(high)


def pushes(results: Sequence[Result]) -> list[tuple[int, int]] | None:
    """Return (withstood, decided) for each of `DIRECTIONS`; None where no push was recorded.

    A push felled the robot if the episode ended in a fall and no other push came in between.
    """
    if not any(f"withstood_{DIRECTIONS[0]}" in record["metrics"] for r in results for record in r.episodes):
        return None
    withstood = [round(sum(measured(results, f"withstood_{name}"))) for name in DIRECTIONS]
    felled = [0] * len(DIRECTIONS)
    for record in (record for result in results for record in result.episodes):
        metrics = record["metrics"]
        if record["failure"] is not None and "push_forward" in metrics:
            felled[direction((metrics["push_forward"], metrics["push_left"]))] += 1
    return [(up, up + down) for up, down in zip(withstood, felled, strict=True)]
