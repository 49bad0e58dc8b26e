"""A quality report as plain data, as lines for people, and as Markdown."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.datasets.quality.catalogue import DATASET, EPISODE
from training_ground.datasets.quality.measure import Reading
from training_ground.datasets.quality.results import EpisodeQuality, QualityReport, Reason

MOST_LISTED = 50
"""Episodes that are listed on a page, all of them stand in the JSON; in a line it is a few."""
MOST_NAMED = 8


def to_json(report: QualityReport) -> dict[str, Any]:
    """Return the whole report as plain data."""
    return {
        "path": str(report.path),
        "preset": report.preset,
        "limits_sha256": report.limits_sha256,
        "verdict": report.verdict,
        "counts": {verdict: report.count(verdict) for verdict in ("pass", "warn", "fail")},
        "replayed": report.replayed,
        "dropped": list(report.dropped),
        "notes": list(report.notes),
        "reasons": [asdict(reason) for reason in report.reasons],
        "readings": _plain(report.readings),
        "episodes": [
            {
                "number": episode.number,
                "verdict": episode.verdict,
                "reasons": [asdict(reason) for reason in episode.reasons],
                "readings": _plain(episode.readings),
            }
            for episode in report.episodes
        ],
        "measures": [asdict(measure) for measure in (*EPISODE, *DATASET)],
    }


def lines(report: QualityReport) -> list[str]:
    """Return what a person wants to see: a line for each measure that is beyond a limit, then the verdict."""
    found: dict[tuple[str, str], list[tuple[int, Reason]]] = {}
    for episode in report.episodes:
        for reason in episode.reasons:
            found.setdefault((reason.verdict, reason.measure), []).append((episode.number, reason))
    order = sorted(found, key=lambda key: (key[0] == "fail", -len(found[key])))
    shown = [f"{verdict}: {_together(found[verdict, name])}" for verdict, name in order]
    shown += [f"{reason.verdict}: dataset: {reason}" for reason in report.reasons]
    shown += [f"not measured: {text}" for text in _unmeasured(report)]
    shown += [f"note: {text}" for text in report.notes]
    return [*shown, f"{report.path}: {summary(report)}"]


def summary(report: QualityReport) -> str:
    """Return the verdict in one line."""
    counts = ", ".join(f"{report.count(verdict)} {verdict}" for verdict in ("pass", "warn", "fail"))
    replayed = f", {report.replayed} simulated again" if report.replayed else ""
    replayed += f"; {len(report.dropped)} labelled as dropped were left out" if report.dropped else ""
    return f"{report.verdict} by preset '{report.preset}' ({len(report.episodes)} episodes: {counts}{replayed})"


def markdown(report: QualityReport) -> str:
    """Return the report as a Markdown page: verdict, what is wrong, and every measure over the episodes."""
    text = [f"# Quality of {report.path.name}", "", summary(report), ""]
    bad = _listed(report)
    reasons: list[tuple[str, Reason]] = [("dataset", reason) for reason in report.reasons]
    reasons += [(f"episode {e.number}", reason) for e in bad[:MOST_LISTED] for reason in e.reasons]
    if reasons:
        text += ["| where | verdict | measure | value | limit | note |", "|---|---|---|---|---|---|"]
        text += [
            f"| {where} | {r.verdict} | {r.measure} | {_number(r.value)} | {_cell(r.limit)} | {_cell(r.note)} |"
            for where, r in reasons
        ]
        text.append("")
    text += ["| measure | unit | least | median | most | not measured |", "|---|---|---|---|---|---|"]
    for measure in EPISODE:
        values, missing = _measured(report, measure.name)
        if len(values) or missing:
            least, middle, most = np.quantile(values, [0, 0.5, 1]).tolist() if len(values) else (None, None, None)
            numbers = f"{_number(least)} | {_number(middle)} | {_number(most)}"
            text.append(f"| {measure.name} | {measure.unit} | {numbers} | {missing.total() or ''} |")
    text += ["", "| dataset | unit | value |", "|---|---|---|"]
    text += [f"| {m.name} | {m.unit} | {_number(report.readings[m.name].value)} |" for m in DATASET]
    return "\n".join([*text, ""])


def _together(reasons: list[tuple[int, Reason]]) -> str:
    """Say which episodes one measure is about, and the worst of them."""
    low = any(reason.limit.startswith(("allowed at least", "usually at least")) for _, reason in reasons)
    number, worst = (min if low else max)(reasons, key=lambda pair: pair[1].value or 0.0)
    if len(reasons) == 1:
        return f"episode {number}: {worst}"
    named = ", ".join(str(one) for one, _ in reasons[:MOST_NAMED])
    more = f" and {len(reasons) - MOST_NAMED} more" if len(reasons) > MOST_NAMED else ""
    return f"episodes {named}{more}: the worst is {number}: {worst}"


def _listed(report: QualityReport) -> list[EpisodeQuality]:
    """Episodes with reasons, failed ones first."""
    bad = [episode for episode in report.episodes if episode.reasons]
    return sorted(bad, key=lambda episode: episode.verdict != "fail")


def _unmeasured(report: QualityReport) -> list[str]:
    """Measures that no episode has a value of, with the most frequent reason."""
    said = []
    for measure in EPISODE:
        values, missing = _measured(report, measure.name)
        if missing and not len(values) and measure.name != "nearest_distance":
            said.append(f"{measure.name}: {missing.most_common(1)[0][0]}")
    return said


def _measured(report: QualityReport, name: str) -> tuple[NDArray[np.float64], Counter[str]]:
    """Values of a measure, and how often there is none for which reason."""
    values = np.array([episode.value(name) for episode in report.episodes])
    none = np.flatnonzero(np.isnan(values))
    notes = (report.episodes[at].notes.get(name) for at in none.tolist())
    return values[~np.isnan(values)], Counter(note for note in notes if note is not None)


def _plain(readings: dict[str, Reading]) -> dict[str, Any]:
    return {name: {"value": r.value, "note": r.note} for name, r in readings.items()}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _cell(text: str) -> str:
    """Keep what a file says from breaking the table."""
    return " ".join(text.replace("|", "/").split())
