"""One self-contained HTML page about recorded episodes: no network, no file beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from training_ground.agents.report import sections
from training_ground.agents.report.measures import Measures, Push, hardest, hardest_push, joint_loads, measure
from training_ground.agents.report.motion import figure_data, motion_data
from training_ground.agents.report.strip import film_strip
from training_ground.agents.statistics import wilson_interval
from training_ground.agents.viewing.figure import Figure
from training_ground.configs.errors import AgentError
from training_ground.datasets.markup import Html, data_block, escape, fill, join, tag
from training_ground.datasets.store import Store

_START = """
{
  const read = id => JSON.parse(document.getElementById(id).textContent);
  window.replay = player(document.getElementById("stage"), read("figure-data"));
  if (window.replay) window.replay.show(read("motion-data"));
}
"""
STRIP_OFFSETS_S = (-0.1, 0.06, 0.3, 0.6, 1.0, 1.6, 2.6)
"""Times of the film strip's pictures relative to the push, s."""


@dataclass(frozen=True)
class Command:
    """A step that can be repeated: what it does, and the line to type."""

    what: str
    line: str


@dataclass(frozen=True)
class Facts:
    """What the page tells beside the store's content.

    Attributes:
        identical: Episode number → whether its replay was the same in every bit.
        commands: How to repeat each step.
        paths: What lies where, as (name, path).
        provenance: Further (name, value) pairs.
        export_format: Name of the format exported to, or empty.
        export_frames: Frames exported.
        losses: What the export cannot hold.
        seconds: Wall-clock time of each step, s.
    """

    identical: Mapping[int, bool]
    commands: Sequence[Command]
    paths: Sequence[tuple[str, str]]
    provenance: Sequence[tuple[str, str]] = ()
    export_format: str = ""
    export_frames: int = 0
    losses: Sequence[str] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)


def build_page(store: Store, figure: Figure, facts: Facts) -> str:
    """Return the page.

    Args:
        store: Every number, curve and pose comes from it; nothing is simulated again.
        figure: Of the store's robot.
        facts: What else there is to tell.

    Raises:
        AgentError: The store is empty, or its robot is not the figure's.
        DatasetError: An episode is damaged.
    """
    if figure.model.hash != store.schema.model_hash:
        raise AgentError(f"report: the dataset's robot is another compilation than '{figure.model.name}' is here")
    episodes = sorted((measure(episode) for episode in store), key=lambda m: m.metadata.seed)
    if not episodes:
        raise AgentError(f"{store.path}: there is no episode to report on")
    chosen = hardest(episodes)
    push = hardest_push(chosen)
    return fill(_template("page.html"), _values(store, figure, facts, episodes, chosen, push))


def _values(
    store: Store, figure: Figure, facts: Facts, episodes: list[Measures], chosen: Measures, push: Push | None
) -> dict[str, object]:
    model, options = figure.model, episodes[0].metadata.kwargs
    policy = episodes[0].metadata.policy
    task = store.schema.environment.get("env_id", "")
    return {
        "style": Html(_template("style.css")),
        "title": f"{model.title}: {_task_title(episodes)}",
        "eyebrow": f"{task} · policy {policy.name} · {len(episodes)} episodes on seeds that training never saw",
        "lead": _lead(episodes, options),
        "tiles": _tiles(episodes, facts),
        "replay_intro": "Played from the recorded poses, nothing is simulated again. Triangles mark the pushes; below, "
        f"the push that tilted the robot of seed {chosen.metadata.seed} farthest.",
        "player": Html(_template("player.html")),
        "strip": _strip(figure, chosen, push),
        "multiples_intro": "Tilt of the base above, its height below, over time; one panel an episode, the same axes "
        "in all. Triangles and vertical lines are pushes; what falls leaves the panel.",
        "multiples": sections.multiples(episodes),
        "close_intro": f"Seed {chosen.metadata.seed}, "
        + ("the success that came nearest to falling. " if chosen.success else "the longest. ")
        + "Torques are means over a control step, of the joints that work nearest to their limits.",
        "close": sections.close_charts(chosen, model),
        "loads_intro": "Share of its torque limit that each joint used over all episodes: median (dark), 95 % "
        "quantile, maximum (light); at the right the maximum and the limit in N·m.",
        "loads": sections.load_bars(joint_loads(episodes, model)),
        "table": sections.table(episodes, facts.identical),
        "again_intro": "Every step is a command. The recording names seed, arguments and hashes, so that the same "
        "versions give the same bits.",
        "commands": _commands(facts.commands),
        "paths": sections.definitions([(name, tag("code", path)) for name, path in facts.paths]),
        "provenance": sections.definitions(_provenance(store, episodes, facts)),
        "losses": _losses(facts),
        "footer": f"Written by training-ground {episodes[0].metadata.versions.get('training-ground', '')}; "
        "this file stands alone and loads nothing.",
        "data": join(
            [
                data_block("figure-data", figure_data(figure)),
                data_block("motion-data", _marked(motion_data(episodes), episodes.index(chosen), push)),
            ]
        ),
        "script": Html(f"<script>\n{_template('player.js')}{_START}</script>"),
    }


def _marked(motions: list[dict[str, Any]], index: int, push: Push | None) -> list[dict[str, Any]]:
    """Say which episode the player shows at first, and from when: just after the push, so that its arrow is seen."""
    motions[index]["start"] = round(push.time + 0.12, 3) if push else 0.0
    return motions


def _template(name: str) -> str:
    return files("training_ground.agents.report").joinpath(name).read_text(encoding="utf-8")


def _task_title(episodes: Sequence[Measures]) -> str:
    won = sum(m.success for m in episodes)
    pushed = any(m.pushes for m in episodes)
    if won == len(episodes):
        return "pushed, and still standing" if pushed else "still standing"
    return f"{'pushed, and ' if pushed else ''}standing in {won} of {len(episodes)}"


def _lead(episodes: Sequence[Measures], options: Mapping[str, Any]) -> Html:
    pushes = [push for m in episodes for push in m.pushes]
    seconds = max(m.seconds for m in episodes)
    parts: list[object] = [f"Episodes of {seconds:g} s. "]
    if pushes:
        speeds = sorted({round(push.speed, 2) for push in pushes})
        size = f"{speeds[0]:g}" if len(speeds) == 1 else f"{speeds[0]:g} to {speeds[-1]:g}"
        interval = options.get("push_interval_s")
        parts.append(f"Every {interval:g} s a " if interval else "A ")
        parts.append("push from a random direction changes the velocity of the whole robot by ")
        parts += [tag("b", f"{size} m/s"), f" at once, {len(pushes)} pushes in all. "]
    parts.append("Success: at the end the robot stands, on nothing but its feet.")
    return join(parts)


def _tiles(episodes: Sequence[Measures], facts: Facts) -> Html:
    count, won = len(episodes), sum(m.success for m in episodes)
    low, high = wilson_interval(won, count)
    same, tried = sum(facts.identical.values()), len(facts.identical)
    steps = sum(m.metadata.length for m in episodes)
    tiles = [
        sections.tile(
            "Standing at the end",
            join([won, tag("small", f" of {count}")]),
            f"95 % Wilson interval {100 * low:.1f} to {100 * high:.1f} %",
            sections.wilson_bar(low, won / count, high),
        ),
        sections.tile(
            "Replayed bit for bit",
            join([tag("span", same, class_=None if same == tried else "bad"), tag("small", f" of {tried}")]),
            f"Simulated again from seed and actions: {steps:,} steps, every channel compared",
        ),
    ]
    if facts.export_format:
        tiles.append(
            sections.tile(
                "Exported",
                join([f"{facts.export_frames:,}", tag("small", " frames")]),
                f"{_format_title(facts.export_format)}, with units, frames and outcomes",
            )
        )
    if facts.seconds:
        total = sum(facts.seconds.values())
        detail = " · ".join(f"{name} {seconds:.0f} s" for name, seconds in facts.seconds.items())
        tiles.append(sections.tile("Time taken", join([f"{total:.0f}", tag("small", " s")]), detail))
    return join(tiles)


def _format_title(name: str) -> str:
    return {"lerobot": "LeRobot v3.0"}.get(name, name)


def _strip(figure: Figure, chosen: Measures, push: Push | None) -> Html:
    start = push.time if push else 0.0
    times = [start + offset for offset in STRIP_OFFSETS_S]
    times = [t for t in times if 0 <= t <= chosen.seconds]
    pictures = film_strip(figure.model, chosen, push, times)
    shown = []
    for time, picture in zip(times, pictures, strict=True):
        pushed = push is not None and 0 <= time - push.time < 0.2
        text = [f"{time:.2f} s"]
        caption = join(
            [*text, tag("span", f" push {push.speed:.2f} m/s", class_="pushed")] if push and pushed else text
        )
        image = Html(f'<img src="{escape(picture)}" alt="The robot at {time:.2f} s" width="264" height="352">')
        shown.append(tag("figure", join([image, tag("figcaption", caption)])))
    return tag("div", join(shown), class_="strip")


def _commands(commands: Sequence[Command]) -> Html:
    lines = [join([tag("span", f"# {command.what}", class_="what"), "\n", command.line]) for command in commands]
    return tag("pre", join(lines, "\n"))


def _provenance(store: Store, episodes: Sequence[Measures], facts: Facts) -> list[tuple[str, object]]:
    metadata, schema = episodes[0].metadata, store.schema
    physics = schema.environment.get("physics", {})
    rate, steps = schema.control_rate, physics.get("decimation")
    pairs: list[tuple[str, object]] = [
        ("policy", metadata.policy.name),
        ("policy hash", tag("code", metadata.policy.hash or "none")),
        ("robot model", tag("code", metadata.model_hash)),
        ("configuration", tag("code", metadata.config_hash)),
        ("code", tag("code", metadata.code_commit or "not from a repository")),
        (
            "physics",
            f"{physics.get('engine', '')} at {1 / physics['timestep']:.0f} Hz" if "timestep" in physics else "",
        ),
        ("control", f"{rate:g} Hz" + (f", {steps} physics steps each" if steps else "")),
        ("versions", ", ".join(f"{name} {version}" for name, version in sorted(metadata.versions.items()))),
    ]
    return [*pairs, *facts.provenance]


def _losses(facts: Facts) -> Html:
    if not facts.losses:
        return Html("")
    items = join(tag("li", loss) for loss in facts.losses)
    summary = tag("summary", f"What {_format_title(facts.export_format)} does not hold ({len(facts.losses)})")
    return tag("details", join([summary, tag("ul", items)]))
