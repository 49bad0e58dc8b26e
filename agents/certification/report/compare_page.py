"""The page about two product tests side by side."""

from __future__ import annotations

from collections.abc import Sequence

from training_ground.agents.certification.checking import Checked
from training_ground.agents.certification.compare import LEVEL, Comparison, Row, describe
from training_ground.agents.certification.report.plots import figure, histogram, rate_plot
from training_ground.agents.certification.report.sections import MOST_PLOTS, drawable, swept_counts
from training_ground.agents.certification.report.shell import charts, page, section
from training_ground.agents.certification.report.tables import badge, listed, small, table
from training_ground.agents.certification.report.trust import trust_of
from training_ground.agents.certification.report.wording import FACTORS, nominal, plain
from training_ground.agents.certification.result import Result
from training_ground.agents.report.sections import tile
from training_ground.datasets.card.document import printable
from training_ground.datasets.markup import Html, join, tag

WORDS = {"first": "A is better", "second": "B is better", "open": "not shown to differ"}
STYLES = {"first": "badge-a", "second": "badge-b", "open": "badge-open"}


def build_comparison(found: Comparison, checked: Sequence[Checked]) -> str:
    """Return the page.

    Args:
        found: The comparison.
        checked: What is known of both files.
    """
    a, b = (printable(result.policy.name, 100) for result in (found.first, found.second))
    content = [
        _differences(found),
        _rows(found),
        _sweeps(found),
        _times(found),
        _about(found, checked),
    ]
    title = f"{a} and {b}: {printable(found.first.protocol.content.title)}"
    eyebrow = "Two product tests in simulation, side by side"
    footer = "Written by training-ground from two result files; this page stands alone and loads nothing."
    return page(title, eyebrow, _head(found, (a, b)), content, footer)


def _head(found: Comparison, names: tuple[str, str]) -> Html:
    title = join(
        [
            tag("span", "A", class_="side s0"),
            f" {names[0]} against ",
            tag("span", "B", class_="side s1"),
            f" {names[1]}",
        ]
    )
    main = next((row for row in found.rows if row.metric == "success"), found.rows[0])
    place = next((row.where for row in found.rows if row.metric != "success"), main.where)
    shown = [main, *(row for row in found.rows if row.where == place and row.metric != main.metric)][:4]
    tiles = [
        tile(
            f"{plain(row.metric)}, A − B · {printable(row.where, 60)}",
            tag("span", describe(row, row.difference, True), class_="word"),
            f"{describe(row, row.low, True)} to {describe(row, row.high, True)} (95 % interval), {row.pairs} pairs: "
            f"{WORDS[row.verdict]}",
        )
        for row in shown
    ]
    parts = [tag("h1", title), tag("p", printable(found.first.protocol.content.title), class_="lead")]
    parts.append(tag("p", tag("b", printable(main.sentence[:1].upper() + main.sentence[1:])), class_="lead"))
    return join([*parts, tag("div", join(tiles), class_="tiles")])


def _differences(found: Comparison) -> Html:
    if not found.differences and not found.notes:
        return Html("")
    lines = [*(f"protocol: {line}" for line in found.differences), *found.notes]
    return section(
        "Not the same test",
        "What differs between the two files besides the policy. What follows may come from this as well.",
        listed(lines, "plain"),
    )


def _rows(found: Comparison) -> Html:
    heads = [("", False), ("what", False), ("A", True), ("B", True), ("A − B, 95 % interval", True), ("", False)]
    heads += [("pairs", True), ("A better in", True), ("p, test", True)]
    rows = [
        [
            tag("span", WORDS[row.verdict], class_=STYLES[row.verdict]),
            tag("td", join([tag("b", plain(row.metric)), small(_where(row))]), class_="what"),
            describe(row, row.first), describe(row, row.second),
            join([describe(row, row.difference, True), small(f"{_plain(row, row.low)} to {_plain(row, row.high)}")]),
            _bar(row), f"{row.pairs:,}", f"{100 * row.improvement:.0f} %", join([_p(row.p_corrected), small(row.test)]),
        ]
        for row in found.rows
    ]  # fmt: skip
    return section(
        "Differences",
        "Both policies met the same seeds; each pair is one seed. A difference counts as shown where p, corrected "
        f"for all {len(found.rows)} comparisons (Holm), is below {LEVEL:g} and the interval leaves out zero. Not "
        "shown does not mean equal: the interval says how large the difference may be. Cycle times and energies "
        "are compared where both succeed. “A better in”: how often a trial of A is better than one of B, ties "
        "counted half.",
        table(heads, rows),
    )


def _where(row: Row) -> str:
    return plain(f"{row.where}; {row.better} is better")


def _plain(row: Row, value: float) -> str:
    return describe(row, value, True).removesuffix(" points")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _bar(row: Row) -> Html:
    """The interval of a difference around zero; to the right A has more."""
    most = 1.15 * max(abs(row.low), abs(row.high), 1e-12)

    def place(value: float) -> float:
        return 50 + 50 * value / most

    low, high, middle = place(row.low), place(row.high), place(row.difference)
    marks = [
        Html('<s style="left:50%"></s>'),
        Html(f'<i style="left:{low:.1f}%;width:{max(high - low, 0.6):.1f}%"></i>'),
        Html(f'<b style="left:{middle:.1f}%"></b>'),
    ]
    return tag("span", join(marks), class_="diff", aria_hidden="true")


def _sweeps(found: Comparison) -> Html:
    first, second = swept_counts(found.first), swept_counts(found.second)
    drawn = []
    for (scenario, tier, axis), counts in list(first.items())[:MOST_PLOTS]:
        others = {count.value: count for count in second.get((scenario, tier, axis), [])}
        both = [(count, others[count.value]) for count in counts if count.value in others]
        if both:
            series = [[pair[side] for pair in both] for side in (0, 1)]
            body = rate_plot(series, None, plain(axis), FACTORS.get(axis, ""))
            legend = [("s0", "A"), ("s1", "B")]
            drawn.append(figure(plain(axis), f"{scenario} · {tier}, % success", body, legend=legend))
    text = (
        "Share of trials that succeed, %, with its 95 % Wilson interval, when one thing is changed and all else stays."
    )
    return section("When things vary", text, charts(drawn))


def _times(found: Comparison) -> Html:
    drawn = []
    for condition in nominal(found.first):
        other = next((c for c in found.second.conditions if c.id == condition.id), None)
        groups = [
            (side, drawable(t.cycle_time for t in one.trials))
            for side, one in (("A", condition), ("B", other))
            if one is not None
        ]
        if all(times for _, times in groups) and len(groups) == 2:
            limit = (condition.takt_s, f"takt {condition.takt_s:g} s") if condition.takt_s else None
            where = f"{condition.scenario} · {condition.tier}, s"
            drawn.append(figure("Cycle time", where, histogram(groups, "cycle time", "s", limit)))
    text = "Of the trials that succeed. Solid line: median; dotted: 95 % of cycles are done by then."
    return section("Cycle time", text, charts(drawn))


def _about(found: Comparison, checked: Sequence[Checked]) -> Html:
    heads = [
        ("", False),
        ("policy", False),
        ("verdict", False),
        ("trials", True),
        ("signature", False),
        ("identity", False),
    ]
    rows = []
    for side, result, one in zip("AB", (found.first, found.second), checked, strict=True):
        policy = join([printable(result.policy.name, 200), small(_hash(result))])
        trials = sum(len(c.trials) for c in result.conditions)
        identity = tag("code", result.identity[:16])
        rows.append(
            [side, tag("td", policy, class_="what"), badge(result.verdict), f"{trials:,}", trust_of(one).word, identity]
        )
    return section(
        "The two files",
        "Simulated trials of one protocol, not measurements on a real robot. Each file's own page says what "
        "its verdict follows from: tg report FILE.",
        table(heads, rows),
    )


def _hash(result: Result) -> str:
    return f"sha256 {result.policy.sha256[:16]}" if result.policy.sha256 else f"{result.policy.kind}, no bundle"
