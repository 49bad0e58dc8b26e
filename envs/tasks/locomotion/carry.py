"""Carry: follow a velocity command with a load in the hands."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator

from training_ground.assets.model import Mirror
from training_ground.envs.channels import Channel
from training_ground.envs.randomisation import NonNegativeRange
from training_ground.envs.tasks._laden import Laden
from training_ground.envs.tasks.locomotion.walk import Walk, WalkConfig

MOST = 20.0
"""kg."""


def _bearable(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[1] > MOST:
        raise ValueError(f"the second number must be at most {MOST:g} kg")
    return pair


class CarryConfig(WalkConfig):
    """Keyword arguments of Carry."""

    payload_mass: Annotated[NonNegativeRange, AfterValidator(_bearable)] = (0.0, 5.0)
    """Range of the load's mass, kg, shared evenly by the hands."""


class Carry(Laden, Walk):
    """Walk as commanded with a load that nobody has told the robot of, in spite of pushes.

    Walk with a mass of up to 5 kg, drawn for each episode and shared evenly by the hands: a point mass fixed at each
    hand's point. It is recorded, not observed: a policy has to feel it. Observations and actions are Walk's.

    **Success**, reward and failure are Walk's.
    """

    id = "Carry"
    instruction = "Walk with the commanded velocity and carry what is in your hands."
    config_type = CarryConfig
    adjustable = (*Walk.adjustable, "payload_mass")
    config: CarryConfig  # type: ignore[assignment]  # a narrower one

    def draw(self, generator: np.random.Generator) -> dict[str, Any]:
        """Draw the mass in each hand, kg."""
        hands = len(self.env.model.hands)
        return {"loads": [float(generator.uniform(*self.config.payload_mass)) / hands] * hands}

    def channels(self) -> tuple[Channel, ...]:
        """Walk's, and the load's mass, for the record."""
        return (*super().channels(), Channel("payload_mass", (), "kg", "none", "state", "Mass in all hands."))

    def mirror(self) -> dict[str, Mirror]:
        """Walk's; the load is the same."""
        return {**super().mirror(), "payload_mass": Mirror(np.arange(1), np.ones(1))}

    def values(self) -> dict[str, Any]:
        """Walk's, and the load's mass."""
        return {**super().values(), "payload_mass": sum(self.env.drawn["loads"])}
