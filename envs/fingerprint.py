"""What makes a scenario the one that it is: hashes over its assets, predicate, phase graph, limits and events.

What counts:
- **assets**: the compiled robot, the policy that drives its legs in stance `free`, the environment's options that shape
  physics, control, sensing and randomisation, and the tier's cell: every item with the content of its part, where it
  stands and how it is drawn;
- **predicate**: the code of the task from its own class up to `CellTask`, without comments and docstrings, and its
  configuration;
- **phases**: their names, in the order in which the task declares them;
- **limits**: the episode's length, the kinds of failure, and every number that the task's files and classes name;
- **events**: sensors and machines, parts that may be faulty, who walks or receives, and the cell's `events`.

What does not: titles, sectors, colours, lamps, the names of tier, cell, parts and events, the instruction, and the
checks of a layout (`reach`, `touching`). So two tiers that say the same are the same, whatever they are called.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import sys
from dataclasses import dataclass
from typing import Any

from training_ground.assets.catalog import load_model
from training_ground.assets.gravity import at_work
from training_ground.assets.library import load_part
from training_ground.envs import legs
from training_ground.envs.cell_task import CellTask
from training_ground.envs.options import split_options
from training_ground.envs.scenarios import Scenario, templates

LOOKS = {"title", "colour", "lamp", "lights"}
"""Keys of specifications that only people and cameras see."""
OF_THE_POLICY = {"robot", "observation_format", "observation_history", "visuals", "episode_length_s", "reward"}
"""Options that say how it is looked at and rewarded; the robot and the episode's length stand elsewhere."""
EVENTS = ("faulty", "walks")
"""Fields of an item that are events."""
OF_THE_CELL = {"name", "title", "sectors", "tiers", "reach", "touching", "devices", "events", "receiver"}
"""Fields of a cell that stand elsewhere, or only describe and check it. A field that comes later counts as an asset."""


@dataclass(frozen=True)
class Fingerprint:
    """Hashes (sha256, hex) of a scenario's parts, by name."""

    parts: dict[str, str]

    @property
    def hash(self) -> str:
        """Hash of all parts."""
        return _digest(self.parts)


def fingerprint(scenario: Scenario) -> Fingerprint:
    """Return the hashes of a scenario.

    Raises:
        TrainingGroundError: Its robot, cell or parts cannot be read, or its keyword arguments are refused.
    """
    return Fingerprint({name: _digest(part) for name, part in contents(scenario).items()})


def contents(scenario: Scenario) -> dict[str, Any]:
    """Return what is hashed, as plain data, by part."""
    kind = templates()[scenario.template]
    options, config = split_options(kind, scenario.kwargs)
    spec = kind.layout(config)
    cell = spec.model_dump(mode="json", exclude=OF_THE_CELL)
    events: dict[str, Any] = {"devices": spec.devices.model_dump(mode="json")}
    if spec.events:
        events["events"] = [event.model_dump(mode="json") for event in spec.events.values()]
    if spec.receiver is not None:
        events["receiver"] = spec.receiver.model_dump(mode="json")
    for name, item in cell["items"].items():
        item["part"] = _part(item["part"])
        events |= {f"{name}.{event}": item.pop(event) for event in EVENTS}
        if events[f"{name}.faulty"]:
            events[f"{name}.faulty"]["part"] = _part(events[f"{name}.faulty"]["part"])
    found = {
        "assets": {
            "robot": load_model(options.robot).hash,
            "options": options.model_dump(mode="json", exclude=OF_THE_POLICY),
            "cell": cell,
        },
        "predicate": {"code": _code(kind), "config": config.model_dump(mode="json", exclude={"tier", "variation"})},
        "phases": list(kind.phases),
        "limits": {
            "episode_length_s": options.episode_length_s or kind.episode_length_s,
            "failures": list(kind.failures),
            "numbers": _numbers(kind),
        },
        "events": events,
    }
    if options.stance == "free":
        found["assets"]["legs"] = legs.offered(at_work(load_model(options.robot))).hash
    return _without_looks(found)


def _part(name: str) -> dict[str, Any]:
    return load_part(name).model_dump(mode="json", exclude={"name"})


def _digest(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_looks(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _without_looks(value) for key, value in data.items() if key not in LOOKS}
    return [_without_looks(value) for value in data] if isinstance(data, list) else data


def _classes(kind: type[CellTask]) -> list[type]:
    """A task's own class and those between it and `CellTask`."""
    return list(kind.__mro__[: kind.__mro__.index(CellTask)])


def _code(kind: type[CellTask]) -> list[str]:
    """The code of a task's files, formatted anew."""
    modules = dict.fromkeys(cls.__module__ for cls in _classes(kind))
    return [ast.unparse(_Bare().visit(ast.parse(inspect.getsource(sys.modules[name])))) for name in modules]


class _Bare(ast.NodeTransformer):
    """Takes away what only people read: strings that stand alone, the instruction, and `asked`."""

    def visit_Expr(self, node: ast.Expr) -> ast.stmt | None:
        """A docstring goes."""
        return None if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else node

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | None:
        """So does the instruction."""
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        return None if names == ["instruction"] else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt | None:
        """And so does what an episode asks for in words."""
        return None if node.name == "asked" else self.generic_visit(node)  # type: ignore[return-value]  # a statement


def _numbers(kind: type[CellTask]) -> dict[str, Any]:
    """Numbers, and tuples of them, that the task's files and classes name, those that all cells share included."""
    found: dict[str, Any] = {}
    for cls in (*_classes(kind), CellTask):
        named = {name: value for name, value in vars(sys.modules[cls.__module__]).items() if name.isupper()}
        named |= {name: value for name, value in vars(cls).items() if not name.startswith("_")}
        found |= {f"{cls.__name__}.{name}": value for name, value in named.items() if _is_number(value)}
    return found


def _is_number(value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(_is_number(one) for one in value)
    return isinstance(value, (int, float))
