"""Errors: one type a layer, each message naming the field, the value and what is allowed."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

LONGEST = 2000
"""Letters of a message: what a file holds may be of any length."""
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 20


class TrainingGroundError(Exception):
    """Base of every error that bad input can cause; `tg` prints it as one line and exits with status 2."""

    def __str__(self) -> str:
        text = super().__str__()
        return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


class ConfigError(TrainingGroundError):
    """A configuration file, key or override is wrong."""


class AssetError(TrainingGroundError):
    """A robot specification, URDF or mesh is wrong or missing."""


class SimulationError(TrainingGroundError):
    """An environment was asked for something that it cannot do."""


class DatasetError(TrainingGroundError):
    """A store, an episode file or an export is wrong, damaged or would overwrite something."""


class AgentError(TrainingGroundError):
    """A policy, a bundle or a training run is wrong."""


def printable(text: str) -> str:
    """Return a text with all that a terminal might obey as `\\x1b` or the like: files of strangers are quoted in it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def short(value: object) -> str:
    """Return `repr(value)` for an error message, of some hundred letters at most."""
    return _SHORT.repr(value)


def unknown(kind: str, name: object, allowed: Iterable[str]) -> str:
    """Return `unknown robot 'g2': did you mean 'g1'? Allowed: g1, talos` for an error message.

    Args:
        kind: What the name should have named, such as "robot".
        name: The name that was given.
        allowed: Every name that would have been right.
    """
    names = sorted(str(a) for a in allowed)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f": did you mean '{close[0]}'?" if close else "."
    listed = ", ".join(names) if names else "none"
    return f"unknown {kind} '{name}'{hint} Allowed: {listed}"
