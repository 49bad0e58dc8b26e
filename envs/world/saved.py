"""Exact states that the engine keeps."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

from training_ground.envs.world.engine import engine


class SavedState:
    """An exact state of a world; the engine forgets it when the last reference goes."""

    def __init__(self, client: int, world: weakref.finalize[..., Any]) -> None:
        self.id = engine.saveState(client)
        self.world = world
        self.laid = 0
        self.things: list[tuple[Any, ...]] = []
        weakref.finalize(self, _remove_state, self.id, client, world)


def _remove_state(state: int, client: int, world: weakref.finalize[..., Any]) -> None:
    # A closed world's client number may belong to another world by now, and its states must stay.
    if world.alive:
        with contextlib.suppress(engine.error):
            engine.removeState(state, client)
