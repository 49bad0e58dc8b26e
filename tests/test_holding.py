"""Catches, locks and motors hold, give way and move as their numbers say; frames follow the pieces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pydantic
import pytest

from training_ground.assets.dynamics import mass_matrix
from training_ground.assets.objects import ObjectSpec, simple
from training_ground.configs.errors import SimulationError
from training_ground.envs import rotations
from training_ground.envs.holding import STIFFNESS
from training_ground.envs.mechanisms import moved_inertia
from training_ground.envs.world import Thing, World

FORCES = {"slide": 20.0, "turn": 2.0}
WIDTHS = {"slide": 0.004, "turn": 0.04}


def mechanism(kind: str = "slide", mass: float = 2.0, **joint: Any) -> ObjectSpec:
    """A block that slides along y, or turns about z with its centre 0.1 m beside the axis; not felt by gravity."""
    axis, shift = ([0, 1, 0], [0.0, 0.0, 0.0]) if kind == "slide" else ([0, 0, 1], [0.1, 0.0, 0.0])
    block = {"shape": "box", "size": [0.1, 0.1, 0.1], "at": shift}
    post = {"name": "post", "mass": 1.0, "shapes": [{"shape": "box", "size": [0.05, 0.05, 0.05]}]}
    moving: dict[str, Any] = {"name": "block", "mass": mass, "shapes": [block], "parent": "post"}
    moving["joint"] = {"kind": kind, "axis": axis, "at": [0, 0, 0.2], "lower": -1.0, "upper": 1.0, **joint}
    frames = {"handle": {"piece": "block", "at": [0.1, 0.02, 0], "rpy": [0, 0, 0.3]}, "foot": {"at": [0, 0, -0.1]}}
    return ObjectSpec.model_validate({"name": "device", "title": "Device", "pieces": [post, moving], "frames": frames})


def added(spec: ObjectSpec, timestep: float = 0.002) -> Thing:
    return World(timestep=timestep).add(spec, (0, 0, 1), fixed=True)


def where(thing: Thing) -> float:
    return thing.joint_position["block"]


def pull(thing: Thing, force: float) -> None:
    """Pull the block for one physics step: N along the slide, or N·m by a pair of forces about the turn."""
    if thing.spec.mechanisms["block"].kind == "slide":
        thing.apply_force("block", (0, force, 0), (0, where(thing), 1.2))
    else:
        for side in (1.0, -1.0):
            thing.apply_force("block", (0, side * force, 0), (0.5 * side, 0, 1.2))
    thing.world.advance(1)


# ---- friction --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["slide", "turn"])
@pytest.mark.parametrize("mass", [0.05, 2.0])
def test_friction_holds_to_its_force_and_no_further(kind: str, mass: float):
    """A light joint too, whose friction ramp is so flat that it would creep."""
    friction = FORCES[kind]
    thing = added(mechanism(kind, mass, friction=friction))
    for _ in range(100):
        pull(thing, 0.95 * friction)
    held = where(thing)
    for _ in range(500):
        pull(thing, 0.95 * friction)
    assert where(thing) == pytest.approx(held, abs=1e-5)
    for _ in range(200):
        pull(thing, -1.2 * friction)
    assert where(thing) < held - 0.01


def test_what_friction_brakes_stops_where_theory_says_and_stays():
    thing = added(mechanism("slide", 2.0, friction=5.0))
    thing.set_joints([0.0], [0.5])
    for _ in range(250):
        thing.world.advance(1)
    stopped = where(thing)
    assert stopped == pytest.approx(0.5**2 / (2 * 5.0 / 2.0), rel=0.02)
    thing.world.advance(500)
    assert where(thing) == pytest.approx(stopped, abs=1e-6)


# ---- catches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timestep", [0.001, 0.002, 0.005])
@pytest.mark.parametrize("kind", ["slide", "turn"])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_catch_holds_to_its_force_and_no_further(kind: str, timestep: float, side: float):
    """The spring's preload, friction and damping would falsify the force if they acted while it holds."""
    force, width = FORCES[kind], WIDTHS[kind]
    catch = {"at": 0.3, "force": force, "width": width}
    passive = {"spring": force, "rest": 0.7, "friction": 0.2 * force, "damping": 1.0}
    thing = added(mechanism(kind, catches=[catch], **passive), timestep)
    thing.set_joints([0.3])
    assert thing.caught == {"block": 0.3}
    steps = round(0.5 / timestep)
    for k in range(steps):
        pull(thing, side * 0.98 * force * (k + 1) / steps)
    for _ in range(steps):
        pull(thing, side * 0.98 * force)
        assert thing.caught == {"block": 0.3}
    assert abs(where(thing) - 0.3) < (1e-3 if kind == "slide" else 5e-3)
    for _ in range(steps):
        pull(thing, side * 1.02 * force)
        if thing.caught["block"] is None:
            break
    assert thing.caught == {"block": None}
    assert side * (where(thing) - 0.3) > width


@pytest.mark.parametrize("substeps", [1, 10])
def test_a_click_ends_where_the_catch_is(substeps: int):
    catches = [{"at": 0.0, "force": 15.0, "width": 0.004}]
    drawer = added(mechanism(lower=0.0, upper=0.4, spring=2.0, rest=-0.5, damping=8.0, catches=catches))
    drawer.set_joints([0.05])
    assert drawer.caught == {"block": None}
    caught_at = None
    for _ in range(3000 // substeps):
        drawer.world.advance(substeps)
        if caught_at is None and drawer.caught["block"] is not None:
            caught_at = where(drawer)
    assert caught_at is not None and caught_at <= 0.004
    assert where(drawer) == pytest.approx(0.0, abs=0.02 * 0.004)


def test_weight_and_preload_do_not_defeat_a_catch():
    """A vertical slide of 2 kg: the catch bears its weight, and is overcome from above by what is left of its force."""
    catch = {"at": 0.0, "force": 25.0, "width": 0.003}
    thing = added(mechanism(axis=[0, 0, 1], catches=[catch], spring=50.0, rest=-1.0))
    thing.set_joints([0.0])
    left = 25.0 - 2.0 * 9.81
    for k in range(500):
        thing.apply_force("block", (0, 0, -0.98 * left * k / 500), (0, 0, 1.2))
        thing.world.advance(1)
    assert thing.caught == {"block": 0.0} and abs(where(thing)) < 1e-3
    for _ in range(500):
        thing.apply_force("block", (0, 0, -1.05 * left), (0, 0, 1.2))
        thing.world.advance(1)
    assert thing.caught == {"block": None} and where(thing) < -0.1


def test_a_selector_has_three_positions():
    places = [-0.5, 0.0, 0.5]
    catches = [{"at": at, "force": 1.0, "width": 0.15} for at in places]
    knob = added(mechanism("turn", catches=catches, damping=1.0, friction=0.1))
    assert knob.caught == {"block": 0.0}
    seen = []
    for torque in (1.5, -1.5, -1.5):
        left = False
        for _ in range(2000):
            left |= knob.caught["block"] is None
            pull(knob, 0.0 if left and knob.caught["block"] is not None else torque)
        seen.append(knob.caught["block"])
        assert where(knob) == pytest.approx(seen[-1], abs=0.02 * 0.15)
    assert seen == [0.5, 0.0, -0.5]
    knob.place((0, 0, 1))
    assert knob.caught == {"block": 0.0}


def test_catches_that_cannot_be_are_refused():
    good = {"at": 0.3, "force": 5.0, "width": 0.01}
    for catches, message in (
        ([{**good, "at": 1.2}], "must lie within -1 and 1"),
        ([good, {**good, "at": 0.315}], "their widths overlap"),
        ([{**good, "force": 0}], "greater than 0"),
    ):
        with pytest.raises(pydantic.ValidationError, match=message):
            mechanism(catches=catches)
    with pytest.raises(SimulationError, match=r"'block', catch at = 0.3: force = 5 .* raise the piece's mass"):
        added(mechanism(mass=0.01, catches=[{**good, "width": 0.001}]), 0.005)


# ---- locks -----------------------------------------------------------------------------------------------------------


def test_a_lock_holds_where_it_is_and_lets_go():
    door = added(mechanism(damping=5.0))
    door.set_joints([0.2])
    door.lock("block")
    for _ in range(500):
        pull(door, 200.0)
    stiffness = STIFFNESS * 2.0 / 0.002**2
    assert where(door) == pytest.approx(0.2 + 200.0 / stiffness, abs=1e-5)
    door.lock("block")  # again, which must not let it creep
    door.world.advance(500)
    assert where(door) == pytest.approx(0.2, abs=1e-6)
    door.lock("block", False)
    for _ in range(500):
        pull(door, 10.0)
    assert where(door) > 0.5
    with pytest.raises(SimulationError, match="did you mean 'block'"):
        door.lock("blok")


@pytest.mark.parametrize("load", [0.0, 4.0])
def test_locks_are_still_on_every_joint_of_a_free_object(load: float):
    """A light base that carries two heavy doors feels both holds at once; a load on it makes them slower only."""
    spec = mechanism("turn", mass=4.0).model_dump()
    other = {**spec["pieces"][1], "name": "second"}
    other["joint"] = {**other["joint"], "at": [0, 0, -0.2]}
    lid = {**other, "name": "lid", "parent": "block", "mass": 1.0, "joint": {**other["joint"], "kind": "slide"}}
    spec["pieces"] += (other, lid)
    thing = World(timestep=0.002, gravity=0.0).add(ObjectSpec.model_validate(spec), (0, 0, 1))
    thing.set_joints([0.3, -0.2, 0.1])
    for joint in thing.joint_names:
        thing.lock(joint)
    for _ in range(500):
        thing.apply_force("block", (0, load, 0), (0.1, 0, 1.2))
        thing.world.advance(1)
    assert list(thing.joint_position.values()) == pytest.approx([0.3, -0.2, 0.1], abs=1e-3 + 0.01 * load)
    assert thing.drive is not None and np.abs(thing.drive.velocity).max() < 0.05


def test_inertia_of_joints_that_feel_each_other():
    spec = mechanism(mass=3.0, at=[0, 0, 0])
    assert moved_inertia(spec, True) == pytest.approx([3.0])
    assert moved_inertia(spec, False) == pytest.approx([3.0 * 1.0 / (3.0 + 1.0)])  # on a free post of 1 kg
    assert mass_matrix(spec.tree(), np.zeros(1))[6, 6] == pytest.approx(3.0)


# ---- motors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timestep", [0.001, 0.002, 0.005])
@pytest.mark.parametrize("gravity", [False, True])
def test_a_motor_goes_at_its_speed_and_stays(timestep: float, gravity: bool):
    """Upright, it lifts 2 kg."""
    axis: dict[str, Any] = {"axis": [0, 0, 1]} if gravity else {}
    ram = added(mechanism(spring=300.0, damping=5.0, friction=3.0, **axis), timestep)
    ram.drive_to("block", 0.3, effort=60.0, speed=0.2)
    substeps, track = round(0.02 / timestep), []
    for _ in range(100):
        ram.world.advance(substeps)
        track.append(where(ram))
    speeds = np.diff(track) / 0.02
    assert speeds[5:70] == pytest.approx(0.2, rel=0.02)
    assert speeds.max() < 0.2 * 1.02
    assert track[-1] == pytest.approx(0.3, abs=1e-3)
    ram.drive_to("block", -0.1, effort=60.0, speed=0.2)
    for _ in range(125):
        ram.world.advance(substeps)
    assert where(ram) == pytest.approx(-0.1, abs=1e-3)
    ram.drive_to("block", None)
    for _ in range(100):
        ram.world.advance(substeps)
    deflection = -2.0 * 9.81 / 300.0 if gravity else 0.0
    assert abs(where(ram) - deflection) < 0.02


def test_a_motor_stalls_at_its_effort_and_goes_on_when_the_way_is_free():
    world = World(timestep=0.002, solver_iterations=50)
    ram = world.add(mechanism(), (0, 0, 1), fixed=True)
    block = world.add(simple("stop", "box", (0.2, 0.1, 0.2), 5.0), (0, 0.25, 1.2), fixed=True)
    ram.drive_to("block", 0.4, effort=80.0, speed=0.1)
    for _ in range(150):
        world.advance(10)
    pushes = []
    for _ in range(20):
        world.advance(10)
        pushes.append(sum(contact.force[1] for contact in block.contacts()))
    assert where(ram) == pytest.approx(0.15, abs=2e-3)
    assert pushes == pytest.approx([80.0] * 20, rel=0.02)
    block.place((0, 2.0, 1.2))
    track = [where(ram)]
    for _ in range(20):
        world.advance(10)
        track.append(where(ram))
    assert np.diff(track)[1:] == pytest.approx(0.1 * 0.02, rel=0.02)
    world.advance(2000)
    ram.drive_to("block", 0.0, effort=80.0, speed=0.1)
    for value in ({"effort": 0.0}, {"speed": -1.0}):
        with pytest.raises(SimulationError, match="must be above 0"):
            ram.drive_to("block", 0.0, **value)
    with pytest.raises(SimulationError, match="position = 2 must lie within -1 and 1"):
        ram.drive_to("block", 2.0)


# ---- saving, frames --------------------------------------------------------------------------------------------------


def test_what_holds_and_moves_is_restored_bit_for_bit():
    catches = [{"at": 0.1, "force": 12.0, "width": 0.01}, {"at": -0.1, "force": 12.0, "width": 0.01}]
    world = World(timestep=0.002)
    drawer = world.add(mechanism(catches=catches, spring=100.0, damping=1.0), (0, 0, 1), fixed=True)
    ram = world.add(mechanism(), (1, 0, 1), fixed=True)
    door = world.add(mechanism("turn", damping=0.1), (2, 0, 1), fixed=True)
    drawer.set_joints([0.1])
    door.set_joints([0.4], [1.0])
    ram.drive_to("block", 0.3, effort=50.0, speed=0.2)

    def goes_on() -> list[Any]:
        seen = []
        for k in range(600):
            pull(drawer, -14.0 * math.sin(0.01 * k))
            if k == 240:
                door.lock("block")
            if k == 320:
                ram.drive_to("block", None)
            seen.append([drawer.caught, *(thing.joint_position for thing in (drawer, ram, door))])
        return seen

    for k in range(40):
        pull(drawer, 0.2 * k)
    state = world.save()
    first = goes_on()
    assert {row[0]["block"] for row in first} >= {None, 0.1}
    for thing in (drawer, ram, door):
        thing.place((0, 0, 3))
    world.restore(state)
    assert goes_on() == first


@pytest.mark.parametrize("joint", ["slide", "turn"])
def test_a_frame_moves_with_its_piece(joint: str):
    thing = added(mechanism(joint))
    thing.set_joints([0.4], [0.5])
    thing.world.advance(1)
    q = where(thing)
    handle, foot, block = thing.frame("handle"), thing.frame("foot"), thing.link("block")
    assert foot.position == pytest.approx((0, 0, 0.9)) and foot.linear_velocity == pytest.approx((0, 0, 0))
    speed = thing.drive.velocity[0] if thing.drive else 0.0
    if joint == "slide":
        assert block.position == pytest.approx((0, q, 1.2))
        assert handle.position == pytest.approx((0.1, q + 0.02, 1.2))
        assert handle.linear_velocity == pytest.approx((0, speed, 0))
        turned = 0.3
    else:
        arm = rotations.rotate(rotations.from_euler(0, 0, q), (0.1, 0.02, 0))
        assert handle.position == pytest.approx((arm[0], arm[1], 1.2))
        assert handle.linear_velocity == pytest.approx((-speed * arm[1], speed * arm[0], 0))
        assert handle.angular_velocity == pytest.approx((0, 0, speed))
        turned = 0.3 + q
    assert rotations.yaw(handle.orientation) == pytest.approx(turned)
    with pytest.raises(SimulationError, match="did you mean 'handle'"):
        thing.frame("handel")
    with pytest.raises(SimulationError, match="unknown link"):
        thing.link("blok")


def test_frames_without_joints_and_of_unknown_pieces():
    spec = simple("part", "box", (0.1, 0.1, 0.1), 1.0).model_dump()
    spec["frames"] = {"top": {"at": [0, 0, 0.05]}}
    part = World().add(ObjectSpec.model_validate(spec), (1, 0, 1))
    assert part.frame("top").position == pytest.approx((1, 0, 1.05))
    assert part.caught == {}
    spec["frames"] = {"top": {"piece": "lid"}}
    with pytest.raises(pydantic.ValidationError, match="frame 'top': unknown piece 'lid'"):
        ObjectSpec.model_validate(spec)
