"""Write a page for each task, robot and verb, from what the catalogue says: a new one needs no edit here."""

from __future__ import annotations

import ast
import inspect
import json
import math
import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import _picture
import click

from training_ground.agents.experts.catalog import expert_names
from training_ground.assets.catalog import load_model, load_spec, robot_names
from training_ground.cli.main import tg
from training_ground.configs.errors import TrainingGroundError
from training_ground.envs.registration import make, task, task_ids
from training_ground.envs.task import Task

DOCS = Path(__file__).resolve().parent
EXPERTS = DOCS / "results" / "experts" / "experts.json"
"""What `benchmarks/experts.py` measured."""
MEASURED = (
    "Measured by `python benchmarks/experts.py` over seeds from 1,000,000 on. "
    "Episodes a minute: of two cores, from the CPU time."
)

SHOWN_ROBOT = "g1"
"""Robot whose channels a task's page shows, where it can do the task."""


def write_all(folder: Path) -> None:
    """Write every generated page below `folder`, which is emptied before."""
    shutil.rmtree(folder, ignore_errors=True)
    robots = {name: load_model(name) for name in robot_names()}
    _section(folder / "robots", "Robots", {name: robot_page(name, model) for name, model in robots.items()})
    for name in robots:
        _picture.draw(name, folder / "robots" / f"{name}.png", width=300, height=380, finer=2)
    ids = task_ids()
    _section(folder / "tasks", "Tasks", {task(i).id.lower(): task_page(i, robots) for i in ids})
    context = click.Context(tg, info_name="tg")
    verbs = {name: verb_page(name, tg.get_command(context, name), context) for name in tg.list_commands(context)}
    _section(folder / "cli", "Command line", verbs)


def _section(folder: Path, title: str, pages: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    listed = "\n".join(pages)
    index = f"# {title}\n\n```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"
    (folder / "index.md").write_text(index, encoding="utf-8")


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "–"
    return str(value).replace("|", "\\|").replace("\n", " ")


def code(names: Iterable[str]) -> str:
    """Return names in code type, separated by commas; a dash for none."""
    return ", ".join(f"`{name}`" for name in names) or "–"


def robot_page(name: str, model: Any) -> str:
    """Return a robot's page: what it is, its joints, and how to use it."""
    spec = load_spec(name)
    source = spec.source.package or spec.source.robot_description or Path(spec.source.path or "").name
    facts = (
        ("mass", f"{model.mass:.2f} kg"),
        ("actuated joints", len(model.joint_names)),
        ("locked joints", len(spec.locked)),
        ("standing height of the base", f"{model.default_height:.3f} m"),
        ("stances", code(model.stances)),
        ("feet", code(foot.link for foot in model.feet)),
        ("hands", code(hand.frame for hand in model.hands)),
        ("source", f"`{source}`"),
        ("licence of the model", spec.source.licence),
    )
    columns = ("joint", "default rad", "lower rad", "upper rad", "effort N·m", "speed rad/s", "kp", "kd", "armature")
    joints = zip(
        (f"`{joint}`" for joint in model.joint_names),
        *(
            values.tolist()
            for values in (model.default_position, model.lower, model.upper, model.effort_limit, model.velocity_limit)
        ),
        *(values.tolist() for values in (model.kp, model.kd, model.armature)),
        strict=True,
    )
    slides = f" These slide, with m for rad and N for N·m: {code(model.sliding)}." if model.sliding else ""
    return (
        f"# {spec.title}\n\n{spec.description}\n\n"
        f"![{spec.title} in its default pose]({name}.png)\n\n"
        f"{table(('', '`' + name + '`'), facts)}\n"
        f"```bash\ntg robots audit {name}\ntg envs list --robot {name}\n```\n\n"
        f"## Joints\n\nIn the order of every array; gains in N·m/rad and N·m·s/rad, armature in kg·m².{slides}\n\n"
        f"{table(columns, joints)}"
    )


def task_page(env_id: str, robots: dict[str, Any]) -> str:
    """Return a task's page: its docstring, robots, options and channels."""
    kind = task(env_id)
    able = {name: [s for s in kind.stances if kind.unsupported(model, s) is None] for name, model in robots.items()}
    able = {name: stances for name, stances in able.items() if stances}
    first = SHOWN_ROBOT if SHOWN_ROBOT in able else next(iter(able), SHOWN_ROBOT)
    options = [
        (f"`{key}`", f"`{field.default!r}`", field_text(kind.config_type, key))
        for key, field in kind.config_type.model_fields.items()
    ]
    return (
        f"# {env_id}\n\n{inspect.getdoc(kind)}\n\n"
        f"*{kind.instruction}*\n\n"
        "```python\nimport gymnasium as gym\nimport training_ground.envs\n\n"
        f'env = gym.make("{env_id}", robot="{first}")\n```\n\n'
        f"- Reward terms: {code(kind.terms)}\n- Failures: {code(kind.failures)}\n"
        f"- Phases: {code(phase for phase in kind.phases if phase)}\n\n"
        f"## Robots\n\n{table(('robot', 'stances'), ((f'{{doc}}`../robots/{n}`', code(s)) for n, s in able.items()))}\n"
        + _work(kind)
        + (f"## Options of this task\n\n{table(('option', 'default', ''), options)}\n" if options else "")
        + _channels(env_id, able)
    )


def _work(kind: type[Task]) -> str:
    """What a task's scripted expert does, in pictures and numbers; nothing where it has none."""
    if kind.id not in expert_names():
        return ""
    picture = DOCS / "images" / "experts" / f"{snake(kind.id)}.png"
    rows = [row for row in json.loads(EXPERTS.read_text(encoding="utf-8")) if row["task"] == kind.id]
    listed = [
        (
            row["tier"],
            f"`{row['robot']}`",
            f"{row['successes']} of {row['episodes']}",
            "{:.1%} to {:.1%}".format(*row["wilson_95"]),
            *(f"{row['cycle_time_s'][key]} s" if row["successes"] else "–" for key in ("median", "p95")),
            ", ".join(f"{count} × {why.replace('_', ' ')}" for why, count in row["failures"].items()) or "–",
            row["episodes_per_minute"],
        )
        for row in rows
    ]
    columns = ("tier", "robot", "success", "95 % interval", "cycle, median", "95th percentile", "failures",
               "episodes a minute")  # fmt: skip
    return (
        "## The scripted expert\n\n"
        + (f"![Phases of the work](../../images/experts/{picture.name})\n\n" if picture.exists() else "")
        + f"```bash\ntg eval --task {kind.id} --policy expert\n"
        f"tg record {kind.id} --policy expert --episodes 20\n```\n\n"
        + (f"{table(columns, listed)}\n{MEASURED}\n\n" if rows else "")
    )


def snake(name: str) -> str:
    """Return a task's name as its files have it."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def field_text(config: type, key: str) -> str:
    """The string below a field in the source of the class that declares it last, which pydantic leaves alone."""
    owner = next(base for base in config.__mro__ if key in inspect.get_annotations(base))
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    body = getattr(tree, "body", [])
    for statement, following in pairwise(body):
        if isinstance(statement, ast.AnnAssign) and getattr(statement.target, "id", "") == key:
            value = getattr(following, "value", None)
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                return " ".join(value.value.split())
    return ""


def _channels(env_id: str, able: dict[str, list[str]]) -> str:
    robot = SHOWN_ROBOT if SHOWN_ROBOT in able else next(iter(able), None)
    if robot is None:
        return ""
    env = make(env_id, robot=robot, observation_format="dict")  # which has pictures, too
    rows = [
        (f"`{c.name}`", "×".join(map(str, c.shape)) or "1", c.unit, c.frame, c.role, c.description)
        for c in env.channels
    ]
    env.close()
    columns = ("channel", "shape", "unit", "frame", "role", "")
    return f"## Channels\n\nWith the robot `{robot}`.\n\n{table(columns, rows)}"


def verb_page(name: str, command: click.Command | None, parent: click.Context) -> str:
    """Return a verb's page: the help of it and of each of its commands."""
    if command is None:
        raise TrainingGroundError(f"verb '{name}' is listed but not found")
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100)
    text = f"# tg {name}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            if child is not None:
                inner = click.Context(child, info_name=child_name, parent=context, terminal_width=100)
                text += f"\n## tg {name} {child_name}\n\n```text\n{child.get_help(inner)}\n```\n"
    return text
