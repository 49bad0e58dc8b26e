"""Objects that are no robots: rigid pieces of simple shapes, some hanging on others by a joint.

A bench is one piece, a drawer two. A joint is a passive mechanism (`assets/mechanisms.py`). Where no piece has one, all
are one rigid body whose pieces have names, materials and regions of their own, such as a person's mannequin. Robots
come from published URDF files; objects are described here, outright.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from training_ground.assets import hulls
from training_ground.assets.fitting import Collider
from training_ground.assets.inertia import Inertia, hull_inertia, solid_inertia
from training_ground.assets.mechanisms import UNLIMITED, Mechanism, Name
from training_ground.assets.poses import Array, Pose
from training_ground.assets.safety.regions import Region
from training_ground.assets.spec import NonNegative, Positive, Vector3
from training_ground.assets.tree import Body, Tree
from training_ground.assets.urdf import Joint
from training_ground.assets.writing import write_urdf
from training_ground.configs.errors import unknown
from training_ground.configs.loading import StrictModel

Share = Annotated[float, Field(ge=0, le=1)]

MARGIN = 0.001
"""m by which the engine's cylinders and hulls are larger than their URDF says, all around: measured with
`Thing.distance`."""

SIZES = {"box": 3, "sphere": 1, "cylinder": 2, "capsule": 2, "wedge": 3, "gear": 3}
"""Numbers in a shape's size."""

GENERATED = ("wedge", "gear")
"""Shapes that are no primitives of the engine."""

LEAST_MODULE, TEETH = 0.003, range(12, 121)
"""m; a smaller gear's teeth would be all margin."""


class Shape(StrictModel):
    """A primitive in its piece's frame, or what is generated as convex hulls."""

    shape: Literal["box", "sphere", "cylinder", "capsule", "wedge", "gear"]
    size: tuple[Positive, ...]
    """box: lengths along x, y, z; sphere: radius; cylinder and capsule (along z): radius, length of the straight part;
    wedge: half a box of these lengths, as `hulls.wedge` has it; gear (about z): module, number of teeth, width; m."""
    at: Vector3 = (0.0, 0.0, 0.0)
    """Centre, m."""
    rpy: Vector3 = (0.0, 0.0, 0.0)
    """Roll, pitch and yaw as in a URDF, rad."""
    colour: tuple[Share, Share, Share] = (0.62, 0.64, 0.67)
    """Red, green, blue."""
    solid: bool = True
    """False for what cameras see and nothing touches, such as a label."""

    @model_validator(mode="after")
    def _right_size(self) -> Shape:
        if len(self.size) != SIZES[self.shape]:
            raise ValueError(f"size = {list(self.size)}: a {self.shape} has {SIZES[self.shape]} numbers")
        if self.shape == "gear" and (self.size[0] < LEAST_MODULE or self.size[1] not in TEETH):
            raise ValueError(
                f"size = {list(self.size)}: a gear has a module of {LEAST_MODULE:g} m or more, and a whole number of "
                f"{TEETH[0]} to {TEETH[-1]} teeth"
            )
        if self.shape in GENERATED and self._room() <= MARGIN:
            raise ValueError(
                f"size = {list(self.size)}: no ball of {MARGIN:g} m, the engine's margin, fits into this {self.shape}"
            )
        return self

    @property
    def pose(self) -> Pose:
        """In its piece's frame."""
        return Pose.from_xyz_rpy(np.array(self.at), np.array(self.rpy))

    @property
    def colliders(self) -> tuple[Collider, ...]:
        """The same for the compiler: one for a primitive, a hull for each convex piece otherwise."""
        return self._colliders(0.0)

    @property
    def touched(self) -> tuple[Collider, ...]:
        """What the engine must be given for things to touch where the shape says.

        It puts its margin around cylinders and hulls, and takes it off the inside of boxes, spheres and capsules.
        """
        return self._colliders(MARGIN)

    def inertia(self, density: float = 1.0) -> Inertia:
        """Inertia in the piece's frame, of a density in kg/m³; 1 gives the volume, m³, as mass."""
        if self.shape not in GENERATED:
            return solid_inertia(self.shape, self.size, density).moved(self.pose)
        return sum((part.scaled(density).moved(self.pose) for part in _volumes(self.shape, self.size)), Inertia())

    def _colliders(self, inset: float) -> tuple[Collider, ...]:
        if self.shape in GENERATED:
            return tuple(Collider("hull", self.pose, vertices=hull) for hull in self._hulls(inset))
        size = self.size
        if self.shape == "cylinder":
            radius, length = size
            size = max(radius - inset, 0.5 * radius), max(length - 2.0 * inset, 0.5 * length)
        return (Collider(self.shape, self.pose, size),)

    def _room(self) -> float:
        """Radius of the largest ball in a wedge, or half the width of a gear, m."""
        x, y, z = self.size
        return min(0.5 * y, 0.5 * (x + z - math.hypot(x, z))) if self.shape == "wedge" else 0.5 * z

    def _hulls(self, inset: float) -> list[Array]:
        return _generated(self.shape, self.size, inset)


def _generated(shape: str, size: tuple[float, ...], inset: float) -> list[Array]:
    x, y, z = size
    return [hulls.wedge(x, y, z, inset)] if shape == "wedge" else hulls.gear(x, int(y), z, inset)


@functools.cache
def _volumes(shape: str, size: tuple[float, ...]) -> tuple[Inertia, ...]:
    """Inertia of each hull of a generated shape, of 1 kg/m³: it is asked for several times a part."""
    return tuple(hull_inertia(hull) for hull in _generated(shape, size, 0.0))


class Piece(StrictModel):
    """A rigid body of one or several shapes, its mass spread evenly over their volume."""

    name: Name
    shapes: Annotated[tuple[Shape, ...], Field(min_length=1)]
    mass: Positive
    """kg."""
    friction: Positive = 0.7
    """Coulomb coefficient against a robot, whose links count as 1; of two objects the engine multiplies theirs."""
    rolling: NonNegative = 0.0
    """Lever arm of its rolling resistance on what has a friction of 1, m: some 0.5 mm for hard things. What is round
    and has none rolls for ever."""
    parent: str | None = None
    """The piece that carries it; None for the object's base."""
    joint: Mechanism | None = None
    """How it moves on its parent; where no piece of the object has one, all are fixed and share the base's frame."""
    region: Region | None = None
    """Region of a person's body that it stands for: its contacts give way as `assets/safety` has it."""

    def inertia(self) -> Inertia:
        """Inertia in the piece's frame; where shapes overlap both count."""
        volume = sum(shape.inertia().mass for shape in self.shapes)
        total = Inertia()
        for shape in self.shapes:
            total = total + shape.inertia(self.mass / volume)
        return total


class Frame(StrictModel):
    """A frame in a piece: where to grasp, where a part belongs."""

    piece: Name | None = None
    """Where absent, the base."""
    at: Vector3 = (0.0, 0.0, 0.0)
    """Origin in the piece's frame, m."""
    rpy: Vector3 = (0.0, 0.0, 0.0)
    """Orientation in the piece's frame, rad."""


class ObjectSpec(StrictModel):
    """An object; the first piece is its base, and carries the others directly or over one another."""

    name: Name
    title: str
    pieces: Annotated[tuple[Piece, ...], Field(min_length=1)]
    frames: dict[Name, Frame] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _connected(self) -> ObjectSpec:
        known: list[str] = []
        for piece in self.pieces:
            if piece.name in known:
                raise ValueError(f"piece '{piece.name}' stands twice")
            if not known and (piece.parent is not None or piece.joint is not None):
                raise ValueError(f"piece '{piece.name}' is the first one, the base: it has no parent and no joint")
            rigid = not self.mechanisms
            if known and (piece.parent not in known or (piece.joint is None and not rigid)):
                raise ValueError(
                    f"piece '{piece.name}': needs a joint, and a parent among those before it: {', '.join(known)}; "
                    "pieces without a joint are fixed to one another only where none has one"
                )
            known.append(piece.name)
        for name, joint in self.mechanisms.items():
            if joint.follows is not None and (
                joint.follows.joint == name or joint.follows.joint not in self.mechanisms
            ):
                others = [other for other in self.mechanisms if other != name]
                raise ValueError(
                    f"piece '{name}', joint.follows: {unknown('other joint', joint.follows.joint, others)}"
                )
        for name, frame in self.frames.items():
            if frame.piece is not None and frame.piece not in known:
                raise ValueError(f"frame '{name}': {unknown('piece', frame.piece, known)}")
        return self

    @property
    def mechanisms(self) -> dict[str, Mechanism]:
        """Joints by the name of the piece that each moves, in order."""
        return {piece.name: piece.joint for piece in self.pieces if piece.joint is not None}

    def piece(self, name: str) -> Piece:
        """Return a piece by its name."""
        return next(piece for piece in self.pieces if piece.name == name)

    @property
    def regions(self) -> dict[str, Region]:
        """Region of a person's body by the name of the piece that stands for it; empty where it is no person."""
        return {piece.name: piece.region for piece in self.pieces if piece.region is not None}

    def tree(self) -> Tree:
        """Return the pieces as bodies, in order; a joint is called as the piece that it moves."""
        names = [piece.name for piece in self.pieces]
        return Tree(tuple(_body(piece, names) for piece in self.pieces))

    def write(self, folder: Path, *, visuals: bool) -> Path:
        """Write the URDF."""
        pieces = self.pieces
        path = folder / f"{self.name}.urdf"
        write_urdf(
            path,
            self.name,
            self.tree(),
            [tuple(c for shape in piece.shapes if shape.solid for c in shape.touched) for piece in pieces],
            [(joint.lower, joint.upper, UNLIMITED, UNLIMITED) for joint in self.mechanisms.values()],
            looks=[[(c, (*s.colour, 1.0)) for s in p.shapes for c in s.colliders] for p in pieces] if visuals else (),
        )
        return path


def _body(piece: Piece, names: list[str]) -> Body:
    mechanism = piece.joint
    if mechanism is None or piece.parent is None:
        parent = -1 if piece.parent is None else names.index(piece.parent)
        return Body(piece.name, parent, None, Pose(), piece.inertia(), ())
    pose = Pose.from_xyz_rpy(np.array(mechanism.at), np.array(mechanism.rpy))
    kind = "prismatic" if mechanism.kind == "slide" else "revolute"
    joint = Joint(piece.name, kind, piece.parent, piece.name, pose, mechanism.direction)
    return Body(piece.name, names.index(piece.parent), joint, pose, piece.inertia(), ())


def simple(name: str, shape: str, size: tuple[float, ...], mass: float, **more: Any) -> ObjectSpec:
    """Return an object of one primitive; `more` are further fields of its piece, and the shape's `colour`."""
    look = {"colour": more.pop("colour")} if "colour" in more else {}
    piece = {"name": name, "shapes": [{"shape": shape, "size": size, **look}], "mass": mass, **more}
    return ObjectSpec.model_validate({"name": name, "title": name.replace("_", " "), "pieces": [piece]})
