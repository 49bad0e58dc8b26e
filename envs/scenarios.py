"""Scenarios: task template × tier × robot, each with the sectors that it stands for.

The catalogue is what `configs/scenarios` says, one file a template. A template without a file stands in it as well, in
every tier of its cell, with the robot that the task names as its own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from training_ground.assets.catalog import load_spec
from training_ground.assets.layout import SECTORS, TIERS
from training_ground.assets.library import load_cell
from training_ground.configs.errors import ConfigError, TrainingGroundError, unknown
from training_ground.configs.scenario import FOLDER, ScenarioFile, scenario_files
from training_ground.envs.catalog import NAMESPACE, task_modules
from training_ground.envs.cell_task import CellTask
from training_ground.envs.options import split_options
from training_ground.envs.registration import tasks
from training_ground.envs.task import Task


@dataclass(frozen=True)
class Scenario:
    """A template in one of its tiers, for one robot.

    Attributes:
        name: The catalogue's file, or the task's where it has none.
        template: The task.
        tier: Of its cell.
        robot: Who works.
        sectors: Those that it stands for.
        env: Further keyword arguments of the environment.
    """

    name: str
    template: str
    tier: str
    robot: str
    sectors: tuple[str, ...]
    env: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """As in `peg_in_hole/flow/g1_dex3`."""
        return f"{self.name}/{self.tier}/{self.robot}"

    @property
    def env_id(self) -> str:
        """Gymnasium's id."""
        return f"{NAMESPACE}/{self.template}-v0"

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments of the environment."""
        return {**self.env, "robot": self.robot, "tier": self.tier}

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "id": self.id,
            "template": self.template,
            "tier": self.tier,
            "robot": self.robot,
            "sectors": list(self.sectors),
            "env_id": self.env_id,
            "kwargs": self.kwargs,
        }


def templates() -> dict[str, type[CellTask]]:
    """Tasks in factory cells, by name."""
    return {name: kind for name, kind in tasks().items() if issubclass(kind, CellTask)}


def catalogue(folder: Path = FOLDER) -> dict[str, Scenario]:
    """Return every scenario by its identifier: by file, then tier, then robot in the file's order.

    Raises:
        ConfigError: A file names a template, tier, robot or sector that there is not, a robot that cannot do the task,
            or what another file says already; or a template cannot tell success, or has no phases.
    """
    files = scenario_files(folder)
    given = {file.template.lower() for file in files.values()}
    entries = {name: (file, str(folder / f"{name}.yaml")) for name, file in files.items()}
    for name, kind in templates().items():
        if name.lower() not in given:
            file = ScenarioFile(template=name, robots=(kind.defaults["robot"],))
            short = task_modules()[name].rpartition(".")[2]
            if short in entries:
                raise ConfigError(f"{entries[short][1]}: its name belongs to template '{name}', which has no file")
            entries[short] = (file, f"template '{name}'")
    found: dict[str, Scenario] = {}
    seen: dict[str, str] = {}
    for name, (file, where) in sorted(entries.items()):
        for scenario in _resolve(name, file, where):
            content = json.dumps([scenario.template, scenario.kwargs], sort_keys=True)
            if content in seen:
                raise ConfigError(f"{where}: '{scenario.id}' is the scenario '{seen[content]}' once more")
            seen[content] = scenario.id
            found[scenario.id] = scenario
    return found


def _resolve(name: str, file: ScenarioFile, where: str) -> list[Scenario]:
    """The scenarios of one file."""
    kind = _template(file.template, where)
    spec = load_cell(kind.cell)
    has = [tier for tier in TIERS if tier == "nominal" or tier in spec.tiers]
    for tier in file.tiers or ():
        if tier not in has:
            kinds = f"tier of cell '{spec.name}'"
            raise ConfigError(f"{where}: tiers: {unknown(kinds, tier, has)}")
    for sector in file.sectors or ():
        if sector not in SECTORS:
            raise ConfigError(f"{where}: sectors: {unknown('sector', sector, SECTORS)}")
    tiers = [tier for tier in has if file.tiers is None or tier in file.tiers]
    pairs = [(tier, robot) for tier in tiers for robot in file.robots]
    every = [f"{tier}/{robot}" for tier, robot in pairs]
    for left_out in file.without:
        if left_out not in every:
            raise ConfigError(f"{where}: without: {unknown('scenario', left_out, every)}")
    for robot in file.robots:
        _require_able(kind, robot, file.env, where)
    sectors = file.sectors or spec.sectors
    return [
        Scenario(name, kind.id, tier, robot, sectors, dict(file.env))
        for tier, robot in pairs
        if f"{tier}/{robot}" not in file.without
    ]


def _template(name: str, where: str) -> type[CellTask]:
    """The task of a template; it must be one that can be judged."""
    known = {task.lower(): kind for task, kind in templates().items()}
    if name.lower() not in known:
        raise ConfigError(f"{where}: {unknown('template', name, templates())}")
    kind = known[name.lower()]
    if kind.evaluate is Task.evaluate:
        raise ConfigError(f"{where}: template '{kind.id}' has no success predicate (evaluate)")
    if not any(kind.phases):
        raise ConfigError(f"{where}: template '{kind.id}' has no phases")
    return kind


def _require_able(kind: type[CellTask], robot: str, env: Mapping[str, Any], where: str) -> None:
    """Refuse a robot that cannot do the task, and options that it does not have."""
    try:
        spec: Any = load_spec(robot)
        config, _ = split_options(kind, {**env, "robot": robot})
    except TrainingGroundError as problem:
        raise ConfigError(f"{where}: {problem}") from problem
    stance = config.stance or next((s for s in kind.stances if s in spec.stances), kind.stances[0])
    # The specification has all that is asked of a model here: nothing has to be compiled to read the catalogue.
    reason = kind.unsupported(spec, stance)
    if reason:
        raise ConfigError(f"{where}: robots: {reason}")


# ---- choosing --------------------------------------------------------------------------------------------------------


def choose(
    found: Mapping[str, Scenario], patterns: Sequence[str] = (), *, sectors: Sequence[str] = (),
    names: Sequence[str] = (), tiers: Sequence[str] = (), robots: Sequence[str] = (),
) -> list[Scenario]:  # fmt: skip
    """Return the scenarios that fit, in the catalogue's order.

    Args:
        found: The catalogue.
        patterns: Identifiers, or shell patterns such as `peg_in_hole/*`; those that fit one of them.
        sectors: By name or code (`automotive`, `AU`); those that stand for one of them.
        names: Templates, as in an identifier or as the task is called.
        tiers: Their names.
        robots: Their names.

    Raises:
        ConfigError: A name that no scenario has; the nearest is offered.
    """
    codes = {code.lower(): sector for sector, code in SECTORS.items()}
    wanted = [codes.get(sector.lower(), sector) for sector in sectors]
    chosen = [name.lower() for name in names]
    tasks = {one.template.lower() for one in found.values()}
    _require("sector", wanted, SECTORS)
    _require("template", [name for name in names if name.lower() not in tasks], _values(found, "name"))
    _require("tier", tiers, TIERS)
    _require("robot", robots, _values(found, "robot"))
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in found):
            raise ConfigError(no_such(pattern, found))
    return [
        one
        for one in found.values()
        if (not patterns or any(fnmatchcase(one.id, pattern) for pattern in patterns))
        and (not wanted or set(wanted) & set(one.sectors))
        and (not chosen or {one.name, one.template.lower()} & set(chosen))
        and (not tiers or one.tier in tiers)
        and (not robots or one.robot in robots)
    ]


def no_such(name: str, found: Iterable[str]) -> str:
    """Return an error message that offers the nearest identifier; the whole list would be too long."""
    return unknown("scenario", name, found).partition(" Allowed:")[0] + " See `tg scenarios list`"


def _values(found: Mapping[str, Scenario], key: str) -> list[str]:
    return list(dict.fromkeys(getattr(one, key) for one in found.values()))


def _require(kind: str, given: Iterable[str], known: Iterable[str]) -> None:
    listed = list(known)
    for name in given:
        if name not in listed:
            raise ConfigError(unknown(kind, name, listed))


def count(scenarios: Iterable[Scenario]) -> dict[str, dict[str, int]]:
    """Count scenarios by `sector`, `template`, `tier` and `robot`; one may stand for several sectors."""
    listed = list(scenarios)
    keys: dict[str, list[str]] = {
        "sector": [sector for one in listed for sector in one.sectors],
        "template": [one.name for one in listed],
        "tier": [one.tier for one in listed],
        "robot": [one.robot for one in listed],
    }
    return {kind: dict(Counter(names).most_common()) for kind, names in keys.items()}
