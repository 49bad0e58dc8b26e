"""How to have parts looked at from all sides, and sort them."""

from __future__ import annotations

import math
from collections.abc import Generator

import numpy as np

from training_ground.agents.experts.expert import CannotReach, Steps
from training_ground.agents.experts.handling import TURNS, Handling, from_above, upright
from training_ground.agents.experts.looking import shows_bulge
from training_ground.assets.poses import Array, Pose
from training_ground.envs.tasks.manipulation.sort_defects import PARTS

LOOK_S = 0.4
"""s from picture to picture: the table turns by 0.8 rad meanwhile, and each shows 1.6 rad to either side."""
PRESSED = -0.003
"""m over the platter at which a part is let go: the scale has given way then, and the part stands firmly."""
LONGEST_S = 6.0
"""s for which the table may turn."""
ROOM = [(x, y) for x in (0.0, -0.035, 0.035) for y in (0.0, 0.035, -0.035)]
"""m from the middle of a bin where a part may stand as well."""
APART = 0.055
"""m between the axes of parts that stand beside each other."""


class SortDefects(Handling):
    """Part by part: put it on the turntable, look at the camera's pictures while it turns, put it away.

    What it knows of a bulge, it knows from the pictures.
    """

    def procedure(self) -> Steps:
        """Sort the parts, the nearer one first: the way of the other leads past its place."""
        side = self.nearest("rack")
        for part in reversed(PARTS):
            yield from self.take(side, part)
            swollen: bool | None = None
            while swollen is None:  # what was turned in the dark is put on the table once more
                yield from self.wait_for_light()
                table = self.standing(part, [self.frame("table.middle").position])
                yield from self.put(side, part, table, gap=PRESSED)
                swollen = yield from self.look()
                yield from self.take(side, part)
            places = self.room("reject" if swollen else "good", part)
            yield from self.put(side, part, self.standing(part, places), over=0.1, gap=0.004)
        yield from self.retreat(side)

    def take(self, side: str, part: str) -> Steps:
        """Grasp a part from above, whichever way round it is, and lift it."""
        yield from self.pick(side, part, lambda: from_above(self.frame(f"{part}.grasp").position))

    def look(self) -> Generator[None, None, bool | None]:
        """Wait until the table has turned once and back; returns whether a picture has shown a bulge meanwhile, and
        None where none has, but some were black.

        Raises:
            CannotReach: It does not turn, or the camera has not seen a part.
        """
        found, every, black = list[bool | None](), round(LOOK_S / self.env.control_timestep), False
        for i in range(round(LONGEST_S / self.env.control_timestep)):
            if i % every == 0:
                picture = self.task.picture("inspection")
                black |= not picture.any()
                found.append(shows_bulge(picture))
            if self.task.turned():
                if any(found):
                    return True
                if black:
                    return None
                if all(one is None for one in found):
                    raise CannotReach("the camera has seen no part")
                return False
            yield
        raise CannotReach(f"the turntable has not turned once after {LONGEST_S:g} s")

    def wait_for_light(self) -> Steps:
        """Wait until the camera's picture is not black."""
        while not self.task.picture("inspection").any():
            yield from self.wait(LOOK_S)

    def standing(self, part: str, places: list[Array]) -> list[Pose]:
        """Poses of a part that stands at one of several places (3), whichever way round."""
        return [upright(self.frame(part), place, turn) for place in places for turn in TURNS]

    def room(self, bin_: str, part: str) -> list[Array]:
        """Places (3) in a bin where a part may stand: not where another is."""
        floor = self.frame(f"{bin_}.floor").position
        others = [self.frame(f"{other}.middle").position[:2] for other in PARTS if other != part]
        places = [floor + np.array([x, y, 0.0]) for x, y in ROOM]
        return [place for place in places if all(math.dist(place[:2], other) > APART for other in others)]
