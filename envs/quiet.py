"""Silence for C code that prints to the program's own streams."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silent(descriptor: int) -> Iterator[None]:
    """Drop what C code prints to standard output (1) or error (2), which belong to the program."""
    (sys.stdout if descriptor == 1 else sys.stderr).flush()
    saved, null = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, descriptor)
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)
        os.close(null)
