"""The page about one product test: verdict first, then what it follows from, down to the command of every trial.

All of it comes from the result's file, which may be a stranger's: its texts are shown as they are and never as markup.
"""

from __future__ import annotations

from collections.abc import Sequence

from training_ground.agents.certification.report import sections, tables
from training_ground.agents.certification.report.films import Film
from training_ground.agents.certification.report.shell import MAX_BYTES, details, intro, page, section
from training_ground.agents.certification.report.trust import Trust
from training_ground.agents.certification.report.wording import (
    STYLES,
    TAGS,
    VERDICTS,
    condition_name,
    nominal,
    plain,
    unstopped,
)
from training_ground.agents.certification.result import Result
from training_ground.agents.report.sections import tile, wilson_bar
from training_ground.agents.statistics import wilson_interval
from training_ground.configs.errors import AgentError
from training_ground.datasets.card.document import printable
from training_ground.datasets.markup import Html, join, tag

MOST_REASONS = 6
MOST_TABLES = 60


def build_page(result: Result, trust: Trust, films: Sequence[Film] = (), missing: str = "") -> str:
    """Return the page.

    Args:
        result: The test.
        trust: What is known of who made the file.
        films: Failed trials in pictures.
        missing: Why there are none, in a sentence.

    Raises:
        AgentError: The page would be larger than 5 MB.
    """
    content = [
        _required(result),
        _what_it_is(result),
        sections.sweeps(result),
        sections.cycle_times(result),
        sections.precision(result),
        sections.safety(result),
        sections.failures(result, films, missing),
        _abilities(result),
        sections.machine_times(result),
        sections.again(result),
        sections.provenance(result, trust.lines),
    ]
    title = (
        f"{VERDICTS[result.verdict]}: {printable(result.policy.name, 100)}, {printable(result.protocol.content.title)}"
    )
    eyebrow = f"Product test in simulation · protocol {result.protocol.name} · {result.session.started[:10]}"
    footer = (
        f"Written by training-ground {printable(result.versions.get('training-ground', ''), 40)} from a result "
        "file; this page stands alone and loads nothing."
    )
    text = page(title, eyebrow, _head(result, trust), content, footer)
    if len(text.encode()) > MAX_BYTES:
        raise AgentError(f"report: larger than {MAX_BYTES:,} bytes; make it with fewer films")
    return text


def _head(result: Result, trust: Trust) -> Html:
    style = STYLES[result.verdict]
    stamp = tag("span", VERDICTS[result.verdict], class_=f"stamp {style}")
    title = tag("h1", printable(result.policy.name, 200))
    test = tag("p", printable(result.protocol.content.title), class_="lead")
    reasons = [printable(reason) for reason in result.reasons]
    more = [f"and {len(reasons) - MOST_REASONS} more, in the table below"] if len(reasons) > MOST_REASONS else []
    parts = [tag("div", join([title, stamp]), class_="verdict"), test, tag("p", _lead(result), class_="lead")]
    if reasons:
        parts.append(tables.listed([*reasons[:MOST_REASONS], *more], "reasons"))
    return join([*parts, tag("div", _tiles(result, trust), class_="tiles")])


def _lead(result: Result) -> Html:
    listed = tables.judged(result)
    met = sum(m.verdict == "pass" for _, m in listed)
    trials = sum(len(c.trials) for c in result.conditions)
    meaning = {
        "pass": "Everything that the protocol asks for is met.",
        "fail": "At least one thing that the protocol asks for is not met.",
        "inconclusive": "Nothing is known to be missed, but not everything is shown to be met: too few trials, or a "
        "quantity that the task does not have.",
    }[result.verdict]
    counted = f" {met} of {len(listed)} requirements hold, judged on {trials:,} simulated trials in "
    return join([tag("b", meaning), counted, f"{len(result.conditions):,} conditions."])


def _tiles(result: Result, trust: Trust) -> Html:
    tiles = []
    for condition in nominal(result)[:4]:
        won, count = sum(t.success for t in condition.trials), len(condition.trials)
        low, high = wilson_interval(won, count)
        value = join([won, tag("small", f" of {count}")])
        detail = f"succeeded; 95 % interval {100 * low:.1f} to {100 * high:.1f} %"
        bar = wilson_bar(low, won / count if count else 0.0, high)
        tiles.append(tile(printable(condition_name(condition), 60), value, detail, bar))
    failed = [t.kind for c in unstopped(result) for t in c.trials if not t.success]
    named = ", ".join(sorted({plain(printable(kind, 40)) for kind in failed})[:5]) or "none"
    tiles.append(
        tile("Trials without success", f"{len(failed):,}", f"in all conditions without a stop; kinds: {named}")
    )
    beyond = [m for _, m in tables.judged(result) if (m.threshold or "").startswith("limit.")]
    if beyond:
        held = sum(m.verdict == "pass" for m in beyond)
        value = join([held, tag("small", f" of {len(beyond)}")])
        tiles.append(tile("Safety limits held", value, "share of trials beyond each, judged by its interval"))
    word = tag("span", trust.word, class_=f"word {'good' if trust.verified else 'unsure'}")
    return join([*tiles, tile("Signature", word, trust.text)])


def _required(result: Result) -> Html:
    confidence = result.protocol.content.confidence
    return section(
        "What was asked, and what was found",
        f"A requirement passes when the whole {100 * confidence:g} % interval lies on the side that is asked for, "
        "fails when all of it lies on the other, and is inconclusive where the bound lies inside: more trials "
        "would tell. The test passes when every requirement does. In the bars: what is asked for is green, the "
        "interval blue, the value a stroke.",
        tables.thresholds(result),
    )


def _what_it_is(result: Result) -> Html:
    content = result.protocol.content
    robots = ", ".join(sorted({printable(s.robot, 60) for s in result.scenarios}))
    tasks = ", ".join(sorted({printable(s.env_id.rpartition("/")[2], 60) for s in result.scenarios}))
    swept = ", ".join(plain(axis) for axis in content.sweeps) or "nothing"
    is_so = [
        f"A test of one policy on the robot {robots} in the task {tasks}, all of it simulated.",
        f"Each trial begins from a seed that training never draws; varied beside the seed: {swept}.",
        "Every trial is in the result file, and can be simulated again with the commands below.",
    ]
    not_so = [
        "No certificate of an accredited body, and no statement of conformance with any standard; where a standard is "
        "named, a formula or a limit was taken from it.",
        "No measurement on a real robot: friction, contact, sensors and motors are models.",
        "Nothing about conditions that were not tried. An interval speaks of new seeds in the same conditions.",
    ]
    described = [intro(printable(content.description, 5000))] if content.description else []
    columns = [
        tag("div", join([tag("h3", "What this is"), tables.listed(is_so, "plain")])),
        tag("div", join([tag("h3", "What it is not"), tables.listed(not_so, "plain")])),
    ]
    return section("What was tested", "", *described, tag("div", join(columns), class_="columns"))


def _abilities(result: Result) -> Html:
    told = "; ".join(f"{name}: {text}" for name, text in TAGS.items())
    plainly = {c.id for c in nominal(result)}
    ordered = sorted(result.conditions, key=lambda c: c.id not in plainly)[:MOST_TABLES]
    shown = [
        details(printable(condition_name(c)), tables.metrics(c)) if index or len(ordered) > 1 else tables.metrics(c)
        for index, c in enumerate(ordered)
    ]
    text = f"Every metric carries the ability that it is about. {told[0].upper()}{told[1:]}."
    return section("Every metric", text, tables.conditions(result), join(shown))
