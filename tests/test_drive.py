"""The native substep loop against the Python one: the same bits, through contacts, in several worlds and bodies."""

from __future__ import annotations

import dataclasses

import numpy as np
import pybullet as engine
import pytest

from training_ground.configs.errors import SimulationError
from training_ground.envs import native
from training_ground.envs.actuator import ActuatorParameters
from training_ground.envs.drive import Substeps

TIMESTEP = 0.005

PROBLEM = native.problem(engine.__file__, engine.getAPIVersion())
needs_native = pytest.mark.skipif(PROBLEM is not None, reason=f"no native stepper: {PROBLEM}")


def biped_urdf() -> str:
    """A 12 kg trunk on two legs of three joints, with a fixed joint in between."""

    def link(name, mass, size, z):
        x, y, h = size
        inertia = [mass / 12 * (a * a + b * b) for a, b in ((y, h), (x, h), (x, y))]
        names = ("ixx", "iyy", "izz")
        moments = " ".join(f'{n}="{v}"' for n, v in zip(names, inertia, strict=True))
        box = f'<origin xyz="0.01 0 {z}"/><geometry><box size="{x} {y} {h}"/></geometry>'
        body = f'<origin xyz="0.01 0 {z}"/><mass value="{mass}"/><inertia {moments} ixy="0" ixz="0" iyz="0"/>'
        return f'<link name="{name}"><inertial>{body}</inertial><collision>{box}</collision></link>'

    def joint(name, parent, child, xyz, axis):
        kind = f'<axis xyz="{axis}"/><limit lower="-2" upper="2" effort="100" velocity="20"/>' if axis else ""
        ends = f'<parent link="{parent}"/><child link="{child}"/><origin xyz="{xyz}"/>'
        return f'<joint name="{name}" type="{"revolute" if axis else "fixed"}">{ends}{kind}</joint>'

    parts = [link("trunk", 12, (0.15, 0.25, 0.3), 0.1), link("head", 1, (0.1, 0.1, 0.1), 0.05)]
    parts.append(joint("neck", "trunk", "head", "0 0 0.3", None))
    for side, y in (("left", 0.08), ("right", -0.08)):
        parts += [link(f"{side}_thigh", 3, (0.06, 0.06, 0.3), -0.15), link(f"{side}_shin", 2, (0.05, 0.05, 0.3), -0.15)]
        parts.append(link(f"{side}_foot", 1, (0.2, 0.08, 0.04), -0.02))
        parts.append(joint(f"{side}_hip", "trunk", f"{side}_thigh", f"0 {y} -0.06", "0 1 0"))
        parts.append(joint(f"{side}_knee", f"{side}_thigh", f"{side}_shin", "0 0 -0.31", "0 1 0"))
        parts.append(joint(f"{side}_ankle", f"{side}_shin", f"{side}_foot", "0 0 -0.31", "0 1 0"))
    return f'<robot name="biped">{"".join(parts)}</robot>'


class Body:
    """The least that a drive asks of a body."""

    def __init__(self, client, path, height, fixed, y):
        flags = engine.URDF_USE_INERTIA_FROM_FILE
        self.client = client
        self.uid = engine.loadURDF(str(path), [0, y, height], useFixedBase=fixed, flags=flags, physicsClientId=client)
        info = [engine.getJointInfo(self.uid, j, client) for j in range(engine.getNumJoints(self.uid, client))]
        self.joints = [i[0] for i in info if i[2] == engine.JOINT_REVOLUTE][::-1]  # another order than the engine's
        self.links = [i[0] for i in info if i[12] in (b"left_foot", b"right_foot", b"head")]
        off = engine.VELOCITY_CONTROL
        engine.setJointMotorControlArray(self.uid, self.joints, off, forces=[0.0] * 6, physicsClientId=client)

    def degrees_of_freedom(self):
        return [engine.getJointInfo(self.uid, j, self.client)[4] - 6 for j in self.joints]

    def read_joints(self):
        states = engine.getJointStates(self.uid, self.joints, self.client)
        return [s[0] for s in states], [s[1] for s in states]

    def read_frames(self, links):
        position, orientation = engine.getBasePositionAndOrientation(self.uid, self.client)
        linear, angular = engine.getBaseVelocity(self.uid, self.client)
        states = engine.getLinkStates(self.uid, links, 1, 1, self.client) if links else ()
        return [[*position, *orientation, *linear, *angular], *([*s[0], *s[1], *s[6], *s[7]] for s in states)]

    def set_torques(self, torques):
        mode = engine.TORQUE_CONTROL
        engine.setJointMotorControlArray(self.uid, self.joints, mode, forces=torques, physicsClientId=self.client)


class Scene:
    """A ground and bipeds, stepped natively or in Python."""

    def __init__(self, path, is_native, fixed=(False,), links=True):
        self.client = client = engine.connect(engine.DIRECT)
        engine.setPhysicsEngineParameter(
            fixedTimeStep=TIMESTEP, deterministicOverlappingPairs=1, physicsClientId=client
        )
        engine.setGravity(0, 0, -9.81, client)
        plane = engine.createCollisionShape(engine.GEOM_PLANE, physicsClientId=client)
        engine.createMultiBody(0, plane, physicsClientId=client)
        stepper = None
        if is_native:
            stepper = native.Stepper(
                engine.__file__,
                lambda plugin, postfix: engine.loadPlugin(plugin, postfix, physicsClientId=client),
                lambda plugin: engine.executePluginCommand(plugin, physicsClientId=client),
            )
        self.substeps = Substeps(TIMESTEP, lambda: engine.stepSimulation(client), stepper)
        self.drives = []
        for i, is_fixed in enumerate(fixed):
            body = Body(client, path, 1.2 if is_fixed else 0.72, is_fixed, float(i))
            self.drives.append(self.substeps.drive(body, parameters(), body.links if links else ()))

    def contacts(self):
        return len(engine.getContactPoints(self.drives[0].body.uid, physicsClientId=self.client))

    def snapshot(self):
        rows = [(d.position, d.velocity, d.torque, d.actuator.torque, d.frames.ravel()) for d in self.drives]
        return np.concatenate([array for row in rows for array in row])

    def close(self):
        self.substeps.close()
        engine.disconnect(self.client)


def parameters(**changes):
    nominal = ActuatorParameters(
        kp=np.array([60.0, 80, 40, 60, 80, 40]),
        kd=np.array([2.0, 2, 1, 2, 2, 1]),
        effort=np.array([40.0, 60, 30, 40, 60, 30]),
        velocity=np.array([10.0, 12, 9, 10, 12, np.inf]),
        saturation=np.array([2.0, 1.5, 2, 2, 1, 2]),
        friction=np.array([0.3, 0.2, 0.1, 0, 0.2, 0.1]),
        inertia=np.array([0.2, 0.1, 0.01, 0.2, 0.1, 0.01]),
        strength=np.array([1.0, 0.9, 1.1, 1, 1, 1]),
        delay=3,
    )
    return dataclasses.replace(nominal, **changes)


def drive_about(scene, steps=150, seed=1):
    """Random targets, parameter changes, pushes, torque control and resets; returns what was seen at every step."""
    generator = np.random.default_rng(seed)
    seen, touched = [], 0
    for step in range(steps):
        for drive in scene.drives:
            drive.actuator.target[:] = generator.normal(scale=0.4, size=6)
        if step == 40:
            scene.drives[0].set_parameters(parameters(delay=0, strength=np.full(6, 0.7)))
        if step == 60:
            scene.drives[0].advance_torque(generator.normal(scale=30, size=6), 4)
        if step == 80:
            engine.resetBaseVelocity(scene.drives[0].body.uid, [0.5, 0, 0], [0, 1, 0], scene.client)
        if step == 110:
            scene.drives[0].reset()
        scene.drives[0].advance(scene.drives[0].actuator.target.copy(), 4)
        touched += scene.contacts() > 0
        seen.append(scene.snapshot())
    return np.array(seen), touched


@pytest.fixture(scope="module")
def urdf(tmp_path_factory):
    path = tmp_path_factory.mktemp("drive") / "biped.urdf"
    path.write_text(biped_urdf())
    return path


@needs_native
@pytest.mark.parametrize("fixed", [(False,), (True,), (False, True)], ids=["free", "mounted", "two robots"])
def test_native_and_python_give_the_same_bits(urdf, fixed):
    scenes = [Scene(urdf, True, fixed), Scene(urdf, False, fixed)]
    assert [s.substeps.backend for s in scenes] == ["native", "numpy"]
    (fast, touched), (slow, _) = (drive_about(scene) for scene in scenes)
    for scene in scenes:
        scene.close()
    assert fast.tobytes() == slow.tobytes()
    assert np.isfinite(fast).all()
    assert len(np.unique(fast[:, 0])) == len(fast)  # it moved
    if not fixed[0]:
        assert touched > 50


@needs_native
def test_worlds_advance_independently(urdf):
    alone = Scene(urdf, True)
    expected, _ = drive_about(alone, steps=60)
    alone.close()
    first, second = Scene(urdf, True), Scene(urdf, True)
    generator = np.random.default_rng(1)
    for row in expected[:40]:
        target = generator.normal(scale=0.4, size=6)
        second.drives[0].advance(-target, 3)
        first.drives[0].advance(target, 4)
        assert first.snapshot().tobytes() == row.tobytes()
    second.close()
    first.close()


@pytest.mark.parametrize("is_native", [pytest.param(True, marks=needs_native), False])
def test_save_and_restore_repeat_bit_for_bit(urdf, is_native):
    scene = Scene(urdf, is_native)
    drive = scene.drives[0]
    targets = np.random.default_rng(2).normal(scale=0.3, size=(60, 6))
    for target in targets[:30]:
        drive.advance(target, 4)
    world, state, before = engine.saveState(scene.client), drive.save(), scene.snapshot()

    def rest():
        out = []
        for target in targets[30:]:
            drive.advance(target, 4)
            out.append(scene.snapshot())
        return np.array(out)

    first = rest()
    engine.restoreState(world, physicsClientId=scene.client)
    drive.restore(state)
    assert scene.snapshot().tobytes() == before.tobytes()
    assert rest().tobytes() == first.tobytes()
    scene.close()


@needs_native
def test_reading_links_does_not_change_the_simulation(urdf):
    runs = []
    for links in (True, False):
        scene = Scene(urdf, True, links=links)
        runs.append([])
        for target in np.random.default_rng(3).normal(scale=0.4, size=(100, 6)):
            scene.drives[0].advance(target, 4)
            runs[-1].append((scene.drives[0].position.copy(), scene.drives[0].frames[0].copy()))
        scene.close()
    for with_links, without in zip(*runs, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(with_links, without, strict=True))


@pytest.mark.parametrize("is_native", [pytest.param(True, marks=needs_native), False])
def test_torque_is_the_mean_over_the_advance(urdf, is_native):
    scene = Scene(urdf, is_native, fixed=(True,))
    drive = scene.drives[0]
    drive.set_parameters(parameters(delay=2, friction=np.zeros(6), strength=np.ones(6), velocity=np.full(6, np.inf)))
    drive.advance_torque(np.full(6, 2.0), 4)  # two steps of the old command, zero, and two of the new one
    assert drive.torque.tolist() == [1.0] * 6
    assert drive.actuator.torque.tolist() == [2.0] * 6
    scene.close()


@pytest.mark.parametrize("is_native", [pytest.param(True, marks=needs_native), False])
def test_a_body_can_be_removed(urdf, is_native):
    scene = Scene(urdf, is_native, fixed=(True, False))
    gone, kept = scene.drives
    scene.substeps.remove(gone)
    engine.removeBody(gone.body.uid, scene.client)
    before = kept.position.copy()
    kept.advance(np.full(6, 0.2), 8)
    assert not np.array_equal(kept.position, before)
    scene.close()


@needs_native
def test_a_link_that_does_not_exist_is_an_error(urdf):
    scene = Scene(urdf, True)
    with pytest.raises(SimulationError, match="no state of body"):
        scene.substeps.drive(Body(scene.client, urdf, 1.0, False, 1.0), parameters(), [99])
    scene.close()


@needs_native
def test_buffers_that_do_not_fit_are_refused(urdf):
    scene = Scene(urdf, True)
    body = scene.drives[0].body
    with pytest.raises(SimulationError, match="do not fit"):
        scene.substeps._stepper.add(  # pyright: ignore[reportOptionalMemberAccess]
            body.uid, [0, 1], [], scene.drives[0].actuator, np.zeros(2), np.zeros(2), np.zeros((1, 13))
        )
    scene.close()


def test_every_cause_of_the_fallback_is_named(monkeypatch):
    monkeypatch.delenv("TG_ACTUATOR", raising=False)
    assert "interface version" in str(native.problem(engine.__file__, 1))
    monkeypatch.setattr(native, "_library_path", lambda: None)
    native._libraries.cache_clear()
    assert "not compiled" in str(native.problem(engine.__file__, native.BULLET_API))
    monkeypatch.undo()
    native._libraries.cache_clear()
    if native._library_path() is not None:
        monkeypatch.setattr(native, "_checksum", lambda: -1)
        assert "has changed since" in str(native.problem(engine.__file__, native.BULLET_API))
        monkeypatch.undo()
        native._libraries.cache_clear()
        assert native.problem(
            str(native._library_path()), native.BULLET_API
        )  # a library without the engine's functions
        assert native.problem("/nowhere/engine.so", native.BULLET_API)
    monkeypatch.setenv("TG_ACTUATOR", "numpy")
    assert native.problem(engine.__file__, engine.getAPIVersion()) == "TG_ACTUATOR=numpy is set"
    native._libraries.cache_clear()


def test_an_engine_in_another_thread_is_refused():
    if native._library_path() is None:
        pytest.skip("not compiled")
    with pytest.raises(SimulationError, match="another thread or process"):
        native.Stepper(engine.__file__, lambda path, postfix: -1, lambda plugin: None)


@needs_native
def test_the_real_world_gives_the_same_bits_without_the_native_stepper(monkeypatch):
    from training_ground.assets.catalog import load_model
    from training_ground.envs.robot import Robot
    from training_ground.envs.world import World

    model = load_model("g1")
    seen = []
    for backend in ("native", "numpy"):
        monkeypatch.setenv("TG_ACTUATOR", backend)
        world = World()
        assert world.substeps.backend == backend
        world.add_ground()
        robot = Robot(world, model)
        robot.place(model.default_position.tolist())
        robot.randomise({"delay_s": 0.01, "joint_friction": 0.3, "motor_strength": [0.9] * len(model.joint_names)})
        generator = np.random.default_rng(5)
        rows = []
        for _ in range(75):
            robot.advance(model.default_position + generator.normal(scale=0.05, size=len(model.joint_names)), 4)
            drive = robot.drive
            rows.append([*drive.position, *drive.velocity, *drive.torque, *drive.frames.flat, *robot.foot_force.flat])
        seen.append(np.array(rows))
        world.close()
    assert seen[0].tobytes() == seen[1].tobytes()
    assert np.abs(seen[0][:, -6:]).max() > 100  # the feet carried the robot
