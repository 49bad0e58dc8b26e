"""The compiled model as JSON: `model.json` in the cache."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from training_ground.assets.model import CompiledModel, FootModel, Frame, HandModel, Mirror

URDF, VISUAL_URDF, MODEL = "robot.urdf", "robot_visual.urdf", "model.json"


def model_to_json(model: CompiledModel) -> dict[str, Any]:
    """Return plain data; paths are left out, they follow from the folder."""
    data = {
        field.name: getattr(model, field.name)
        for field in dataclasses.fields(model)
        if field.name not in ("directory", "urdf", "visual_urdf", "frames", "feet", "hands", "mirror")
    }
    for key, value in data.items():
        if isinstance(value, np.ndarray):
            data[key] = value.tolist()
    data["frames"] = {
        name: [frame.link, frame.position.tolist(), frame.orientation.tolist()] for name, frame in model.frames.items()
    }
    data["feet"] = [[foot.link, foot.side, foot.sole.tolist()] for foot in model.feet]
    data["hands"] = [dataclasses.asdict(hand) for hand in model.hands]
    mirror = model.mirror
    data["mirror"] = None if mirror is None else [mirror.permutation.tolist(), mirror.sign.tolist()]
    return data


def model_from_json(data: dict[str, Any], directory: Path) -> CompiledModel:
    """Read what `model_to_json` wrote; a KeyError or TypeError tells of data that is none."""
    values = dict(data)
    for field in dataclasses.fields(CompiledModel):
        if field.type == "Array":
            values[field.name] = np.array(values[field.name], dtype=float)
        elif str(field.type).startswith("tuple[str"):
            values[field.name] = tuple(values[field.name])
    values["parents"] = tuple(data["parents"])
    values["station"] = tuple(data["station"])
    values["disabled_collisions"] = tuple((a, b) for a, b in data["disabled_collisions"])
    values["frames"] = {
        name: Frame(link, np.array(position), np.array(orientation))
        for name, (link, position, orientation) in data["frames"].items()
    }
    values["feet"] = tuple(FootModel(link, side, np.array(sole)) for link, side, sole in data["feet"])
    values["hands"] = tuple(
        HandModel(**{**hand, **{name: tuple(hand[name]) for name in ("fingers", "open", "closed", "pointing")}})
        for hand in data["hands"]
    )
    mirror = data["mirror"]
    values["mirror"] = (
        None if mirror is None else Mirror(np.array(mirror[0], dtype=np.int64), np.array(mirror[1], dtype=float))
    )
    return CompiledModel(**values, directory=directory, urdf=directory / URDF, visual_urdf=directory / VISUAL_URDF)
