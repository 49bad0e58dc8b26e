"""Find legs, arms, hands and trunk in a URDF's tree, from where its ends are and from how its joints are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from training_ground.assets.poses import Array, Pose
from training_ground.assets.symmetry import twin
from training_ground.assets.urdf import Joint, Urdf

Side = Literal["left", "right"]
PATTERNS = (
    *(("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT")),
    *(("l_", "r_"), ("L_", "R_"), ("_l", "_r"), ("_L", "_R"), ("L", "R"), ("l", "r")),
)
"""What may tell a left joint's name from its right twin's; the first that pairs the most joints is taken."""
LEG_JOINTS = 3
ARM_JOINTS = 2


@dataclass(frozen=True)
class Limb:
    """A leg or an arm: the link at its end, its joints from the trunk on, and the finger joints beyond its link."""

    link: str
    side: Side
    joints: tuple[str, ...]
    fingers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Anatomy:
    """What was found; `legs` and `arms` are empty or a left and a right one. Joint names in `order` are all
    actuated ones.
    """

    base: str
    base_reason: str
    torso: str
    torso_reason: str
    legs: tuple[Limb, ...]
    no_legs: str
    arms: tuple[Limb, ...]
    order: tuple[str, ...]
    pattern: tuple[str, str]
    pairs: int


class _Chains:
    """The tree of moving links: chains of actuated joints and places at zero, in the root's frame."""

    def __init__(self, urdf: Urdf, actuated: Sequence[Joint]) -> None:
        self.urdf = urdf
        self.above = urdf.joint_above()
        names = {joint.name for joint in actuated}
        self.chain = {link: self._chain(link, names) for link in urdf.links}
        self.place = {link: self._place(link).position for link in urdf.links}
        moved = {joint.child for joint in actuated}
        inner = {name for link in moved for name in self.chain[link][:-1]}
        self.ends = [j.child for j in actuated if j.name not in inner]

    def _chain(self, link: str, names: set[str]) -> tuple[str, ...]:
        found: list[str] = []
        while link in self.above:
            joint = self.above[link]
            if joint.name in names:
                found.append(joint.name)
            link = joint.parent
        return tuple(reversed(found))

    def _place(self, link: str) -> Pose:
        pose = Pose()
        while link in self.above:
            pose = self.above[link].pose @ pose
            link = self.above[link].parent
        return pose


def find_anatomy(urdf: Urdf, actuated: Sequence[Joint]) -> Anatomy:
    """Find the parts of a humanoid whose zero posture is upright, z up in the root's frame.

    Args:
        urdf: The robot.
        actuated: Its joints that are neither fixed nor locked.
    """
    chains = _Chains(urdf, actuated)
    base, base_reason = _base(urdf, actuated)
    names = tuple(joint.name for joint in actuated)
    pattern, pairs = _pattern(names)
    legs, no_legs = _legs(chains, pattern)
    arms = _arms(chains, legs, pattern)
    torso, torso_reason = _torso(chains, arms, base)
    return Anatomy(
        base, base_reason, torso, torso_reason, legs, no_legs, arms, _order(names, legs, arms, chains), pattern, pairs
    )


def _base(urdf: Urdf, actuated: Sequence[Joint]) -> tuple[str, str]:
    link = urdf.root
    fixed = [j for j in urdf.joints.values() if j.parent == link]
    if urdf.links[link].inertia.mass == 0.0 and len(fixed) == 1 and fixed[0] not in actuated:
        return fixed[0].child, f"the root '{link}' has no mass and carries only this"
    return link, "the root of the tree"


def _pattern(names: tuple[str, ...]) -> tuple[tuple[str, str], int]:
    def pairs(pattern: tuple[str, str]) -> int:
        return sum(twin(name, pattern, names) != name for name in names) // 2

    best = max(PATTERNS, key=pairs)
    return best, pairs(best)


def _side(name: str, place: Array, pattern: tuple[str, str], names: Sequence[str]) -> Side:
    """Left by its joint's name where names come in pairs; else by its place: a robot looks along x, its left is y."""
    other = twin(name, pattern, tuple(names))
    if other != name:
        # The left name gives the right one when its first differing part is the pattern's left.
        at = next(i for i, (a, b) in enumerate(zip(name + " ", other + " ", strict=False)) if a != b)
        starts = [i for i in range(at + 1) if name.startswith(pattern[0], i) and i + len(pattern[0]) > at]
        return "left" if starts else "right"
    return "left" if place[1] > 0 else "right"


def _legs(chains: _Chains, pattern: tuple[str, str]) -> tuple[tuple[Limb, ...], str]:
    ends = [end for end in chains.ends if len(chains.chain[end]) >= LEG_JOINTS]
    if len(ends) < 2:
        return (), f"fewer than two ends with {LEG_JOINTS} joints or more"
    heights = np.array([chains.place[link][2] for link in chains.urdf.links])
    tall = float(np.ptp(heights))
    low = sorted(ends, key=lambda end: chains.place[end][2])[:2]
    names = [name for chain in chains.chain.values() for name in chain]
    found = [
        Limb(end, _side(chains.chain[end][0], chains.place[end], pattern, names), chains.chain[end]) for end in low
    ]
    found.sort(key=lambda limb: limb.side)
    first, second = (chains.place[end] for end in low)
    if {limb.side for limb in found} != {"left", "right"}:
        return (), "the two lowest ends are on the same side"
    if abs(first[2] - second[2]) > 0.05 * tall or max(first[2], second[2]) > -0.2 * tall:
        return (), "the two lowest ends are not below the base at one height"
    if set(found[0].joints) & set(found[1].joints):
        return (), "the two lowest ends share joints"
    return tuple(found), ""


def _arms(chains: _Chains, legs: tuple[Limb, ...], pattern: tuple[str, str]) -> tuple[Limb, ...]:
    names = [name for chain in chains.chain.values() for name in chain]
    used = {name for leg in legs for name in leg.joints}
    groups: dict[Side, list[str]] = {"left": [], "right": []}
    for end in chains.ends:
        chain = chains.chain[end]
        sided = next((name for name in chain if twin(name, pattern, tuple(names)) != name), None)
        if used & set(chain) or len(chain) < ARM_JOINTS or (sided is None and abs(chains.place[end][1]) < 0.05):
            continue
        groups[_side(sided or chain[-1], chains.place[end], pattern, names)].append(end)
    found = [_arm(chains, side, ends) for side, ends in groups.items() if ends]
    whole = [limb for limb in found if limb is not None]
    return tuple(whole) if len(whole) == 2 else ()


def _arm(chains: _Chains, side: Side, ends: list[str]) -> Limb | None:
    """Join the ends of one side: what they share is the arm, what they do not are fingers."""
    shared: list[str] = []
    for together in zip(*(chains.chain[end] for end in ends), strict=False):
        if len(set(together)) > 1:
            break
        shared.append(together[0])
    if len(shared) < ARM_JOINTS:
        return None
    fingers = dict.fromkeys(name for end in ends for name in chains.chain[end][len(shared) :])
    return Limb(chains.urdf.joints[shared[-1]].child, side, tuple(shared), tuple(fingers))


def _torso(chains: _Chains, arms: tuple[Limb, ...], base: str) -> tuple[str, str]:
    if not arms:
        return base, "no arms were found, so it is the base"
    shared = [a for a, b in zip(arms[0].joints, arms[1].joints, strict=False) if a == b]
    if not shared:
        return base, "both arms hang on the base"
    return chains.urdf.joints[shared[-1]].child, "both arms hang on it"


def _order(names: tuple[str, ...], legs: tuple[Limb, ...], arms: tuple[Limb, ...], chains: _Chains) -> tuple[str, ...]:
    """Left leg, right leg, trunk, left arm, right arm, the rest (head), left and right fingers."""
    trunk = [a for a, b in zip(arms[0].joints, arms[1].joints, strict=False) if a == b] if arms else []
    fingers = [name for arm in arms for name in arm.fingers]
    parts = [name for leg in legs for name in leg.joints] + trunk + [name for arm in arms for name in arm.joints]
    rest = [name for name in names if name not in parts and name not in fingers]
    return tuple(dict.fromkeys([*parts, *rest, *fingers]))
