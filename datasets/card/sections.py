"""What stands on a data card, section by section."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from training_ground.datasets.card.document import Block, Code, Paragraph, Points, Section, Table, printable
from training_ground.datasets.card.plots import example_plot, outcome_plots, range_plots
from training_ground.datasets.card.summary import MOST_READ, Summary
from training_ground.datasets.schema import ACTION, REWARD, TEXT
from training_ground.datasets.statistics import wilson_interval

_UNIT = re.compile(r"[A-Za-zµΩ°%·/²³⁻¹0-9 ]{1,10}")
MOST_ROWS = 500
MOST_LISTED = 20


def sections(summary: Summary) -> list[Section]:
    """Return the card's sections, those without content left out."""
    found = [
        Section("What is in it", [Table(("", ""), _facts(summary))]),
        _outcomes(summary),
        _quality(summary),
        _examples(summary),
        Section("Ranges", range_plots(summary)),
        _channels(summary),
        _seeds(summary),
        _provenance(summary),
        Section("Known limits", [Points(_limits(summary))]),
        _loading(summary),
        Section("Licence", [Paragraph(licence(summary))]),
    ]
    return [section for section in found if section.blocks]


def title(summary: Summary) -> str:
    """Return the card's title."""
    return summary.about.title or summary.name


def lead(summary: Summary) -> str:
    """Return what the dataset is, in one paragraph."""
    counted = f"{len(summary.episodes):,} episodes, {summary.steps:,} steps, {duration(summary)} of simulated time"
    said = printable(summary.about.description, 2_000) or f"Task: {printable(summary.schema.instruction or 'not said')}"
    return f"{said} {counted}."


def duration(summary: Summary) -> str:
    """Return how long all episodes are together, in the unit that suits."""
    seconds = summary.steps / summary.schema.control_rate
    unit, size = next((u, s) for u, s in (("h", 3600), ("min", 60), ("s", 1)) if seconds >= 2 * s or s == 1)
    return f"{seconds / size:.1f} {unit}"


def licence(summary: Summary) -> str:
    """Return what the dataset says of its licence."""
    return printable(summary.about.licence) or "None was given: without one, nobody may copy or use the dataset."


def success_line(summary: Summary) -> str:
    """Return successes with their interval, in words."""
    good, judged = sum(g.successes for g in summary.groups), sum(g.judged for g in summary.groups)
    if not judged:
        return "not judged"
    low, high = wilson_interval(good, judged)
    return f"{good} of {judged}, {good / judged:.0%}; 95 % interval {low:.0%} to {high:.0%} (Wilson)"


def _facts(summary: Summary) -> list[tuple[str, str]]:
    schema, episodes = summary.schema, list(summary.episodes.values())
    lengths = sorted(one.length / schema.control_rate for one in episodes)
    span = f"{lengths[0]:.2f} to {lengths[-1]:.2f} s, median {lengths[len(lengths) // 2]:.2f} s" if lengths else "none"
    days = sorted({one.started.strftime("%Y-%m-%d") for one in episodes})
    dropped = f"; {summary.dropped:,} more are labelled as dropped, not to be used, and not on this card"
    return [
        ("Tasks", _listed(name for name, _ in summary.counted(lambda one: one.env_id)) or "none"),
        ("Instructions", _listed(text for text, _ in summary.counted(lambda one: one.instruction)) or "none"),
        ("Robot", f"{schema.robot}, {len(schema.joint_names)} joints"),
        ("Episodes", f"{len(episodes):,}{dropped if summary.dropped else ''}"),
        ("Steps", f"{summary.steps:,} at {schema.control_rate:g} Hz"),
        ("Lengths", span),
        ("Success", success_line(summary)),
        ("Policies", _listed(name for name, _ in summary.counted(lambda one: one.policy)) or "none"),
        ("Recorded", " to ".join(dict.fromkeys((days[0], days[-1]))) if days else "never"),
        ("Licence", licence(summary)),
        ("Made by", _listed(summary.about.creators) or "not said"),
    ]


def _outcomes(summary: Summary) -> Section:
    if not summary.episodes:
        return Section("Outcomes", [])
    rows = []
    for group in summary.groups[:MOST_ROWS]:
        low, high = wilson_interval(group.successes, group.judged)
        interval = f"{low:.0%} to {high:.0%}" if group.judged else "not judged"
        rows.append((group.task, group.tier, group.policy, group.episodes, group.successes, interval))
    head = ("task", "tier", "policy", "episodes", "successes", "95 % interval")
    listed = [(printable(kind), n) for kind, n in summary.counted(lambda one: one.failure) if kind][:MOST_LISTED]
    more = [Table(("failure", "episodes"), listed)] if listed else []
    return Section("Outcomes", [*outcome_plots(summary), *_corrections(summary), Table(head, rows), *more])


def _corrections(summary: Summary) -> list[Paragraph]:
    """Say whose word the outcomes are where somebody has corrected the simulator."""
    corrected = [one for one in summary.episodes.values() if one.corrected]
    if not corrected:
        return []
    judged = [one.success_recorded for one in summary.episodes.values() if one.success_recorded is not None]
    sources = summary.counted(lambda one: one.success_source if one.success != one.success_recorded else None)
    said = ", ".join(f"{source or 'nobody'} {count}" for source, count in sources if source)
    text = f"Outcomes that were corrected after the recording: {len(corrected)}"
    text += f" (success by: {said})" if said else ""
    return [Paragraph(f"{text}. The simulator said success of {sum(judged)} of {len(judged)}.")]


def _quality(summary: Summary) -> Section:
    """Verdicts that `tg data check --label` has kept."""
    if not any(one.quality for one in summary.episodes.values()):
        return Section("Quality", [])
    verdicts = dict(summary.counted(lambda one: one.quality))
    rows = [(name, verdicts[key]) for name, key in _VERDICTS if key in verdicts]
    reasons = Counter(name for one in summary.episodes.values() for name in one.quality_reasons or ())
    listed = [(printable(name, 80), count) for name, count in reasons.most_common(MOST_LISTED)]
    blocks: list[Block] = [
        Paragraph("Verdicts of tg data check; what it measures stands in the standard, part testing.")
    ]
    if stale := sum(bool(one.quality_stale) for one in summary.episodes.values()):
        blocks.append(Paragraph(f"Stale, for limits, measures or labels have changed since: {stale}."))
    blocks.append(Table(("verdict", "episodes"), rows))
    return Section("Quality", [*blocks, *([Table(("beyond a limit", "episodes"), listed)] if listed else [])])


_VERDICTS = (("pass", "pass"), ("warn", "warn"), ("fail", "fail"), ("not checked", None))


def _examples(summary: Summary) -> Section:
    picture = example_plot(summary)
    return Section("Examples", [picture] if picture else [])


def _channels(summary: Summary) -> Section:
    schema = summary.schema
    declared = {c.name: c for c in schema.channels}
    rows = []
    for column in list(schema.columns().values())[:MOST_ROWS]:
        shape = "×".join(map(str, column.shape)) or "1"
        channel = declared.get(column.name)
        if channel is None:
            unit = {"timestamp_ns": "ns", REWARD: "1"}.get(column.name, "")
            rows.append((column.name, shape, column.dtype, unit, "", "", _OWN.get(column.name, "")))
        else:
            said = (channel.unit, channel.frame, channel.role, channel.description)
            rows.append((column.name, shape, column.dtype, *said))
    left = len(schema.columns()) - len(rows)
    note = [Paragraph(f"{left} more are not listed here; see dataset.json.")] if left else []
    intro = Paragraph(
        "Every row has them all. An episode of T steps has T + 1 rows; the action in row t is applied between t and "
        "t + 1, the last row has none. SI units; quaternions x, y, z, w; z points up."
    )
    return Section("Channels", [intro, Table(("name", "shape", "type", "unit", "frame", "role", ""), rows), *note])


_OWN = {
    "timestamp_ns": "Time since the episode's first row.",
    "is_last": "Set in the last row and in no other.",
    "phase": f"Phase of the task, as a word ({TEXT}).",
    REWARD: "Reward of the step that led to this row.",
}


def _seeds(summary: Summary) -> Section:
    seeds = sorted({one.seed for one in summary.episodes.values()})
    if not seeds:
        return Section("Seeds and randomisation", [])
    failed = sorted({one.seed for one in summary.episodes.values() if one.success is False})
    text = f"{len(seeds):,} seeds between {seeds[0]} and {seeds[-1]}. "
    text += f"Without success: {_listed(map(str, failed))}." if failed else "None without success among those judged."
    rows = []
    for name, drawn in sorted(summary.drawn.items()):
        if drawn.numbers == drawn.count:
            rows.append((name, drawn.count, f"{drawn.low:.4g} to {drawn.high:.4g}"))
        else:
            rows.append((name, drawn.count, _listed(sorted({printable(text, 60) for text in drawn.texts}), 5)))
    if not rows:
        return Section("Seeds and randomisation", [Paragraph(text), Paragraph("Nothing was randomised.")])
    drawn = Table(("drawn", "episodes", "smallest to largest, or values"), rows)
    return Section("Seeds and randomisation", [Paragraph(text), drawn])


def _provenance(summary: Summary) -> Section:
    schema = summary.schema
    rows: list[tuple[str, str, object]] = []

    def add(what: str, counted: Sequence[tuple[Any, int]]) -> None:
        for value, episodes in counted[:MOST_LISTED]:
            rows.append((what, printable(value), episodes))
        if len(counted) > MOST_LISTED:
            rows.append((what, f"{len(counted) - MOST_LISTED} more", ""))

    add("code commit", summary.counted(lambda one: one.code_commit or "unknown"))
    add("policy", summary.counted(lambda one: one.policy + (f", sha256 {one.policy_hash}" if one.policy_hash else "")))
    operators = summary.counted(lambda one: one.operator)
    add("operator", [(name, n) for name, n in operators if name])
    add("versions", summary.versions.most_common())
    add("configuration", summary.counted(lambda one: one.config_hash))
    made = sum(one.origin_sha256 is not None for one in summary.episodes.values())
    if made:
        rows.append(("made from other episodes", "see origin in their metadata", made))
    physics = schema.environment.get("physics")
    if isinstance(physics, dict):
        said = ", ".join(
            f"{key} {value}" for key, value in sorted(physics.items()) if not isinstance(value, (dict, list))
        )
        rows.append(("physics", printable(said), ""))
    rows.append(("robot model", schema.model_hash, ""))
    return Section("Provenance", [Table(("", "", "episodes"), rows)])


def _limits(summary: Summary) -> list[str]:
    """What a user must know: what the numbers show, then what the makers say."""
    episodes = list(summary.episodes.values())
    cut = sum(not one.complete for one in episodes)
    dirty = sum((one.code_commit or "").endswith("+dirty") for one in episodes)
    unknown = sum(one.success is None for one in episodes)
    judged = len(episodes) - unknown
    found = ["Simulated: contact, friction and sensors are a model's, and no real robot was recorded."]
    found += list(summary.about.limits)
    if 0 < judged < 30:
        found.append(f"Few episodes: {judged} say little about a success rate; see the interval.")
    if unknown:
        found.append(f"{unknown} episodes are not judged by their task.")
    if cut:
        found.append(f"{cut} episodes were cut off before their end.")
    if summary.changed:
        found.append(
            f"{summary.changed} episodes are not as recorded: rows were cut off or values filled in (cleaned, in their "
            "metadata). They do not follow from their seed."
        )
    if dirty:
        found.append(f"{dirty} episodes were recorded by code with uncommitted changes: they may not replay.")
    if len(summary.versions) > 1:
        found.append("Recorded with several versions of packages; see Provenance.")
    if not summary.drawn and episodes:
        found.append("No quantity was randomised: what is learned may hold for this one setting only.")
    if len(episodes) > MOST_READ:
        found.append(f"Ranges and returns on this card are those of {len(summary.returns)} episodes, drawn evenly.")
    if episodes and not any(one.quality for one in episodes):
        found.append("No verdict on the quality of an episode is kept: tg data check --label gives them.")
    if episodes and not any(one.corrected for one in episodes):
        found.append("Success is what the simulator's own predicate said; nobody has corrected it.")
    found += [f"Damaged: {problem}" for problem in summary.damaged[:MOST_LISTED]]
    return found


def _loading(summary: Summary) -> Section:
    numbers = sorted(summary.episodes)
    vectors = [c for c in summary.schema.channels if len(c.shape) == 1 and c.dtype != "bool"]
    if not numbers or not vectors:
        return Section("How to load it", [])
    chosen = next((c for c in vectors if c.role == "observation"), vectors[0])
    ours = (
        "from training_ground.datasets.store import Store\n\n"
        'store = Store.open(".")  # this folder\n'
        f"episode = store.read({numbers[0]})  # checked by its hashes\n"
        f'values = episode.columns["{chosen.name}"]  # (T + 1, {chosen.shape[0]}), {_comment(chosen.unit)}\n'
        f'actions = episode.columns["{ACTION}"][:-1]\n'
    )
    plain = (
        "import numpy as np\nimport pyarrow.parquet as pq\n\n"
        f'table = pq.read_table("episodes/episode_{numbers[0]:06d}.parquet")\n'
        f'raw = b"".join(table["{chosen.name}"].to_pylist())\n'
        f'values = np.frombuffer(raw, "{_little(chosen.dtype)}").reshape(-1, {chosen.shape[0]})\n'
    )
    check = "tg data verify . --manifest --key THEIR_KEY.pub\ntg data export . ../lerobot --format lerobot\n"
    return Section(
        "How to load it",
        [
            Paragraph("With training-ground:"),
            Code("python", ours),
            Paragraph("Without it; dataset.json has type and shape of every channel:"),
            Code("python", plain),
            Paragraph("Check who signed it, or turn it into another format:"),
            Code("bash", check),
        ],
    )


def _little(dtype: str) -> str:
    """A dtype as numpy writes it with its byte order."""
    return np.dtype(dtype).newbyteorder("<").str.replace("|", "")


def _comment(unit: str) -> str:
    """A unit as it may stand in code that people copy: only what looks like one."""
    return unit if _UNIT.fullmatch(unit) else "see dataset.json"


def _listed(texts: Iterable[str], most: int = 8) -> str:
    listed = [printable(text, 200) for text in texts]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return " · ".join(listed[:most]) + more
