"""Machines start, refuse and stop as their interlock says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pydantic
import pytest

from training_ground.assets.devices import DeviceSpec
from training_ground.assets.objects import ObjectSpec
from training_ground.configs.errors import SimulationError
from training_ground.envs.devices import LAMPS, Devices
from training_ground.envs.world import Thing, World

DT = 0.02

SPEC: dict[str, Any] = {
    "sensors": {
        "pressed": {"joint": "panel.button", "above": 0.8},
        "door_shut": {"joint": "press.door", "below": 0.02},
        "ram_up": {"joint": "press.ram", "measure": "position", "below": 0.005},
        "half": {"joint": "press.ram", "above": 0.4, "below": 0.6},
    },
    "machines": {
        "press": {
            "start": "pressed",
            "needs": ["door_shut"],
            "cycle_s": 1.5,
            "moves": {"press.ram": {"to": 0.2, "rest": 0.0, "effort": 300.0, "speed": 0.2}},
            "lamp": "panel.lamp",
        }
    },
}


def part(name: str, size: list[float], **more: Any) -> dict[str, Any]:
    return {"name": name, "mass": 2.0, "shapes": [{"shape": "box", "size": size}], **more}


def slide(axis: list[int], at: list[float], upper: float, **more: Any) -> dict[str, Any]:
    return {"kind": "slide", "axis": axis, "at": at, "lower": 0.0, "upper": upper, **more}


class Cell:
    """A press with a door, beside it a panel with a start button."""

    def __init__(self, spec: dict[str, Any] | None = None, visuals: bool = False) -> None:
        door = slide([1, 0, 0], [0, -0.3, 0.5], 0.4, friction=5.0)
        door["catches"] = [{"at": 0.0, "force": 20.0, "width": 0.006}]
        press = [
            part("frame", [0.5, 0.5, 0.1]),
            part("ram", [0.1, 0.1, 0.1], parent="frame", joint=slide([0, 0, -1], [0, 0, 0.6], 0.2, friction=2.0)),
            part("door", [0.4, 0.02, 0.4], parent="frame", joint=door),
        ]
        button = slide([0, 0, -1], [0, 0, 0.1], 0.01, spring=900.0, rest=-0.03, damping=10.0)
        panel = [
            part("box", [0.2, 0.2, 0.1]),
            part("button", [0.03, 0.03, 0.02], mass=0.3, parent="box", joint=button),
            part("lamp", [0.05] * 3, parent="box", joint=slide([1, 0, 0], [0, 0.1, 0.1], 0.01, friction=9.0)),
        ]
        self.world = World(timestep=0.002)
        make = {"press": press, "panel": panel}
        specs = [ObjectSpec.model_validate({"name": n, "title": n, "pieces": pieces}) for n, pieces in make.items()]
        places = [(0, 0, 0.1), (1, 0, 0.1)]
        self.press, self.panel = (
            self.world.add(s, place, fixed=True, visuals=visuals) for s, place in zip(specs, places, strict=True)
        )
        things = {"press": self.press, "panel": self.panel}
        self.devices = Devices(DeviceSpec.model_validate(spec or SPEC), things)

    def run(self, seconds: float, pushed: float = 0.0) -> list[dict[str, Any]]:
        """Pass control steps with a force on the button, N."""
        seen = []
        for _ in range(round(seconds / DT)):
            for _ in range(10):
                self.panel.apply_force("button", (0, 0, -pushed), (1, 0, 0.2))
                self.world.advance(1)
            self.devices.update(DT)
            seen.append(self.devices.values())
        return seen

    def push(self) -> None:
        self.run(0.2, pushed=60.0)
        self.run(0.1)

    def open(self, door: float) -> None:
        self.press.set_joints([self.at(self.press, "ram"), door])

    @staticmethod
    def at(thing: Thing, joint: str) -> float:
        return thing.joint_position[joint]


def test_an_interlocked_press_runs_only_behind_its_door():
    cell = Cell()
    cell.open(0.3)
    cell.push()
    assert cell.devices.values() == {
        "pressed": False,
        "door_shut": False,
        "ram_up": True,
        "half": False,
        "press": "idle",
        "press.refused": 1,
        "press.cycles": 0,
    }
    assert cell.at(cell.press, "ram") < 0.001

    cell.open(0.0)
    assert cell.press.caught["door"] == 0.0
    cell.run(0.2)
    assert cell.devices.values()["press"] == "idle"  # shutting the door does not start it
    seen = cell.run(0.2, pushed=60.0) + cell.run(2.0)
    states = [values["press"] for values in seen]
    assert states.count("running") * DT == pytest.approx(1.5)
    assert any(values["half"] for values in seen)
    assert states[-1] == "done" and seen[-1]["press.cycles"] == 1 and seen[-1]["ram_up"] is False
    cell.run(1.0)
    assert cell.devices.signals["ram_up"]

    cell.push()
    cell.run(0.3)
    cell.open(0.3)
    cell.run(DT)
    stopped = cell.at(cell.press, "ram")
    cell.run(0.5)
    assert cell.devices.values()["press"] == "stopped"
    assert 0.05 < stopped < 0.19 and cell.at(cell.press, "ram") == pytest.approx(stopped, abs=0.002)
    cell.open(0.0)
    cell.run(0.3)
    assert cell.devices.values()["press"] == "stopped"  # it waits for a new start
    cell.push()
    cell.run(1.5)
    assert cell.devices.values() | {"ram_up": None} == {
        "pressed": False,
        "door_shut": True,
        "ram_up": None,
        "half": False,
        "press": "done",
        "press.refused": 1,
        "press.cycles": 2,
    }


def test_a_button_that_is_held_starts_once():
    cell = Cell()
    cell.run(4.0, pushed=60.0)
    assert cell.devices.machines["press"].cycles == 1
    again = Cell()
    again.panel.set_joints([0.01, 0.0])
    again.devices.reset()  # pressed from the beginning: no edge
    again.run(0.5, pushed=60.0)
    assert again.devices.values()["press"] == "idle"


def test_a_cell_continues_from_what_was_saved():
    cell = Cell()
    cell.push()
    cell.run(0.4)
    world, logic = cell.world.save(), json.loads(json.dumps(cell.devices.save()))

    def rest() -> list[Any]:
        return [cell.run(2.0), cell.press.joint_position, cell.panel.joint_position]

    first = rest()
    cell.open(0.2)
    cell.run(0.2)
    cell.world.restore(world)
    cell.devices.restore(logic)
    assert rest() == first and first[0][-1]["press.cycles"] == 1


def test_the_lamp_shows_the_state():
    cell = Cell(visuals=True)

    def colour() -> Any:
        picture = cell.world.camera((1, 0.1, 1.5), (1, 0.1001, 0.2), width=64, height=64, field_of_view_deg=20)
        shown = picture.segmentation == cell.world.segments.index(("panel", "lamp"))
        return picture.rgb[shown].mean(axis=0) / 255.0

    for state in ("idle", "running"):
        red, green, blue = colour()
        assert np.array([red, green, blue]) / green == pytest.approx(np.array(LAMPS[state]) / LAMPS[state][1], abs=0.1)
        cell.push()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (("sensors", "pressed"), {"joint": "panel.button"}, "at least one is needed"),
        (("sensors", "pressed"), {"joint": "panel.button", "above": 1.5}, "between 0 and 1"),
        (("sensors", "pressed"), {"joint": "panel.button", "above": 0.5, "below": 0.4}, "must not exceed below"),
        (("sensors", "pressed"), {"joint": "button", "above": 0.5}, "should match pattern"),
        (("machines", "press", "needs"), ["door_shuf"], "did you mean 'door_shut'"),
        (("machines", "pressed"), SPEC["machines"]["press"], "names a sensor and a machine"),
        (("machines", "vise"), SPEC["machines"]["press"], "'press' and 'vise' both move it"),
    ],
)
def test_devices_that_cannot_be_are_refused(key: tuple[str, ...], value: Any, message: str):
    spec = json.loads(json.dumps(SPEC))
    inner = spec
    for part_of in key[:-1]:
        inner = inner[part_of]
    inner[key[-1]] = value
    with pytest.raises(pydantic.ValidationError, match=message):
        DeviceSpec.model_validate(spec)


@pytest.mark.parametrize(
    ("joint", "message"),
    [("pres.ram", "did you mean 'press'"), ("press.rum", "unknown piece 'rum'"), ("press.frame", "unknown joint")],
)
def test_devices_name_what_is_there(joint: str, message: str):
    sensors = {**SPEC["sensors"], "half": {"joint": joint, "above": 0.5}}
    with pytest.raises(SimulationError, match=message):
        Cell({**SPEC, "sensors": sensors})
    moves = {"press.ram": {"to": 0.3}}
    with pytest.raises(SimulationError, match=r"to = 0.3: must lie within 0 and 0.2"):
        Cell({**SPEC, "machines": {"press": {**SPEC["machines"]["press"], "moves": moves}}})
