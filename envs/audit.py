"""Is the robot that the engine simulates the one that its URDF describes?

Nothing here trusts the engine's own formulas: forces are applied, a step is taken, and what moves is compared with
Pinocchio on the source URDF. From a state of rest one step of length dt changes velocities by exactly dt M⁻¹ τ, so
steps under unit forces give the inverse mass matrix of the simulated body, colliders, importer and all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from training_ground.assets.attaching import assembled
from training_ground.assets.audit import AuditRow, row, theory_rows
from training_ground.assets.catalog import load_spec
from training_ground.assets.compiler import compile_spec
from training_ground.assets.corrections import corrected
from training_ground.assets.model import Array, CompiledModel
from training_ground.assets.poses import quaternion_from_rotation, skew
from training_ground.assets.reference import GRAVITY, Reference, pinocchio
from training_ground.assets.sources import find_files
from training_ground.assets.spec import RobotSpec
from training_ground.assets.tree import build_tree
from training_ground.assets.urdf import read_urdf
from training_ground.assets.writing import write_urdf
from training_ground.configs.errors import AssetError
from training_ground.envs.world import Body, World

RELATIVE = 1e-6
"""Largest difference from Pinocchio, over the largest entry."""
TOUCH = 0.001
"""Distance below which a link counts as touching, m."""


def audit_robot(
    name_or_path: str | Path, *, configurations: int = 100, seed: int = 0, after: Callable[[str], None] | None = None
) -> list[AuditRow]:
    """Run every check on one robot.

    Args:
        name_or_path: A robot's name or a specification's path.
        configurations: Random configurations, base orientations and joint angles, for mass matrix, gravity and
            kinematics.
        seed: Of the random generator.
        after: Called with the name of each part that is done.

    Returns:
        The rows; a robot that does not compile has one failing row with the reason.

    Raises:
        AssetError: Unknown robot, a specification that is none, or Pinocchio is not installed.
    """
    spec = load_spec(name_or_path)
    random = np.random.default_rng(seed)
    pinocchio()  # before the slow compilation: says at once if Pinocchio is missing
    try:
        model = compile_spec(spec)
    except AssetError as problem:
        return [AuditRow(spec.name, "compiles", None, None, "1", "fail", str(problem))]
    done = after or (lambda part: None)
    rows = []
    for part, found in (
        ("without armature", lambda: _without_armature(spec, model, configurations, random)),
        ("with armature", lambda: _with_armature(spec, model, configurations, random)),
        ("theory", lambda: theory_rows(spec, model, Reference(spec, armature=model.armature), random)),
        ("contacts", lambda: contact_rows(model)),
        ("motion", lambda: motion_rows(model)),
    ):
        rows.extend(found())
        done(part)
    return rows


def _without_armature(
    spec: RobotSpec, model: CompiledModel, configurations: int, random: np.random.Generator
) -> list[AuditRow]:
    """Merge the URDF as the compiler does, but with bare links; compare with Pinocchio on the URDF as it is."""
    urdf = corrected(assembled(read_urdf(find_files(spec.source).urdf), spec), spec)
    tree = build_tree(urdf, spec, dict.fromkeys(spec.joints, 0.0))
    limits = list(zip(model.lower, model.upper, model.effort_limit, model.velocity_limit, strict=True))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bare.urdf"
        write_urdf(path, spec.name, tree, [()] * len(tree.bodies), limits)
        moments = np.array([body.inertia.principal()[1] for body in tree.bodies])
        bare = replace(model, urdf=path, principal_inertia=moments)
        return dynamics_rows(bare, Reference(spec), "", configurations, random)


def _with_armature(
    spec: RobotSpec, model: CompiledModel, configurations: int, random: np.random.Generator
) -> Iterator[AuditRow]:
    reference = Reference(spec, armature=model.armature)
    yield from dynamics_rows(model, reference, " with armature", configurations, random)
    ideal = Reference(spec, rotor=model.armature).mass_matrix(model.default_position)
    emulated = reference.mass_matrix(model.default_position)
    share = np.abs(ideal - emulated)[6:, 6:] / np.sqrt(np.outer(ideal.diagonal(), ideal.diagonal()))[6:, 6:]
    i, j = (int(k) for k in np.unravel_index(share.argmax(), share.shape))
    names = model.joint_names
    detail = f"armature turns with the link, a real rotor only with its joint; most at {names[i]} and {names[j]}"
    yield AuditRow(model.name, "armature emulation against ideal rotors", float(share[i, j]), None, "1", "info", detail)


class Bench:
    """One robot alone in space, its joints without motors: forces go in, accelerations come out.

    Generalised velocities and forces are as in `assets/reference.py`.
    """

    def __init__(self, model: CompiledModel, *, gravity: float) -> None:
        self.model = model
        self.world = World(timestep=0.001, gravity=gravity)
        self.body: Body = self.world.load(model, self_collision=False)
        self.body.drive(model.link_names[1:])

    def place(self, position: Array, rotation: Array, velocity: Array | None = None) -> None:
        """Set joint angles (n,), base orientation (3, 3) and generalised velocity (6 + n,)."""
        v = np.zeros(6 + len(position)) if velocity is None else velocity
        quaternion = quaternion_from_rotation(rotation).tolist()
        linear, angular = (rotation @ v[:3]).tolist(), (rotation @ v[3:6]).tolist()
        self.body.set_base([0.0, 0.0, 0.0], quaternion, linear, angular)
        self.body.set_joints(position.tolist(), v[6:].tolist())

    def acceleration(self, rotation: Array, force: Array) -> Array:
        """Step once from where the robot was placed; return the derivative (6 + n,) of the generalised velocity."""
        before, joints_before = np.array(self.body.read_frames([])[0]), np.array(self.body.read_joints()[1])
        self._push(rotation @ force[:3], rotation @ force[3:6])
        self.body.set_torques(force[6:].tolist())
        self.world._step()
        after, joints_after = np.array(self.body.read_frames([])[0]), np.array(self.body.read_joints()[1])
        rate = (after[7:] - before[7:]) / self.world.timestep
        # The engine moves the base's centre of mass; the base link's origin is behind it by `arm`.
        arm, spin = before[:3], before[10:]
        origin = rate[:3] - np.cross(rate[3:], arm) - np.cross(spin, np.cross(spin, arm))
        moving = before[7:10] - np.cross(spin, arm)
        linear = rotation.T @ (origin - np.cross(spin, moving))
        joints = (joints_after - joints_before) / self.world.timestep
        return np.concatenate([linear, rotation.T @ rate[3:], joints])

    def _push(self, force: Array, torque: Array) -> None:
        """Apply a force and a torque (world axes) to the base link, which stands at the origin."""
        if np.any(force):
            self.body.apply_force(self.model.base_link, force.tolist(), [0.0, 0.0, 0.0])
        if np.any(torque):
            # A couple of opposite forces a metre apart, across the torque.
            across = np.eye(3)[int(np.argmin(np.abs(torque)))]
            direction = np.cross(torque, across)
            arm = direction / np.linalg.norm(direction)
            pull = np.cross(torque, arm)
            self.body.apply_force(self.model.base_link, pull.tolist(), (0.5 * arm).tolist())
            self.body.apply_force(self.model.base_link, (-pull).tolist(), (-0.5 * arm).tolist())

    def mass_matrix(self, position: Array, rotation: Array, scale: Array) -> Array:
        """Return the simulated body's (6 + n, 6 + n) mass matrix; `scale` (6 + n,) is about its diagonal."""
        columns = []
        for i, size in enumerate(scale):
            force = np.zeros(len(scale))
            force[i] = 100.0 * size
            self.place(position, rotation)
            columns.append(self.acceleration(rotation, force) / force[i])
        return np.linalg.inv(np.column_stack(columns))

    def close(self) -> None:
        """Free the engine."""
        self.world.close()


def dynamics_rows(
    model: CompiledModel, reference: Reference, label: str, configurations: int, random: np.random.Generator
) -> list[AuditRow]:
    """Mass, mass matrix, gravity, kinematics and one moving step of the simulated body against theory."""
    still, falling = Bench(model, gravity=0.0), Bench(model, gravity=GRAVITY)
    worst = np.zeros(5)
    where = ["", ""]
    try:
        for _ in range(configurations):
            q, rotation = _drawn(model, random)
            theory = reference.mass_matrix(q)
            measured = still.mass_matrix(q, rotation, 1 / np.diag(np.linalg.inv(theory)))
            error = np.abs(measured - theory) / np.abs(theory).max()
            if error.max() > worst[0]:
                worst[0], where[0] = error.max(), _entry(model, error)
            falling.place(q, rotation)
            weight = -measured @ falling.acceleration(rotation, np.zeros(len(theory)))
            expected = reference.gravity_force(q, rotation)
            error = np.abs(weight - expected) / np.abs(expected).max()
            if error.max() > worst[1]:
                worst[1], where[1] = error.max(), _entry(model, error)
            worst[2:4] = np.maximum(worst[2:4], _kinematics(falling, reference, q, rotation))
            worst[4] = max(worst[4], _moving_step(falling, reference, q, rotation, random))
    finally:
        still.close()
        falling.close()
    name, count = model.name, f"{configurations} configurations"
    remedy = "the compiled model differs from its URDF: is an inertia missing there, or wrong under inertias?"
    difference = abs(model.mass - reference.mass) / reference.mass
    return [
        row(name, f"total mass{label}", difference, RELATIVE, "1", f"{model.mass:.3f} kg", remedy=remedy),
        row(name, f"mass matrix{label}", worst[0], RELATIVE, "1", f"{count}, most at {where[0]}", remedy=remedy),
        row(name, f"gravity{label}", worst[1], RELATIVE, "1", f"{count}, most at {where[1]}", remedy=remedy),
        row(name, f"link positions{label}", worst[2], RELATIVE, "m", f"{count}, {len(model.frames)} frames"),
        row(name, f"link orientations{label}", worst[3], RELATIVE, "rad", f"{count}, {len(model.frames)} frames"),
        row(
            name, f"acceleration in motion{label}", worst[4], RELATIVE, "1", f"{count} with speeds, torques and gravity"
        ),
    ]


def _entry(model: CompiledModel, error: Array) -> str:
    names = ["base"] * 6 + list(model.joint_names)
    return " and ".join(dict.fromkeys(names[int(i)] for i in np.unravel_index(error.argmax(), error.shape)))


def _drawn(model: CompiledModel, random: np.random.Generator) -> tuple[Array, Array]:
    """Return joint angles clear of their limits, which would push back, and a base orientation."""
    margin = 0.05 * (model.upper - model.lower)
    q = random.uniform(model.lower + margin, model.upper - margin)
    rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
    return q, rotation * np.sign(np.linalg.det(rotation))


def _kinematics(bench: Bench, reference: Reference, q: Array, rotation: Array) -> tuple[float, float]:
    bench.place(q, rotation)
    bench.world.advance(0)
    links = {}
    for name in bench.model.link_names:
        state = bench.body.link_state(name)
        links[name] = (np.array(state.position), _matrix(np.array(state.orientation)))
    position = orientation = 0.0
    for name, (expected, turned) in reference.frames(q, (np.zeros(3), rotation)).items():
        frame = bench.model.frames[name]
        origin, axes = links[frame.link]
        position = max(position, float(np.abs(axes @ frame.position + origin - expected).max()))
        # For small angles the Frobenius norm of a rotation minus the identity is the angle times √2.
        difference = (axes @ _matrix(frame.orientation)).T @ turned - np.eye(3)
        orientation = max(orientation, float(np.linalg.norm(difference)) / np.sqrt(2))
    return position, orientation


def _matrix(quaternion: Array) -> Array:
    k, w = skew(quaternion[:3]), quaternion[3]
    return np.eye(3) + 2.0 * (w * k + k @ k)


def _moving_step(bench: Bench, reference: Reference, q: Array, rotation: Array, random: np.random.Generator) -> float:
    """Return the largest error of one step's accelerations from a random moving state under random torques.

    Relative to what each degree of freedom's share of the forces is: |M error| over the largest force.
    """
    velocity = np.concatenate([random.normal(size=6), random.uniform(-2.0, 2.0, size=len(q))])
    # No more torque than changes a joint's speed by a few rad/s in the step: the engine clamps speeds at 100 rad/s.
    inertia = 1.0 / np.diag(np.linalg.inv(reference.mass_matrix(q)))[6:]
    most = np.minimum(0.2 * bench.model.effort_limit, 3.0 * inertia / bench.world.timestep)
    force = np.concatenate([np.zeros(6), random.uniform(-1.0, 1.0, size=len(q)) * most])
    bench.place(q, rotation, velocity)
    measured = bench.acceleration(rotation, force)
    expected = reference.acceleration(q, rotation, velocity, force)
    error = reference.mass_matrix(q) @ (measured - expected)
    return float(np.abs(error).max() / np.abs(reference.gravity_force(q, rotation)).max())


def contact_rows(model: CompiledModel) -> Iterator[AuditRow]:
    """What touches at the default pose: the soles and nothing else."""
    notes = [note for note in model.notes if note.startswith("overlap at rest")]
    detail = notes[0] + (f" and {len(notes) - 1} more" if len(notes) > 1 else "") if notes else "default pose"
    yield row(
        model.name, "links that overlap, not listed", len(notes), 0, "1", detail,
        remedy="list the pair under disabled_collisions if it is by design, else change colliders or default_pose",
    )  # fmt: skip
    world = World()
    world.add_ground()
    try:
        body = world.load(model)
        body.drive()
        body.set_joints(model.default_position.tolist())
        body.set_base([0.0, 0.0, model.default_height], [0.0, 0.0, 0.0, 1.0])
        world.detect_contacts()
        near = [c for c in body.contacts() if c.distance < TOUCH]
    finally:
        world.close()
    within = sorted(
        {" and ".join(sorted((body.link_names[c.link], c.other_link))) for c in near if c.other == model.name}
    )
    yield row(
        model.name, "self-collisions", len(within), 0, "1", "; ".join(within) or "default pose",
        remedy="list the pair under disabled_collisions if it is so by design, else change default_pose",
    )  # fmt: skip
    grounded = {body.link_names[c.link] for c in near if c.other == "ground"}
    soles = {foot.link for foot in model.feet}
    if soles:
        lifted = sorted(soles - grounded)
        yield row(model.name, "soles off the ground", len(lifted), 0, "1", ", ".join(lifted) or "default pose",
                  remedy="correct default_pose: hip, knee and ankle of both legs")  # fmt: skip
    others = sorted(grounded - soles)
    yield row(model.name, "other links on the ground", len(others), 0, "1", ", ".join(others) or "default pose",
              remedy="correct default_pose, or the colliders of the feet")  # fmt: skip


def motion_rows(model: CompiledModel, seconds: float = 3.0) -> Iterator[AuditRow]:
    """Whether gains and actuators keep the robot still at the default pose, mounted; and how long it stands by
    gains alone.
    """
    for mounted in (True, False):
        if ("mounted" if mounted else "free") not in model.stances or (not mounted and not model.feet):
            continue
        world = World()
        world.add_ground()
        try:
            body = world.load(model, fixed=mounted)
            drive = body.drive()
            body.set_joints(model.default_position.tolist())
            if not mounted:
                body.set_base([0.0, 0.0, model.default_height], [0.0, 0.0, 0.0, 1.0])
            drive.reset()
            stood = 0.0
            for _ in range(round(seconds / world.timestep)):
                drive.advance(model.default_position, 1)
                if not mounted and body.link_state(model.base_link).position[2] < 0.7 * model.default_height:
                    break
                stood += world.timestep
            speed = np.abs(drive.velocity)
            joint = model.joint_names[int(speed.argmax())]
        finally:
            world.close()
        if mounted:
            yield row(model.name, "joint speed when held still, mounted", float(speed.max()), 0.5, "rad/s", joint,
                      remedy="it does not come to rest: lower kd or kp, or raise armature")  # fmt: skip
        else:
            detail = f"gains alone, no policy, {seconds:g} s tried; fastest joint {speed.max():.2f} rad/s, {joint}"
            yield AuditRow(model.name, "time standing", stood, None, "s", "info", detail)
