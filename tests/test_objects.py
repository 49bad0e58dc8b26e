"""Objects weigh, slide, swing and fall as theory says; belts carry at their speed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pydantic
import pytest

from training_ground.assets.inertia import Inertia, solid_inertia
from training_ground.assets.layout import Item
from training_ground.assets.objects import ObjectSpec, simple
from training_ground.configs.errors import SimulationError
from training_ground.envs.world import Thing, World


def world(timestep: float = 0.002, **more: Any) -> World:
    made = World(timestep=timestep, **more)
    made.add_ground()
    return made


def mechanism(kind: str = "slide", mass: float = 2.0, **joint: Any) -> ObjectSpec:
    """A block on a post: it slides along or turns about y, its centre 0.1 m beside the axis where it turns."""
    shift = [0.1, 0.0, 0.0] if kind == "turn" else [0.0, 0.0, 0.0]
    block = {"shape": "box", "size": [0.1, 0.1, 0.1], "at": shift}
    post = {"name": "post", "mass": 1.0, "shapes": [{"shape": "box", "size": [0.05, 0.05, 0.05]}]}
    moving: dict[str, Any] = {"name": "block", "mass": mass, "shapes": [block], "parent": "post"}
    moving["joint"] = {"kind": kind, "axis": [0, 2, 0], "at": [0, 0, 0.2], "lower": -1.0, "upper": 1.0, **joint}
    return ObjectSpec.model_validate({"name": "device", "title": "Device", "pieces": [post, moving]})


def run(scene: World, seconds: float, see: Callable[[], Any] | None = None) -> list[Any]:
    """Advance step by step; what `see` gave after each."""
    seen = []
    for _ in range(round(seconds / scene.timestep)):
        scene.advance(1)
        if see is not None:
            seen.append(see())
    return seen


# ---- what they are ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "size"), [("box", (0.06, 0.06, 0.06)), ("sphere", (0.03,)), ("cylinder", (0.03, 0.06)),
                        ("capsule", (0.03, 0.06))]
)  # fmt: skip
def test_things_touch_where_their_shapes_say(shape: str, size: tuple[float, ...]):
    """A pin of 30 mm goes into a hole of 31; the engine alone would make it 32."""
    scene = World()
    wall = scene.add(simple("wall", "box", (0.02, 0.4, 0.4), 1.0), (0.1, 0.0, 0.0), fixed=True)
    thing = scene.add(simple("thing", shape, size, 1.0), (0.0, 0.0, 0.0), fixed=True)
    assert thing.distance(wall, within=0.1) == pytest.approx(0.06, abs=1e-4)
    floor = scene.add(simple("floor", "box", (0.4, 0.4, 0.02), 1.0), (0.0, 0.0, -0.15), fixed=True)
    below = 0.06 if shape == "capsule" else 0.03
    assert thing.distance(floor, within=0.2) == pytest.approx(0.14 - below, abs=1e-4)
    scene.close()


@pytest.mark.parametrize(
    ("shape", "size"), [("box", (0.2, 0.3, 0.5)), ("sphere", (0.2,)), ("cylinder", (0.1, 0.4)), ("capsule", (0.1, 0.4))]
)
def test_inertia_is_that_of_evenly_spread_mass(shape: str, size: tuple[float, ...]):
    """Against a million points drawn evenly in the shape."""
    half = 0.5 * np.array(size if shape == "box" else [2 * size[0]] * 2 + [2 * size[0] + sum(size[1:])])
    points = np.random.default_rng(0).uniform(-half, half, (1_000_000, 3))
    if shape != "box":
        straight = 0.5 * size[1] if shape != "sphere" else 0.0
        beyond = np.maximum(np.abs(points[:, 2]) - straight, 0.0)
        if shape == "cylinder":
            beyond[beyond > 0] = np.inf
        points = points[np.hypot(np.hypot(points[:, 0], points[:, 1]), beyond) <= size[0]]
    volume = np.prod(2 * half) * len(points) / 1_000_000
    squares = (points**2).mean(axis=0)
    found = solid_inertia(shape, size, 500.0)
    assert found.mass == pytest.approx(500.0 * volume, rel=5e-3)
    assert np.diag(found.matrix) == pytest.approx(found.mass * (squares.sum() - squares), rel=5e-3)


def test_shapes_of_a_piece_share_its_mass_by_volume():
    both = ObjectSpec.model_validate(
        {
            "name": "dumbbell",
            "title": "Dumbbell",
            "pieces": [
                {
                    "name": "dumbbell",
                    "mass": 3.0,
                    "shapes": [
                        {"shape": "box", "size": [0.1, 0.1, 0.1], "at": [-0.2, 0, 0]},
                        {"shape": "box", "size": [0.1, 0.1, 0.2], "at": [0.2, 0, 0], "rpy": [0, math.pi / 2, 0]},
                    ],
                }
            ],
        }
    ).pieces[0]
    found = both.inertia()
    assert isinstance(found, Inertia) and found.mass == pytest.approx(3.0)
    assert found.centre == pytest.approx([(-0.2 * 1 + 0.2 * 2) / 3, 0, 0])
    own = 1 * 0.02 / 12, 2 * (0.04 + 0.01) / 12  # of the box, and of the turned one about z
    apart = 1 * (0.2 + 0.2 / 3) ** 2 + 2 * (0.2 - 0.2 / 3) ** 2
    assert found.matrix[2, 2] == pytest.approx(sum(own) + apart)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shapes": [{"shape": "box", "size": [1, 1]}]}, "a box has 3 numbers"),
        ({"shapes": []}, "at least 1 item"),
        ({"mass": 0.0}, "greater than 0"),
        ({"parent": "post"}, "the base: it has no parent"),
    ],
)
def test_bad_pieces_are_refused(change: dict[str, Any], message: str):
    piece = {"name": "part", "mass": 1.0, "shapes": [{"shape": "sphere", "size": [0.1]}], **change}
    with pytest.raises(pydantic.ValidationError, match=message):
        ObjectSpec.model_validate({"name": "part", "title": "Part", "pieces": [piece]})


def test_bad_mechanisms_are_refused():
    changes: list[tuple[dict[str, Any], str]] = [
        ({"lower": 1.0}, "lower must be below upper"),
        ({"axis": [0, 0, 0]}, "must not be zero"),
        ({"spring": -1}, "greater than or equal to 0"),
    ]
    for change, message in changes:
        with pytest.raises(pydantic.ValidationError, match=message):
            mechanism(**change)
    pieces = mechanism().model_dump()
    pieces["pieces"][1]["parent"] = "pots"
    with pytest.raises(pydantic.ValidationError, match="a parent among those before it: post"):
        ObjectSpec.model_validate(pieces)


# ---- what they do ----------------------------------------------------------------------------------------------------


def test_a_part_falls_and_comes_to_rest_at_its_height():
    scene = world()
    part = scene.add(simple("part", "box", (0.2, 0.15, 0.08), 0.9), (0.3, 0, 1.04))
    heights = run(scene, 0.4, lambda: part.state.position[2])
    time = scene.timestep * np.arange(1, len(heights) + 1)
    # The engine adds gravity before it moves: half a step more than the parabola at every time.
    assert heights == pytest.approx(1.04 - 0.5 * 9.81 * time * (time + scene.timestep), abs=1e-9)
    run(scene, 1.0)
    assert part.state.position[2] == pytest.approx(0.04, abs=5e-4)
    assert math.hypot(*part.state.linear_velocity) < 1e-3


def test_friction_stops_a_sliding_part_where_coulomb_says():
    scene = world(0.001, solver_iterations=50)
    part = scene.add(simple("part", "box", (0.1, 0.1, 0.02), 0.5, friction=0.4), (0, 0, 0.01))
    run(scene, 0.2)
    start = part.state.position[0]
    part.set_base((start, 0, part.state.position[2]), (0, 0, 0, 1), (1.0, 0, 0))
    run(scene, 0.6)
    assert part.state.position[0] - start == pytest.approx(1 / (2 * 0.4 * 9.81), rel=0.02)
    assert math.hypot(*part.state.linear_velocity) < 1e-3


def test_a_spring_swings_at_its_frequency_and_rests_at_its_deflection():
    scene = world(0.001)
    device = scene.add(mechanism(spring=200.0), (0, 0, 1), fixed=True)
    device.set_joints([0.05])
    seen = run(scene, 2.0, lambda: device.joint_position["block"])
    crossings = np.flatnonzero(np.diff(np.sign(seen)) != 0)
    period = 2 * scene.timestep * np.diff(crossings).mean()
    assert period == pytest.approx(2 * math.pi * math.sqrt(2.0 / 200.0), rel=0.01)
    assert max(seen) == pytest.approx(0.05, rel=0.02) and min(seen) == pytest.approx(-0.05, rel=0.02)
    upright = scene.add(mechanism(axis=[0, 0, 1], spring=400.0, damping=20.0), (1, 0, 1), fixed=True)
    run(scene, 2.0)
    assert upright.joint_position["block"] == pytest.approx(-2.0 * 9.81 / 400.0, rel=0.01)


def test_a_turning_mechanism_has_the_period_of_its_pendulum():
    scene = world(0.001)
    device = scene.add(mechanism("turn", lower=-3.0, upper=3.0), (0, 0, 1), fixed=True)
    device.set_joints([math.pi / 2 - 0.1])  # the block hangs below its axis at a quarter turn
    seen = np.array(run(scene, 3.0, lambda: device.joint_position["block"])) - math.pi / 2
    crossings = np.flatnonzero(np.diff(np.sign(seen)) != 0)
    about = 2.0 * (0.01 + (0.1**2 + 0.1**2) / 12)
    expected = 2 * math.pi * math.sqrt(about / (2.0 * 9.81 * 0.1))
    assert 2 * scene.timestep * np.diff(crossings).mean() == pytest.approx(expected, rel=0.01)


def test_a_door_stops_at_its_travel():
    scene = world(0.001)
    door = scene.add(mechanism(lower=-0.3, upper=0.5, friction=5.0), (0, 0, 1), fixed=True)
    for push, end in ((30.0, 0.5), (-30.0, -0.3)):
        for _ in range(1500):
            door.apply_force("block", (0, push, 0), (0, door.joint_position["block"], 1.2))
            scene.advance(1)
        assert door.joint_position["block"] == pytest.approx(end, abs=0.02 * 0.8)


@pytest.mark.parametrize("force", [4.5, 5.5])
def test_friction_holds_a_mechanism_up_to_its_force(force: float):
    scene = world(0.001)
    drawer = scene.add(mechanism(friction=5.0), (0, 0, 1), fixed=True)
    for _ in range(1000):
        drawer.apply_force("block", (0, force, 0), (0, drawer.joint_position["block"], 1.2))
        scene.advance(1)
    travelled = drawer.joint_position["block"]
    if force < 5.0:
        assert abs(travelled) < 0.01
    else:
        assert travelled == pytest.approx(0.5 * (force - 5.0) / 2.0 * 1.0**2, rel=0.1)


@pytest.mark.parametrize("turned", [0.0, 1.0])
def test_a_belt_carries_at_its_speed(turned: float):
    scene = world(0.002)
    belt = scene.add(simple("belt", "box", (2.0, 0.4, 0.1), 20.0, friction=1.0), fixed=True)
    belt.place((0, 0, 0.8), (0, 0, math.sin(turned / 2), math.cos(turned / 2)))
    x, y = math.cos(turned), math.sin(turned)
    part = scene.add(simple("part", "box", (0.06, 0.06, 0.06), 0.5), (-0.7 * x, -0.7 * y, 0.881))
    belt.carry((0.2, 0, 0))

    def along() -> float:
        return part.state.position[0] * x + part.state.position[1] * y

    places = []
    for _ in range(200):  # control steps of 20 ms
        scene.advance(10)
        places.append(along())
    assert (places[-1] - places[50]) / (149 * 0.02) == pytest.approx(0.2, rel=0.02)
    assert belt.state.position == pytest.approx((0, 0, 0.8), abs=0.005)
    belt.carry(None)
    stopped = places[-1]
    for _ in range(50):
        scene.advance(10)
    assert along() == pytest.approx(stopped, abs=0.01)


def test_rolling_resistance_stops_what_rolls():
    """Without any, a cylinder on the floor has not stopped after three seconds."""
    scene = world(0.002)
    gone = {}
    for name, rolling in (("free", 0.0), ("braked", 0.001)):
        spec = simple(name, "cylinder", (0.03, 0.08), 0.3, friction=0.7, rolling=rolling)
        roll = scene.add(spec, name=name, position=(0.0, 0.5 * (name == "free"), 0.0301))
        roll.set_base((0.0, 0.5 * (name == "free"), 0.0301), (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)), (0.3, 0, 0),
                      (0, 10, 0))  # fmt: skip
        gone[name] = roll
    run(scene, 3.0)
    assert gone["free"].state.linear_velocity[0] > 0.1
    assert abs(gone["braked"].state.linear_velocity[0]) < 0.02


def test_only_what_is_fixed_carries():
    with pytest.raises(pydantic.ValidationError, match="only the surface of an item that is 'fixed'"):
        Item.model_validate({"part": "belt", "carries": [0, 0.1, 0]})
    assert Item.model_validate({"part": "belt", "carries": [0, 0.1, 0], "fixed": True}).carries == (0, 0.1, 0)


def test_a_mechanism_too_stiff_for_the_step_is_refused():
    with pytest.raises(SimulationError, match=r"'device', joint 'block': spring = 1e\+07 .* physics_timestep"):
        world(0.005).add(mechanism(spring=1e7), fixed=True)


def test_a_world_with_objects_returns_to_a_state_bit_for_bit():
    scene = world()
    device = scene.add(mechanism(spring=50.0), (0, 0, 1), fixed=True)
    parts = [scene.add(simple("part", "box", (0.1, 0.1, 0.1), 1.0), (0.03 * i, 0, 0.3 + 0.11 * i)) for i in range(4)]
    device.set_joints([0.1])

    def rest() -> list[Any]:
        run(scene, 0.5)
        return [device.joint_position, *(part.state for part in parts)]

    run(scene, 0.1)
    state = scene.save()
    first = rest()
    scene.restore(state)
    assert rest() == first
    scene.add(simple("late", "sphere", (0.1,), 1.0), (2, 0, 1))
    with pytest.raises(SimulationError, match="6 objects, but 5 when the state was saved"):
        scene.restore(state)


def test_contacts_name_the_objects():
    scene = world()
    part = scene.add(simple("part", "box", (0.1, 0.1, 0.1), 2.0), (0, 0, 0.05), name="cell_3")
    run(scene, 0.3)
    contacts = part.contacts()
    assert {contact.other for contact in contacts} == {"ground"}
    assert sum(contact.normal_force for contact in contacts) == pytest.approx(2.0 * 9.81, rel=0.01)
    assert isinstance(part, Thing) and ("cell_3", "part") in scene.segments
