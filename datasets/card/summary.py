"""What a data card tells, gathered in one pass: outcomes of all episodes, values of a sample of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import DatasetError
from training_ground.datasets.about import About
from training_ground.datasets.about import read as read_about
from training_ground.datasets.card.gathering import Drawn, Gatherer, Spread, gather_drawn, limits_of
from training_ground.datasets.index import Index
from training_ground.datasets.quality.measure import ANGLES
from training_ground.datasets.schema import ACTION, REWARD, TIMESTAMP, DatasetSchema
from training_ground.datasets.store import Store

MOST_READ = 200
"""Episodes whose values are read; of more, so many are drawn evenly."""
ROWS_READ = 1000
"""Rows of each that quantiles are taken from, about."""
EXAMPLES = 3
MOST_POINTS = 400
"""Rows that are kept of an example, about."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a card tells of an episode; the names are those of the index's columns, labels are those in force."""

    number: int
    length: int
    seed: int
    success: bool | None
    success_recorded: bool | None
    success_source: str | None
    failure: str | None
    failure_recorded: str | None
    env_id: str
    tier: str | None
    policy: str
    policy_hash: str | None
    operator: str | None
    instruction: str
    started: Any
    complete: bool
    code_commit: str | None
    config_hash: str
    origin_sha256: str | None
    content_sha256: str
    quality: str | None
    quality_reasons: list[str] | None
    quality_stale: bool | None

    @property
    def corrected(self) -> bool:
        """Whether somebody said another outcome than the simulator."""
        return (self.success, self.failure) != (self.success_recorded, self.failure_recorded)


@dataclass(frozen=True, eq=False)
class Example:
    """Joint positions of an episode over time: (rows,) s and (rows, n)."""

    episode: Told
    time: NDArray[np.float64]
    joints: NDArray[np.float64]


@dataclass
class Group:
    """Episodes of one task, tier and policy."""

    task: str
    tier: str
    policy: str
    episodes: int = 0
    successes: int = 0
    unknown: int = 0

    @property
    def judged(self) -> int:
        """Episodes of which it is known how they ended."""
        return self.episodes - self.unknown


@dataclass(frozen=True, eq=False)
class Summary:
    """All that a card tells.

    Attributes:
        episodes: By number, all but those that are labelled as dropped.
        dropped: How many those are.
        returns: Sum of rewards by number, of the episodes whose values were read.
        positions, actions: How far joints and actions went; None where there are no numbers of that kind.
        limits: (n, 2) of the joints in `positions`; None where the dataset does not say.
        versions: Packages that episodes were recorded with, in words, and how many were.
        drawn: What randomisation drew, by dotted name.
        changed: Episodes whose rows are not those that were recorded: they were cleaned.
        damaged: Episodes and annotations that could not be read or applied, one sentence each.
    """

    name: str
    schema: DatasetSchema
    about: About
    episodes: dict[int, Told]
    dropped: int
    groups: tuple[Group, ...]
    returns: dict[int, float]
    positions: Spread | None
    limits: NDArray[np.float64] | None
    actions: Spread | None
    examples: tuple[Example, ...]
    versions: Counter[str]
    drawn: dict[str, Drawn]
    changed: int
    damaged: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Steps of all episodes."""
        return sum(one.length for one in self.episodes.values())

    def counted(self, key: Callable[[Told], Any]) -> list[tuple[Any, int]]:
        """Return what the episodes have for `key`, the most frequent first."""
        return Counter(key(one) for one in self.episodes.values()).most_common()


def summarise(store: Store, progress: Callable[[int], None] | None = None) -> Summary:
    """Read a store for its card; of an episode whose values are not looked at about half a kilobyte is kept.

    Args:
        store: Any, also an empty one.
        progress: Called with an episode's number after it was looked at.
    """
    index = Index.open(store)
    damaged = list(index.problems)
    told = {one.number: one for one in _told(index)}
    versions: Counter[str] = Counter()
    drawn: dict[str, Drawn] = {}
    changed = 0
    for number in told:
        try:
            metadata = store.metadata(number)
        except DatasetError as problem:  # it has changed since
            damaged.append(str(problem))
        else:
            versions[", ".join(f"{name} {v}" for name, v in sorted(metadata.versions.items()))] += 1
            gather_drawn(drawn, metadata.randomisation)
            changed += not metadata.as_recorded
        if progress is not None:
            progress(number)
    positions, actions = (Gatherer(store.schema, names, ROWS_READ) for names in (ANGLES, (ACTION,)))
    returns, examples = _values(store, told, positions, actions, damaged)
    return Summary(
        name=store.path.resolve().name,
        schema=store.schema,
        about=read_about(store.path),
        episodes=told,
        dropped=len(index.dropped()),
        groups=tuple(_groups(told.values())),
        returns=returns,
        positions=positions.spread(),
        limits=limits_of(store.schema, positions),
        actions=actions.spread(),
        examples=tuple(examples),
        versions=versions,
        drawn=drawn,
        changed=changed,
        damaged=tuple(line.removeprefix(f"{store.path}/") for line in damaged),
    )


def _told(index: Index) -> Iterator[Told]:
    """Give what is told of each episode that is not dropped; texts that many have in common are kept once."""
    kept: dict[str, str] = {}
    names = [field.name for field in fields(Told)]
    dropped = index.dropped()
    for batch in index.episodes.select(names).to_batches(max_chunksize=10_000):
        for row in batch.to_pylist():
            if row["number"] not in dropped:
                told: dict[str, Any] = {k: kept.setdefault(v, v) if isinstance(v, str) else v for k, v in row.items()}
                yield Told(**told)


def _values(
    store: Store, told: Mapping[int, Told], positions: Gatherer, actions: Gatherer, damaged: list[str]
) -> tuple[dict[int, float], list[Example]]:
    """Read a sample of the episodes: return what rewards add up to, and examples."""
    numbers = list(told)
    if len(numbers) > MOST_READ:
        numbers = [numbers[i] for i in np.linspace(0, len(numbers) - 1, MOST_READ).astype(int)]
    shown = _examples(told, numbers)
    returns, examples = {}, []
    for number in numbers:
        try:
            episode = store.read(number)
        except DatasetError as problem:
            damaged.append(str(problem))
            continue
        returns[number] = float(np.asarray(episode.columns[REWARD], float).sum())
        positions.add(episode, slice(None))
        actions.add(episode, slice(None, -1))  # the last row has no action
        if number in shown and positions.channel is not None:
            rows = slice(None, None, max(1, episode.length // MOST_POINTS))
            time = np.asarray(episode.columns[TIMESTAMP][rows], float) * 1e-9
            joints = np.asarray(episode.columns[positions.channel.name][rows], float)
            examples.append(Example(told[number], time, joints))
    return returns, examples


def _groups(episodes: Iterable[Told]) -> list[Group]:
    found: dict[tuple[str, str, str], Group] = {}
    for one in episodes:
        key = (one.env_id, one.tier or "", one.policy)
        group = found.setdefault(key, Group(*key))
        group.episodes += 1
        group.successes += one.success is True
        group.unknown += one.success is None
    return sorted(found.values(), key=lambda g: (g.task, g.tier, g.policy))


def _examples(told: Mapping[int, Told], numbers: list[int]) -> set[int]:
    """Choose episodes to show: the first success, the first failure, and the longest of the others."""
    chosen: list[int] = []
    for wanted in (True, False):
        chosen += [n for n in numbers if told[n].success is wanted][:1]
    rest = sorted((n for n in numbers if n not in chosen), key=lambda n: -told[n].length)
    return set((chosen + rest)[:EXAMPLES])
