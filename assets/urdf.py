"""Read URDF strictly into dataclasses: what the file says, checked, nothing guessed."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training_ground.assets.inertia import Inertia
from training_ground.assets.poses import Array, Pose
from training_ground.configs.errors import AssetError, unknown

MAX_BYTES = 20_000_000
JOINT_TYPES = ("revolute", "continuous", "prismatic", "fixed", "floating", "planar")
SHAPES = ("box", "sphere", "cylinder", "capsule", "mesh")
DEFAULT_COLOUR = (0.7, 0.7, 0.7, 1.0)


@dataclass(frozen=True, eq=False)
class Geometry:
    """One shape.

    Attributes:
        shape: One of `SHAPES`.
        pose: In the link's frame.
        size: box: full lengths x, y, z; sphere: radius; cylinder and capsule (along z): radius, length (of the
            cylindrical part); m.
        mesh: File name as written in the URDF; empty for primitives.
        scale: (3,) of the mesh.
        colour: RGBA of a visual, None where the URDF gives none.
    """

    shape: str
    pose: Pose
    size: tuple[float, ...] = ()
    mesh: str = ""
    scale: tuple[float, ...] = (1.0, 1.0, 1.0)
    colour: tuple[float, ...] | None = None


@dataclass(frozen=True, eq=False)
class Link:
    """A link; `inertia` is in the link's frame and has mass 0 where the URDF has no `<inertial>`."""

    name: str
    inertia: Inertia
    visuals: tuple[Geometry, ...]
    collisions: tuple[Geometry, ...]


@dataclass(frozen=True, eq=False)
class Joint:
    """A joint; `pose` is the child's frame in the parent's at zero. Limits in rad or m, N·m or N, rad/s or m/s; None
    where absent."""

    name: str
    type: str
    parent: str
    child: str
    pose: Pose
    axis: Array
    lower: float | None = None
    upper: float | None = None
    effort: float | None = None
    velocity: float | None = None
    damping: float = 0.0
    friction: float = 0.0
    mimic: str | None = None

    @property
    def moves(self) -> bool:
        """Whether the joint has a degree of freedom."""
        return self.type != "fixed"


@dataclass(frozen=True, eq=False)
class Urdf:
    """A parsed robot: links and joints by name, in the file's order, and the one link that is no joint's child."""

    path: Path
    name: str
    links: dict[str, Link]
    joints: dict[str, Joint]
    root: str

    def joint_above(self) -> dict[str, Joint]:
        """Return each link's joint towards the root, by the link's name."""
        return {joint.child: joint for joint in self.joints.values()}


def read_urdf(path: Path) -> Urdf:
    """Read a URDF file.

    Raises:
        AssetError: Unreadable, too large, malformed XML, a DOCTYPE, a repeated or missing name, no finite number where
            one is due, a mass or size that is not positive, an unknown joint type or shape, a cycle, or several roots.
            The message names the file, the element and what is allowed.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise AssetError(f"{path}: larger than {MAX_BYTES} bytes")
        data = path.read_bytes()
    except OSError as problem:
        raise AssetError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    try:
        # Decoded here, so that no other encoding hides a DOCTYPE from the test below.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise AssetError(f"{path}: is not UTF-8 text") from problem
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise AssetError(f"{path}: has a DOCTYPE; entities are not expanded, remove it")
    try:
        root = ET.fromstring(text)
    except (ET.ParseError, ValueError, LookupError) as problem:
        raise AssetError(f"{path}: malformed XML: {problem}") from problem
    if root.tag != "robot":
        raise AssetError(f"{path}: the top element is <{root.tag}>, a URDF's is <robot>")
    return _Reader(path, root).read()


class _Reader:
    """Walks one URDF's elements; holds the file's path for messages and its named materials."""

    def __init__(self, path: Path, root: ET.Element) -> None:
        self.path = path
        self.root = root
        self.colours: dict[str, tuple[float, ...]] = {}

    def read(self) -> Urdf:
        for element in self.root.iter("material"):
            colour = element.find("color")
            if colour is not None and element.get("name"):
                self.colours[element.get("name", "")] = self.numbers(colour, "rgba", 4, "material")
        links: dict[str, Link] = {}
        joints: dict[str, Joint] = {}
        for element in self.root.findall("link"):
            link = self.link(element)
            if link.name in links:
                raise self.error(f"link '{link.name}'", "stands twice")
            links[link.name] = link
        for element in self.root.findall("joint"):
            joint = self.joint(element, links)
            if joint.name in joints:
                raise self.error(f"joint '{joint.name}'", "stands twice")
            joints[joint.name] = joint
        return Urdf(self.path, self.root.get("name", ""), links, joints, self.tree_root(links, joints))

    def error(self, where: str, problem: str) -> AssetError:
        return AssetError(f"{self.path}: {where}: {problem}")

    def numbers(
        self, element: ET.Element, key: str, count: int, where: str, default: str | None = None
    ) -> tuple[float, ...]:
        text = element.get(key, default)
        if text is None:
            raise self.error(where, f"<{element.tag}> has no '{key}'")
        try:
            values = tuple(float(part) for part in text.split())
        except ValueError:
            values = ()
        if len(values) != count or not all(math.isfinite(v) for v in values):
            raise self.error(where, f'<{element.tag} {key}="{text}">: needs {count} finite number{"s" * (count > 1)}')
        return values

    def positive(self, element: ET.Element, key: str, count: int, where: str) -> tuple[float, ...]:
        values = self.numbers(element, key, count, where)
        if min(values) <= 0:
            raise self.error(where, f'<{element.tag} {key}="{element.get(key)}">: must be positive')
        return values

    def name(self, element: ET.Element) -> str:
        name = element.get("name")
        if not name:
            raise self.error(f"<{element.tag}>", "has no name")
        return name

    def origin(self, parent: ET.Element, where: str) -> Pose:
        element = parent.find("origin")
        if element is None:
            return Pose()
        xyz = self.numbers(element, "xyz", 3, where, "0 0 0")
        return Pose.from_xyz_rpy(np.array(xyz), np.array(self.numbers(element, "rpy", 3, where, "0 0 0")))

    def link(self, element: ET.Element) -> Link:
        name = self.name(element)
        where = f"link '{name}'"
        visuals = tuple(self.geometry(e, f"{where} <visual>") for e in element.findall("visual"))
        collisions = tuple(self.geometry(e, f"{where} <collision>") for e in element.findall("collision"))
        return Link(name, self.inertia(element, where), visuals, collisions)

    def inertia(self, link: ET.Element, where: str) -> Inertia:
        inertial = link.find("inertial")
        if inertial is None:
            return Inertia()
        mass, matrix = inertial.find("mass"), inertial.find("inertia")
        if mass is None or matrix is None:
            raise self.error(where, "<inertial> needs <mass> and <inertia>; a link without mass has no <inertial>")
        kilograms = self.numbers(mass, "value", 1, where)[0]
        if kilograms < 0:
            raise self.error(where, f'<mass value="{kilograms:g}">: must not be negative')
        xx, xy, xz, yy, yz, zz = (
            self.numbers(matrix, key, 1, where)[0] for key in ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")
        )
        about_centre = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
        smallest = np.linalg.eigvalsh(about_centre)[0]
        if smallest < -1e-9 * max(np.abs(about_centre).max(), 1e-9):
            raise self.error(
                where, f"<inertia> has the negative principal moment {smallest:.3g} kg·m²; a body has none"
            )
        return Inertia(kilograms, np.zeros(3), about_centre).moved(self.origin(inertial, where))

    def geometry(self, element: ET.Element, where: str) -> Geometry:
        pose = self.origin(element, where)
        holder = element.find("geometry")
        shapes = [] if holder is None else list(holder)
        if len(shapes) != 1:
            raise self.error(where, f"<geometry> needs exactly one of {', '.join(SHAPES)}")
        shape = shapes[0]
        colour = self.colour(element, where)
        if shape.tag == "mesh":
            filename = shape.get("filename")
            if not filename:
                raise self.error(where, "<mesh> has no 'filename'")
            return Geometry("mesh", pose, (), filename, self.numbers(shape, "scale", 3, where, "1 1 1"), colour)
        if shape.tag == "box":
            return Geometry("box", pose, self.positive(shape, "size", 3, where), colour=colour)
        if shape.tag == "sphere":
            return Geometry("sphere", pose, self.positive(shape, "radius", 1, where), colour=colour)
        if shape.tag in ("cylinder", "capsule"):
            size = self.positive(shape, "radius", 1, where) + self.positive(shape, "length", 1, where)
            return Geometry(shape.tag, pose, size, colour=colour)
        raise self.error(where, unknown("shape", shape.tag, SHAPES))

    def colour(self, element: ET.Element, where: str) -> tuple[float, ...] | None:
        material = element.find("material")
        if material is None:
            return None
        inline = material.find("color")
        if inline is not None:
            return self.numbers(inline, "rgba", 4, where)
        return self.colours.get(material.get("name", ""))

    def joint(self, element: ET.Element, links: dict[str, Link]) -> Joint:
        name = self.name(element)
        where = f"joint '{name}'"
        kind = element.get("type", "")
        if kind not in JOINT_TYPES:
            raise self.error(where, unknown("joint type", kind, JOINT_TYPES))
        ends = [self.end(element, tag, where, links) for tag in ("parent", "child")]
        axis = np.array([1.0, 0.0, 0.0])
        found = element.find("axis")
        if found is not None:
            axis = np.array(self.numbers(found, "xyz", 3, where, "1 0 0"))
        length = float(np.linalg.norm(axis))
        if length < 1e-9 and kind not in ("fixed", "floating"):
            raise self.error(where, "<axis> is zero; give it a direction")
        limit = element.find("limit")
        limits = {
            key: None if limit is None or key not in limit.attrib else self.numbers(limit, key, 1, where)[0]
            for key in ("lower", "upper", "effort", "velocity")
        }
        lower, upper = limits["lower"], limits["upper"]
        if kind in ("revolute", "prismatic"):
            if limit is None:
                raise self.error(where, f"a {kind} joint needs <limit>")
            limits["lower"], limits["upper"] = lower, upper = lower or 0.0, upper or 0.0
        if lower is not None and upper is not None and lower > upper:
            raise self.error(where, f"<limit>: lower {lower} is above upper {upper}")
        dynamics = element.find("dynamics")
        damping, friction = (
            0.0 if dynamics is None else self.numbers(dynamics, key, 1, where, "0")[0]
            for key in ("damping", "friction")
        )
        mimic = element.find("mimic")
        return Joint(
            name, kind, ends[0], ends[1], self.origin(element, where), axis / max(length, 1e-9), **limits,
            damping=damping, friction=friction, mimic=None if mimic is None else mimic.get("joint", ""),
        )  # fmt: skip

    def end(self, joint: ET.Element, tag: str, where: str, links: dict[str, Link]) -> str:
        element = joint.find(tag)
        link = None if element is None else element.get("link")
        if not link:
            raise self.error(where, f'needs <{tag} link="...">')
        if link not in links:
            raise self.error(f"{where} <{tag}>", unknown("link", link, links))
        return link

    def tree_root(self, links: dict[str, Link], joints: dict[str, Joint]) -> str:
        if not links:
            raise self.error("<robot>", "has no <link>")
        above: dict[str, Joint] = {}
        for joint in joints.values():
            if joint.child in above:
                raise self.error(
                    f"joint '{joint.name}'", f"link '{joint.child}' is already the child of '{above[joint.child].name}'"
                )
            above[joint.child] = joint
        roots = [link for link in links if link not in above]
        for link in links:
            seen: list[str] = []
            while link in above:
                if link in seen:
                    raise self.error("joints", f"a cycle: {' → '.join([*reversed(seen), seen[-1]])}")
                seen.append(link)
                link = above[link].parent
        if len(roots) != 1:
            raise self.error(
                "links", f"{len(roots)} roots: {', '.join(roots)}; join them with fixed joints, a robot is one tree"
            )
        return roots[0]
