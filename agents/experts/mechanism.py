"""A mechanism of a cell as a hand sees it: where what it carries will be once it has moved on."""

from __future__ import annotations

from training_ground.agents.experts.arm import pose_of
from training_ground.assets.poses import Pose, rotation_about
from training_ground.envs.cell_task import CellTask


class Mechanism:
    """A joint of a thing.

    Args:
        task: Of the cell.
        name: `item.joint`.

    Attributes:
        item, joint: The parts of its name.
        spec: What it is.
    """

    def __init__(self, task: CellTask, name: str) -> None:
        self.item, _, self.joint = name.partition(".")
        self._thing = task.place.things[self.item]
        self.spec = self._thing.spec.mechanisms[self.joint]

    @property
    def position(self) -> float:
        """Where it stands now, m or rad."""
        return self._thing.joint_position[self.joint]

    def moved(self, pose: Pose, to: float) -> Pose:
        """Return the pose, once it stands at `to` (m or rad), of something that moves along and now is at `pose`."""
        by, piece = to - self.position, pose_of(self._thing.link(self.joint))
        axis = piece.rotation @ self.spec.direction
        if self.spec.kind == "slide":
            return Pose(pose.rotation, pose.position + by * axis)
        turn = rotation_about(axis, by)
        return Pose(turn @ pose.rotation, piece.position + turn @ (pose.position - piece.position))
