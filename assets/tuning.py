"""Rotor inertia, limits and gains for a robot of which only the URDF is known."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from training_ground.assets.audit import TIMESTEP
from training_ground.assets.dynamics import gravity_force, mass_matrix
from training_ground.assets.poses import Array
from training_ground.assets.spec import ActuatorGroup, RobotSpec
from training_ground.assets.symmetry import twin
from training_ground.assets.tree import Tree, build_tree, by_pattern
from training_ground.assets.urdf import Urdf

Index = NDArray[np.intp]

ARMATURE_PER_EFFORT = 1.5e-4
"""kg·m² a N·m of torque limit: the Unitree G1's actuators have 1.2 to 1.8e-4."""
LEAST_ARMATURE = 1e-4
FREQUENCY = 8.0
"""Undamped natural frequency of a joint with all others free, Hz."""
DAMPING_RATIO = 0.7
SATURATION_ANGLE = 0.15
"""Least error at which a gain alone may ask for the whole torque limit, rad."""
SHARE_AT_REST, SHARE_ANYWHERE = 0.6, 0.85
"""Shares of the explicit-PD stability bound that the gains may use at the default pose, and at any posture tried."""
SANE_EFFORT, SANE_SPEED = 1000.0, 50.0
POSTURES = 40


def tuned(urdf: Urdf, spec: RobotSpec) -> tuple[list[ActuatorGroup], list[tuple[str, str, str]]]:
    """Choose armature, effort, speed and gains of every joint.

    Gains start from a natural frequency and a damping ratio with each joint's effective inertia, then shrink, joint
    by joint, until the coupled explicit-PD bound is kept with a margin. Twins get the same.

    Args:
        urdf: The robot, corrected.
        spec: `joints`, `locked`, `default_pose`, `stances` and `mirror_pattern` are read.

    Returns:
        One group a joint or pair of twins; and (field, value, reason) of every choice.
    """
    pairs = np.array([spec.joints.index(twin(n, spec.mirror_pattern, spec.joints)) for n in spec.joints])
    bare = build_tree(urdf, spec, dict.fromkeys(spec.joints, 0.0))
    effort, speed, reasons = _limits(urdf, spec, bare, pairs)
    armature = np.maximum(ARMATURE_PER_EFFORT * effort, LEAST_ARMATURE)
    tree = build_tree(urdf, spec, dict(zip(spec.joints, armature.tolist(), strict=True)))
    kp, kd, shrunk = _gains(tree, spec, pairs, effort)
    reasons = _joined(reasons)
    how = f"{FREQUENCY:g} Hz and damping ratio {DAMPING_RATIO:g} with each joint's effective inertia"
    lower = f"lowered for {shrunk} joints to stay stable at {1000 * TIMESTEP:g} ms" if shrunk else "stable as they are"
    per_effort = f"{ARMATURE_PER_EFFORT:g} kg·m² a N·m of effort, as the G1 has"
    reasons.append(("armature", f"{armature.min():.2g} to {armature.max():.2g}", per_effort))
    reasons.append(("kp", f"{kp.min():.3g} to {kp.max():.3g}", f"{how}; {lower}"))
    reasons.append(("kd", f"{kd.min():.2g} to {kd.max():.2g}", "from kp, inertia and damping ratio"))
    groups = []
    for i, name in enumerate(spec.joints):
        if pairs[i] < i:
            continue
        joint = urdf.joints[name]
        match = (name,) if pairs[i] == i else (name, spec.joints[pairs[i]])
        groups.append(
            ActuatorGroup(
                match=match, kp=_rounded(kp[i]), kd=_rounded(kd[i]), armature=_rounded(armature[i]),
                effort=None if effort[i] == joint.effort and effort[pairs[i]] == effort[i] else _rounded(effort[i]),
                velocity=None if speed[i] == joint.velocity and speed[pairs[i]] == speed[i] else _rounded(speed[i]),
            )
        )  # fmt: skip
    return groups, reasons


def _joined(reasons: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Say once what holds for many joints: values are `joint number`."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for field, value, reason in reasons:
        joint, _, number = value.rpartition(" ")
        groups.setdefault((field, number, reason), []).append(joint)
    return [
        (field, f"{joints[0] if len(joints) == 1 else f'{len(joints)} joints'} {number}", reason)
        for (field, number, reason), joints in groups.items()
    ]


def _rounded(value: float, digits: int = 3) -> float:
    """Round down, so that no gain leaves its bound by rounding."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - digits + 1)
    return float(f"{math.floor(value / step + 1e-9) * step:.{digits}g}")


def _limits(urdf: Urdf, spec: RobotSpec, tree: Tree, pairs: Index) -> tuple[Array, Array, list[tuple[str, str, str]]]:
    """Take the URDF's effort and speed limits where they are sane, the twin's where only that is, else an
    estimate.
    """
    weight = np.zeros(len(spec.joints))
    random = np.random.default_rng(0)
    for _ in range(POSTURES):
        weight = np.maximum(weight, np.abs(gravity_force(tree, _drawn(urdf, spec, random))[6:]))
    reasons: list[tuple[str, str, str]] = []
    columns = []
    for field, most, estimate in (
        ("effort", SANE_EFFORT, np.maximum(3.0 * weight, 1.0)),
        ("velocity", SANE_SPEED, np.full(len(weight), 10.0)),
    ):
        given = [getattr(urdf.joints[name], field) for name in spec.joints]
        sane = [value is not None and 0 < value < most for value in given]
        values = np.empty(len(given))
        for i, name in enumerate(spec.joints):
            twin_index = int(pairs[i])
            if sane[i]:
                values[i] = given[i]
                continue
            values[i] = given[twin_index] if sane[twin_index] else _rounded(max(estimate[i], estimate[twin_index]))
            source = f"its twin {spec.joints[twin_index]}" if sane[twin_index] else (
                "three times gravity's largest torque" if field == "effort" else "a usual speed")  # fmt: skip
            reasons.append((field, f"{name} {values[i]:g}", f"the URDF says {given[i]}; from {source}"))
        columns.append(values)
    return columns[0], columns[1], reasons


def _drawn(urdf: Urdf, spec: RobotSpec, random: np.random.Generator) -> Array:
    limits = [(urdf.joints[name].lower, urdf.joints[name].upper) for name in spec.joints]
    low = np.array([-np.pi if value is None else value for value, _ in limits])
    high = np.array([np.pi if value is None else value for _, value in limits])
    return random.uniform(low, high)


def _gains(tree: Tree, spec: RobotSpec, pairs: Index, effort: Array) -> tuple[Array, Array, int]:
    """Return kp, kd and how many joints had to be lowered."""
    start = 0 if "free" in spec.stances else 6
    urdf_joints = [body.joint for body in tree.bodies[1:]]
    rest = np.array([by_pattern(spec.default_pose, spec.joints, "default_pose").get(n, 0.0) for n in spec.joints])
    random = np.random.default_rng(1)
    low = np.array([-np.pi if j is None or j.lower is None else j.lower for j in urdf_joints])
    high = np.array([np.pi if j is None or j.upper is None else j.upper for j in urdf_joints])
    postures = [rest, *(random.uniform(low, high) for _ in range(POSTURES))]
    matrices = [mass_matrix(tree, q)[start:, start:] for q in postures]
    inertia = 1.0 / np.diag(np.linalg.inv(matrices[0]))[6 - start :]
    inertia = np.minimum(inertia, inertia[pairs])
    omega = 2 * np.pi * FREQUENCY
    kp = np.minimum(inertia * omega**2, effort / SATURATION_ANGLE)
    kd = 2 * DAMPING_RATIO * np.sqrt(kp * inertia)
    lowered = np.ones(len(kp))
    for number, matrix in enumerate(matrices):
        allowed = 4 * (SHARE_ANYWHERE if number else SHARE_AT_REST)
        for _ in range(200):
            stiffness = np.r_[np.zeros(6 - start), (kp * TIMESTEP**2 + 2 * kd * TIMESTEP) * lowered]
            values, vectors = eigh(np.diag(stiffness), matrix)
            if values[-1] <= allowed:
                break
            share = (stiffness * vectors[:, -1] ** 2)[6 - start :]
            guilty = share > 0.15 * share.max()
            lowered[guilty | guilty[pairs]] *= 0.9
    return kp * lowered, kd * lowered, int(np.count_nonzero(lowered < 1.0))
