"""Shaping: one function that every reward term is built from."""

from __future__ import annotations

import math


def near(error: float, width: float) -> float:
    """Return 1 where `error` is 0, falling to exp(-1) where it is `width`: exp(-(error / width)²)."""
    ratio = error / width
    return math.exp(-ratio * ratio)
