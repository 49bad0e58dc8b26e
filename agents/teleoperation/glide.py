"""Joints on their way to angles: no faster, and speeding up and slowing down no harder, than they may."""

from __future__ import annotations

import numpy as np

from training_ground.assets.poses import Array


class Glide:
    """Moves joints.

    Args:
        fastest: (n) rad/s.
        quickest: (n) rad/s².
        dt: Time from one step to the next, s.
    """

    def __init__(self, fastest: Array, quickest: Array, dt: float) -> None:
        self.fastest, self._quickest, self._dt = fastest, quickest, dt
        self._speed = np.zeros(len(fastest))

    def step(self, now: Array, goals: Array) -> Array:
        """Return angles (n), rad, a step after `now` on the way to `goals`; where both are the same nothing moves."""
        left = goals - now
        harder = self._quickest * self._dt
        # As fast as it can be for a step and still stop at the goal.
        most = np.sqrt(harder**2 / 4.0 + 2.0 * self._quickest * np.abs(left)) - harder / 2.0
        wish = np.sign(left) * np.minimum(most, np.minimum(self.fastest, np.abs(left) / self._dt))
        self._speed = np.where(left == 0.0, 0.0, np.clip(wish, self._speed - harder, self._speed + harder))
        there = now + self._speed * self._dt
        return np.where((goals - there) * left < 0.0, goals, there)
