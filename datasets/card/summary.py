"""What a data card tells, gathered in one pass: outcomes of all episodes, values of a sample of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.catalog import load_model, robot_names
from training_ground.configs.errors import AssetError, DatasetError
from training_ground.datasets.about import About
from training_ground.datasets.about import read as read_about
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.schema import ACTION, REWARD, TIMESTAMP, DatasetSchema, EpisodeMetadata
from training_ground.datasets.store import Store

MOST_READ = 200
"""Episodes whose values are read; of more, so many are drawn evenly."""
EXAMPLES = 3
POSITIONS = ("joint_angle", "joint_position")
"""Channels that may hold the joints' positions, the truth first."""
MOST_DRAWN = 200
"""Randomised quantities that are told apart."""
MOST_POINTS = 400
"""Rows that are kept of an example, about."""
MOST_COMPONENTS = 1000
"""A channel with more is no joint vector."""
MOST_SAMPLES = 200_000
"""Rows that quantiles are taken from."""


@dataclass(frozen=True, eq=False)
class Spread:
    """How far the components of a channel went: (n,) each, over all rows that were read."""

    names: tuple[str, ...]
    unit: str
    low: NDArray[np.float64]
    q01: NDArray[np.float64]
    q99: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Example:
    """Joint positions of an episode over time: (rows,) s and (rows, n)."""

    number: int
    metadata: EpisodeMetadata
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
        metadata: Of every episode, by its number.
        returns: Sum of rewards by number, of the episodes whose values were read.
        positions, actions: How far joints and actions went; None where there are no numbers of that kind.
        limits: (n, 2) of the joints in `positions`; None where the robot is not known here as it was compiled.
        drawn: What randomisation drew: by dotted name, the values.
        damaged: Episodes that could not be read, one sentence each.
    """

    name: str
    schema: DatasetSchema
    about: About
    metadata: dict[int, EpisodeMetadata]
    groups: tuple[Group, ...]
    returns: dict[int, float]
    positions: Spread | None
    limits: NDArray[np.float64] | None
    actions: Spread | None
    examples: tuple[Example, ...]
    drawn: dict[str, list[Any]] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Steps of all episodes."""
        return sum(m.length for m in self.metadata.values())

    def counted(self, key: Callable[[EpisodeMetadata], Any]) -> list[tuple[Any, int]]:
        """Return what the episodes have for `key`, the most frequent first."""
        return Counter(key(m) for m in self.metadata.values()).most_common()


def summarise(store: Store, progress: Callable[[int], None] | None = None) -> Summary:
    """Read a store for its card.

    Args:
        store: Any, also an empty one.
        progress: Called with an episode's number after it was looked at.
    """
    metadata: dict[int, EpisodeMetadata] = {}
    damaged = []
    for number in store.episodes():
        try:
            metadata[number] = store.metadata(number)
        except DatasetError as problem:
            damaged.append(str(problem).removeprefix(f"{store.path}/"))
        if progress is not None:
            progress(number)
    numbers = list(metadata)
    if len(numbers) > MOST_READ:
        numbers = [numbers[i] for i in np.linspace(0, len(numbers) - 1, MOST_READ).astype(int)]
    shown = _examples(metadata, numbers)
    positions, actions = _Gatherer(store.schema, POSITIONS), _Gatherer(store.schema, (ACTION,))
    returns, examples = {}, []
    for number in numbers:
        try:
            episode = store.read(number)
        except DatasetError as problem:
            damaged.append(str(problem).removeprefix(f"{store.path}/"))
            continue
        returns[number] = float(np.asarray(episode.columns[REWARD], float).sum())
        positions.add(episode, slice(None))
        actions.add(episode, slice(None, -1))  # the last row has no action
        if number in shown and positions.channel is not None:
            rows = slice(None, None, max(1, episode.length // MOST_POINTS))
            time = np.asarray(episode.columns[TIMESTAMP][rows], float) * 1e-9
            joints = np.asarray(episode.columns[positions.channel.name][rows], float)
            examples.append(Example(number, episode.metadata, time, joints))
    return Summary(
        name=store.path.resolve().name,
        schema=store.schema,
        about=read_about(store.path),
        metadata=metadata,
        groups=tuple(_groups(metadata.values())),
        returns=returns,
        positions=positions.spread(),
        limits=_limits(store.schema, positions),
        actions=actions.spread(),
        examples=tuple(examples),
        drawn=_drawn(metadata.values()),
        damaged=tuple(damaged),
    )


class _Gatherer:
    """Spread of the first of some channels that a schema has as a vector of numbers."""

    def __init__(self, schema: DatasetSchema, names: Iterable[str]) -> None:
        by_name = {c.name: c for c in schema.channels if len(c.shape) == 1 and c.shape[0] <= MOST_COMPONENTS}
        self.channel = next((by_name[name] for name in names if name in by_name), None)
        self._parts: list[NDArray[np.float64]] = []
        self._low: NDArray[np.float64] | None = None
        self._high: NDArray[np.float64] | None = None

    def add(self, episode: Episode, rows: slice) -> None:
        if self.channel is None:
            return
        values = np.asarray(episode.columns[self.channel.name][rows], np.float64)
        values = values[np.isfinite(values).all(axis=1)]
        if not len(values):
            return
        low, high = values.min(axis=0), values.max(axis=0)
        self._low = low if self._low is None else np.minimum(self._low, low)
        self._high = high if self._high is None else np.maximum(self._high, high)
        self._parts.append(values[:: max(1, len(values) * MOST_READ // MOST_SAMPLES)])

    def spread(self) -> Spread | None:
        channel = self.channel
        if channel is None or self._low is None or self._high is None:
            return None
        names = channel.components or tuple(str(i) for i in range(channel.shape[0]))
        q01, q99 = np.quantile(np.concatenate(self._parts), [0.01, 0.99], axis=0)
        return Spread(tuple(names), channel.unit, self._low, q01, q99, self._high)


def _groups(metadata: Iterable[EpisodeMetadata]) -> list[Group]:
    found: dict[tuple[str, str, str], Group] = {}
    for m in metadata:
        key = (m.env_id, str(m.kwargs.get("tier") or ""), m.policy.name)
        group = found.setdefault(key, Group(*key))
        group.episodes += 1
        group.successes += m.success is True
        group.unknown += m.success is None
    return sorted(found.values(), key=lambda g: (g.task, g.tier, g.policy))


def _examples(metadata: Mapping[int, EpisodeMetadata], numbers: list[int]) -> set[int]:
    """Choose episodes to show: the first success, the first failure, and the longest of the others."""
    chosen: list[int] = []
    for wanted in (True, False):
        chosen += [n for n in numbers if metadata[n].success is wanted][:1]
    rest = sorted((n for n in numbers if n not in chosen), key=lambda n: -metadata[n].length)
    return set((chosen + rest)[:EXAMPLES])


def _drawn(metadata: Iterable[EpisodeMetadata]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                add(f"{name}.{key}" if name else str(key), item)
        elif isinstance(value, list) and len(value) <= 4:
            for index, item in enumerate(value):
                add(f"{name}[{index}]", item)
        elif value is not None and (name in found or len(found) < MOST_DRAWN):
            found.setdefault(name, []).append(value)

    for m in metadata:
        add("", m.randomisation)
    return found


def _limits(schema: DatasetSchema, positions: _Gatherer) -> NDArray[np.float64] | None:
    """Limits of the joints, if the robot is one of ours and was compiled as it is now."""
    channel = positions.channel
    # Only by a name of the catalogue: a dataset must not choose a file that is read here.
    if channel is None or channel.components != schema.joint_names or schema.robot not in robot_names():
        return None
    try:
        model = load_model(schema.robot, moving=schema.joint_names)
    except AssetError:
        return None
    if model.hash != schema.model_hash:
        return None
    return np.stack([model.lower, model.upper], axis=1)
