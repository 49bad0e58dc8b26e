"""Contact with a person, looked at after every physics step: how hard, where, for how long, against which limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from training_ground.assets.safety.regions import TRANSIENT_S, body_regions
from training_ground.envs.world import Thing

BOUNCE_S = 0.05
"""s without a touch after which a contact has ended: rigid links bounce off what they push against."""

LARGEST_TIMESTEP = 0.001
"""s of a physics step at most where there is a person: the peak of an impact is 5 to 20 ms wide, and the engine's
implicit spring loses the more of it the longer its step (tests/test_safety_contacts.py)."""


@dataclass
class Touches:
    """What a person has borne; saved and restored with the episode.

    Attributes:
        lasted: Of the contacts under way, by item and piece: s since it began, and s without a touch.
        now: Largest share of a limit in this control step.
        shares: Largest share of its limit by region, since the episode began.
        forces: Largest force by region, N.
    """

    lasted: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    now: float = 0.0
    shares: dict[str, float] = field(default_factory=dict)
    forces: dict[str, float] = field(default_factory=dict)


def look(touches: Touches, persons: Sequence[Thing], timestep: float) -> None:
    """Note what presses on persons after a physics step of `timestep` s.

    In the first 0.5 s of a contact the limit is the transient one, afterwards the quasi-static one. Whatever touches
    counts: the robot, and what it carries or pushes.
    """
    for person in persons:
        forces = person.pressed()
        if forces:
            _add(touches, person, forces, timestep)
    if touches.lasted:
        _forget(touches, timestep)


def _add(touches: Touches, person: Thing, forces: Mapping[str, float], timestep: float) -> None:
    limits, regions = body_regions(), person.spec.regions
    for piece, force in forces.items():
        region = regions.get(piece)
        if region is None:
            continue
        lasted = touches.lasted.get((person.name, piece), (0.0, 0.0))[0]
        limit = limits[region].transient_force if lasted < TRANSIENT_S else limits[region].force
        touches.now = max(touches.now, force / limit)
        touches.shares[region] = max(touches.shares.get(region, 0.0), force / limit)
        touches.forces[region] = max(touches.forces.get(region, 0.0), force)
        touches.lasted[person.name, piece] = lasted, -timestep


def _forget(touches: Touches, timestep: float) -> None:
    for key, (lasted, since) in list(touches.lasted.items()):
        if since + timestep > BOUNCE_S:
            del touches.lasted[key]
        else:
            touches.lasted[key] = lasted + timestep, since + timestep
