"""OpenDoor: slide a machine's door open."""

from __future__ import annotations

from training_ground.envs.tasks.manipulation._opening import Opening


class OpenDoor(Opening):
    """Slide the door of a machine open by its handle, let go, and take the hand away.

    Template 5 of the catalogue: a door of 0.66 × 0.76 m with 0.45 m of travel before the machine's opening, 10 to 25 N
    of friction, kept shut by a detent of 25 N. The machine's pose and the friction are drawn anew in each episode.

    **Success** holds once the door has stood open by 95 % of its travel or more for 0.5 s, at rest, the hand 5 cm or
    more away from its handle and touching nothing of it. The episode fails with `over_force` when a hand pulls with
    more than 80 N.

    **Tiers.** `tight`: a bar of 12 mm × 0.16 m that stands 50 mm off the door, where it is 22 mm × 0.3 m and stands
    70 mm off. `flow`: a door that slides to the left, the machine 5 cm and 7° from its place instead of 3 cm and 5°.
    `disturbed`: worn rails (30 to 40 N), the machine up to 9° askew.

    **Reward**, at most 1 a step: hand near the handle, the door's travel, and the whole once done.
    """

    id = "OpenDoor"
    instruction = "Slide the machine's door open, let go of its handle, and take your hand away."
    cell = "machine_front"
    handle, moves = "machine.handle", "machine.door"
    objects, mechanisms = (handle,), (moves,)
    wanted, most_force = 0.95, 80.0
