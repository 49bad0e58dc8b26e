"""Speed and separation monitoring: the distance that a robot must keep from a person at the speed that it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training_ground.envs.states import Nearness

WALKING = 1.6
"""m/s at which a person is taken to come (ISO 13855:2010, 6.2.3; ISO/TS 15066:2016, 5.5.4.2.3)."""
REACHING = 2.0
"""m/s of a hand, which counts where the distance is short (ISO 13855:2010, 6.2.3)."""
SHORT = 0.5
"""m up to which it does (ISO 13855:2010, 6.2.3)."""


@dataclass(frozen=True)
class Separation:
    """What a protective distance is made of beside the robot's speed.

    Attributes:
        reaction_s: T_r, from the event to the start of braking, s.
        stopping_s: T_s, from there to standstill, s.
        intrusion: C, m.
        uncertainty: Z_d + Z_r, m.
    """

    reaction_s: float
    stopping_s: float
    intrusion: float = 0.0
    uncertainty: float = 0.0

    def protective_distance(self, approach: float) -> float:
        """Return the distance in m that must be left between a robot and a person.

        S_p = S_h + S_r + S_s + C + Z_d + Z_r (ISO/TS 15066:2016, 5.5.4.2.3, equation 1; discussed by Marvel and
        Norcross, Robotics and Computer-Integrated Manufacturing 44 (2017) 144), with S_h = v_h (T_r + T_s),
        S_r = v_r T_r and S_s = v_r T_s, as if the robot braked only at the very end. The person comes at the speed of a
        hand where that gives no more than 0.5 m, else walks, and the distance is 0.5 m at least.

        Args:
            approach: v_r, speed of the robot towards the person, m/s; less than none counts as none.
        """
        reached = self._with(REACHING, approach)
        return reached if reached <= SHORT else max(SHORT, self._with(WALKING, approach))

    def _with(self, person: float, approach: float) -> float:
        moving = (person + max(approach, 0.0)) * (self.reaction_s + self.stopping_s)
        return moving + self.intrusion + self.uncertainty

    @property
    def farthest(self) -> float:
        """Distance in m from which on no robot of 3 m/s would be stopped: as far as it makes sense to look."""
        return self.protective_distance(3.0)

    def missing(self, near: Sequence[Nearness], moving: float) -> float:
        """Return by how much links are too near to a person for the speed at which they approach, m; negative where
        none is. Those that approach more slowly than `moving`, m/s, do not count."""
        lacks = [self.protective_distance(n.approach) - n.distance for n in near if n.approach > moving]
        return max(lacks, default=-self.farthest)
