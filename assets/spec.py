"""The robot specification: everything that a person decides about a robot, in one YAML file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from training_ground.configs.loading import StrictModel

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Vector3 = tuple[float, float, float]


class Source(StrictModel):
    """Where the URDF comes from: exactly one of `package`, `robot_description` and `path`."""

    package: str | None = None
    """A distribution on PyPI that carries the URDF, such as `example-robot-data`."""
    robot_description: str | None = None
    """A name in the `robot_descriptions` package, such as `g1_description`."""
    path: str | None = None
    """A URDF file; relative to the specification's folder."""
    urdf: str | None = None
    """With `package`: the URDF's path below the package's folder of robots."""
    licence: str = "unknown"


class ActuatorGroup(StrictModel):
    """Actuators of every joint whose name matches; each joint must match exactly one group.

    Of a sliding joint the units have m for rad and N for N·m.
    """

    match: tuple[str, ...]
    """Shell-style patterns over joint names, such as `*_hip_pitch_joint`."""
    kp: NonNegative
    """Proportional gain, N·m/rad."""
    kd: NonNegative
    """Derivative gain, N·m·s/rad."""
    armature: NonNegative = 0.0
    """Reflected rotor inertia, kg·m²; a sliding joint has none."""
    friction: NonNegative = 0.0
    """Coulomb friction, N·m."""
    effort: Positive | None = None
    """Torque limit, N·m; the URDF's where absent."""
    velocity: Positive | None = None
    """Speed at which the torque-speed curve reaches zero, rad/s; the URDF's where absent. Of a sliding joint, at which
    its controller moves its target, m/s."""
    saturation: Annotated[float, Field(ge=1)] = 2.0
    """Stall torque over the torque limit; the torque-speed line falls from `saturation · effort` to 0 at `velocity`."""


class Foot(StrictModel):
    """A link that stands on the ground."""

    link: str
    side: Literal["left", "right"]


class Grip(StrictModel):
    """How a hand grips: where its fingers meet, and their joints opened and closed."""

    at: Vector3
    """Where the finger tips meet, in the hand's link, m."""
    rpy: Vector3 = (0.0, 0.0, 0.0)
    """Orientation of the grip frame in that link, rad: z points out of the palm, the fingers close along x."""
    open: tuple[float, ...]
    """Positions of the fingers' joints, in their order, when the hand is open, rad (m where they slide)."""
    closed: tuple[float, ...]
    """Targets that close it around nothing; what is between the fingers stops them before."""


class Tip(StrictModel):
    """How a hand points: the tip that presses, and the fingers' joints that leave it alone in front."""

    at: Vector3
    """The tip in the hand's link, m."""
    rpy: Vector3 = (0.0, 0.0, 0.0)
    """Orientation of the tip frame in that link, rad: z points where the finger points."""
    fingers: tuple[float, ...]
    """Positions of the fingers' joints, in their order, rad (m where they slide)."""


class Hand(StrictModel):
    """A frame that reaches: a link of the URDF, and a point and orientation in it."""

    link: str
    side: Literal["left", "right"]
    offset: Vector3 = (0.0, 0.0, 0.0)
    """The hand's working point in the link's frame, m."""
    fingers: tuple[str, ...] = ()
    """Joints of this hand, in order."""
    grip: Grip | None = None
    """Where absent, the hand can push and press but not hold."""
    tip: Tip | None = None
    """Where absent, the working point presses."""

    @model_validator(mode="after")
    def _every_finger_has_a_place(self) -> Hand:
        given = {"grip.open": self.grip.open, "grip.closed": self.grip.closed} if self.grip else {}
        if self.tip:
            given["tip.fingers"] = self.tip.fingers
        for name, places in given.items():
            if len(places) != len(self.fingers):
                raise ValueError(f"{name}: {len(places)} numbers for {len(self.fingers)} fingers")
        return self


class Attachment(StrictModel):
    """An end effector of our own: an object whose pieces become links of the robot, and whose joints are actuated."""

    object: str
    """A file of `assets/parts` or of a plugin's `parts` by name, or a path, relative to the specification's folder."""
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    """What the names of its links and joints begin with, such as `left_gripper`."""
    link: str
    """The URDF's link that carries it."""
    at: Vector3 = (0.0, 0.0, 0.0)
    """Origin of the object's base in that link's frame, m."""
    rpy: Vector3 = (0.0, 0.0, 0.0)
    """Roll, pitch and yaw of the object's base in that link's frame as in a URDF, rad."""


class Station(StrictModel):
    """Where a mounted robot stands in factory cells, which are laid out for arms of 0.55 m from shoulder to grip: one
    with longer arms stands farther off, or its elbows would be in the way of its hands."""

    back: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """How far behind the place that the cell has for it, m."""
    up: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """How far its shoulders are above the height that the cell has for them, m."""
    waist: bool = False
    """Whether its trunk helps every arm that works alone: its wrists turn too little to do without."""


class ColliderRule(StrictModel):
    """How to make the colliders of the links whose name matches; the first rule that matches wins."""

    match: tuple[str, ...]
    shape: Literal["keep", "none", "box", "capsule", "sphere", "hull", "auto"]
    """`keep` leaves URDF primitives; `auto` takes the primitive with the smallest fitting error."""
    from_visual: bool = False
    """Fit the visual meshes: for links that have no collision geometry."""


class Primitive(StrictModel):
    """A collision shape given outright, for a link whose URDF carries no usable geometry."""

    link: str
    shape: Literal["box", "capsule", "sphere"]
    size: tuple[Positive, ...]
    """`box`: edges along x, y, z; `capsule`: radius and length of the straight part along z; `sphere`: radius. In m."""
    position: Vector3 = (0.0, 0.0, 0.0)
    """Centre in the link's frame, m."""
    rpy: Vector3 = (0.0, 0.0, 0.0)
    """Roll, pitch and yaw in the link's frame as in a URDF, rad."""


class RobotSpec(StrictModel):
    """One robot: `assets/robots/<name>.yaml`."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    title: str
    description: str
    source: Source
    removed: tuple[str, ...] = ()
    """Links of the URDF that are left out, with all that hangs on them."""
    attached: tuple[Attachment, ...] = ()
    """Objects of our own on links of the URDF."""
    base: str
    """The floating base's link."""
    torso: str
    """The link that must stay upright."""
    imu: str | None = None
    """The link that carries the inertial measurement unit; the base where absent."""
    joints: tuple[str, ...]
    """Actuated joints in the order of every array."""
    locked: dict[str, float] = Field(default_factory=dict)
    """Joints merged into their parent, with the position (rad; m where they slide) at which they are locked."""
    default_pose: dict[str, float] = Field(default_factory=dict)
    """Positions in rad (m where they slide) of the joints that do not stand at zero, by name or by pattern."""
    work_pose: dict[str, float] = Field(default_factory=dict)
    """Angles in rad, by name or by pattern, in place of the default pose's where the robot works with its hands: they
    wait in front of it, over a bench."""
    station: Station | None = None
    """Where it stands in a factory cell; where absent as the cell says."""
    not_in: dict[str, str] = Field(default_factory=dict)
    """Factory cells in which it cannot work, each with the reason, as a sentence that goes on after "because"."""
    actuators: tuple[ActuatorGroup, ...]
    feet: tuple[Foot, ...] = ()
    hands: tuple[Hand, ...] = ()
    position_limits: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Lower and upper limits (rad) by name or by pattern, in place of the URDF's where those are wrong."""
    inertias: dict[str, tuple[float, float, float, float, float, float]] = Field(default_factory=dict)
    """Rotational inertia by link in place of the URDF's, where that has none: ixx, ixy, ixz, iyy, iyz, izz in
    kg·m², about the centre of mass along the link's axes."""
    colliders: tuple[ColliderRule, ...] = ()
    primitives: tuple[Primitive, ...] = ()
    """Collision shapes beside those that the rules make."""
    disabled_collisions: tuple[tuple[str, str], ...] = ()
    """Pairs of links that overlap by design and must not collide."""
    stances: tuple[Literal["free", "mounted"], ...] = ("free", "mounted")
    mirror_pattern: tuple[str, str] = ("left_", "right_")
    """What stands in the name of a left joint, and what in its right twin's; left/right symmetry comes from it."""
    mirror_pairs: dict[str, str] = Field(default_factory=dict)
    """Left joints and their right twins where the names do not tell."""
    symmetric: bool = True
    """False where the real robot's sides differ; the audit then reports the difference without failing."""
