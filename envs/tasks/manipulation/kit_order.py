"""KitOrder: the parts of an order, each into its compartment of a kit tray."""

from __future__ import annotations

from itertools import combinations
from typing import Any, ClassVar

import numpy as np

from training_ground.assets.events import Priority
from training_ground.envs import rotations
from training_ground.envs.cell_task import CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

PARTS = ("block", "round", "bar")
ORDERS = [some for count in (1, 2, 3) for some in combinations(PARTS, count)]
WITHIN = (0.035, 0.038, 0.045)
"""m along the tray's axes that a part's middle may be from its compartment's."""
LIFTED = 0.08
"""m over its place from which a part that was not ordered counts as taken."""
TAKEN = 0.01
"""m over its place from which on a part has been taken for the order that is due."""
MOST_FORCE = 40.0
"""N on a hand."""


class KitOrder(CellTask):
    """Take the parts of an order out of a tote and put each into its compartment of a kit tray.

    Templates 27 and 28 of the catalogue, at a bench: a standing block, a standing cylinder and a lying block, 0.08 to
    0.2 kg. The order, one to three parts, is drawn anew in each episode, as are poses, masses and frictions; the
    channel `order` tells it.

    **Success** holds once every part of the order has stood in its compartment for 0.5 s, and no other part in the
    tray, all at rest, touched by nobody. The episode fails with `wrong_item` when a part that was not ordered is lifted
    by 8 cm, with `slip` when a part lies outside of tote and tray, and with `over_force` when a hand meets more than
    40 N.

    **Tiers.** `tight`: a block of 48 mm and a cylinder of 58 mm, 0.2 and 0.4 kg, in the same compartments of 70 mm.
    `flow`: the parts have changed places. `disturbed`: a tray that was knocked askew by up to 0.3 rad,
    slippery parts (friction 0.35 to 0.5), masses ±30 %; in seven episodes of ten another order comes first after 1 to 8
    s. It is the one that counts then; parts that have been taken by then belong to it as well.

    **Reward**, at most 1 a step: hand near a part that is missing, share of the order that is in its place, and the
    whole once done.
    """

    id = "KitOrder"
    instruction = "Put the parts of the order into their compartments of the kit tray, and no other parts."
    cell = "kit_station"
    objects = tuple(f"{name}.middle" for name in PARTS)
    places = ("tray",)
    terms = ("reach", "place", "done")
    failures: ClassVar[tuple[str, ...]] = ("wrong_item", "slip", "over_force")
    phases = ("approach", "grasp", "carry", "release")
    episode_length_s = 45.0

    def channels(self) -> tuple[Channel, ...]:
        """The order, besides."""
        text = "1 for each part that is ordered."
        return (*super().channels(), Channel("order", (len(PARTS),), "1", "none", "observation", text, PARTS))

    def values(self) -> dict[str, Any]:
        """The order, besides."""
        return {**super().values(), "order": [float(name in self.order) for name in PARTS]}

    @property
    def asked(self) -> str:
        """The parts by their names."""
        names = {"block": "the standing block", "round": "the cylinder", "bar": "the lying block"}
        *first, last = [names[name] for name in self.order]
        parts = f"{', '.join(first)} and {last}" if first else last
        return f"Put {parts} into the kit tray, each into its compartment, and no other parts."

    @property
    def order(self) -> list[str]:
        """The parts that are ordered."""
        return self.state.values["order"]

    def reset(self, generator: np.random.Generator) -> None:
        """Draw the order."""
        super().reset(generator)
        count = int(generator.integers(1, len(PARTS) + 1))
        drawn = sorted(generator.choice(len(PARTS), count, replace=False).tolist())
        self.state.values["order"] = [PARTS[i] for i in drawn]
        self.state.values["floor"] = {name: self.place.frame(name).position[2] for name in PARTS}
        if any(isinstance(event, Priority) for event in self.events.spec.values()):
            others = [some for some in ORDERS if set(some) != set(self.order)]
            self.state.values["next"] = list(others[int(generator.integers(len(others)))])

    def change_order(self) -> None:
        """Another order is due: what has been taken for the old one is part of it as well."""
        floor = self.state.values["floor"]
        taken = [
            name
            for name in self.order
            if self.touches(name) or self.there(name) or self.place.frame(name).position[2] - floor[name] > TAKEN
        ]
        self.state.values["order"] = [name for name in PARTS if name in taken or name in self.state.values["next"]]

    def there(self, name: str) -> bool:
        """Whether a part is in its compartment."""
        part, place = self.place.frame(f"{name}.middle"), self.place.frame(f"tray.{name}")
        offset = [a - b for a, b in zip(part.position, place.position, strict=True)]
        local = rotations.rotate_inverse(place.orientation, offset)
        return all(abs(part) < most for part, most in zip(local, WITHIN, strict=True))

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        order, floor = self.order, self.state.values["floor"]
        there = [name for name in PARTS if self.there(name)]
        missing = [name for name in order if name not in there]
        touched = [name for name in PARTS if self.touches(name)]
        lifted = {name: self.place.frame(name).position[2] - floor[name] for name in PARTS}
        still = all(self.at_rest(name) for name in order)
        success = self.done(not missing and len(there) == len(order) and still and not touched)
        failure = None
        if any(name not in order and (name in there or lifted[name] > LIFTED) for name in PARTS):
            failure = "wrong_item"
        elif any(self._lost(name, lifted[name], there, touched) for name in PARTS):
            failure = "slip"
        elif self.steady("force", self.largest_force()) > MOST_FORCE:
            failure = "over_force"
        if not touched:
            phase = "release" if not missing else "approach"
        elif touched[0] in there:
            phase = "release"
        else:
            phase = "grasp" if lifted[touched[0]] < 0.01 else "carry"
        apart = min((self.grip_distance(f"{name}.middle") for name in missing), default=0.0)
        terms = {
            "reach": 0.2 * near(max(apart - 0.04, 0.0), 0.2),
            "place": 0.5 * (len(order) - len(missing)) / len(order),
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, failure, phase)

    def _lost(self, name: str, lifted: float, there: list[str], touched: list[str]) -> bool:
        """Whether a part lies on the bench or on the floor, and is not just falling out of a hand that fails."""
        if self.events.falls(name):
            return False
        out = name not in there and name not in touched and not self.inside(f"{name}.middle", "source")
        return out and lifted < 0.03
