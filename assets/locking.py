"""A robot with some of its joints locked: what the compiler merges, the engine need not simulate."""

from __future__ import annotations

from collections.abc import Collection
from fnmatch import fnmatchcase

from training_ground.assets.model import CompiledModel
from training_ground.assets.spec import ActuatorGroup, Hand, RobotSpec
from training_ground.assets.tree import by_pattern


def locked_spec(spec: RobotSpec, model: CompiledModel, moving: Collection[str]) -> RobotSpec:
    """Return the specification of the same robot with all joints but `moving` locked at the default pose.

    Args:
        spec: The whole robot.
        model: What it compiles to.
        moving: Names of the joints that stay.
    """
    joints = tuple(name for name in spec.joints if name in moving)
    rest = dict(zip(model.joint_names, model.default_position.tolist(), strict=True))
    return spec.model_copy(
        update={
            "joints": joints,
            "locked": {**spec.locked, **{name: rest[name] for name in spec.joints if name not in moving}},
            "default_pose": {name: rest[name] for name in joints if rest[name]},
            "work_pose": _work_pose(spec, joints),
            "actuators": tuple(_group(group, joints) for group in spec.actuators if _matched(group, joints)),
            "hands": tuple(_hand(hand, moving) for hand in spec.hands),
            "mirror_pairs": {a: b for a, b in spec.mirror_pairs.items() if a in moving and b in moving},
        }
    )


def _work_pose(spec: RobotSpec, joints: Collection[str]) -> dict[str, float]:
    chosen = by_pattern(spec.work_pose, spec.joints, "work_pose")
    return {name: angle for name, angle in chosen.items() if name in joints}


def _hand(hand: Hand, moving: Collection[str]) -> Hand:
    """A hand grips and points only with all of its fingers."""
    fingers = tuple(name for name in hand.fingers if name in moving)
    if fingers == hand.fingers:
        return hand
    return hand.model_copy(update={"fingers": fingers, "grip": None, "tip": None})


def _matched(group: ActuatorGroup, joints: Collection[str]) -> tuple[str, ...]:
    """Those of a group's patterns that still name a joint."""
    return tuple(pattern for pattern in group.match if any(fnmatchcase(name, pattern) for name in joints))


def _group(group: ActuatorGroup, joints: Collection[str]) -> ActuatorGroup:
    return group.model_copy(update={"match": _matched(group, joints)})
