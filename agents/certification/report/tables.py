"""Tables of a product test: what had to hold, every metric, safety limits, failures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from training_ground.agents.certification.judging import LIMIT
from training_ground.agents.certification.metrics import METRICS, QUANTITIES
from training_ground.agents.certification.report.plots import interval_bar
from training_ground.agents.certification.report.wording import (
    METHODS,
    STYLES,
    TAGS,
    VERDICTS,
    amount,
    asked,
    condition_name,
    found,
    nominal,
    plain,
    span,
    unstopped,
)
from training_ground.agents.certification.result import ConditionResult, MetricResult, Result
from training_ground.datasets.card.document import printable
from training_ground.datasets.markup import Html, join, tag

ORDER = {"fail": 0, "inconclusive": 1, "pass": 2}
MOST_ROWS = 400
"""Of one table; what is beyond is counted."""


def table(head: Sequence[tuple[str, bool]], rows: Iterable[Sequence[object]], most: int = MOST_ROWS) -> Html:
    """Return a table in a panel, empty without any row; a column's flag says that it holds numbers."""
    listed = list(rows)
    if not listed:
        return Html("")
    styles = ["n" if number else None for _, number in head]
    cells = [
        tag(
            "tr",
            join(
                cell if _is_cell(cell) else tag("td", _shown(cell), class_=s)
                for cell, s in zip(row, styles, strict=True)
            ),
        )
        for row in listed[:most]
    ]
    body = [
        tag(
            "thead",
            tag(
                "tr",
                join(
                    tag("th", printable(name), class_=s, scope="col") for (name, _), s in zip(head, styles, strict=True)
                ),
            ),
        ),
        tag("tbody", join(cells)),
    ]
    more = tag("p", f"and {len(listed) - most} more", class_="note") if len(listed) > most else Html("")
    return tag("div", join([tag("table", join(body)), more]), class_="panel table scroll", tabindex="0")


def _is_cell(cell: object) -> bool:
    return isinstance(cell, Html) and cell.startswith("<td")


def _shown(value: object) -> object:
    return value if isinstance(value, Html) else printable(value)


def small(text: str) -> Html:
    """Return a line in small letters under what stands in a cell."""
    return tag("span", printable(text), class_="means")


def badge(verdict: str | None) -> Html:
    """Return a verdict as a coloured word."""
    return Html("") if verdict is None else tag("span", VERDICTS[verdict].lower(), class_=f"badge-{STYLES[verdict]}")


def chip(name: str) -> Html:
    """Return a metric's tag."""
    return tag("span", name, class_=f"chip {name}", title=TAGS.get(name, ""))


def judged(result: Result) -> list[tuple[ConditionResult, MetricResult]]:
    """Return what has a verdict, the worst first."""
    every = [(c, m) for c in result.conditions for m in c.metrics if m.verdict is not None]
    return sorted(every, key=lambda one: ORDER[str(one[1].verdict)])


def thresholds(result: Result) -> Html:
    """Return what had to hold, with what was found."""
    heads = [("verdict", False), ("what", False), ("asked", True), ("found", True), ("interval", True)]
    heads += [("", False), ("trials", True), ("where", False), ("source", False)]
    rows = []
    for condition, metric in judged(result):
        bar = interval_bar(metric.low, metric.value, metric.high, (metric.at_least, metric.at_most))
        what = tag(
            "td", join([tag("b", printable(plain(metric.name))), " ", chip(metric.tag), _means(metric)]), class_="what"
        )
        rows.append(
            [
                badge(metric.verdict), what, asked(metric), found(metric),
                span(metric), bar, f"{metric.n:,}", condition_name(condition), _source(result, metric),
            ]
        )  # fmt: skip
    return table(heads, rows)


def _means(metric: MetricResult) -> Html:
    """What a metric is, in a sentence of ours; nothing where the file has one that is unknown here."""
    if metric.name.startswith(LIMIT):
        return small("Share of trials beyond the safety limit.")
    known = METRICS.get(metric.name)
    return small(known.text.replace("`", "")) if known else Html("")


def _source(result: Result, metric: MetricResult) -> str:
    name = metric.threshold or ""
    if name.startswith(LIMIT):
        limit = result.protocol.content.limits.get(name.removeprefix(LIMIT))
        return limit.source if limit else ""
    threshold = result.protocol.content.thresholds.get(name)
    return (threshold.source or "") if threshold else ""


def metrics(condition: ConditionResult) -> Html:
    """Return every metric of a condition, by ability."""
    heads = [("metric", False), ("ability", False), ("value", True), ("interval", True), ("method", False), ("n", True)]
    ordered = sorted(condition.metrics, key=lambda m: list(TAGS).index(m.tag))
    rows = [
        [
            tag("td", join([printable(plain(m.name)), _means(m)]), class_="what"), chip(m.tag), found(m), span(m),
            f"{METHODS[m.interval]}, {100 * m.confidence:g} %" if (m.low, m.high) != (None, None) else "–", f"{m.n:,}",
        ]
        for m in ordered
    ]  # fmt: skip
    return table(heads, rows)


def metric_cell(condition: ConditionResult, name: str) -> str:
    """Return value and interval of a metric of a condition in one cell; a dash where it does not have it."""
    metric = next((m for m in condition.metrics if m.name == name), None)
    return f"{found(metric)} ({span(metric)})" if metric else "–"


def limits(result: Result) -> Html:
    """Return each safety limit of the protocol with the trials that were beyond it."""
    heads = [("quantity", False), ("limit", True), ("where", False), ("trials beyond", True), ("worst", True)]
    heads += [("source", False)]
    rows = []
    for name, limit in result.protocol.content.limits.items():
        read = QUANTITIES.get(name)
        for condition in result.conditions:
            if limit.tier not in (None, condition.tier):
                continue
            values = [v for trial in condition.trials if (v := read(trial)) is not None] if read else []
            if not values:
                continue
            beyond = sum(v > limit.at_most for v in values)
            count = tag("td", f"{beyond} of {len(values)}", class_=f"n {'bad' if beyond else 'good'}")
            where = condition_name(condition)
            worst = amount(max(values), limit.unit)
            rows.append([plain(name), f"≤ {amount(limit.at_most, limit.unit)}", where, count, worst, limit.source])
    return table(heads, rows)


def safety_counts(result: Result) -> Html:
    """Return what was counted of contacts, separations and stops, where anything of it was measured."""
    names = ("contact_steps", "separation_steps", "protective_stops", "emergency_stops")
    rows: list[list[object]] = []
    for condition in result.conditions:
        sums: list[object] = []
        for name in names:
            known = [v for t in condition.trials if (v := getattr(t, name)) is not None]
            sums.append(f"{sum(known):,.0f}" if known else "–")
        nearest = [t.least_separation for t in condition.trials if t.least_separation is not None]
        far = [t.stop_distance for t in condition.trials if t.stop_distance is not None]
        sums += [amount(min(nearest), "m") if nearest else "–", amount(max(far), "m") if far else "–"]
        if any(text != "–" for text in sums):
            rows.append([tag("td", printable(condition_name(condition)), class_="what"), *sums])
    heads = [("where", False), ("steps with a force beyond its limit", True), ("steps too near", True)]
    heads += [("protective stops", True), ("emergency stops", True), ("nearest to a person", True)]
    heads += [("longest way of a hand in a stop", True)]
    return table(heads, rows)


def failures(result: Result) -> Html:
    """Return how often each kind of failure came, by condition; nothing where there was none."""
    kinds: dict[str, int] = {}
    for condition in unstopped(result):
        for trial in condition.trials:
            if not trial.success:
                kinds[trial.kind] = kinds.get(trial.kind, 0) + 1
    if not kinds:
        return Html("")
    names = sorted(kinds, key=lambda kind: -kinds[kind])[:12]
    rows = []
    for condition in unstopped(result):
        failed = [t.kind for t in condition.trials if not t.success]
        if failed:
            counts = [failed.count(name) or "" for name in names]
            rows.append([condition_name(condition), f"{len(failed)} of {len(condition.trials)}", *counts])
    heads = [("where", False), ("without success", True), *((plain(name), True) for name in names)]
    return table(heads, rows)


def conditions(result: Result) -> Html:
    """Return every condition with its seeds' success."""
    heads = [
        ("condition", False),
        ("success", True),
        ("95 % interval", True),
        ("trials", True),
        ("configuration", False),
    ]
    rows = []
    for condition in result.conditions:
        success = next((m for m in condition.metrics if m.name == "success"), None)
        value = found(success) if success else "–"
        rows.append(
            [
                tag("td", printable(condition_name(condition)), class_="what"),
                value, span(success) if success else "–", f"{len(condition.trials):,}",
                tag("code", printable(condition.config_hash[:12])),
            ]
        )  # fmt: skip
    return table(heads, rows)


def scenario_groups(result: Result) -> list[tuple[str, list[ConditionResult]]]:
    """Return the conditions in which nothing is swept, by scenario."""
    groups: dict[str, list[ConditionResult]] = {}
    for condition in nominal(result):
        groups.setdefault(condition.scenario, []).append(condition)
    return list(groups.items())


def listed(texts: Iterable[object], style: str | None = None) -> Html:
    """Return a list."""
    return tag("ul", join(tag("li", _shown(text)) for text in texts), class_=style)
