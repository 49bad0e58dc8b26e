"""The leaderboard's page: a section a task, its tests below one another, each with its table."""

from __future__ import annotations

from collections.abc import Sequence

from training_ground.agents.certification.leaderboard import Board, Entry, Left, Table
from training_ground.agents.certification.report.shell import MAX_BYTES, intro, page, resource, section
from training_ground.agents.certification.report.tables import badge, small, table
from training_ground.agents.certification.report.wording import found, plain
from training_ground.agents.report.sections import wilson_bar
from training_ground.configs.errors import AgentError
from training_ground.datasets.card.document import printable
from training_ground.datasets.markup import Html, join, tag

MOST_LEFT = 200


def build_board(board: Board, title: str) -> str:
    """Return the page.

    Raises:
        AgentError: It would be larger than 5 MB.
    """
    groups: dict[str, list[Table]] = {}
    for one in sorted(board.tables, key=lambda t: (t.env_id, t.title, t.scenario, t.tier)):
        groups.setdefault(one.env_id, []).append(one)
    content = [_task(env_id, tables) for env_id, tables in groups.items()]
    content += [
        _left(
            "Not ranked",
            "Results that nobody answers for with a key that whoever made this page trusts. Their numbers follow from "
            "their trials; whether those took place is for a signature to say.",
            board.unranked,
        ),
        _left(
            "Refused",
            "Files whose numbers do not follow from their trials, or whose signature does not hold.",
            board.refused,
        ),
        _how(),
    ]
    footer = "Written by training-ground from signed result files; this page stands alone and loads nothing."
    text = page(title, "Product tests in simulation", _head(board, title, groups), content, footer, resource("sort.js"))
    if len(text.encode()) > MAX_BYTES:
        raise AgentError(f"leaderboard: larger than {MAX_BYTES:,} bytes; give a folder with fewer results")
    return text


def _head(board: Board, title: str, groups: dict[str, list[Table]]) -> Html:
    entries = {entry.identity for one in board.tables for entry in one.entries}
    lead = (
        f"{len(entries)} signed {'result' if len(entries) == 1 else 'results'} in {len(groups)} "
        f"{'task' if len(groups) == 1 else 'tasks'}. Policies are ranked within one test, one scenario and one "
        "tier, by success on the same seeds; those whose intervals overlap share a place."
    )
    parts = [tag("h1", printable(title)), tag("p", lead, class_="lead")]
    sectors = sorted({sector for one in board.tables for sector in one.sectors})
    if sectors:
        options = join([tag("option", "all sectors", value=""), *(tag("option", s, value=s) for s in sectors)])
        parts.append(
            tag("p", join([tag("label", "Sector ", for_="sector"), tag("select", options, id="sector")]), class_="pick")
        )
    return join(parts)


def _task(env_id: str, tables: Sequence[Table]) -> Html:
    sectors = sorted({sector for one in tables for sector in one.sectors})
    name = printable(env_id.rpartition("/")[2].partition("-v")[0], 80)
    chips = join(tag("span", sector, class_="chip") for sector in sectors)
    parts: list[Html] = [tag("h2", join([name, " ", chips]))]
    for one in tables:
        where = f"{one.title} · {one.scenario}, {one.tier} · {one.robot}"
        parts.append(tag("h3", printable(where)))
        parts.append(
            tag("p", join(["protocol ", tag("code", printable(f"{one.protocol} {one.sha256[:16]}"))]), class_="note")
        )
        parts.append(_table(one))
    return tag("section", join(parts), data_sectors=" ".join(sectors))


def _table(one: Table) -> Html:
    names = list(dict.fromkeys(m.name for entry in one.entries for m in entry.metrics))
    people = any(entry.violations is not None for entry in one.entries)
    heads = [("place", True), ("policy", False), ("success, 95 % interval", False), ("trials", True)]
    heads += [(plain(name), True) for name in names]
    heads += [("violations", True)] if people else []
    heads += [("worst when varied", True), ("verdict", False), ("signed", False)]
    return table(heads, [_row(entry, names, people) for entry in one.entries])


def _row(entry: Entry, names: Sequence[str], people: bool) -> list[object]:
    metrics = {m.name: m for m in entry.metrics}
    who = f"sha256 {entry.sha256[:12]}" if entry.sha256 else "no bundle"
    span = f"{100 * entry.low:.1f} to {100 * entry.high:.1f} %"
    rate = join([tag("b", f"{100 * entry.rate:.1f} %"), " ", tag("span", span, class_="soft")])
    cells: list[object] = [
        tag("td", f"{entry.place}{' =' if entry.tied else ''}", class_="n place", data_sort=entry.place),
        tag("td", join([tag("b", printable(entry.policy, 80)), small(who)]), class_="what"),
        tag("td", join([rate, wilson_bar(entry.low, entry.rate, entry.high)]), class_="wide", data_sort=entry.rate),
        tag("td", f"{entry.trials:,}", class_="n", data_sort=entry.trials),
    ]
    for name in names:
        metric = metrics.get(name)
        text, key = (found(metric), metric.value) if metric and metric.value is not None else ("–", "")
        cells.append(tag("td", text, class_="n", data_sort=key))
    if people:
        cells.append(tag("td", "–" if entry.violations is None else entry.violations, class_="n"))
    worst = "–" if entry.worst is None else join([f"{100 * entry.worst[0]:.0f} %", small(plain(entry.worst[1]))])
    signed = join([printable(entry.started[:10]), small(f"key {entry.key[:12]}")])
    cells += [
        tag("td", worst, class_="n", data_sort="" if entry.worst is None else entry.worst[0]),
        badge(entry.verdict),
        tag("td", signed, class_="wide", data_sort=printable(entry.started[:10])),
    ]
    return cells


def _left(title: str, text: str, left: Sequence[Left]) -> Html:
    rows = [[one.file, one.policy or "–", one.reason] for one in left]
    return section(title, text, table([("file", False), ("policy", False), ("why", False)], rows, MOST_LEFT))


def _how() -> Html:
    return section(
        "How to read this",
        "",
        intro(
            "Success is the share of trials whose task held at the end, with nothing varied; the interval is "
            "Wilson's. A policy stands below those whose interval lies wholly above its own; “=” marks a place "
            "that is shared. “Worst when varied” is the lowest success rate at any value that was swept in that "
            "test, without an interval. The verdict is that of the whole test against its protocol. All of it is "
            "simulation: no measurement on a real robot, no certificate, and nothing about conditions that were "
            "not tried. Click a heading to sort."
        ),
    )
