"""What a library raises on a stranger's damaged file becomes one error that names the place."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from training_ground.configs.errors import DatasetError


@contextlib.contextmanager
def damage_named(where: str, kind: str, raised: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn what a library raises on a damaged file into a DatasetError.

    Args:
        where: File and place.
        kind: Name of the file's format.
        raised: What the library raises.
    """
    try:
        yield
    except raised as problem:
        said = " ".join(str(problem).split())[:200]
        raise DatasetError(f"{where}: is damaged, or no {kind} file that can be read: {said}") from problem
