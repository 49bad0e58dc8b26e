"""Ballast: points of a robot that can take mass, so that its masses can differ from episode to episode.

The engine cannot move a link's centre of mass once the robot is loaded; it can change the mass of a link.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

MASS = 1e-6
"""kg of a point that is not in use: enough for the engine's arithmetic, nothing for the robot's."""


class Point(NamedTuple):
    """A point that can take mass.

    Attributes:
        link: Link that carries it.
        offset: (3,) along the axes of the link's frame, m.
        centred: Whether the offset counts from the link's centre of mass, else from the frame's origin.
        radius: Of the sphere as which cameras see it, m; 0 for none.
    """

    link: str
    offset: Sequence[float]
    centred: bool = True
    radius: float = 0.0


def with_ballast(path: Path, points: Sequence[Point]) -> Path:
    """Write a copy of a compiled URDF with one almost massless link at each point.

    The copy lies beside the original, because meshes are named relative to it.
    """
    tree = ElementTree.parse(path)
    root = tree.getroot()
    tiny = repr(MASS * 1e-6)
    for i, point in enumerate(points):
        com = [0.0, 0.0, 0.0]
        if point.centred:
            centre = root.find(f"link[@name='{point.link}']/inertial/origin")
            com = [float(x) for x in centre.get("xyz", "0 0 0").split()] if centre is not None else com
        place = " ".join(repr(c + float(o)) for c, o in zip(com, point.offset, strict=True))
        element = ElementTree.SubElement(root, "link", name=f"ballast_{i}")
        inertial = ElementTree.SubElement(element, "inertial")
        ElementTree.SubElement(inertial, "mass", value=repr(MASS))
        ElementTree.SubElement(inertial, "inertia", ixx=tiny, iyy=tiny, izz=tiny, ixy="0", ixz="0", iyz="0")
        if point.radius > 0:
            visual = ElementTree.SubElement(element, "visual")
            shape = ElementTree.SubElement(ElementTree.SubElement(visual, "geometry"), "sphere")
            shape.set("radius", repr(point.radius))
            material = ElementTree.SubElement(visual, "material", name=f"ballast_{i}")
            ElementTree.SubElement(material, "color", rgba="0.85 0.45 0.1 1")
        joint = ElementTree.SubElement(root, "joint", name=f"ballast_joint_{i}", type="fixed")
        ElementTree.SubElement(joint, "parent", link=point.link)
        ElementTree.SubElement(joint, "child", link=f"ballast_{i}")
        ElementTree.SubElement(joint, "origin", xyz=place, rpy="0 0 0")
    handle, name = tempfile.mkstemp(prefix=f"{path.stem}.ballast.", suffix=".urdf", dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        tree.write(file)
    return Path(name)
