"""OpenDrawer: pull a drawer open."""

from __future__ import annotations

from training_ground.envs.tasks.manipulation._opening import Opening

OPEN = 0.3
"""m that the drawer must be pulled out."""
TRAVEL = 0.35
"""m that it can."""


class OpenDrawer(Opening):
    """Pull a drawer out by its handle, let go, and take the hand away.

    Template 6 of the catalogue: a cabinet of 0.5 m on a bench, a drawer of 3 kg ± 50 % with 0.35 m of travel and 2 to
    8 N of friction, kept shut by a detent of 15 N. Its pose, load and friction are drawn anew in each episode.

    **Success** holds once the drawer has stood open by 0.3 m or more for 0.5 s, at rest, the hand 5 cm or more away
    from its handle and touching nothing of it. The episode fails with `over_force` when a hand pulls with more than
    60 N.

    **Tiers.** `tight`: a flat drawer, 5 cm higher, with a bar of 10 mm that stands 45 mm off its front. `flow`: on the
    other side, 5 cm higher, up to 2 cm and 7 cm from its place. `disturbed`: dirty slides (10 to 16 N), masses ±60 %.

    **Reward**, at most 1 a step: hand near the handle, the drawer's travel, and the whole once done.
    """

    id = "OpenDrawer"
    instruction = "Pull the drawer open, let go of its handle, and take your hand away."
    cell = "drawer_station"
    handle, moves = "cabinet.handle", "cabinet.drawer"
    objects, mechanisms = (handle,), (moves,)
    wanted, most_force = OPEN / TRAVEL, 60.0
