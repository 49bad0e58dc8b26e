"""Errors: one type a layer, each message naming the field, the value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TrainingGroundError(Exception):
    """Base of every error that bad input can cause; `tg` prints it as one line and exits with status 2."""

    def __str__(self) -> str:
        # Messages quote files of strangers: nothing that a terminal would obey.
        return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in super().__str__())


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
