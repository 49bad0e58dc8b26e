"""Parts of the library behave as theory says: gears, screws, scales, lights, latches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pydantic
import pytest

from training_ground.assets import hulls
from training_ground.assets.devices import DeviceSpec
from training_ground.assets.dynamics import GRAVITY
from training_ground.assets.inertia import hull_inertia
from training_ground.assets.library import load_part
from training_ground.assets.objects import ObjectSpec, simple
from training_ground.configs.errors import SimulationError
from training_ground.envs.devices import DARK, Devices
from training_ground.envs.world import Thing, World

DT = 0.001


def stand(name: str, timestep: float = DT, **more: Any) -> tuple[World, Thing]:
    world = World(timestep=timestep, **more)
    return world, world.add(load_part(name), fixed=True)


def push(thing: Thing, piece: str, force: tuple[float, float, float], seconds: float) -> None:
    for _ in range(round(seconds / thing.world.timestep)):
        thing.apply_force(piece, force, thing.link(piece).position)
        thing.world.advance(1)


# ---- shapes ----------------------------------------------------------------------------------------------------------


def test_a_wedge_is_half_a_box():
    spec = simple("ramp", "wedge", (0.06, 0.04, 0.03), 0.5)
    inertia = spec.pieces[0].inertia()
    assert inertia.mass == pytest.approx(0.5)
    assert inertia.centre == pytest.approx([-0.01, 0.0, -0.005])  # a third of the way from the right angle
    assert inertia.matrix[1, 1] == pytest.approx(0.5 * (0.06**2 + 0.03**2) / 18)
    world = World(timestep=DT)
    ramp = world.add(spec, fixed=True)
    probe = world.add(simple("probe", "sphere", (0.005,), 0.1), fixed=True)
    for place in ((-0.05, 0, 0), (0, 0.04, -0.005), (-0.01, 0, -0.035)):  # its three flat sides, 15 mm away each
        probe.place(place)
        assert ramp.distance(probe, within=0.1) == pytest.approx(0.015, abs=2e-4)
    slope = np.array([0.03, 0.0, 0.06]) / math.hypot(0.03, 0.06)
    probe.place((0.02 * slope).tolist())
    assert ramp.distance(probe, within=0.1) == pytest.approx(0.015, abs=2e-4)


@pytest.mark.parametrize(("teeth", "module", "width"), [(12, 0.003, 0.01), (20, 0.004, 0.02), (60, 0.005, 0.03)])
def test_a_gear_has_the_size_of_its_standard(teeth: int, module: float, width: float):
    body, *parts = hulls.gear(module, teeth, width)
    reach = np.linalg.norm(np.vstack(parts)[:, :2], axis=1).max()
    assert len(parts) == teeth and reach == pytest.approx(0.5 * module * (teeth + 2))
    assert np.linalg.norm(body[:, :2], axis=1).max() == pytest.approx(0.5 * module * (teeth - 2.5))
    # At the pitch circle a tooth is as thick as half the pitch less the backlash, within the flank's chords.
    points = parts[0][parts[0][:, 2] > 0]
    radius, angle = np.linalg.norm(points[:, :2], axis=1), np.arctan2(points[:, 1], points[:, 0])
    upper = np.argsort(radius[angle > 0])
    at_pitch = np.interp(0.5 * module * teeth, radius[angle > 0][upper], angle[angle > 0][upper])
    assert module * teeth * at_pitch == pytest.approx(module * (0.5 * math.pi - hulls.BACKLASH), rel=0.02)
    volume = sum(hull_inertia(hull).mass for hull in (body, *parts))
    assert 0.8 < volume / (math.pi * (0.5 * module * teeth) ** 2 * width) < 1.3


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ("gear", (0.002, 20, 0.02), "a module of 0.003 m or more"),
        ("gear", (0.004, 20.5, 0.02), "a whole number of 12 to 120 teeth"),
        ("gear", (0.004, 8, 0.02), "12 to 120 teeth"),
        ("gear", (0.004, 20, 0.002), "no ball of 0.001 m"),
        ("wedge", (0.01, 0.002, 0.01), "no ball of 0.001 m"),
        ("wedge", (0.003, 0.01, 0.003), "no ball of 0.001 m"),
        ("wedge", (0.01, 0.01), "a wedge has 3 numbers"),
    ],
)
def test_shapes_that_cannot_be_made_are_refused(shape: str, size: tuple[float, ...], message: str):
    with pytest.raises(pydantic.ValidationError, match=message):
        simple("thing", shape, size, 1.0)


# ---- gears and screws ------------------------------------------------------------------------------------------------


def test_gears_turn_each_other_by_their_teeth_in_the_ratio_of_their_numbers():
    world, pinion = stand("gear_pinion")
    wheel = world.add(load_part("gear_wheel"), (0.1, 0, 0), fixed=True)
    assert -1e-3 < pinion.distance(wheel, within=0.01) < 1e-4
    pinion.drive_to("gear", 8.0, speed=2.0)
    apart = []
    for _ in range(450):
        world.advance(10)
        apart.append(wheel.joint_position["gear"] + pinion.joint_position["gear"] * 20 / 30)
    assert pinion.joint_position["gear"] == pytest.approx(8.0, abs=0.01)
    backlash = 4 * hulls.BACKLASH / 30  # two teeth, each thinner by that many modules, over the pitch radius
    assert max(apart) - min(apart) < 1.2 * backlash and abs(np.mean(apart)) < backlash


LEAD = 0.02
"""m a turn: that of the vise's screw."""


def test_a_screw_brings_its_jaw_forward_by_its_lead_and_keeps_it_there():
    world, vise = stand("bench_vise", timestep=0.002)
    vise.drive_to("screw", 10.0, speed=10.0)
    world.advance(700)
    assert vise.joint_position["jaw"] == pytest.approx(10.0 * LEAD / (2 * math.pi), rel=1e-3)
    vise.drive_to("screw", None)
    held = 0.8 * 2 * math.pi / LEAD  # N on the jaw, by the screw's friction of 0.8 N·m
    push(vise, "jaw", (-0.95 * held, 0, 0), 0.2)
    place = vise.joint_position["screw"]
    push(vise, "jaw", (-0.95 * held, 0, 0), 0.5)
    assert vise.joint_position["screw"] == pytest.approx(place, abs=1e-4) and place > 9.9
    push(vise, "jaw", (-1.2 * held, 0, 0), 0.5)
    assert vise.joint_position["screw"] < 9.0


def test_a_vise_clamps_with_what_its_screw_makes_of_the_torque():
    world, vise = stand("bench_vise", timestep=0.002, solver_iterations=50)
    x, _, z = vise.frame("middle").position
    block = world.add(simple("block", "box", (0.04, 0.03, 0.03), 0.3, friction=0.5), (x + 0.019, 0, z), fixed=False)
    vise.drive_to("screw", 25.0, effort=1.5, speed=8.0)
    push(block, "block", (0, 0, 0.3 * GRAVITY), 1.8)
    forces = []
    for _ in range(250):
        push(block, "block", (0, 0, 0.3 * GRAVITY), 0.002)
        forces.append(sum(c.normal_force for c in block.contacts() if c.other_link == "jaw"))
    assert np.mean(forces) == pytest.approx(1.5 * 2 * math.pi / LEAD, rel=0.02)


def test_what_is_geared_goes_on_bit_for_bit_after_restore():
    world, vise = stand("bench_vise", timestep=0.002)
    vise.drive_to("screw", 20.0, speed=5.0)
    world.advance(300)
    saved, found = world.save(), []
    for _ in range(2):
        world.restore(saved)
        world.advance(200)
        found.append(tuple(vise.joint_position.values()))
    assert found[0] == found[1] and found[0][1] > 0.01


def test_a_joint_can_follow_only_one_that_follows_none():
    data = load_part("bench_vise").model_dump()
    for joint, message in (("jaw", "screw"), ("scrwe", "did you mean 'screw'")):
        data["pieces"][2]["joint"]["follows"]["joint"] = joint
        with pytest.raises(pydantic.ValidationError, match=message):
            ObjectSpec.model_validate(data)
    data["pieces"][2]["joint"]["follows"] = {"joint": "screw", "ratio": 0.0}
    with pytest.raises(pydantic.ValidationError, match="must be finite and not zero"):
        ObjectSpec.model_validate(data)


# ---- scales and lights -----------------------------------------------------------------------------------------------


def weighing(lights: bool = True) -> tuple[World, dict[str, Thing], Devices]:
    world, scale = stand("platform_scale", timestep=0.002)
    things = {"scale": scale, "tower": world.add(load_part("signal_tower"), (0.5, 0, 0), fixed=True, visuals=True)}
    sensors = {"loaded": {"joint": "scale.pan", "measure": "load", "above": 1.0}}
    lamps = {"tower.green": {"signal": "loaded", "colour": [0.1, 0.8, 0.2]}} if lights else {}
    devices = Devices(DeviceSpec.model_validate({"sensors": sensors, "lights": lamps}), things)
    return world, things, devices


@pytest.mark.parametrize("mass", [0.9, 1.1, 8.0])
def test_a_scale_tells_what_lies_on_it_and_a_light_shows_it(mass: float, monkeypatch: pytest.MonkeyPatch):
    world, things, devices = weighing()
    shown: list[Any] = []
    monkeypatch.setattr(things["tower"], "paint", lambda piece, colour: shown.append((piece, tuple(colour))))
    world.advance(300)
    assert devices.load("scale.pan") == pytest.approx(0.0, abs=0.005)
    x, y, z = things["scale"].frame("pan").position
    world.add(simple("load", "box", (0.1, 0.1, 0.06), mass), (x + 0.05, y - 0.03, z + 0.031), fixed=False)
    world.advance(700)
    devices.update(0.02)
    assert devices.load("scale.pan") == pytest.approx(mass, rel=0.02)
    assert devices.signals == {"loaded": mass > 1.0}
    assert shown == ([("green", (0.1, 0.8, 0.2))] if mass > 1.0 else [])
    devices.reset()
    assert shown[-1] == ("green", (0.1, 0.8, 0.2) if mass > 1.0 else DARK)


def test_only_a_piece_on_a_spring_weighs():
    _, vise = stand("bench_vise", timestep=0.002)
    spec = DeviceSpec.model_validate({"sensors": {"heavy": {"joint": "vise.jaw", "measure": "load", "above": 1.0}}})
    with pytest.raises(SimulationError, match=r"sensor 'heavy': joint 'vise\.jaw' weighs nothing"):
        Devices(spec, {"vise": vise})
    with pytest.raises(pydantic.ValidationError, match=r"light 'tower\.red'.*did you mean 'loaded'"):
        sensors = {"loaded": {"joint": "scale.pan", "above": 0.5}}
        DeviceSpec.model_validate(
            {"sensors": sensors, "lights": {"tower.red": {"signal": "load", "colour": [1, 0, 0]}}}
        )


# ---- latches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timestep", [0.001, 0.002])
def test_a_latch_snaps_in_at_its_force_and_holds_until_it_is_released(timestep: float):
    world, header = stand("latch_header", timestep=timestep, solver_iterations=50)
    plug = load_part("latch_plug").pieces[0].model_dump()
    guide = {"kind": "slide", "axis": [0, 0, 1], "lower": -0.03, "upper": 0.05}  # as a hand that holds it upright
    post = {"name": "post", "mass": 1, "shapes": [{"shape": "box", "size": [0.02] * 3, "at": [0.3, 0, 0.3]}]}
    pieces = [post, {**plug, "parent": "post", "joint": guide}]
    jig = world.add(
        ObjectSpec.model_validate({"name": "jig", "title": "jig", "pieces": pieces}), (0, 0, 0.006), fixed=True
    )
    jig.set_joints([0.03])
    force, yields = 0.0, 0.0
    while jig.joint_position["plug"] > 0.001:
        assert force < 60.0
        push(jig, "plug", (0, 0, -force), 0.002)
        yields = max(yields, header.joint_position["pawl"])
        force += 0.1
    force += 0.1 * GRAVITY  # its own weight helps
    # Between what the slope makes of the spring's force without friction and with that of the two pieces, 0.6 · 0.3.
    spring, slope, friction = 8.0 + 4000.0 * yields, math.atan2(8, 12), 0.18
    least = spring / math.tan(slope)
    most = spring * (1 + friction * math.tan(slope)) / (math.tan(slope) - friction)
    assert 0.95 * least < force < most and 20.0 < force < 60.0  # a detent of 20 to 60 N
    world.advance(200)
    assert header.joint_position["pawl"] < 1e-4  # it has snapped back over the ridge
    for force in range(0, 101, 2):
        push(jig, "plug", (0, 0, force), 0.01)
    assert jig.joint_position["plug"] < 0.002
    header.drive_to("pawl", 0.006, effort=60)
    world.advance(200)
    push(jig, "plug", (0, 0, 5), 0.5)
    assert jig.joint_position["plug"] > 0.03
