"""The compiled model: what the compiler makes of a specification, and what every other layer reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame fixed in a link of the compiled model: one of the URDF's links, merged or not.

    Attributes:
        link: Link of the compiled model that carries the frame.
        position: (3,) origin in that link's frame, m.
        orientation: (4,) quaternion xyzw of the frame in that link's frame.
    """

    link: str
    position: Array
    orientation: Array


@dataclass(frozen=True, eq=False)
class FootModel:
    """A foot: its link, its side and the points of its sole, (k, 3) in the link's frame, m (the support polygon)."""

    link: str
    side: str
    sole: Array


@dataclass(frozen=True, eq=False)
class HandModel:
    """A hand: `frame` names an entry of `CompiledModel.frames`; `fingers` are joint names.

    Attributes:
        grip: The frame in which it grips, if it can: z out of the palm, the fingers close along x.
        open, closed: (k,) positions of the fingers' joints, rad (m where they slide); empty without a grip.
        tip: The frame of the finger that points along its z, if there is one; else `frame` presses.
        pointing: (k,) positions of the fingers' joints then.
    """

    side: str
    frame: str
    fingers: tuple[str, ...]
    grip: str | None = None
    open: tuple[float, ...] = ()
    closed: tuple[float, ...] = ()
    tip: str | None = None
    pointing: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Mirror:
    """Left/right symmetry of the joints: mirrored q = sign * q[permutation]."""

    permutation: NDArray[np.int64]
    sign: Array


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """A simulation-ready robot. Arrays have one entry a joint, in the order of `joint_names`.

    Of the joints in `sliding` the units have m for rad, N for N·m and kg for kg·m².

    Attributes:
        name: Robot name.
        hash: sha256 (hex) over the specification, the URDF, its meshes and the compiler's version.
        directory: Folder in the cache that holds the files below.
        urdf: URDF with colliders only.
        visual_urdf: The same with decimated visual meshes.
        base_link: Link of the floating base.
        link_names: Links, the base first, then each joint's child in the order of `joint_names`.
        joint_names: Joints in order (n).
        parents: Index in `link_names` of the link that each joint hangs on.
        default_position: rad.  work_position: the same with the hands ready to work, rad.
        lower, upper: position limits, rad.
        effort_limit: N·m.  velocity_limit: rad/s.  saturation: stall torque over effort limit.
        kp: N·m/rad.  kd: N·m·s/rad.  armature: kg·m².  friction: N·m.
        effective_inertia: 1/(M⁻¹)ⱼⱼ at the default pose with a floating base, armature included, kg·m².
        hanging_torque: Holds the default pose against gravity with the base fixed, N·m.
        standing_torque: Holds it on both feet, the weight shared evenly, N·m; hanging_torque without feet.
        principal_inertia: (n + 1, 3) moments of every link of `link_names` along its inertial frame's axes, armature
            included, kg·m². To be given to the engine after loading: Bullet's importer zeroes those that break the
            triangle inequality.
        mass: kg.
        default_height: Height of the base link's origin with the lowest sole point on the ground, default pose, m.
        torso_frame, imu_frame: keys of `frames`.
        frames: Every link of the source URDF, merged or not.
        mirror: Joint symmetry, or None where a joint has no twin.
        disabled_collisions: Link pairs of the compiled model that must not collide.
        notes: What the compiler decided or found that a person should know: overlaps at rest, unphysical inertias, no
            mirror.
        station: How far behind and above the place that a factory cell has for it it stands, m.
        waist_helps: Whether its trunk helps every arm that works alone there.
        not_in: Factory cells in which it cannot work, each with the reason.
        sliding: Those of `joint_names` that slide; the others turn. A slide's velocity limit is its controller's, see
            `ActuatorGroup.velocity`.
    """

    name: str
    title: str
    hash: str
    directory: Path
    urdf: Path
    visual_urdf: Path
    base_link: str
    link_names: tuple[str, ...]
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    default_position: Array
    work_position: Array
    lower: Array
    upper: Array
    effort_limit: Array
    velocity_limit: Array
    saturation: Array
    kp: Array
    kd: Array
    armature: Array
    friction: Array
    effective_inertia: Array
    hanging_torque: Array
    standing_torque: Array
    principal_inertia: Array
    mass: float
    default_height: float
    torso_frame: str
    imu_frame: str
    frames: dict[str, Frame]
    feet: tuple[FootModel, ...]
    hands: tuple[HandModel, ...]
    mirror: Mirror | None
    disabled_collisions: tuple[tuple[str, str], ...]
    stances: tuple[str, ...]
    notes: tuple[str, ...] = ()
    sliding: tuple[str, ...] = ()
    station: tuple[float, float] = (0.0, 0.0)
    waist_helps: bool = False
    not_in: Mapping[str, str] = field(default_factory=dict)

    def chain(self, link: str) -> tuple[str, ...]:
        """Names of the joints between the base and a link, from the base outwards."""
        names, index = [], self.link_names.index(link)
        while index:
            names.append(self.joint_names[index - 1])
            index = self.parents[index - 1]
        return tuple(reversed(names))

    @property
    def groups(self) -> dict[str, list[str]]:
        """Joints by what they move: `legs` one foot only, `arms` one hand only (with its fingers), `trunk` all hands.

        Each limb's from the base outwards; a group is empty where the robot has not two of what it moves.
        """
        feet = [self.chain(foot.link) for foot in self.feet]
        hands = [(*self.chain(self.frames[hand.frame].link), *hand.fingers) for hand in self.hands]
        return {"legs": _apart(feet), "arms": _apart(hands), "trunk": _shared(hands)}


def _apart(chains: list[tuple[str, ...]]) -> list[str]:
    """Joints of one chain only."""
    shared = Counter(joint for chain in chains for joint in chain)
    return [joint for chain in chains for joint in chain if shared[joint] == 1] if len(chains) > 1 else []


def _shared(chains: list[tuple[str, ...]]) -> list[str]:
    """Joints of all chains."""
    return [joint for joint in chains[0] if all(joint in chain for chain in chains)] if len(chains) > 1 else []
