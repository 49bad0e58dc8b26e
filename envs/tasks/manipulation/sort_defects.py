"""SortDefects: have a camera look at parts from all sides, and sort them."""

from __future__ import annotations

from typing import Any, ClassVar

from training_ground.envs.cell_task import CellTask
from training_ground.envs.channels import Channel
from training_ground.envs.rewards import near
from training_ground.envs.task import Outcome

PARTS = ("first", "second")
BINS = ("good", "reject")
MOST_FORCE = 40.0
"""N on a hand."""


class SortDefects(CellTask):
    """Have each of two capacitors inspected, and put it into the bin for good ones or into that for rejects.

    Template 23 of the catalogue: cans of Ø 40 mm × 110 mm, 0.18 kg; each is swollen with a chance of one half, and then
    a bulge 13 mm wide stands out by 3.5 mm from its wall, 28 mm over its bottom, on a side that is drawn as well. A
    turntable before a camera turns once, and back, when something is put on it. What tells the bulge is the channel
    `camera_inspection`, a picture; no other observation does. Rack, bins, parts, masses and frictions are drawn anew
    for each episode.

    **Success** holds once both have been in their bins for 0.5 s, at rest, touched by nobody, the hand 5 cm away. The
    episode fails with `wrong_item` when a part lies in the other bin, with `slip` when one lies anywhere else, and with
    `over_force` when a hand meets more than 40 N. Who puts both anywhere succeeds in one episode of four.

    **Tiers.** `tight`: the bulge stands out by 2.5 mm. `flow`: bins and rack have changed places. `disturbed`: a camera
    that was knocked by up to 1 cm and 0.6°, oily parts (friction 0.35 to 0.5), masses ±30 %, the rack and the bins
    bumped farther; in three episodes of five the camera gives black pictures for 2 to 6 s.

    **Metrics.** Of the episode's parts: `defective`, `rejected`, and `caught`, those that are both. Over many episodes
    caught / rejected is the precision, caught / defective the recall, 2 · caught / (rejected + defective) their F1.

    **Reward**, at most 1 a step; for each part: hand near it, part near its bin, part in it; and the whole once done.
    """

    id = "SortDefects"
    instruction = (
        "Look at each capacitor on the turntable; put swollen ones into the red bin, others into the green one."
    )
    stances = ("mounted",)  # on its feet its hips would begin in the bench
    cell = "inspection_station"
    objects = tuple(f"{name}.middle" for name in PARTS)
    places = ("good.floor", "reject.floor")
    mechanisms = ("table.scale", "table.platter")
    terms = ("reach", "place", "done")
    failures: ClassVar[tuple[str, ...]] = ("wrong_item", "slip", "over_force")
    phases = ("approach", "grasp", "carry", "inspect", "release")
    episode_length_s = 90.0

    def channels(self) -> tuple[Channel, ...]:
        """The truth about the parts, besides."""
        text = "Whether each part is swollen."
        return (*super().channels(), Channel("swollen", (len(PARTS),), "1", "none", "state", text, PARTS, "bool"))

    def values(self) -> dict[str, Any]:
        """The truth about the parts, besides."""
        return {**super().values(), "swollen": [self.swollen(name) for name in PARTS]}

    def swollen(self, name: str) -> bool:
        """Whether a part is."""
        return self.env.drawn["cell"][name]["faulty"]

    def evaluate(self) -> Outcome:
        """Judge the last control step."""
        bins = {name: BINS[self.swollen(name)] for name in PARTS}
        there = {name: self.inside(f"{name}.middle", bins[name]) for name in PARTS}
        touched = {name: self.touches(name) for name in PARTS}
        apart = {name: self.grip_distance(f"{name}.middle") for name in PARTS}
        away = {name: self.distance(f"{name}.middle", f"{bins[name]}.floor") for name in PARTS}
        free = all(self.at_rest(name) and not touched[name] and apart[name] > 0.05 for name in PARTS)
        success = self.done(all(there.values()) and free)
        failure = None
        if any(self.inside(f"{name}.middle", BINS[not self.swollen(name)]) and not touched[name] for name in PARTS):
            failure = "wrong_item"
        elif any(self._lost(name) and not touched[name] for name in PARTS):
            failure = "slip"
        elif self.steady("force", self.largest_force()) > MOST_FORCE:
            failure = "over_force"
        left = [name for name in PARTS if not there[name]]
        nearest = min(apart[name] for name in left) if left else 0.0
        terms = {
            "reach": 0.2 * (near(max(nearest - 0.05, 0.0), 0.2) if left else 1.0),
            "place": 0.5 * sum(1.0 if there[name] else 0.6 * near(away[name], 0.2) for name in PARTS) / len(PARTS),
            "done": 0.3 * float(success),
        }
        return Outcome(terms, success, failure, self._phase(left, touched))

    def _phase(self, left: list[str], touched: dict[str, bool]) -> str:
        held = [name for name in left if touched[name]]
        if not left or any(touched[name] for name in PARTS if name not in left):
            return "release"
        if not held:
            return "inspect" if self.devices.signals["loaded"] else "approach"
        return "grasp" if any(self._in_rack(name) for name in held) else "carry"

    def metrics(self) -> dict[str, float]:
        """Parts that are defective, rejected, and both, besides."""
        swollen = {name for name in PARTS if self.swollen(name)}
        rejected = {name for name in PARTS if self.inside(f"{name}.middle", "reject")}
        counts = {"defective": swollen, "rejected": rejected, "caught": swollen & rejected}
        return {**super().metrics(), **{name: float(len(parts)) for name, parts in counts.items()}}

    def turned(self) -> bool:
        """Whether the turntable has turned once, and is back."""
        return self.devices.machines["table"].state == "done" and self.travel("table.platter") < 0.01

    def _in_rack(self, name: str) -> bool:
        return self.distance(name, f"rack.{name}") < 0.02

    def _lost(self, name: str) -> bool:
        """Whether a part is low, and neither in the rack nor in a bin."""
        height = self.place.frame(f"{name}.middle").position[2] - self.place.frame("bench.top").position[2]
        kept = self._in_rack(name) or self.distance(name, "table.middle") < 0.05
        kept = kept or any(self.inside(f"{name}.middle", one) for one in BINS)
        return height < 0.1 and not kept
