"""The parts of a test's page that are more than a table: what varies, times, precision, failures, commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from training_ground.agents.certification.report import tables
from training_ground.agents.certification.report.films import Film
from training_ground.agents.certification.report.plots import Count, clouds, figure, histogram, rate_plot
from training_ground.agents.certification.report.shell import charts, details, intro, section
from training_ground.agents.certification.report.wording import (
    FACTORS,
    amount,
    condition_name,
    duration,
    eval_line,
    nominal,
    plain,
    play_line,
    seed_range,
    whole_line,
)
from training_ground.agents.certification.result import NOMINAL, STOP, ConditionResult, Result
from training_ground.agents.report.sections import definitions
from training_ground.agents.statistics import wilson_interval
from training_ground.configs.certification import AXES
from training_ground.datasets.card.document import printable
from training_ground.datasets.markup import Html, escape, join, tag

MOST_PLOTS = 40
MOST_COMMANDS = 200
MOST_COMMAND = 4000
"""Letters of one."""
MM = 1000.0
MOST_VALUE = 1e9
"""What is larger is no quantity of a robot, and no axis is made for it."""
POSE = ("pose_accuracy", "pose_repeatability", "pooled_pose_accuracy", "pooled_pose_repeatability")


def swept_counts(result: Result) -> dict[tuple[str, str, str], list[Count]]:
    """Return successes by value of all that was varied, by scenario, tier and axis."""
    groups: dict[tuple[str, str, str], list[Count]] = {}
    for one in result.conditions:
        if one.axis not in (NOMINAL, STOP):
            count = Count(_value(one), sum(t.success for t in one.trials), len(one.trials))
            groups.setdefault((one.scenario, one.tier, one.axis), []).append(count)
    for counts in groups.values():
        if all(isinstance(count.value, float) for count in counts):
            counts.sort(key=lambda count: count.value)
    return groups


def sweeps(result: Result) -> Html:
    """Return success over everything that was varied."""
    drawn = []
    for (scenario, tier, axis), counts in list(swept_counts(result).items())[:MOST_PLOTS]:
        base = next((c for c in result.conditions if (c.scenario, c.tier, c.axis) == (scenario, tier, NOMINAL)), None)
        body = rate_plot([counts], _level(base), plain(axis), FACTORS.get(axis, ""))
        drawn.append(figure(plain(axis), f"{scenario} · {tier}, % success", body, _option(result, axis)))
    return section(
        "When things vary",
        "Share of trials that succeed, %, when one thing is changed and all else stays. A dot is a value that was "
        "tried, its bar the 95 % Wilson interval. Dashed with a band: success and interval with nothing changed. "
        "Values between the dots were not tried.",
        charts(drawn),
    )


def _value(condition: ConditionResult) -> float | str:
    value = condition.value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) >= MOST_VALUE:
        return printable(value, 40)
    return float(value)


def _level(condition: ConditionResult | None) -> tuple[float, float, float] | None:
    if condition is None or not condition.trials:
        return None
    won, count = sum(t.success for t in condition.trials), len(condition.trials)
    low, high = wilson_interval(won, count)
    return low, won / count, high


def _option(result: Result, axis: str) -> str:
    sweep = result.protocol.content.sweeps.get(axis)
    option = (sweep.option if sweep else None) or AXES.get(axis)
    return f"Argument of the environment: {option}" if option else ""


def cycle_times(result: Result) -> Html:
    """Return how long cycles took."""
    drawn = []
    for scenario, conditions in tables.scenario_groups(result):
        groups = [(c.tier, drawable(t.cycle_time for t in c.trials)) for c in conditions]
        named = [(f"{tier} ({len(times)} successes)", times) for tier, times in groups if times]
        takt = conditions[0].takt_s
        if named:
            limit = (takt, f"takt {takt:g} s") if takt and takt < MOST_VALUE else None
            drawn.append(figure("Cycle time", f"{scenario}, s", histogram(named, "cycle time", "s", limit)))
    return section(
        "Cycle time",
        "Simulated time from the start of a trial until success held, over the trials that succeed. Solid line: "
        "median; dotted: 95 % of cycles are done by then.",
        charts(drawn),
    )


def drawable(values: Iterable[float | None]) -> list[float]:
    """Return the values that an axis can be made for: a file may say anything."""
    return [value for value in values if value is not None and abs(value) < MOST_VALUE]


def precision(result: Result) -> Html:
    """Return position errors where the task has poses to attain."""
    drawn = []
    for condition in nominal(result):
        told = [error for t in condition.trials for error in t.pose_errors if len(drawable(error)) == len(error)]
        if told:
            where = f"{condition_name(condition)}, from above and from the side"
            drawn.append(figure("Position error", where, clouds(np.array(told) * MM)))
    rows = [
        [condition_name(c), *(tables.metric_cell(c, name) for name in POSE)]
        for c in nominal(result)
        if any(m.name in POSE for m in c.metrics)
    ]
    heads = [("where", False), *((plain(name), True) for name in POSE)]
    return section(
        "Precision",
        "Pose accuracy (AP, how far the mean of the attained positions is from the commanded one) and "
        "repeatability (RP, mean distance from that mean plus three standard deviations), by the formulas of ISO "
        "9283:1998, of a simulated robot. No conformance with the standard is claimed. With pooled figures every "
        "trial commands another pose.",
        tables.table(heads, rows),
        charts(drawn),
    )


def safety(result: Result) -> Html:
    """Return limits, what was beyond them, and stops."""
    return section(
        "Safety",
        "Contact forces, distances and stops in simulation, held against limits from the sources named. A contact in a "
        "rigid-body simulation is a model; no such figure stands for a measurement on a real robot.",
        tables.limits(result),
        tables.safety_counts(result),
    )


def failures(result: Result, films: Sequence[Film], missing: str) -> Html:
    """Return failures by kind, with pictures of some.

    Args:
        result: The test.
        films: Failed trials in pictures.
        missing: Why there are no pictures, where there are none.
    """
    counted = tables.failures(result)
    if not counted:
        return section("Failures", "", intro("Every trial succeeded."))
    order: dict[str, list[Film]] = {}
    for film in films:
        order.setdefault(film.kind, []).append(film)
    drawn = [
        join([tag("h3", printable(plain(kind)), class_="sub"), *(_film(result, film) for film in found)])
        for kind, found in order.items()
    ]
    again = "as it did" if all(film.same for film in films) else "as it did unless the film says otherwise"
    told = f"Pictures: the seed was simulated again for this page, and ended {again} in the test." if drawn else missing
    return section(
        "Failures",
        f"Trials without success, by how they ended. {told}",
        counted,
        join(drawn),
    )


def _film(result: Result, film: Film) -> Html:
    condition = next(c for c in result.conditions if c.id == film.condition)
    caption = [tag("b", f"seed {film.seed}"), tag("span", printable(condition_name(condition)))]
    if not film.same:
        caption.append(tag("span", "simulated again it ended another way than in the test", class_="bad"))
    shown = []
    for time, picture in film.pictures:
        alt = f"Seed {film.seed} after {time:.2f} s"
        image = Html(f'<img src="{escape(picture)}" alt="{escape(alt)}" loading="lazy">')
        shown.append(tag("figure", join([image, tag("figcaption", f"{time:.2f} s")])))
    line = tag("code", printable(play_line(result, condition, film.seed), MOST_COMMAND), class_="copy")
    parts = [tag("figcaption", join(caption)), tag("div", join(shown), class_="strip", tabindex="0")]
    return tag("figure", join([*parts, tag("p", line, class_="note")]), class_="film")


def again(result: Result) -> Html:
    """Return the commands that give these numbers."""
    whole = whole_line(result)
    text = printable(whole, MOST_COMMAND) if whole else "The file does not tell a command of `tg certify`."
    rows = [
        [
            tag("td", printable(condition_name(c)), class_="what"),
            seed_range(c.trials),
            tag("code", printable(eval_line(result, c), MOST_COMMAND), class_="copy"),
        ]
        for c in result.conditions[:MOST_COMMANDS]
        if c.axis != STOP
    ]
    heads = [("condition", False), ("seeds", False), ("command", False)]
    return section(
        "Do it again",
        "The same versions, policy and seeds give the same numbers, bit for bit. The command is shown as it was typed "
        "where the test was made; read it before you run it.",
        tag("pre", text, class_="command"),
        details(f"Commands for each condition ({len(rows)})", tables.table(heads, rows)),
    )


def machine_times(result: Result) -> Html:
    """Return how long the policy took, by the wall clock of the machine that ran the test."""
    session = result.session
    heads = [("where", False), ("deadline", True), ("calls", True), ("missed", True), ("median", True)]
    heads += [("99 %", True), ("longest", True)]
    rows = [
        [
            one.condition, amount(one.deadline_ms, "ms"), f"{one.calls:,}",
            f"{amount(one.miss_rate, '1', True)} ({one.misses:,})",
            *(duration(x) for x in (one.p50_ms, one.p99_ms, one.max_ms)),
        ]
        for one in session.deadlines
    ]  # fmt: skip
    where = f"{session.machine.processor}, {session.machine.cores} cores, {session.workers} processes at once"
    return section(
        "Answering in time",
        "How long the policy took for one action, by the clock of the machine that ran the test "
        f"({printable(where, 200)}). These numbers differ from run to run and do not decide the verdict; a policy "
        "for a robot must be timed on the robot's computer.",
        tables.table(heads, rows),
    )


def provenance(result: Result, trust: Sequence[tuple[str, object]]) -> Html:
    """Return hashes, versions and the signature's state."""
    policy, session = result.policy, result.session
    made: list[tuple[str, object]] = [
        ("protocol", f"{printable(result.protocol.name)} · sha256 {result.protocol.sha256[:16]}"),
        ("policy", f"{printable(policy.name)} ({policy.kind})"),
        ("policy sha256", tag("code", policy.sha256 or "none: its code is that of the commit")),
        ("runtime", printable(policy.runtime or "none")),
        ("code", printable(result.commit or "not from a repository")),
        ("versions", printable(", ".join(f"{k} {v}" for k, v in sorted(result.versions.items())), 1000)),
        ("result's identity", tag("code", result.identity)),
        ("run", f"{printable(session.started, 40)}, {session.seconds:,.0f} s, {session.resumed:,} trials from before"),
    ]
    if policy.provenance is not None:
        seen = policy.provenance
        made.insert(3, ("trained", printable(f"{seen.steps or 0:,} steps · commit {seen.commit or 'unknown'}")))
    robots = [
        (
            printable(s.name),
            tag(
                "code",
                f"{printable(s.env_id)} · {printable(s.robot)} · model {s.model_hash[:16]} · {s.control_rate:g} Hz",
            ),
        )
        for s in result.scenarios
    ]
    columns = [tag("h3", "Made with"), tag("dl", definitions(made))]
    others = [
        tag("h3", "Environments"),
        tag("dl", definitions(robots)),
        tag("h3", "Signature"),
        tag("dl", definitions(trust)),
    ]
    body = tag("div", join([tag("div", join(columns)), tag("div", join(others))]), class_="columns")
    return section("Versions, hashes, signature", "", body)
