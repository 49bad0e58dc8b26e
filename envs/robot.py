"""A robot in a world: its actuators, and one read of its state per control step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.dynamics import gain_share, largest_timestep
from training_ground.assets.kinematics import shoulder
from training_ground.assets.model import CompiledModel, Frame
from training_ground.configs.errors import SimulationError, unknown
from training_ground.envs import rotations
from training_ground.envs.actuator import CHANGES
from training_ground.envs.ballast import Point
from training_ground.envs.states import LinkState
from training_ground.envs.terrain import FLAT, Terrain
from training_ground.envs.world import World

Array = NDArray[np.float64]

CONTACT_THRESHOLD = 1.0
"""N: a foot that carries less is in the air."""

MOUNTED_CLEARANCE = 0.15
"""m by which a mounted robot's base is higher than a standing one's: its feet hang free."""

_NO_FORCE = (0.0, 0.0, 0.0)

_BALLAST_REACH = 0.1
"""m: distance of the ballast points from the torso's centre of mass."""

_LOAD_RADIUS = 0.05
"""m of the sphere that shows where a load is held."""

_BALLAST_AXES = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))


class Robot:
    """A robot and what is known of it after the last control step.

    Args:
        world: The world to load it into.
        model: From the compiler.
        stance: `free`, or `mounted`: the base fixed on a stand.
        visuals: Whether cameras see its meshes.
        tracked: Frames (keys of `model.frames`) whose state is read every step, beside the feet.
        ballast: Whether its torso's centre of mass can be shifted.
        loads: Frames (keys of `model.frames`) that can hold a mass.
        shoulder_height: That a factory cell has for the robot, its shoulders over the floor, m; what its `station` says
            comes on top. Where absent a mounted robot's feet hang just clear of the ground.

    Raises:
        SimulationError: At that height a mounted robot's feet would be in the floor.

    Attributes:
        base: State of the base link's frame, world frame.
        joint_position: (n,) rad.  joint_velocity: (n,) rad/s.  joint_torque: (n,) mean over the control step, N·m.
        projected_gravity: Unit vector of gravity in the base frame.
        base_linear_velocity, base_angular_velocity: (3,) in the base frame, m/s and rad/s.
        feet: State of each foot's link frame.
        foot_force: (feet, 3) ground reaction on each foot, world frame, N.
        foot_contact: Whether each foot carries more than 1 N.
        contact_force: Force (3,) by other bodies on each link other than the feet that they touch, world frame, N.
        self_contact: Whether two of its own links touch.
    """

    def __init__(
        self,
        world: World,
        model: CompiledModel,
        *,
        stance: str = "free",
        visuals: bool = False,
        tracked: Sequence[str] = (),
        ballast: bool = False,
        loads: Sequence[str] = (),
        shoulder_height: float | None = None,
    ) -> None:
        self.world = world
        self.model = model
        self.stance = stance
        self.count = len(model.joint_names)
        self._torso_link = model.frames[model.torso_frame].link
        axes = _BALLAST_AXES if ballast else ()
        points = [Point(self._torso_link, [_BALLAST_REACH * a for a in axis]) for axis in axes]
        held = (model.frames[name] for name in loads)
        points += [Point(f.link, f.position.tolist(), centred=False, radius=_LOAD_RADIUS) for f in held]
        self._first_load = len(axes)
        self.body = world.load(model, fixed=stance == "mounted", visuals=visuals, ballast=points)
        self.start_place = (0.0, 0.0, model.default_height)
        if stance == "mounted":
            self.start_place = _stand(model, shoulder_height)
            if visuals:
                world.add_stand(self.start_place)
        elif shoulder_height is not None:  # what it stands on brings it up; nothing brings it down
            back, up = model.station
            height = shoulder_height + up - shoulder(model)
            self.start_place = (-back, 0.0, max(model.default_height, height))
        self._track(tracked)
        self.read()

    def _track(self, tracked: Sequence[str]) -> None:
        """Prepare the one read of link states: feet first, then the links that carry the tracked frames."""
        frames = self.model.frames
        for name in tracked:
            if name not in frames:
                raise SimulationError(unknown(f"frame of robot '{self.model.name}'", name, frames))
        feet = [foot.link for foot in self.model.feet]
        carriers = dict.fromkeys([*feet, *(frames[name].link for name in (*tracked, self.model.imu_frame))])
        carriers.pop(self.model.base_link, None)
        self.drive = self.body.drive(tuple(carriers))
        self._nominal = self.drive.actuator.parameters
        self.joint_position: Array = self.drive.position
        self.joint_velocity: Array = self.drive.velocity
        self.joint_torque: Array = self.drive.torque
        self._foot_names = tuple(feet)
        self._soles = [foot.sole.tolist() for foot in self.model.feet]
        self.foot_force: Array = np.zeros((len(feet), 3))
        self.foot_contact: list[bool] = [False] * len(feet)
        self.contact_force: dict[str, list[float]] = {}
        self.self_contact = False
        self._links: dict[str, LinkState] = {}

    def holding_target(self) -> Array:
        """Joint targets (n), rad, that hold the default pose against gravity in this stance.

        A PD motor gives no torque at its target, so the targets stand off the pose by what gravity asks for.
        """
        model = self.model
        torque = model.standing_torque if self.stance == "free" else model.hanging_torque
        return model.default_position + torque / np.maximum(model.kp, 1e-9)

    def require_stable_gains(self, gain_scale: float = 1.0, mass_scale: float = 1.0) -> None:
        """Refuse a physics step at which explicit PD motors with these gains feed themselves energy.

        Args:
            gain_scale: Largest factor on the gains.
            mass_scale: Least factor on the masses.

        Raises:
            SimulationError: With the joint, and what would hold.
        """
        model, timestep = self.model, self.world.timestep
        kp, kd, inertia = model.kp * gain_scale, model.kd * gain_scale, model.effective_inertia * mass_scale
        share = gain_share(kp, kd, inertia, timestep)
        i = int(share.argmax())
        if share[i] >= 1.0:
            most = largest_timestep(float(kp[i]), float(kd[i]), float(inertia[i]))
            raise SimulationError(
                f"robot '{model.name}', joint '{model.joint_names[i]}': kp = {kp[i]:g} and kd = {kd[i]:g} use "
                f"{share[i]:.0%} of the stability bound at physics_timestep = {timestep:g} s; lower physics_timestep "
                f"to less than {most:.2g} s, lower the gains, or raise the joint's armature"
            )

    @property
    def start_height(self) -> float:
        """Height of the base where it starts, m."""
        return self.start_place[2]

    # ---- control -----------------------------------------------------------------------------------------------------

    def advance(self, target: Array, substeps: int) -> None:
        """Simulate `substeps` physics steps towards joint targets (n), rad, and read the state once."""
        self.drive.advance(target, substeps)
        self.read()

    def advance_torque(self, torque: Array, substeps: int) -> None:
        """Simulate `substeps` physics steps under commanded joint torques (n), N·m, and read the state once."""
        self.drive.advance_torque(torque, substeps)
        self.read()

    def read(self) -> None:
        """Refresh every attribute from the engine."""
        body = self.body
        self.base = base = body.link_state(self.model.base_link)
        (a, b, c), (d, e, f), (g, h, i) = rotations.matrix(base.orientation)
        self.projected_gravity = (-g, -h, -i)
        x, y, z = base.linear_velocity
        self.base_linear_velocity = (a * x + d * y + g * z, b * x + e * y + h * z, c * x + f * y + i * z)
        x, y, z = base.angular_velocity
        self.base_angular_velocity = (a * x + d * y + g * z, b * x + e * y + h * z, c * x + f * y + i * z)
        self._links = {self.model.base_link: base}
        self._read_contacts()

    @property
    def touching(self) -> tuple[str, ...]:
        """Names of the links other than feet that something touches."""
        return tuple(self.contact_force)

    def _link(self, name: str) -> LinkState:
        """State of a carrier's frame, worked out where somebody asks."""
        state = self._links.get(name)
        if state is None:
            state = self._links[name] = self.body.link_state(name)
        return state

    def _read_contacts(self) -> None:
        forces, self.self_contact = self.body.touch_forces()
        for i, name in enumerate(self._foot_names):
            force = forces.pop(name, _NO_FORCE)
            self.foot_force[i] = force
            self.foot_contact[i] = force[2] > CONTACT_THRESHOLD
        self.contact_force = forces

    def save(self) -> tuple[Any, ...]:
        """State for `restore`, beside the world's own."""
        contacts = self.foot_force.copy(), list(self.foot_contact), self.contact_force, self.self_contact
        return self.drive.save(), contacts

    def restore(self, state: tuple[Any, ...]) -> None:
        """Return to what `save` gave; the world must have been restored before.

        The contacts are kept, not read again: the engine forgets their forces when it restores a world.
        """
        drive, (force, contact, forces, self_contact) = state
        self.drive.restore(drive)
        self.read()
        self.foot_force[:], self.foot_contact[:] = force, contact
        self.contact_force, self.self_contact = forces, self_contact

    # ---- frames ------------------------------------------------------------------------------------------------------

    @property
    def feet(self) -> list[LinkState]:
        """State of each foot's link frame, in the order of `model.feet`."""
        return [self._link(name) for name in self._foot_names]

    def frame(self, name: str) -> LinkState:
        """State of a tracked frame (or any frame of the base) in the world frame."""
        frame = self.model.frames[name]
        return carried(frame, self._link(frame.link))

    @property
    def imu_carrier(self) -> LinkState:
        """State of the link that carries the inertial measurement unit."""
        return self._link(self.model.frames[self.model.imu_frame].link)

    # ---- episode start -----------------------------------------------------------------------------------------------

    def place(
        self,
        joints: Sequence[float],
        yaw: float = 0.0,
        tilt: tuple[float, float] = (0.0, 0.0),
        terrain: Terrain = FLAT,
    ) -> None:
        """Put the robot in a pose at rest: a free one with the first point of a sole just above the ground.

        Args:
            joints: Positions (n), rad.
            yaw: Heading, rad.
            tilt: Roll and pitch of the base, rad.
            terrain: The ground that it stands on.
        """
        self.body.set_joints(joints)
        orientation = rotations.from_euler(tilt[0], tilt[1], yaw)
        x, y, height = self.start_place
        if self.stance == "free" and self._soles:
            height = 0.001 - self._lowest_sole(orientation, terrain)
        self.body.set_base((x, y, height), orientation)
        self.world.detect_contacts()
        self.drive.reset()
        self.read()

    def _lowest_sole(self, orientation: rotations.Quaternion, terrain: Terrain) -> float:
        """Height over ground of the soles' lowest point, m, if the base were at the origin with another orientation."""
        self.drive.read()
        base = self.body.link_state(self.model.base_link)
        axes = [rotations.rotate(base.orientation, row) for row in rotations.matrix(orientation)]
        lowest = math.inf
        for name, sole in zip(self._foot_names, self._soles, strict=True):
            foot = self.body.link_state(name)
            dx, dy, dz = (f - b for f, b in zip(foot.position, base.position, strict=True))
            places = []  # along each of the world's axes, of each point
            for x, y, z in axes if terrain.rows else axes[2:]:
                p, q, r = rotations.rotate_inverse(foot.orientation, (x, y, z))
                places.append([x * dx + y * dy + z * dz + (p * a + q * b + r * c) for a, b, c in sole])
            ground = terrain.height(*places[:2]).tolist() if terrain.rows else [0.0] * len(sole)
            lowest = min(lowest, min(z - g for z, g in zip(places[-1], ground, strict=True)))
        return lowest

    def randomise(self, drawn: Mapping[str, Any]) -> None:
        """Apply one episode's drawn values (see `randomisation.draw`); what is not in it is nominal."""
        if "friction" in drawn:
            self.world.set_ground_friction(drawn["friction"])
        if "mass_scale" in drawn or "centre_of_mass" in drawn:
            shares = _ballast(drawn["centre_of_mass"]) if "centre_of_mass" in drawn else ()
            self.body.set_masses(drawn.get("mass_scale", 1.0), self._torso_link, shares)
        for i, mass in enumerate(drawn.get("loads", ())):
            self.body.set_ballast(self._first_load + i, mass)
        changes = {name: drawn[name] for name in CHANGES if name in drawn}
        if self.drive.actuator.parameters is not self._nominal or changes:
            self.drive.set_parameters(
                self._nominal.randomised(changes, self.world.timestep) if changes else self._nominal
            )


def _stand(model: CompiledModel, shoulder_height: float | None) -> rotations.Vector:
    """Place of a mounted robot's base: in a factory cell where the cell and the robot's station say, m."""
    if shoulder_height is None:
        return 0.0, 0.0, model.default_height + MOUNTED_CLEARANCE
    back, up = model.station
    height = shoulder_height + up - shoulder(model)
    if model.feet and height < model.default_height:
        raise SimulationError(
            f"shoulder_height = {shoulder_height:g}: the feet of robot '{model.name}' would be "
            f"{1000 * (model.default_height - height):.0f} mm in the floor; a cell with shoulders "
            f"{shoulder_height + model.default_height - height:.2f} m high or higher has room for it, or a robot whose "
            f"specification says station.up = {up + model.default_height - height:.2f} or more"
        )
    return -back, 0.0, height


def carried(frame: Frame, carrier: LinkState) -> LinkState:
    """State of a frame that is fixed in a link, from the state of the link."""
    dx, dy, dz = offset = rotations.rotate(carrier.orientation, frame.position.tolist())
    cx, cy, cz = rotations.cross(carrier.angular_velocity, offset)
    (px, py, pz), (vx, vy, vz) = carrier.position, carrier.linear_velocity
    return LinkState(
        (px + dx, py + dy, pz + dz),
        rotations.multiply(carrier.orientation, frame.orientation.tolist()),
        (vx + cx, vy + cy, vz + cz),
        carrier.angular_velocity,
    )


def _ballast(shift: Sequence[float]) -> list[float]:
    """Shares (6) of the torso's mass to move to the ballast points so that its centre of mass shifts by `shift`, m."""
    return [max(0.0, sign * s) / _BALLAST_REACH for s in shift for sign in (1, -1)]
