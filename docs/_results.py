"""Write the page of results from evaluation files: `python docs/_results.py`, or `make results`.

It reads `agents/policies/*/evaluation.json` (what ships) and `docs/results/*.json` (further outputs of
`tg eval --out`: other training seeds, other conditions, sweeps) and writes `docs/results.md` with its pictures.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _curves
import _evaluations as files
import _generate
import _recipes
import _wording as say
from _evaluations import Curve, Result

from training_ground.configs.errors import TrainingGroundError
from training_ground.envs.registration import task

ROOT = Path(__file__).resolve().parent.parent
INTRO = Path(__file__).resolve().parent / "_results_intro.md"
METRICS = (
    ("speed_error", "speed error", "m/s", 1.0, "how far the velocity is off the commanded one"),
    ("heading_error", "heading error", "°", math.degrees(1), "how far the heading is off the commanded one"),
    ("drift", "drift", "m", 1.0, "how far the robot ends up beside where the commands lead"),
    ("slip", "slip", "m/s", 1.0, "speed over the ground of a foot that carries the robot"),
    ("cost_of_transport", "cost of transport", "1", 1.0, "mechanical work (torque times speed) over weight and way"),
    ("flight", "no foot down", "%", 100.0, "share of the time in which the robot flies"),
    ("double_support", "both feet down", "%", 100.0, "share of the time"),
    ("steps_left", "steps, left", "an episode", 1.0, "that lift the foot by more than 1 cm"),
    ("steps_right", "steps, right", "an episode", 1.0, ""),
    ("clearance_left", "lift of the foot, left", "cm", 100.0, "highest point of a step"),
    ("clearance_right", "lift of the foot, right", "cm", 100.0, ""),
)
"""Metric, what people call it, unit, factor into that unit, meaning."""
SIDES = (("steps", "asymmetry of steps"), ("clearance", "asymmetry of lift"))


def build(root: Path = ROOT) -> dict[str, str]:
    """Return every file that is generated, by its path below `docs/`.

    Raises:
        AgentError: An evaluation file is damaged, or tells what another one tells.
    """
    results, curves = files.read(root)
    groups, curved = files.result_groups(results), files.curve_groups(curves)
    titles = _titles(groups)
    pictures: dict[str, str] = {}
    parts = [INTRO.read_text(encoding="utf-8").rstrip(), _overview(groups, titles, [_over(group) for group in curved])]
    for group, title in zip(groups, titles, strict=True):
        parts.append(_section(group, title))
    for group in curved:
        text, name, picture = _curve_section(group)
        parts.append(text)
        if picture:
            pictures[name] = picture
    return {"results.md": "\n\n".join(parts) + "\n", **pictures}


def write(folder: Path, built: dict[str, str]) -> None:
    """Write what was built below `docs/`, and remove pictures that no page shows any more."""
    for stale in (folder / "images" / "results").glob("*.svg"):
        stale.unlink()
    for name, text in built.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _name(results: Sequence[Result]) -> str:
    """The policy as a heading has it: by its name where one of its training seeds ships, otherwise by its preset."""
    first = next((result for result in results if result.shipped), results[0])
    preset = None if first.shipped or first.training is None else _recipes.preset_of(first.training["config"])
    return f"preset `{preset[0]}`" if preset else f"`{first.data['policy']}`"


def _titles(groups: Sequence[Sequence[Result]]) -> list[str]:
    """A heading for each group; where two would be the same, what they were measured under is added."""
    plain = [f"{say.task_name(g[0].data['env_id'])}, {say.robot(g[0].robot)}: {_name(g)}" for g in groups]
    titles = []
    for group, title in zip(groups, plain, strict=True):
        twins = [g[0] for g, other in zip(groups, plain, strict=True) if other == title]
        mine = _recipes.flat(group[0].options)
        apart = [k for k in mine if any(_recipes.flat(t.options).get(k) != mine[k] for t in twins)]
        titles.append(title + "".join(f", `{key}` {say.option(mine[key])}" for key in apart))
    return [
        title + (f" ({titles[:i].count(title) + 1})" if title in titles[:i] else "") for i, title in enumerate(titles)
    ]


def _training(results: Sequence[Result]) -> str:
    made = results[0].training
    if made is None:
        return "not learned"
    return f"{made['steps'] / 1e6:.1f} million samples{say.origin(made)}, {say.minutes(made)}"


def _overview(groups: Sequence[Sequence[Result]], titles: Sequence[str], curves: Sequence[str]) -> str:
    rows = [
        (
            f"[{title}](#{say.anchor(title)})",
            len(group) if group[0].training is not None else "–",
            say.rate(group),
            files.falls(group),
            _training(group),
        )
        for group, title in zip(groups, titles, strict=True)
    ]
    columns = ("what", "training seeds", "success (95 % interval)", "falls", "training, each")
    text = "## All at a glance\n\n" + _generate.table(columns, rows).rstrip()
    listed = "".join(f"\n- [{title}](#{say.anchor(title)})" for title in curves)
    return text + (f"\n\nWhere it ends, as one condition gets harder:\n{listed}" if curves else "")


def _section(group: Sequence[Result], title: str) -> str:
    parts = [
        f"## {title}",
        say.purpose(group[0]),
        "**Conditions**",
        say.conditions(group[0]),
        "**Success**",
        _seeds(group),
    ]
    if files.metric_names(group) & {row[0] for row in METRICS}:
        parts += ["**How it moves**", _metrics(group)]
    directions = files.pushes(group)
    if directions:
        parts += ["**Pushes withstood, by direction**", say.directions([("pushes withstood", directions)])]
    return "\n\n".join([*parts, "**Do it again**", _commands(group)])


def _seeds(group: Sequence[Result]) -> str:
    rows = []
    for result in group:
        made = result.training
        cells: list[Any] = ["–"] * 5
        if made is not None:
            machine = made.get("machine")
            told = f"{machine['processor']}, {machine['cores']} cores" if machine else "not recorded"
            cells = [
                f"{made['seed']}{', ships' if result.shipped else ''}",
                f"{made['steps']:,}{say.origin(made)}",
                say.minutes(made),
                told,
                f"`{made['commit'][:10]}`",
            ]
        short = len(result.episodes) < result.data["summary"]["requested"]
        note = f"; {result.data['summary']['requested']} were asked for" if short else ""
        rows.append((*cells, say.rate([result]) + note, files.falls([result])))
    if len(group) > 1:
        rows.append(("**all together**", "", "", "", "", f"**{say.rate(group)}**", files.falls(group)))
    columns = ("training seed", "samples", "training", "machine", "commit", "success (95 % interval)", "falls")
    return _generate.table(columns, rows).rstrip()


def _metrics(group: Sequence[Result]) -> str:
    """A row a metric, a column a training seed, and one for all of them."""
    sets: list[tuple[str, Sequence[Result]]] = [(f"seed {r.seed}" if r.training else "", [r]) for r in group]
    if len(group) > 1:
        sets.append(("all together", group))
    else:
        sets = [("mean (95 % interval)", group)]
    names, rows = files.metric_names(group), []
    for key, label, unit, factor, meaning in METRICS:
        if key in names:
            cells = [say.estimate(files.estimate(files.measured(results, key)), factor) for _, results in sets]
            rows.append((label, unit, *cells, meaning))
        for name, text in SIDES:
            if key == f"{name}_right" and key in names:
                cells = [say.estimate(files.asymmetry(results, name), 100.0) for _, results in sets]
                rows.append((text, "%", *cells, "left minus right, over their mean; 0 is even"))
    return _generate.table(("", "unit", *(label for label, _ in sets), "meaning"), rows).rstrip()


def _commands(group: Sequence[Result]) -> str:
    lines = []
    for result in group:
        train = None if result.shipped else _recipes.training_command(result)
        lines += [*([train] if train else []), _recipes.evaluation_command(result)]
    text = "```bash\n" + "\n".join(dict.fromkeys(lines)) + "\n```"
    recipe = _recipes.training_command(group[0]) if all(result.shipped for result in group) else None
    if recipe is not None:
        text += (
            "\n\nThe policy ships. A new one with the last settings of its run (which may have changed on the way; "
            f"[Policies](policies.md) tells):\n\n```bash\n{recipe}\n```"
        )
    return text + "\n\nFrom " + ", ".join(f"`{path}`" for path in dict.fromkeys(r.path for r in group)) + "."


def _over(group: Sequence[Curve]) -> str:
    """The heading of one option's curves."""
    results = [curve.results[0] for curve in group]
    task_name, robot = say.task_name(results[0].data["env_id"]), say.robot(results[0].robot)
    return f"{task_name}, {robot}: {_name(results)}, over `{group[0].option}`"


def _curve_section(group: Sequence[Curve]) -> tuple[str, str, str]:
    """Return the section of one option's curves, its picture's path, and the picture; none for values without order."""
    first, option = group[0].results[0], group[0].option
    title = _over(group)
    try:
        meaning = _generate.field_text(task(first.data["env_id"]).config_type, option)
    except TrainingGroundError:
        meaning = ""
    columns = [(f"seed {c.results[0].seed}" if len(group) > 1 else "success (95 % interval)", [c]) for c in group]
    if len(group) > 1:
        columns.append(("all together", list(group)))
    rows = [
        (f"{value:g}" if isinstance(value, (int, float)) else value, *(say.rate(_at(cs, i)) for _, cs in columns))
        for i, value in enumerate(group[0].values)
    ]
    parts = [f"## {title}", f"How success depends on one condition, `{option}`. {meaning}".rstrip()]
    name, picture = f"images/results/{say.anchor(title)}.svg", ""
    if all(isinstance(value, (int, float)) for value in group[0].values):
        picture = _picture(group, title.replace("`", ""), f"{option}: {meaning.partition(';')[0].rstrip('.')}")
        parts.append(f"![Success over {option}]({name})")
    parts.append(_generate.table((f"`{option}`", *(label for label, _ in columns)), rows).rstrip())
    found = [(say.value_text(value), files.pushes(_at(group, i))) for i, value in enumerate(group[0].values)]
    withstood = [(label, directions) for label, directions in found if directions]
    if withstood:
        parts += [f"**Pushes withstood, by direction and `{option}`**", say.directions(withstood)]
    commands = "\n".join(_recipes.evaluation_command(curve.results[0], curve) for curve in group)
    told = say.conditions(first, option)
    parts += ["**Other conditions**", told, "**Do it again**", f"```bash\n{commands}\n```"]
    return "\n\n".join(parts), name, picture


def _at(curves: Sequence[Curve], index: int) -> list[Result]:
    return [curve.results[index] for curve in curves if index < len(curve.results)]


def _picture(group: Sequence[Curve], title: str, x_label: str) -> str:
    series = []
    for curve in group:
        found = [files.success([result]) for result in curve.results]
        rates, intervals = [k / n for k, n, _, _ in found], [(low, high) for _, _, low, high in found]
        series.append(_curves.Series(f"seed {curve.results[0].seed}", curve.values, rates, intervals))
    return _curves.success_chart(title, x_label, series)


if __name__ == "__main__":
    try:
        write(ROOT / "docs", build())
    except TrainingGroundError as error:
        sys.exit(f"error: {error}")
    print(ROOT / "docs" / "results.md")
