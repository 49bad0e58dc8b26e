"""Whether a robot at given joint angles would run into itself or into its cell: tried out in a world of its own."""

from __future__ import annotations

from collections.abc import Collection

from training_ground.assets.poses import Array
from training_ground.envs.cell_task import CellTask
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.world import World

DEEPEST = 0.002
"""m by which a link may reach into something: colliders are simplified shapes."""


class Clearance:
    """A copy of a robot and of the cell around it, in which poses are tried out.

    Args:
        env: Of the robot and the cell.
    """

    def __init__(self, env: HumanoidEnv) -> None:
        self._env = env
        assert isinstance(env.task, CellTask)
        self._things = env.task.place.things
        self._world = World()
        self._body = self._world.load(env.model, fixed=True)
        self._copies = {
            name: self._world.add(thing.spec, name=name, fixed=True) for name, thing in self._things.items()
        }

    def look(self) -> None:
        """Take over where everything is now."""
        base = self._env.robot.base
        self._body.set_base(base.position, base.orientation)
        for name, thing in self._things.items():
            state, copy = thing.state, self._copies[name]
            copy.set_base(state.position, state.orientation)
            if thing.joint_names:
                copy.set_joints(list(thing.joint_position.values()))

    def blocked(self, joints: Array, *, touching: Collection[str] = ()) -> str:
        """Return what the robot would run into with its joints (n) at these angles, as text; empty where nothing.

        Args:
            joints: rad.
            touching: Items that it may touch.
        """
        self._body.set_joints(joints.tolist())
        self._world.detect_contacts()
        for contact in self._body.contacts():
            if contact.distance < -DEEPEST and contact.other not in touching:
                links = self._body.link_names
                own = contact.other == self._body.name
                return f"{links[contact.link]} into {contact.other_link if own else contact.other}"
        return ""

    def close(self) -> None:
        """Free the copy."""
        self._world.close()
