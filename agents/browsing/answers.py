"""What the page asks for: each request is checked, then answered with plain data."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from training_ground.agents.browsing.listing import Filters, Listing
from training_ground.agents.browsing.opened import Opened
from training_ground.agents.browsing.replay import Replay
from training_ground.agents.browsing.series import phase_spans, plotted_channels, sample_shape, series
from training_ground.agents.report.motion import pack
from training_ground.configs.errors import AgentError, unknown
from training_ground.configs.loading import StrictModel, validate
from training_ground.datasets.annotations import FIELDS, ShortName
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.index import Index
from training_ground.datasets.labels import IN_FORCE, RECORDED, label
from training_ground.datasets.looking import picture_channels
from training_ground.datasets.quality import report as reports
from training_ground.datasets.quality.gate import EPISODE, check, load_limits
from training_ground.datasets.schema import PHASE, TIMESTAMP, Count
from training_ground.datasets.store import Store

Row = Annotated[int, Field(ge=0, le=2**53)]
MAX_EVENTS = 500
"""Recorded events that are shown."""
MAX_JSON = 4000
"""Letters of a value of the metadata, or of a record, beyond which it is cut."""
MAX_TIMES = 20_000
"""Rows whose times are sent one by one; of longer episodes only their mean distance."""
MAX_RECORDS = 500
"""Records of an episode's history that are shown, the newest ones."""


class One(StrictModel):
    """An episode by its number."""

    number: Row


class Place(Filters):
    """An episode, and the list in which it stands."""

    number: Row


class Stretch(StrictModel):
    """A stretch of a channel; see `series`."""

    number: Row
    channel: Annotated[str, Field(max_length=200)]
    first: Row = 0
    start: float = 0.0
    end: float | None = None
    buckets: Annotated[int, Field(ge=1, le=4000)] = 600


class Picture(StrictModel):
    """What a camera saw in a row."""

    number: Row
    channel: Annotated[str, Field(max_length=200)]
    row: Row


class Correction(StrictModel):
    """What a person says of an episode.

    Attributes:
        content_sha256: Of the episode that was looked at; another one under its number is not labelled.
        values: Field → value; None takes back what was said before.
    """

    number: Count
    content_sha256: Annotated[str, Field(max_length=64)]
    author: ShortName
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    values: Annotated[dict[str, Any], Field(min_length=1, max_length=len(FIELDS))]


class Answers:
    """Answers the page's requests about one store.

    Args:
        store: What is looked at; labels are written to it.
        author: Whom the page suggests as the author of labels.
    """

    def __init__(self, store: Store, author: str = "") -> None:
        self.store, self._author = store, author
        self._listing, self._opened, self._replay = Listing(store), Opened(store), Replay(store.schema)
        self._labelling = threading.Lock()
        self._limits = load_limits()
        self._asked = {
            "store": self._about,
            "episodes": self._episodes,
            "episode": self._episode,
            "series": self._series,
            "motion": self._motion,
            "figure": self._figure,
            "quality": self._quality,
            "picture": self._picture,
        }

    def get(self, name: str, query: Mapping[str, str]) -> dict[str, Any] | bytes:
        """Answer a question with plain data, or with the bytes of a PNG file.

        Raises:
            AgentError: There is no such question, or it is asked in a wrong way.
            DatasetError: What is asked for is not there, or is damaged.
        """
        if name not in self._asked:
            raise AgentError(unknown("question", name, self._asked))
        return self._asked[name](query)

    def correct(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Write a person's labels beside what was recorded, and return the episode's labels as they are now.

        Raises:
            AgentError: The request is malformed, or the episode is another one than the one looked at.
            DatasetError: A value is not allowed, or nothing can be written; then nothing is.
        """
        asked = validate(Correction, dict(data), "labels", AgentError)
        with self._labelling:
            index = self._listing.index()
            row = _row(index, asked.number)
            if row["content_sha256"] != asked.content_sha256:
                raise AgentError(f"episode {asked.number} is another one than was looked at: load the page again")
            written = label(index, {asked.number: asked.values}, asked.author, "person", asked.confidence)
            index = self._listing.index()
        return {"written": written, **_labels(index, asked.number)}

    def _about(self, query: Mapping[str, str]) -> dict[str, Any]:
        validate(StrictModel, dict(query), "store", AgentError)
        schema, rate = self.store.schema, self.store.schema.control_rate
        channels = plotted_channels(schema)
        return {
            "name": self.store.path.resolve().name,
            "robot": schema.robot,
            "instruction": schema.instruction,
            "control_rate": rate,
            "author": self._author,
            "fields": list(FIELDS),
            "pictures": picture_channels(schema),
            "no_replay": self._replay.missing(),
            "channels": [
                {
                    **channel.model_dump(include={"name", "unit", "frame", "role", "description"}),
                    "components": math.prod(sample_shape(channel, rate)),
                }
                for channel in channels.values()
            ],
        }

    def _episodes(self, query: Mapping[str, str]) -> dict[str, Any]:
        return self._listing.page(validate(Filters, dict(query), "filters", AgentError))

    def _episode(self, query: Mapping[str, str]) -> dict[str, Any]:
        place = validate(Place, dict(query), "episode", AgentError)
        filters = Filters.model_validate(place.model_dump(exclude={"number"}))
        index = self._listing.index()
        row = _row(index, place.number)
        episode = self._opened.episode(place.number)
        metadata = episode.metadata.model_dump(mode="json", exclude={"media", "cameras"})
        times = episode.columns[TIMESTAMP]
        return {
            "number": place.number,
            "metadata": {key: _short(value) for key, value in metadata.items()},
            "task": row["task"],
            "bytes": row["bytes"],
            "rows": len(times),
            "start": float(times[0]) * 1e-9,
            "period": float(times[-1] - times[0]) * 1e-9 / max(len(times) - 1, 1),
            "times": pack(times * 1e-9, "f4") if len(times) <= MAX_TIMES else "",
            "phases": phase_spans(episode.columns[PHASE]),
            "events": self._events(episode),
            "list": self._listing.neighbours(place.number, filters),
            **_labels(index, place.number),
        }

    def _events(self, episode: Episode) -> list[dict[str, Any]]:
        """Return what the simulator recorded to have happened: flags that rise, pushes, and how it ended."""
        found: list[tuple[int, str]] = []
        for channel in self.store.schema.channels:
            values = episode.columns[channel.name]
            if channel.role == "event" and channel.dtype == "bool" and values.ndim == 1:
                found += [
                    (int(row), channel.name) for row in np.flatnonzero(values & ~np.r_[False, values[:-1]])[:MAX_EVENTS]
                ]
        pushes = episode.columns.get("push_velocity")
        if pushes is not None:
            some = np.any(pushes.reshape(len(pushes), -1) != 0, axis=1)
            found += [(max(int(row) - 1, 0), "push") for row in np.flatnonzero(some)[:MAX_EVENTS]]
        if episode.metadata.failure:
            found.append((episode.length, episode.metadata.failure))
        return [{"row": row, "name": name} for row, name in sorted(found)[:MAX_EVENTS]]

    def _series(self, query: Mapping[str, str]) -> dict[str, Any]:
        asked = validate(Stretch, dict(query), "series", AgentError)
        given = asked.model_dump(include={"first", "start", "end", "buckets"})
        return series(self._opened.episode(asked.number), self.store.schema, asked.channel, **given)

    def _motion(self, query: Mapping[str, str]) -> dict[str, Any]:
        return self._replay.motion(self._opened.episode(validate(One, dict(query), "motion", AgentError).number))

    def _figure(self, query: Mapping[str, str]) -> dict[str, Any]:
        validate(StrictModel, dict(query), "figure", AgentError)
        return self._replay.figure()

    def _quality(self, query: Mapping[str, str]) -> dict[str, Any]:
        number = validate(One, dict(query), "quality", AgentError).number
        index = self._listing.index()
        _row(index, number)  # raises where there is none
        preset, limits = self._limits
        found = reports.to_json(check(self.store, limits, preset, episodes=[number], index=index))["episodes"][0]
        about = {measure.name: {"unit": measure.unit, "text": measure.text} for measure in EPISODE}
        return {**found, "preset": preset, "about": about}

    def _picture(self, query: Mapping[str, str]) -> bytes:
        asked = validate(Picture, dict(query), "picture", AgentError)
        return self._opened.picture(asked.number, asked.channel, asked.row)


def _row(index: Index, number: int) -> dict[str, Any]:
    at = int(np.searchsorted(index.numbers, number))
    if at >= len(index) or index.numbers[at] != number:
        index.store.metadata(number)  # raises, and says which there are, or what is wrong with this one
        raise AgentError(f"episode {number} is new: ask again")
    return index.episodes.slice(at, 1).to_pylist()[0]


def _short(value: Any) -> Any:
    """Return what a file says where it is of a length to be looked at; else how it begins."""
    text = json.dumps(value)
    return value if len(text) <= MAX_JSON else f"{text[:MAX_JSON]}… ({len(text)} letters)"


def _labels(index: Index, number: int) -> dict[str, Any]:
    """Return for each field what holds and who says so, what was recorded, and every record, newest first."""
    row, history = _row(index, number), index.history(number)
    labels: dict[str, dict[str, Any]] = {
        field: {"value": None, "source": None, "author": None, "confidence": None, "time_ns": None} for field in FIELDS
    }
    recorded = {field: row[f"{field}_recorded"] for field in RECORDED}
    for field, value in recorded.items():
        if value not in (None, ""):
            labels[field] |= {"value": value, "source": "simulator"}
    for one in history:
        if one["status"] == IN_FORCE:
            labels[one["field"]] = {key: one[key] for key in ("value", "source", "author", "confidence", "time_ns")}
    kept = ("field", "source", "author", "confidence", "time_ns", "status")
    shown = [{key: one[key] for key in kept} | {"value": _short(one["value"])} for one in history[::-1][:MAX_RECORDS]]
    return {
        "labels": labels,
        "recorded": recorded,
        "history": shown,
        "content_sha256": row["content_sha256"],
    }
