"""Two product tests side by side: paired tests on the seeds that both have, with intervals of the differences.

On the same seed both policies meet the same start, the same disturbances and the same randomised physics, so that what
differs is the policy; a paired test takes out how hard a seed is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.certification.result import NOMINAL, STOP, ConditionResult, Result, Trial
from training_ground.agents.statistics import (
    holm,
    mcnemar_p_value,
    paired_rate_interval,
    probability_of_improvement,
    sign_flip_p_value,
    stratified_interval,
)
from training_ground.configs.errors import AgentError

LEVEL = 0.05
"""A difference is called one where its p-value, corrected for all of them together, is below this."""
FEWEST = 5
"""Pairs without which a mean is not compared."""
MOST_TOLD = 40
"""Differences of protocols that are told."""

Pair = tuple[Trial, Trial]


@dataclass(frozen=True)
class Quantity:
    """What is compared.

    Attributes:
        name, unit: As in results.
        better: Which is.
        read: Of a trial; None where it does not have it.
        share: Whether it is yes or no of each trial.
        pooled: Whether it is also compared over several conditions together; others are of unlike sizes there.
    """

    name: str
    unit: str
    better: Literal["higher", "lower"]
    read: Callable[[Trial], float | None]
    share: bool = False
    pooled: bool = False


def _positive(value: int | None) -> float | None:
    return None if value is None else float(value > 0)


QUANTITIES = (
    Quantity("success", "1", "higher", lambda t: float(t.success), share=True, pooled=True),
    Quantity("cycle_time", "s", "lower", lambda t: t.cycle_time),
    Quantity("return", "1", "higher", lambda t: t.total_reward),
    Quantity("energy", "J", "lower", lambda t: t.energy if t.success else None),  # who falls at once needs little
    Quantity("contact_violations", "1", "lower", lambda t: _positive(t.contact_steps), share=True),
    Quantity("separation_violations", "1", "lower", lambda t: _positive(t.separation_steps), share=True),
)
STOPS = (
    Quantity("stop_time", "s", "lower", lambda t: t.stop_time),
    Quantity("stop_distance", "m", "lower", lambda t: t.stop_distance),
)


@dataclass(frozen=True)
class Row:
    """One quantity in one place.

    Attributes:
        where: Scenario, tier and what is swept.
        metric, unit, better: Of the quantity; `share` says that it is a share of trials.
        pairs: Seeds that both have.
        first, second: Share or mean of each, over the pairs.
        low, high: 95 % interval of first - second.
        improvement: How probably a trial of the first is better than one of the second, a tie counted half.
        test: Name of the test.
        p: Its two-sided p-value.
        p_corrected: After Holm, over all rows.
        verdict: Which is better: `first`, `second`, or `open`.
        sentence: The same in words.
    """

    where: str
    metric: str
    unit: str
    better: Literal["higher", "lower"]
    share: bool
    pairs: int
    first: float
    second: float
    low: float
    high: float
    improvement: float
    test: str
    p: float
    p_corrected: float = 1.0
    verdict: Literal["first", "second", "open"] = "open"
    sentence: str = ""

    @property
    def difference(self) -> float:
        """First - second."""
        return self.first - self.second


@dataclass(frozen=True)
class Comparison:
    """Two tests compared.

    Attributes:
        first, second: The results.
        rows: By place, nominal ones first.
        differences: What differs between the protocols, as dotted keys with both values.
        notes: What else differs and may matter: versions, robots, code.
    """

    first: Result
    second: Result
    rows: tuple[Row, ...]
    differences: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything but the results as plain data."""
        sides = {
            name: {"policy": r.policy.name, "sha256": r.policy.sha256, "identity": r.identity, "verdict": r.verdict}
            for name, r in (("first", self.first), ("second", self.second))
        }
        rows = [asdict(row) | {"difference": row.difference} for row in self.rows]
        told = {"differences": list(self.differences), "notes": list(self.notes)}
        return {"schema_version": 1, **sides, "level": LEVEL, "rows": rows, **told}


def compare(first: Result, second: Result, across: bool = False) -> Comparison:
    """Compare two results.

    Args:
        first, second: As read.
        across: Whether their protocols may differ.

    Raises:
        AgentError: The protocols differ and `across` is not given, or there is no seed of a condition that both have.
    """
    differences = protocol_differences(first, second)
    if differences and not across:
        raise AgentError(
            f"the protocols differ in {len(differences)} places: {'; '.join(differences[:3])}; compare tests of one "
            "protocol, or allow it with --across"
        )
    rows = [row for where, pairs, chosen in _places(first, second) for row in _rows(where, pairs, chosen)]
    if not rows:
        raise AgentError("the results have no condition with seeds in common: nothing can be paired")
    corrected = holm([row.p for row in rows])
    names = (first.policy.name, second.policy.name)
    if names[0] == names[1]:
        names = ("the first", "the second")
    concluded = [_conclude(replace(row, p_corrected=p), names) for row, p in zip(rows, corrected, strict=True)]
    return Comparison(first, second, tuple(concluded), tuple(differences), tuple(_notes(first, second)))


def protocol_differences(first: Result, second: Result) -> list[str]:
    """Return what differs between two protocols, as dotted keys; nothing where they are the same."""
    if first.protocol.sha256 == second.protocol.sha256:
        return []
    a, b = (dict(_flat("", r.protocol.content.model_dump(mode="json"))) for r in (first, second))
    keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
    told = [f"{key}: {a.get(key, 'absent')} and {b.get(key, 'absent')}" for key in keys]
    more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
    return [*told[:MOST_TOLD], *more] or ["sha256: the content is the same, its hash is not"]


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), item)
    else:
        yield prefix, value


def _notes(first: Result, second: Result) -> list[str]:
    notes = []
    if first.commit != second.commit:
        notes.append(f"code: {first.commit or 'unknown'} and {second.commit or 'unknown'}")
    for name in sorted({*first.versions, *second.versions}):
        a, b = first.versions.get(name, "none"), second.versions.get(name, "none")
        if a != b:
            notes.append(f"{name}: {a} and {b}")
    robots = {s.name: s for s in second.scenarios}
    for one in first.scenarios:
        other = robots.get(one.name)
        if other is not None and (one.env_id, one.model_hash) != (other.env_id, other.model_hash):
            notes.append(
                f"{one.name}: {one.env_id} with {one.robot} ({one.model_hash[:12]}) and {other.env_id} with "
                f"{other.robot} ({other.model_hash[:12]}): not the same environment"
            )
    return notes


# ---- pairs -----------------------------------------------------------------------------------------------------------


def _places(first: Result, second: Result) -> Iterator[tuple[str, list[list[Pair]], Sequence[Quantity]]]:
    """Give where to compare, the pairs of each condition there, and what is compared."""
    others = {c.id: c for c in second.conditions}
    plain: list[tuple[str, list[Pair]]] = []
    swept: dict[str, list[list[Pair]]] = {}
    stops: list[tuple[str, list[Pair]]] = []
    for one in first.conditions:
        pairs = _pairs(one, others.get(one.id))
        if not pairs:
            continue
        where = f"{one.scenario}, {one.tier}"
        if one.axis == NOMINAL:
            plain.append((where, pairs))
        elif one.axis == STOP:
            stops.append((f"{where}, emergency stop", pairs))
        else:
            swept.setdefault(f"{where}, {one.axis} varied", []).append(pairs)
    pooled = [quantity for quantity in QUANTITIES if quantity.pooled]
    if len(plain) > 1:
        yield "all that is not varied", [pairs for _, pairs in plain], pooled
    yield from ((where, [pairs], QUANTITIES) for where, pairs in plain)
    yield from ((where, conditions, pooled) for where, conditions in swept.items())
    yield from ((where, [pairs], STOPS) for where, pairs in stops)


def _pairs(one: ConditionResult, other: ConditionResult | None) -> list[Pair]:
    theirs = {trial.seed: trial for trial in other.trials} if other is not None else {}
    return [(trial, theirs[trial.seed]) for trial in one.trials if trial.seed in theirs]


def _rows(where: str, conditions: Sequence[Sequence[Pair]], chosen: Sequence[Quantity]) -> Iterator[Row]:
    for quantity in chosen:
        known = [[(a.seed, quantity.read(a), quantity.read(b)) for a, b in pairs] for pairs in conditions]
        both = [[(s, a, b) for s, a, b in values if a is not None and b is not None] for values in known]
        if sum(map(len, both)) >= (1 if quantity.share else FEWEST):
            yield _row(where, quantity, [values for values in both if values])


def _row(where: str, quantity: Quantity, conditions: Sequence[Sequence[tuple[int, float, float]]]) -> Row:
    first, second = ([[pair[side] for pair in pairs] for pairs in conditions] for side in (1, 2))
    a, b = np.concatenate(first), np.concatenate(second)
    low, high, test, p = _shares(conditions) if quantity.share else _sizes(a - b)
    better = probability_of_improvement(first, second)
    better = better if quantity.better == "higher" else 1 - better
    return Row(
        where, quantity.name, quantity.unit, quantity.better, quantity.share, len(a),
        float(a.mean()), float(b.mean()), low, high, better, test, p,
    )  # fmt: skip


def _sizes(differences: NDArray[np.float64]) -> tuple[float, float, str, float]:
    """Interval of the mean difference, and the test that it is zero."""
    low, high = stratified_interval([differences.tolist()], partial(np.mean, axis=1))
    return low, high, "sign flips of differences", sign_flip_p_value(differences.tolist())


def _shares(conditions: Sequence[Sequence[tuple[int, float, float]]]) -> tuple[float, float, str, float]:
    """Interval of the difference of two shares, and the test that it is zero.

    What a seed draws is alike in all conditions, so that several pairs of one seed are not independent. Over several
    conditions the interval's ends are means of theirs, weighted with their pairs, as if all were one and the same: no
    narrower than is known. The test flips the signs of whole seeds.
    """
    found = []
    for pairs in conditions:
        won = [a > 0.5 for _, a, _ in pairs], [b > 0.5 for _, _, b in pairs]
        found.append((len(pairs), *paired_rate_interval(*won), mcnemar_p_value(*won)))
    if len(found) == 1:
        return *found[0][1:3], "McNemar, exact", found[0][3]
    sums: dict[int, float] = {}
    for pairs in conditions:
        for seed, a, b in pairs:
            sums[seed] = sums.get(seed, 0.0) + a - b
    counts, lows, highs, _ = zip(*found, strict=True)
    low, high = (float(np.average(ends, weights=counts)) for ends in (lows, highs))
    return low, high, "sign flips of seeds", sign_flip_p_value(list(sums.values()))


# ---- words -----------------------------------------------------------------------------------------------------------


def _conclude(row: Row, names: tuple[str, str]) -> Row:
    """Say which is better: a corrected p-value below the level, and an interval without zero."""
    apart = row.low > 0 or row.high < 0
    verdict: Literal["first", "second", "open"] = "open"
    if row.p_corrected < LEVEL and apart:
        ahead = (row.difference > 0) == (row.better == "higher")
        verdict = "first" if ahead else "second"
        better, worse = names if ahead else names[::-1]
        said = f"{better} is better than {worse}"
    elif row.low == row.high == 0:
        said = f"{names[0]} and {names[1]} are the same"
    else:
        said = f"no difference between {names[0]} and {names[1]} is shown"
        if row.p < LEVEL and apart:
            said += " once all comparisons are counted"
    gap, low, high = (describe(row, value, True) for value in (row.difference, row.low, row.high))
    sentence = f"{row.where}, {row.metric.replace('_', ' ')}: {said}: {gap} "
    sentence += f"(95 % interval {low} to {high}), {_p(row.p_corrected)}, {row.pairs} pairs."
    return replace(row, verdict=verdict, sentence=sentence)


def describe(row: Row, value: float, difference: bool = False) -> str:
    """Return a value of a row, or a difference of two, with its unit."""
    if not math.isfinite(value):
        return "–"
    if row.share:
        text = f"{100 * value:+.1f} points" if difference else f"{100 * value:.1f} %"
    else:
        text = f"{value:{'+' if difference else ''}.3g} {'' if row.unit == '1' else row.unit}".strip()
    return text.replace("-", "−")


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
