"""Saved states belong to their world, also when the engine gives its number to another one."""

from __future__ import annotations

import gc
from typing import Any

from training_ground.envs.registration import make


def test_a_closed_world_leaves_the_states_of_the_next_one_alone():
    first: Any = make("Stand", robot="g1_legs")
    first.cycle = first  # collected late, as environments in reference cycles are
    number = first.world.client
    first.close()
    second = make("Stand", robot="g1_legs")
    assert second.world.client == number, "the engine no longer gives numbers again: this test proves nothing"
    del first
    gc.collect()
    second.reset(seed=1)
    second.close()
