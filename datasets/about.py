"""`about.json`: what people say of a dataset, and no recording can know: title, licence, who made it, its limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import Field

from training_ground.configs.errors import DatasetError
from training_ground.configs.loading import StrictModel, validate
from training_ground.datasets.files import read_regular, write_over
from training_ground.datasets.layout import ABOUT
from training_ground.datasets.schema import parse_json

MAX_ABOUT_BYTES = 1 << 20

Line = Annotated[str, Field(max_length=500)]


class About(StrictModel):
    """What people say of a dataset.

    Attributes:
        title: A name for people.
        description: What it was recorded for, in a paragraph.
        licence: SPDX identifier such as `CC-BY-4.0`, or the address of a licence; empty means that nobody may use it.
        creators: People or organisations.
        url: Where it is published.
        published: The day, `YYYY-MM-DD`.
        version: `MAJOR.MINOR.PATCH`.
        limits: What a user must know, a sentence each.
    """

    title: Line = ""
    description: Annotated[str, Field(max_length=20_000)] = ""
    licence: Line = ""
    creators: Annotated[tuple[Line, ...], Field(max_length=100)] = ()
    url: Annotated[str, Field(pattern=r"^(https?://[^\s<>\"]{1,500})?$")] = ""
    published: Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""
    version: Annotated[str, Field(pattern=r"^(\d{1,4}\.\d{1,4}\.\d{1,4})?$")] = ""
    limits: Annotated[tuple[Annotated[str, Field(max_length=2_000)], ...], Field(max_length=100)] = ()


def read(folder: Path) -> About:
    """Read a store's `about.json`; what nobody has written is empty.

    Raises:
        DatasetError: It is damaged.
    """
    path = folder / ABOUT
    if not path.exists() and not path.is_symlink():
        return About()
    return validate(About, parse_json(read_regular(path, MAX_ABOUT_BYTES), str(path)), str(path), DatasetError)


def update(folder: Path, **fields: object) -> About:
    """Write the fields that are given and not empty over those in `about.json`, and return all.

    Raises:
        DatasetError: One is not allowed, or the file is damaged or cannot be written.
    """
    before = read(folder)
    new = {key: value for key, value in fields.items() if value}
    about = validate(About, {**before.model_dump(), **new}, str(folder / ABOUT), DatasetError)
    if about != before:
        write_over(folder / ABOUT, (json.dumps(about.model_dump(mode="json"), indent=1) + "\n").encode())
    return about
