"""Whether a robot at given joint angles would run into itself or into its cell: tried out in a world of its own."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from training_ground.assets.poses import Array, Pose, quaternion_from_rotation
from training_ground.envs.cell_task import CellTask
from training_ground.envs.env import HumanoidEnv
from training_ground.envs.world import World

if TYPE_CHECKING:
    from training_ground.agents.experts.mechanism import Mechanism

DEEPEST = 0.002
"""m by which a link may reach into something: colliders are simplified shapes."""
OWN = 0.0005
"""m by which its links may reach into each other: they stop each other in the simulation as well."""


class Clearance:
    """A copy of a robot and of the cell around it, in which poses are tried out.

    Args:
        env: Of the robot and the cell.
    """

    def __init__(self, env: HumanoidEnv) -> None:
        self._env = env
        assert isinstance(env.task, CellTask)
        self._task, self._things = env.task, env.task.place.things
        self._world = World()
        self._body = self._world.load(env.model, fixed=True)
        self._copies = {
            name: self._world.add(thing.spec, name=name, fixed=True) for name, thing in self._things.items()
        }

    def look(self) -> None:
        """Take over where everything is now, as far as it is seen."""
        base = self._env.robot.base
        self._body.set_base(base.position, base.orientation)
        for name, thing in self._things.items():
            state, copy = self._task.seen(name), self._copies[name]
            copy.set_base(state.position, state.orientation)
            if thing.joint_names:
                copy.set_joints(list(thing.joint_position.values()))

    def put(self, mechanism: Mechanism, at: float) -> None:
        """Put a mechanism somewhere, m or rad, until the next look."""
        position = {**self._things[mechanism.item].joint_position, mechanism.joint: at}
        self._copies[mechanism.item].set_joints(list(position.values()))

    def blocked(
        self, joints: Array, *, touching: Collection[str] = (), slack: float = 0.0,
        apart: float = 0.0, carried: tuple[str, Pose] | None = None,
    ) -> str:  # fmt: skip
        """Return what the robot would run into with its joints (n) at these angles, as text; empty where nothing.

        Args:
            joints: rad.
            touching: Items that it may touch.
            slack: m by which it may reach deeper into anything than it may as a rule.
            apart: m by which it must stay away from things that it may not touch; 0 where it may graze them.
        carried: An item that it holds, and where that would be in the world: it must not run into anything either.
        """
        if carried is not None:
            where = carried[1]
            self._copies[carried[0]].set_base(
                where.position.tolist(), quaternion_from_rotation(where.rotation).tolist()
            )
        deepest = DEEPEST if apart == 0.0 else -apart
        self._body.set_joints(joints.tolist())
        self._world.detect_contacts()
        for contact in self._body.contacts():
            own = contact.other == self._body.name
            if contact.distance < -slack - (OWN if own else deepest) and contact.other not in touching:
                links = self._body.link_names
                return f"{links[contact.link]} into {contact.other_link if own else contact.other}"
        if carried is not None:
            for contact in self._copies[carried[0]].contacts():
                if contact.distance < -slack - deepest and contact.other != self._body.name:
                    return f"{carried[0]} into {contact.other}"
        return ""

    def close(self) -> None:
        """Free the copy."""
        self._world.close()
