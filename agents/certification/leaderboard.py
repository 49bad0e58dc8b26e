"""A leaderboard from result files: per test and scenario, those that somebody trusted has signed, in order of success.

Places come from intervals, not from digits: a policy stands below those whose interval lies wholly above its own, and
shares its place with all others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training_ground.agents.certification.checking import Checked, check
from training_ground.agents.certification.result import (
    NOMINAL,
    SIGNATURE_SUFFIX,
    STOP,
    ConditionResult,
    MetricResult,
    Result,
    Trial,
)
from training_ground.agents.statistics import wilson_interval
from training_ground.configs.errors import AgentError, TrainingGroundError
from training_ground.datasets.signing import trusted
from training_ground.envs.scenarios import catalogue

MOST_FILES = 2000
MOST_LETTERS = 100
SHOWN = ("cycle_time_median", "energy_per_success")
"""Metrics shown beside success, where the test has them."""


@dataclass(frozen=True)
class Entry:
    """One policy in one scenario and tier of a test.

    Attributes:
        file: Name of its result, below the folder.
        policy, sha256: Of the policy.
        place: From 1; shared where intervals overlap.
        tied: Whether the place is shared.
        successes, trials, low, high: In the tier with nothing varied, with the 95 % Wilson interval.
        worst: The smallest success rate of all that was varied, and where; None where nothing was.
        violations: Trials with a person pressed beyond a limit or too near; None where there is no person.
        metrics: Those of `SHOWN` that it has.
        verdict, identity, started, key: Of the whole test, the last the name of the key that signed it.
    """

    file: str
    policy: str
    sha256: str | None
    place: int
    tied: bool
    successes: int
    trials: int
    low: float
    high: float
    worst: tuple[float, str] | None
    violations: int | None
    metrics: tuple[MetricResult, ...]
    verdict: str
    identity: str
    started: str
    key: str

    @property
    def rate(self) -> float:
        """Success rate."""
        return self.successes / self.trials


@dataclass(frozen=True)
class Table:
    """One test, scenario and tier.

    Attributes:
        title, protocol, sha256: Of the protocol.
        scenario, tier, env_id, robot: What was tested.
        sectors: Of industry, that the scenario stands for.
        entries: By place.
    """

    title: str
    protocol: str
    sha256: str
    scenario: str
    tier: str
    env_id: str
    robot: str
    sectors: tuple[str, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Left:
    """A file that is not ranked, and why."""

    file: str
    policy: str
    reason: str


@dataclass(frozen=True)
class Board:
    """What a leaderboard shows.

    Attributes:
        tables: One a test, scenario and tier.
        unranked: Results without a signature that the reader trusts.
        refused: Results whose numbers or signature do not hold, and files that are none.
    """

    tables: tuple[Table, ...]
    unranked: tuple[Left, ...]
    refused: tuple[Left, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "schema_version": 1,
            "tables": [
                {**_fields(one, "entries"), "entries": [_entry(entry) for entry in one.entries]} for one in self.tables
            ],
            "unranked": [_fields(one) for one in self.unranked],
            "refused": [_fields(one) for one in self.refused],
        }


def _fields(one: Any, *left_out: str) -> dict[str, Any]:
    return {key: value for key, value in vars(one).items() if key not in left_out}


def _entry(entry: Entry) -> dict[str, Any]:
    metrics = {m.name: {"value": m.value, "low": m.low, "high": m.high, "unit": m.unit} for m in entry.metrics}
    worst = None if entry.worst is None else {"rate": entry.worst[0], "where": entry.worst[1]}
    return {**_fields(entry), "rate": entry.rate, "metrics": metrics, "worst": worst}


def gather(folder: Path, keys: Iterable[bytes], on_file: Callable[[str], None] | None = None) -> Board:
    """Read all results of a folder and rank them.

    Args:
        folder: Result files are looked for in it and in the folders below it.
        keys: Public keys that the reader trusts, 32 bytes each; without any nothing is ranked.
        on_file: Called with the name of each file that was read.

    Raises:
        AgentError: There is no such folder, or too many files.
    """
    known = list(keys)
    good: list[tuple[str, Checked]] = []
    unranked: list[Left] = []
    refused: list[Left] = []
    seen: set[str] = set()
    for path in _files(folder):
        name = str(path.relative_to(folder))
        try:
            checked = check(path)
        except TrainingGroundError as problem:
            if path.with_suffix(SIGNATURE_SUFFIX).exists() or _means_to_be(path):
                refused.append(Left(name, "", str(problem)))
            continue
        finally:
            if on_file is not None:
                on_file(name)
        policy = checked.result.policy.name[:MOST_LETTERS]
        if checked.problems:
            refused.append(Left(name, policy, checked.problems[0]))
        elif checked.statement is None or not trusted(checked.statement, known):
            unranked.append(Left(name, policy, _why(checked, known)))
        elif checked.result.identity in seen:
            unranked.append(Left(name, policy, "the same result as a file that is ranked"))
        else:
            seen.add(checked.result.identity)
            good.append((name, checked))
    return Board(tuple(_tables(good)), tuple(unranked), tuple(refused))


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise AgentError(f"{folder}: no such folder")
    found = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(place) / name for name in sorted(names) if name.endswith(".json")]
        if len(found) > MOST_FILES:
            raise AgentError(f"{folder}: more than {MOST_FILES} .json files; give a folder of results alone")
    return [path for path in found if path.is_file() and not path.is_symlink()]


def _means_to_be(path: Path) -> bool:
    """Whether a file that cannot be read as a result begins like one."""
    with path.open("rb") as stream:
        return b'"training-ground-certification"' in stream.read(200)


def _why(checked: Checked, keys: Sequence[bytes]) -> str:
    if checked.statement is None:
        return "unsigned"
    if not keys:
        return f"signed by the key {checked.statement.key_id[:16]}; no key was given to trust"
    return f"signed by the key {checked.statement.key_id[:16]}, which is not among those trusted"


def _tables(good: Sequence[tuple[str, Checked]]) -> Iterator[Table]:
    groups: dict[tuple[str, str, str], list[tuple[str, Checked, ConditionResult]]] = {}
    for name, checked in good:
        for condition in checked.result.conditions:
            if condition.axis == NOMINAL and condition.trials:
                key = (checked.result.protocol.sha256, condition.scenario, condition.tier)
                groups.setdefault(key, []).append((name, checked, condition))
    sectors = _sectors()
    for (sha256, scenario, tier), found in groups.items():
        result = found[0][1].result
        info = next((s for s in result.scenarios if s.name == scenario), None)
        env_id = info.env_id if info else scenario
        yield Table(
            title=result.protocol.content.title,
            protocol=result.protocol.name,
            sha256=sha256,
            scenario=scenario,
            tier=tier,
            env_id=env_id,
            robot=info.robot if info else "",
            sectors=sectors.get(env_id, ()),
            entries=tuple(_placed([_one(*each) for each in found])),
        )


def _one(name: str, checked: Checked, condition: ConditionResult) -> Entry:
    result, trials = checked.result, condition.trials
    won = sum(t.success for t in trials)
    low, high = wilson_interval(won, len(trials))
    return Entry(
        file=name,
        policy=result.policy.name,
        sha256=result.policy.sha256,
        place=1,
        tied=False,
        successes=won,
        trials=len(trials),
        low=low,
        high=high,
        worst=_worst(result, condition),
        violations=_violations(trials),
        metrics=tuple(m for wanted in SHOWN for m in condition.metrics if m.name == wanted),
        verdict=result.verdict,
        identity=result.identity,
        started=result.session.started,
        key=checked.statement.key_id if checked.statement else "",
    )


def _worst(result: Result, base: ConditionResult) -> tuple[float, str] | None:
    rates = [
        (sum(t.success for t in c.trials) / len(c.trials), f"{c.axis} {c.value}")
        for c in result.conditions
        if (c.scenario, c.tier) == (base.scenario, base.tier) and c.axis not in (NOMINAL, STOP) and c.trials
    ]
    return min(rates, default=None)


def _violations(trials: Sequence[Trial]) -> int | None:
    known = [t for t in trials if t.contact_steps is not None or t.separation_steps is not None]
    return sum(bool(t.contact_steps or t.separation_steps) for t in known) if known else None


def _placed(entries: Sequence[Entry]) -> list[Entry]:
    """Give places: one more than there are entries whose interval lies wholly above."""
    above = {id(one): sum(other.low > one.high for other in entries) for one in entries}
    shared = {id(one): sum(above[id(other)] == above[id(one)] for other in entries) > 1 for one in entries}
    placed = [replace(one, place=above[id(one)] + 1, tied=shared[id(one)]) for one in entries]
    return sorted(placed, key=lambda one: (one.place, -one.rate, one.policy, one.file))


def _sectors() -> dict[str, tuple[str, ...]]:
    """Sectors by task's id, of the scenarios that ship."""
    found: dict[str, set[str]] = {}
    for scenario in catalogue().values():
        found.setdefault(scenario.env_id, set()).update(scenario.sectors)
    return {env_id: tuple(sorted(sectors)) for env_id, sectors in found.items()}
