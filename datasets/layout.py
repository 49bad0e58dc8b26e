"""Where what stands in a store: names of its folders and files."""

from __future__ import annotations

import re

DESCRIPTION = "dataset.json"
ABOUT = "about.json"
RECORD = "cleaning.json"
"""Of a store that was made by cleaning: what became of every episode of the source, those left out included."""
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
EPISODES, MEDIA, ANNOTATIONS, LINEAGE, SPLITS, TRASH = "episodes", "media", "annotations", "lineage", "splits", "trash"

_NUMBER = r"(\d{6}|[1-9]\d{6,11})"
"""As `f"{number:06d}"` writes it: no number has two names."""
FILES = {
    ANNOTATIONS: re.compile(rf"annotation_{_NUMBER}\.json", re.ASCII),
    EPISODES: re.compile(rf"episode_{_NUMBER}\.parquet", re.ASCII),
    LINEAGE: re.compile(rf"lineage_{_NUMBER}\.json", re.ASCII),
    MEDIA: re.compile(r"([0-9a-f]{64})\.mkv", re.ASCII),
    SPLITS: re.compile(r"[a-z][a-z0-9_]{0,31}\.json", re.ASCII),
}
"""Folders that hold data, and what a file in them is called."""
ACTION = re.compile(rf"action_{_NUMBER}\.json", re.ASCII)
PURGED = re.compile(rf"episode_{_NUMBER}\.purged", re.ASCII)
"""In the trash, besides episodes: the record of an action, and what keeps the number of a purged episode taken."""


def episode_number(name: str) -> int | None:
    """Return the number of an episode's file by its name; None where it is none."""
    match = FILES[EPISODES].fullmatch(name)
    return int(match[1]) if match else None


def episode_name(number: int) -> str:
    """Return the name of an episode's file."""
    return f"episode_{number:06d}.parquet"
