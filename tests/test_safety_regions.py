"""The limits of contact: complete, sourced, sane, and what follows from them."""

from __future__ import annotations

import copy
import importlib.resources
import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from training_ground.assets.library import load_part
from training_ground.assets.objects import ObjectSpec
from training_ground.assets.safety.regions import REGIONS, body_regions, read_regions
from training_ground.configs.errors import AssetError

TABLE = {  # force N, pressure N/cm², stiffness N/mm, mass kg; typed in again, to find a slip of the pen
    "skull": (130, 110, 130, 150, 4.4), "face": (65, 110, 110, 75, 4.4), "neck": (150, 140, 210, 50, 1.2),
    "back": (210, 160, 210, 35, 40), "chest": (140, 120, 170, 25, 40), "abdomen": (110, 140, 140, 10, 40),
    "pelvis": (180, 210, 210, 25, 40), "upper_arm": (150, 190, 220, 30, 3), "lower_arm": (160, 180, 190, 40, 2),
    "hand": (140, 190, 300, 75, 0.6), "thigh": (220, 220, 250, 50, 75), "lower_leg": (130, 210, 220, 60, 75),
}  # fmt: skip


def plain() -> dict[str, Any]:
    folder = importlib.resources.files("training_ground.assets.safety")
    return yaml.safe_load((Path(str(folder)) / "body_regions.yaml").read_text(encoding="utf-8"))


def test_the_table_is_the_standards():
    assert tuple(TABLE) == REGIONS
    for name, row in TABLE.items():
        region = body_regions()[name]  # type: ignore[index]
        pressure = region.pressure_n_per_cm2
        found = (region.force, pressure.least, pressure.most, region.stiffness_n_per_mm.value, region.mass)
        assert found == row, name
        assert region.stiffness == 1000 * row[3]


def test_a_short_contact_may_have_twice_as_much_but_on_the_head():
    for name, region in body_regions().items():
        multiple = 1.0 if name in ("skull", "face") else 2.0
        assert region.transient_force == multiple * region.force
        assert (region.transient.value is None) == (name in ("skull", "face"))


def test_every_figure_names_its_source():
    data = plain()
    for name, region in data["regions"].items():
        for field, figure in region.items():
            if field != "title":
                assert "ISO/TS 15066" in data["sources"][figure["source"]], f"{name}.{field}"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("hand", "force_n", "source"), "A9", r"regions\.hand\.force_n: unknown source 'A9'"),
        (("hand", "force_n", "value"), -140, "greater than 0"),
        (("hand", "mass_kg"), {"value": 0.6}, r"regions\.hand\.mass_kg\.source' is missing"),
        (("hand", "pressure_n_per_cm2", "least"), 400, "least must not exceed most"),
        (("hand", "transient", "value"), 0.5, "greater than or equal to 1"),
        (("hand",), None, "regions: hand missing"),
        (("tail",), {}, "regions.tail"),
    ],
)
def test_a_bad_table_is_refused(path: tuple[str, ...], value: Any, message: str, tmp_path: Path):
    data = copy.deepcopy(plain())
    inner = data["regions"]
    for key in path[:-1]:
        inner = inner[key]
    if value is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(AssetError, match=message):
        read_regions(tmp_path / "table.yaml")


def test_impacts_and_permitted_speeds():
    hand = body_regions()["hand"]
    reduced = 3.0 * 0.6 / 3.6
    assert hand.impact_force(0.5, 3.0) == pytest.approx(0.5 * math.sqrt(reduced * 75e3))
    assert hand.impact_force(0.5, 3.0, clamped=True) == pytest.approx(0.5 * math.sqrt(3.0 * 75e3))
    for region in body_regions().values():
        for clamped in (False, True):
            speed = region.permitted_speed(4.0, clamped=clamped)
            assert region.impact_force(speed, 4.0, clamped=clamped) == pytest.approx(region.transient_force)
    assert hand.permitted_speed(4.0, clamped=True) < hand.permitted_speed(4.0)


# ---- the person ------------------------------------------------------------------------------------------------------


def test_a_person_has_every_region_and_a_persons_size_and_mass():
    person = load_part("person")
    assert set(person.regions.values()) == set(REGIONS) and len(person.regions) == len(person.pieces)
    assert sum(piece.mass for piece in person.pieces) == pytest.approx(75, abs=1)
    tops = [shape.at[2] + shape.size[0] for piece in person.pieces for shape in piece.shapes if piece.region == "skull"]
    assert max(tops) == pytest.approx(1.75, abs=0.005)
    bottoms = [s.at[2] - s.size[2] / 2 for piece in person.pieces for s in piece.shapes if s.shape == "box"]
    assert min(bottoms) == pytest.approx(0.0, abs=0.002)


def test_pieces_without_joints_are_one_rigid_body():
    box = {"mass": 1.0, "shapes": [{"shape": "box", "size": [0.1, 0.1, 0.1]}]}
    joint = {"kind": "slide", "axis": [1, 0, 0], "lower": 0, "upper": 0.1}
    rigid = {"name": "thing", "title": "Thing", "pieces": [{"name": "a", **box}, {"name": "b", "parent": "a", **box}]}
    spec = ObjectSpec.model_validate(rigid)
    assert spec.mechanisms == {} and spec.regions == {}
    mixed = {**rigid, "pieces": [*rigid["pieces"], {"name": "c", "parent": "a", "joint": joint, **box}]}
    with pytest.raises(ValueError, match="piece 'b': needs a joint"):
        ObjectSpec.model_validate(mixed)
    with pytest.raises(ValueError, match="region"):
        ObjectSpec.model_validate({**rigid, "pieces": [{"name": "a", "region": "tail", **box}]})
