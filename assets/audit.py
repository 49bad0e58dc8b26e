"""Is a robot physically right? The checks that need theory and the compiled model, but no engine.

Those that drop the robot into the engine are in `envs/audit.py`, which also runs these.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from training_ground.assets.dynamics import gain_share
from training_ground.assets.model import CompiledModel
from training_ground.assets.poses import Array
from training_ground.assets.reference import Reference
from training_ground.assets.spec import RobotSpec

Verdict = Literal["pass", "fail", "info"]

TIMESTEP = 0.005
"""Physics step for which gains are checked, s."""
GAIN_SHARE = 0.8
"""Share of the explicit-PD stability bound that gains may use at the default pose."""
SYMMETRY = 0.05
"""Largest difference of mirrored mass matrices, each entry over the geometric mean of its two diagonal entries.
Published models differ by up to a few per cent: cables and batteries are where they are."""
SUPPORT_MARGIN = 0.015
"""Least distance of the centre of mass from the edge of the support polygon at the default pose, m."""
FRICTION = 0.7
"""Coulomb coefficient assumed between sole and ground when joint torques are asked for."""


@dataclass(frozen=True)
class AuditRow:
    """One check of one robot.

    Attributes:
        robot: Its name.  check: What was looked at.
        value: The number found, None where there is none.
        limit: What it must not exceed (or fall below, if the check says "at least").  unit: Of both; 1 for a ratio.
        verdict: `info` rows are for reading.
        detail: What it is about; for a failure the joint or link, and the remedy.
    """

    robot: str
    check: str
    value: float | None
    limit: float | None
    unit: str
    verdict: Verdict
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain data."""
        return asdict(self)


def row(
    robot: str, check: str, value: float, limit: float, unit: str, detail: str, *, remedy: str = "", least: bool = False
) -> AuditRow:
    """Return a row that passes if `value` does not exceed `limit` (or, with `least`, does not fall below it)."""
    good = bool(np.isfinite(value)) and (value >= limit if least else value <= limit)
    text = detail if good or not remedy else f"{detail}: {remedy}"
    return AuditRow(robot, check, float(value), float(limit), unit, "pass" if good else "fail", text)


def theory_rows(
    spec: RobotSpec, model: CompiledModel, reference: Reference, random: np.random.Generator
) -> list[AuditRow]:
    """Return every row that needs no engine; `reference` has the model's armature."""
    checks = (limit_rows, gain_rows, coupled_gain_rows, symmetry_rows, stability_rows, holding_rows)
    return [found for check in checks for found in check(spec, model, reference, random)]


def limit_rows(spec: RobotSpec, model: CompiledModel, _: Reference, __: np.random.Generator) -> Iterator[AuditRow]:
    """Position limits in order, the default pose inside them, effort and speed positive."""
    problems = []
    for i, name in enumerate(model.joint_names):
        low, high, rest = model.lower[i], model.upper[i], model.default_position[i]
        if low >= high:
            problems.append(f"{name}: lower {low:g} is not below upper {high:g} rad: set them in position_limits")
        elif not low <= rest <= high:
            problems.append(f"{name}: default {rest:g} is outside [{low:g}, {high:g}] rad: correct default_pose")
        if not model.effort_limit[i] > 0 or not model.velocity_limit[i] > 0:
            problems.append(f"{name}: effort and velocity must be positive: set them in its actuator group")
    for problem in problems:
        yield row(model.name, "joint limits", 1.0, 0.0, "1", problem)
    if not problems:
        count = len(spec.position_limits)
        corrected = f"; {count} patterns under position_limits replace the URDF's" if count else ""
        yield row(model.name, "joint limits", 0.0, 0.0, "1", f"{len(model.joint_names)} joints{corrected}")


def gain_rows(_: RobotSpec, model: CompiledModel, __: Reference, ___: np.random.Generator) -> Iterator[AuditRow]:
    """Each joint's gains against the stability bound of explicit PD, with I = 1/(M⁻¹)ⱼⱼ at the default pose."""
    inertia = model.effective_inertia
    used = gain_share(model.kp, model.kd, inertia, TIMESTEP)
    worst = int(np.argmax(used))
    shown = sorted({worst, *np.flatnonzero(used > GAIN_SHARE).tolist()})
    for i in shown:
        yield row(
            model.name, "PD stability, one joint", used[i], GAIN_SHARE, "1", f"{model.joint_names[i]}",
            remedy=_gain_remedy(float(model.kp[i]), float(model.kd[i]), float(inertia[i])),
        )  # fmt: skip


def _gain_remedy(kp: float, kd: float, inertia: float) -> str:
    room = 4 * inertia * GAIN_SHARE
    milliseconds = 1000 * TIMESTEP
    greatest = (room - kp * TIMESTEP**2) / (2 * TIMESTEP)
    if greatest > 0:
        return f"kd {kd:g} exceeds {greatest:.2g} at {milliseconds:g} ms with kp {kp:g}: lower kd or raise armature"
    most = room / TIMESTEP**2
    return f"kp {kp:g} exceeds {most:.3g} at {milliseconds:g} ms even without kd: lower kp or raise armature"


def coupled_gain_rows(
    _: RobotSpec, model: CompiledModel, reference: Reference, random: np.random.Generator, postures: int = 50
) -> Iterator[AuditRow]:
    """All gains together: the largest eigenvalue of M⁻¹ (Kp dt² + 2 Kd dt) must stay below 4.

    For symmetric M, Kp, Kd the same criterion holds along every eigenvector. At postures drawn between the position
    limits the full bound is allowed, at the default pose `GAIN_SHARE` of it.
    """
    from scipy.linalg import eigh

    floating = "free" in model.stances
    start = 0 if floating else 6
    stiffness = np.diag(np.r_[np.zeros(6 - start), model.kp * TIMESTEP**2 + 2 * model.kd * TIMESTEP])

    def at(position: Array) -> tuple[float, str]:
        values, vectors = eigh(stiffness, reference.mass_matrix(position)[start:, start:])
        share = stiffness.diagonal() * vectors[:, -1] ** 2
        first, second = np.argsort(-share)[:2] - (6 - start)
        return float(values[-1]) / 4, f"{model.joint_names[first]} and {model.joint_names[second]}"

    value, joints = at(model.default_position)
    remedy = "move together too stiffly: lower their kd or kp, or raise their armature"
    yield row(model.name, "PD stability, default pose", value, GAIN_SHARE, "1", joints, remedy=remedy)
    drawn = [at(random.uniform(model.lower, model.upper)) for _ in range(postures)]
    value, joints = max(drawn)
    yield row(model.name, f"PD stability, {postures} postures", value, 1.0, "1", joints, remedy=remedy)


def symmetry_rows(
    spec: RobotSpec, model: CompiledModel, reference: Reference, random: np.random.Generator
) -> Iterator[AuditRow]:
    """Left against right: limits and gains by the joint map, dynamics by the mirrored mass matrix."""
    if model.mirror is None:
        reason = next((note for note in model.notes if note.startswith("no mirror")), "no mirror")
        yield AuditRow(model.name, "left/right symmetry", None, None, "1", "fail" if spec.symmetric else "info", reason)
        return
    order, sign = model.mirror.permutation, model.mirror.sign
    flipped_lower = np.where(sign > 0, model.lower[order], -model.upper[order])
    flipped_upper = np.where(sign > 0, model.upper[order], -model.lower[order])
    columns = {
        "position limits": np.abs(flipped_lower - model.lower) + np.abs(flipped_upper - model.upper),
        "default pose": np.abs(sign * model.default_position[order] - model.default_position),
        **{
            name: np.abs(values[order] - values) / np.maximum(values, 1e-9)
            for name, values in (
                ("kp", model.kp), ("kd", model.kd), ("armature", model.armature), ("effort", model.effort_limit),
                ("speed", model.velocity_limit),
            )
        },
    }  # fmt: skip
    differences = [(float(d.max()), f"{key} of {model.joint_names[int(d.argmax())]}") for key, d in columns.items()]
    value, what = max(differences)
    rows = [
        row(model.name, "left/right settings", value, 2e-3, "1", what if value > 0 else "equal",
            remedy="differs from its twin's; make them equal, or set symmetric: false"),
        _mirrored_dynamics(model, reference, random),
    ]  # fmt: skip
    for found in rows:
        informed = found.verdict == "fail" and not spec.symmetric
        yield AuditRow(**{**found.to_json(), "verdict": "info"}) if informed else found


def _mirrored_dynamics(model: CompiledModel, reference: Reference, random: np.random.Generator) -> AuditRow:
    assert model.mirror is not None
    order, sign = model.mirror.permutation, model.mirror.sign
    # Reflection in the x-z plane turns a velocity's y and an angular velocity's x and z around.
    turn = np.zeros((6 + len(order),) * 2)
    turn[:6, :6] = np.diag([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    turn[6 + np.arange(len(order)), 6 + order] = sign
    worst, where = 0.0, (0, 0)
    for _ in range(5):
        q = random.uniform(model.lower, model.upper)
        matrix, mirrored = reference.mass_matrix(q), reference.mass_matrix(sign * q[order])
        scale = np.sqrt(np.outer(matrix.diagonal(), matrix.diagonal()))
        difference = np.abs(turn.T @ mirrored @ turn - matrix) / scale
        if difference.max() > worst:
            worst = float(difference.max())
            where = tuple(int(i) for i in np.unravel_index(difference.argmax(), difference.shape))
    names = ["base"] * 6 + list(model.joint_names)
    return row(
        model.name, "left/right dynamics", worst, SYMMETRY, "1", f"most at {names[where[0]]} and {names[where[1]]}",
        remedy="a mass, inertia or frame differs between the sides; correct the URDF, or set symmetric: false",
    )  # fmt: skip


def _soles(model: CompiledModel, reference: Reference) -> list[tuple[str, Array, Array]]:
    """Return (link, points (k, 3) in the link, the same in the base frame) of every foot, default pose."""
    placed = reference.frames(model.default_position, (np.zeros(3), np.eye(3)))
    result = []
    for foot in model.feet:
        position, rotation = placed[foot.link]
        result.append((foot.link, foot.sole, foot.sole @ rotation.T + position))
    return result


def stability_rows(
    _: RobotSpec, model: CompiledModel, reference: Reference, __: np.random.Generator
) -> Iterator[AuditRow]:
    """Whether the centre of mass stands over the soles, and whether these are on one level."""
    if not model.feet or "free" not in model.stances:
        return
    from scipy.spatial import ConvexHull

    points = np.vstack([sole for _, _, sole in _soles(model, reference)])
    yield row(
        model.name, "soles on one level", float(np.ptp(points[:, 2])), 0.002, "m", "default pose",
        remedy="the soles tilt or differ in height; make hip, knee and ankle pitch of default_pose add up to zero",
    )  # fmt: skip
    hull = ConvexHull(points[:, :2])
    centre = reference.centre_of_mass(model.default_position)
    margin = float(-(hull.equations[:, :2] @ centre[:2] + hull.equations[:, 2]).max())
    ahead = 1000 * float(centre[0] - points[:, 0].mean())
    yield row(
        model.name, "centre of mass over the soles, at least", margin, SUPPORT_MARGIN, "m", "default pose",
        remedy=f"it is {ahead:.0f} mm before the soles' middle; change hips or ankles in default_pose",
        least=True,
    )  # fmt: skip


def holding_rows(
    _: RobotSpec, model: CompiledModel, reference: Reference, __: np.random.Generator
) -> Iterator[AuditRow]:
    """Whether the motors can hold the default pose: the least possible largest share of a torque limit.

    Mounted, the torques are gravity's. Standing, contact forces at the soles' corners are free within the friction
    pyramid and carry the weight: a linear program finds those that ask least of the motors.
    """
    gravity = reference.gravity_force(model.default_position, np.eye(3))
    if "mounted" in model.stances:
        share = np.abs(gravity[6:]) / model.effort_limit
        i = int(np.argmax(share))
        yield row(model.name, "torque to hang mounted", share[i], 1.0, "1", model.joint_names[i],
                  remedy="gravity exceeds its effort limit; raise effort or change default_pose")  # fmt: skip
    if model.feet and "free" in model.stances:
        share, joint = _standing_share(model, reference, gravity)
        yield row(model.name, "torque to stand", share, 1.0, "1", joint,
                  remedy="standing exceeds its effort limit; raise effort or change default_pose")  # fmt: skip


def _standing_share(model: CompiledModel, reference: Reference, gravity: Array) -> tuple[float, str]:
    from scipy.optimize import linprog

    jacobians = [
        reference.point_jacobian(model.default_position, link, point)
        for link, sole, _ in _soles(model, reference)
        for point in sole
    ]
    push = np.vstack(jacobians).T  # (6 + n, 3 k): generalised force of unit contact forces
    forces = push.shape[1]
    limit = model.effort_limit[:, None]
    # Unknowns: contact forces, and the share. |gravity - push f| <= share * limit for the joints.
    rows = np.vstack([np.hstack([-push[6:], -limit]), np.hstack([push[6:], -limit])])
    bounds = np.concatenate([-gravity[6:], gravity[6:]])
    pyramid = np.zeros((4 * forces // 3, forces + 1))
    for k in range(forces // 3):
        for j, (axis, side) in enumerate(((0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0))):
            pyramid[4 * k + j, 3 * k + axis] = side
            pyramid[4 * k + j, 3 * k + 2] = -FRICTION / np.sqrt(2)
    solved = linprog(
        np.r_[np.zeros(forces), 1.0],
        A_ub=np.vstack([rows, pyramid]),
        b_ub=np.r_[bounds, np.zeros(len(pyramid))],
        A_eq=np.hstack([push[:6], np.zeros((6, 1))]),
        b_eq=gravity[:6],
        bounds=[(0.0, None) if i % 3 == 2 else (None, None) for i in range(forces)] + [(0.0, None)],
    )
    if not solved.success:
        return float("inf"), "no contact forces hold the default pose"
    torque = gravity[6:] - push[6:] @ solved.x[:-1]
    return float(solved.x[-1]), model.joint_names[int(np.argmax(np.abs(torque) / model.effort_limit))]
