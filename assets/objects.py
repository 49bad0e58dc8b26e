"""Objects that are no robots: rigid pieces of simple shapes, some hanging on others by a joint.

A bench is one piece, a drawer two. A joint is a passive mechanism (`assets/mechanisms.py`). Where no piece has one, all
are one rigid body whose pieces have names, materials and regions of their own, such as a person's mannequin. Robots
come from published URDF files; objects are described here, outright.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from training_ground.assets.fitting import Collider
from training_ground.assets.inertia import Inertia, solid_inertia
from training_ground.assets.mechanisms import UNLIMITED, Mechanism, Name
from training_ground.assets.poses import Pose
from training_ground.assets.safety.regions import Region
from training_ground.assets.spec import NonNegative, Positive, Vector3
from training_ground.assets.tree import Body, Tree
from training_ground.assets.urdf import Joint
from training_ground.assets.writing import write_urdf
from training_ground.configs.errors import unknown
from training_ground.configs.loading import StrictModel

Share = Annotated[float, Field(ge=0, le=1)]

MARGIN = 0.001
"""m by which the engine's cylinders are larger than their URDF says, all around: measured with `Thing.distance`."""

SIZES = {"box": 3, "sphere": 1, "cylinder": 2, "capsule": 2}
"""Numbers in a shape's size."""


class Shape(StrictModel):
    """A primitive in its piece's frame."""

    shape: Literal["box", "sphere", "cylinder", "capsule"]
    size: tuple[Positive, ...]
    """box: lengths along x, y, z; sphere: radius; cylinder and capsule (along z): radius, length of the straight part;
    m."""
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
        return self

    @property
    def collider(self) -> Collider:
        """The same for the compiler."""
        return Collider(self.shape, Pose.from_xyz_rpy(np.array(self.at), np.array(self.rpy)), self.size)

    @property
    def touched(self) -> Collider:
        """What the engine must be given for things to touch where the shape says.

        It puts its margin around cylinders, and takes it off the inside of boxes, spheres and capsules.
        """
        if self.shape != "cylinder":
            return self.collider
        radius, length = self.size
        size = max(radius - MARGIN, 0.5 * radius), max(length - 2.0 * MARGIN, 0.5 * length)
        return Collider(self.shape, self.collider.pose, size)


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
        volume = sum(solid_inertia(shape.shape, shape.size).mass for shape in self.shapes)
        total = Inertia()
        for shape in self.shapes:
            part = solid_inertia(shape.shape, shape.size, self.mass / volume)
            total = total + part.moved(shape.collider.pose)
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
        for name, frame in self.frames.items():
            if frame.piece is not None and frame.piece not in known:
                raise ValueError(f"frame '{name}': {unknown('piece', frame.piece, known)}")
        return self

    @property
    def mechanisms(self) -> dict[str, Mechanism]:
        """Joints by the name of the piece that each moves, in order."""
        return {piece.name: piece.joint for piece in self.pieces if piece.joint is not None}

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
            [tuple(shape.touched for shape in piece.shapes if shape.solid) for piece in pieces],
            [(joint.lower, joint.upper, UNLIMITED, UNLIMITED) for joint in self.mechanisms.values()],
            looks=[[(s.collider, (*s.colour, 1.0)) for s in piece.shapes] for piece in pieces] if visuals else (),
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
