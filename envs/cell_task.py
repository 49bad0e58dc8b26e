"""What tasks in factory cells share: the cell, its things as channels, and what every success needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from training_ground.assets.events import Priority
from training_ground.assets.kinematics import arm
from training_ground.assets.layout import VARIABLE, CellSpec, Tier
from training_ground.assets.library import load_cell, load_part
from training_ground.assets.model import CompiledModel, HandModel
from training_ground.configs.errors import SimulationError
from training_ground.envs import balance, rotations, stander
from training_ground.envs.cell import Cell
from training_ground.envs.channels import Channel
from training_ground.envs.devices import Devices
from training_ground.envs.events import Events
from training_ground.envs.safety.contacts import LARGEST_TIMESTEP
from training_ground.envs.safety.monitor import Monitor
from training_ground.envs.safety.options import SafetyOptions
from training_ground.envs.states import LinkState
from training_ground.envs.task import Outcome, Task, TaskConfig
from training_ground.envs.terrain import FLAT, LEVEL, Row, Slabs, Terrain

if TYPE_CHECKING:
    from training_ground.envs.env import HumanoidEnv

HOLD_S = 0.5
"""s for which everything that success needs must hold without a break."""
SLOW = 0.02
"""m/s below which an object is at rest."""
SENSOR_S = 0.05
"""s: time constant of the force that failures are judged by."""

STEP = Slabs(1, 0.7, 0.8)
"""m: what a free robot stands on where it is too small for its cell, from behind it to in front of its toes."""
STEP_FRONT = 0.25
"""m from under the base to its front edge."""

_XYZ, _XYZW = ("x", "y", "z"), ("x", "y", "z", "w")


class CellConfig(TaskConfig):
    """Keyword arguments of a task in a cell."""

    tier: Tier = "nominal"
    """`nominal`, `tight` (geometry), `flow` (moving, mixed) or `disturbed` (events)."""
    variation: Annotated[dict[str, Any], Field(max_length=len(VARIABLE))] = Field(default_factory=dict)
    """What else differs in the cell, laid over its tier key by key: {items: {cabinet: {at: [0, -0.3, 0.0005]}}}."""
    end_after_success_s: Annotated[float, Field(ge=0)] | None = 0.5
    """s for which success must have held for the episode to end early, truncated; never where None."""
    safety: SafetyOptions = SafetyOptions()
    """Of the safety monitor; where a person is in the cell the task can also fail with `unsafe`."""

    @model_serializer(mode="wrap")
    def _unless_new(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what came later and is not used: hashes from before it still hold."""
        data = plain(self)
        return {key: value for key, value in data.items() if key != "variation" or value}


class CellTask(Task):
    """A task in a factory cell; a subclass says what success is.

    Class attributes:
        cell: File of `assets/cells`.
        objects: Frames, as `item` or `item.frame`, whose pose a policy sees.
        places: Frames of what stands fixed and upright: of them a policy sees the horizontal place and the yaw.
        mechanisms: Joints, as `item.joint`, whose position a policy sees.
        tool: What a hand must be able to do: `grip`, or `tip` where it points and presses.
        spares: Items without which there is still something to do.
    """

    cell: ClassVar[str]
    objects: ClassVar[tuple[str, ...]] = ()
    places: ClassVar[tuple[str, ...]] = ()
    mechanisms: ClassVar[tuple[str, ...]] = ()
    tool: ClassVar[Literal["grip", "tip"]] = "grip"
    spares: ClassVar[tuple[str, ...]] = ()
    stances = ("mounted", "free")
    works = True
    turned = False
    balanced = True
    freed: ClassVar[dict[str, Any]] = {"locked": ()}
    defaults: ClassVar[dict[str, Any]] = {
        "robot": "g1_dex3",
        "locked": ("legs",),
        "physics_timestep": 0.002,  # fingers that hold by friction need small steps and many iterations
        "decimation": 10,
        # About the gains with which Unitree's teleoperation drives the G1's arms (80 and 3 in the shoulder, 40 and 1.5
        # in the wrist; xr_teleoperate).
        "stiffness_scale": 2.0,
        "damping_scale": 6.0,
        "solver_iterations": 50,
        "start_joint_noise": 0.02,
    }
    action_scale = "range"
    config_type = CellConfig
    config: CellConfig

    def __init__(self, config: Any, env: HumanoidEnv) -> None:
        super().__init__(config, env)
        if env.stance == "free":
            self.failures = (*self.failures, "fall")  # type: ignore[misc]  # of this robot alone
        self.place = Cell(self.layout(config), env.world, visuals=env.visible)
        orders = type(self).change_order is not CellTask.change_order
        self.events = Events(self.place, env.robot, self.id, spares=self.spares, orders=orders)
        self.hands = tuple(hand for hand in env.model.hands)
        self._due = {n: max(1, round(1 / (c.rate * env.control_timestep))) for n, c in self.place.spec.cameras.items()}
        self.devices = Devices(self.place.spec.devices, self.place.things)
        self._hand_links = {hand.side: _links(env.model, hand) for hand in self.hands}
        self._require_reach()
        self._hold_steps = max(1, round(HOLD_S / env.control_timestep))
        spec = self.place.spec
        self._monitor = Monitor(env, config.safety, self.place.persons, spec.workspace)

    @classmethod
    def layout(cls, config: CellConfig) -> CellSpec:
        """The cell as these arguments want it."""
        return load_cell(cls.cell).tier(config.tier, config.variation)

    @classmethod
    def environment(cls, config: CellConfig) -> dict[str, Any]:
        """Where a person is in the cell, contact forces ask for shorter physics steps."""
        items = cls.layout(config).items.values()
        if not any(load_part(item.part).regions for item in items):
            return cls.defaults
        decimation = round(cls.defaults["physics_timestep"] * cls.defaults["decimation"] / LARGEST_TIMESTEP)
        return {**cls.defaults, "physics_timestep": LARGEST_TIMESTEP, "decimation": decimation}

    @classmethod
    def unsupported(cls, model: CompiledModel, stance: str) -> str | None:
        """A robot needs a hand of which its specification says how it grips or points, and must not be one that cannot
        work in the cell."""
        if not any(getattr(hand, cls.tool) for hand in model.hands):
            does = "grips" if cls.tool == "grip" else "points"
            return f"robot '{model.name}' has no hand that {does} (hands.{cls.tool}); task '{cls.id}' needs one"
        if cls.cell in model.not_in:
            why = model.not_in[cls.cell]
            return f"robot '{model.name}' cannot do task '{cls.id}' in cell '{cls.cell}', because {why}"
        reason = super().unsupported(model, stance)
        return stander.unfit(model) if reason is None and stance == "free" else reason

    @classmethod
    def tracked(cls, model: CompiledModel) -> tuple[str, ...]:
        """Where the hands grip and point."""
        return tuple(frame for hand in model.hands for frame in (hand.grip, hand.tip or hand.frame) if frame)

    @classmethod
    def has_cameras(cls) -> bool:
        """Whether there are any in the cell."""
        return bool(load_cell(cls.cell).cameras)

    @classmethod
    def shoulder_height(cls, config: CellConfig) -> float | None:
        """The cell says how high a robot stands."""
        return cls.layout(config).shoulder_height

    @classmethod
    def ground(cls, stance: str) -> Slabs | None:
        """A step for a free robot."""
        return STEP if stance == "free" else None

    def terrain(self, generator: np.random.Generator, heading: float) -> Terrain:
        """A step as high as it takes for a free robot's shoulders to be where the cell wants them."""
        height = self.env.robot.start_height - self.env.model.default_height
        if self.env.stance != "free" or height < LEVEL:
            return FLAT
        edges = np.array([STEP_FRONT - STEP.width, STEP_FRONT])
        return Terrain("step", (Row(0.0, edges, np.array([height]), np.zeros(1), STEP.span),))

    @property
    def monitor(self) -> Monitor:
        """Watches what the robot does to itself, to its cell and to persons."""
        return self._monitor

    # ---- channels ----------------------------------------------------------------------------------------------------

    def channels(self) -> tuple[Channel, ...]:
        """Hands, objects and mechanisms."""
        sides = tuple(f"{hand.side}_{axis}" for hand in self.hands for axis in _XYZ)
        turns = tuple(f"{hand.side}_{axis}" for hand in self.hands for axis in _XYZW)
        names = tuple(hand.side for hand in self.hands)
        seen, role = [], "observation"
        seen.append(Channel("hand_position", (len(sides),), "m", "base", role, "Where the hands grip.", sides))
        seen.append(Channel("hand_orientation", (len(turns),), "1", "base", role, "Quaternions of the grips.", turns))
        seen.append(Channel("hand_force", (len(names),), "N", "none", role, "Contact force on each hand.", names))
        for name in self.objects:
            label = name.replace(".", "_")
            seen.append(Channel(f"{label}_position", (3,), "m", "base", role, f"Position of {name}.", _XYZ))
            seen.append(Channel(f"{label}_orientation", (4,), "1", "base", role, f"Quaternion of {name}.", _XYZW))
            seen.append(Channel(f"{label}_place", (3,), "m", "world", "state", f"Position of {name}.", _XYZ, "float64"))
        for name in self.places:
            label = name.replace(".", "_")
            seen.append(
                Channel(f"{label}_position", (2,), "m", "base", role, f"Horizontal place of {name}.", ("x", "y"))
            )
            seen.append(Channel(f"{label}_yaw", (), "rad", "base", role, f"Turn of {name} about the vertical."))
        if self.mechanisms:
            joints = tuple(name.replace(".", "_") for name in self.mechanisms)
            text = "Position of the mechanisms as a share of their travel."
            seen.append(Channel("mechanism", (len(joints),), "1", "none", role, text, joints))
        for name, camera in self.place.spec.cameras.items():
            text, shape, rgb = f"What camera {name} sees.", (camera.height, camera.width, 3), ("red", "green", "blue")
            known = self.place.calibration(name)
            # No camera is asked more than once a step.
            rate = camera.rate if camera.rate * self.env.control_timestep < 1 else None
            seen.append(Channel(f"camera_{name}", shape, "1", "none", "picture", text, rgb, "uint8", rate, known))
        return (*seen, *self.monitor.channels(), *self.events.channels())

    def values(self) -> dict[str, Any]:
        """What the channels declare."""
        robot = self.env.robot
        hands = [self._in_base(robot.frame(hand.grip or hand.frame)) for hand in self.hands]
        values: dict[str, Any] = {
            "hand_position": [x for place, _ in hands for x in place],
            "hand_orientation": [x for _, turn in hands for x in turn],
            "hand_force": [self.hand_force(hand.side) for hand in self.hands],
        }
        for name in self.objects:
            label, state = name.replace(".", "_"), self.place.frame(name)
            seen = self.events.last_seen(name) or state
            values[f"{label}_position"], values[f"{label}_orientation"] = self._in_base(seen)
            values[f"{label}_place"] = state.position
        for name in self.places:
            place, turn = self._in_base(self.seen(name))
            values[f"{name.replace('.', '_')}_position"] = place[:2]
            values[f"{name.replace('.', '_')}_yaw"] = 2.0 * math.atan2(turn[2], turn[3])
        if self.mechanisms:
            values["mechanism"] = [self.travel(name) for name in self.mechanisms]
        return values | self.monitor.values() | self.events.values()

    def pictures(self) -> dict[str, NDArray[np.uint8]]:
        """What each camera saw when its last picture was due."""
        steps, kept = self.env.steps, self.state.values["pictures"]
        for name, every in self._due.items():
            due = steps - steps % every
            if name not in kept or kept[name][0] < due:
                kept[name] = due, self.picture(name)
        return {f"camera_{name}": picture.copy() for name, (_, picture) in kept.items()}

    def camera_poses(self) -> dict[str, dict[str, Sequence[float]]]:
        """Where each camera stands in the world now, and how it is turned, by channel."""
        poses = {f"camera_{name}": self.place.camera_pose(name) for name in self.place.spec.cameras}
        return {name: {"position": place, "orientation": turn} for name, (place, turn) in poses.items()}

    def _in_base(self, state: LinkState) -> tuple[rotations.Vector, rotations.Quaternion]:
        base = self.env.robot.base
        offset = [s - b for s, b in zip(state.position, base.position, strict=True)]
        turn = rotations.multiply(rotations.conjugate(base.orientation), state.orientation)
        return rotations.rotate_inverse(base.orientation, offset), turn if turn[3] >= 0 else tuple(-t for t in turn)  # type: ignore[return-value]

    # ---- what sensors tell -------------------------------------------------------------------------------------------

    def seen(self, name: str) -> LinkState:
        """State of a frame, world axes, as sensors tell it: in a blackout what it was before."""
        return self.events.last_seen(name) or self.place.frame(name)

    def picture(self, name: str) -> NDArray[np.uint8]:
        """Take a picture (height, width, 3) with a camera now; a black one in a blackout."""
        if not self.events.dark(name):
            return self.place.picture(name)
        camera = self.place.spec.cameras[name]
        return np.zeros((camera.height, camera.width, 3), np.uint8)

    # ---- what a task asks --------------------------------------------------------------------------------------------

    def travel(self, name: str) -> float:
        """Position of a mechanism, `item.joint`, between its limits: 0 to 1."""
        item, _, joint = name.partition(".")
        thing = self.place.things[item]
        limits = thing.spec.mechanisms[joint]
        return (thing.joint_position[joint] - limits.lower) / (limits.upper - limits.lower)

    def hand_load(self, side: str) -> rotations.Vector:
        """Contact force (3,) on a hand with its fingers, N, world frame."""
        robot, total = self.env.robot, [0.0, 0.0, 0.0]
        for link in self._hand_links[side]:
            for i, part in enumerate(robot.contact_force.get(link, (0.0, 0.0, 0.0))):
                total[i] += part
        return (total[0], total[1], total[2])

    def hand_force(self, side: str) -> float:
        """Size of the contact force on a hand with its fingers, N."""
        return math.hypot(*self.hand_load(side))

    def largest_force(self) -> float:
        """Contact force on the hand that has the larger one, N."""
        return max(self.hand_force(hand.side) for hand in self.hands)

    def steady(self, name: str, value: float) -> float:
        """Low-pass a value asked for once a control step: what a force sensor with 3 Hz would tell.

        The engine's bodies are rigid, and the peaks of their contact forces an artefact of its steps.
        """
        kept = self.state.values["steady"]
        share = self.env.control_timestep / (SENSOR_S + self.env.control_timestep)
        kept[name] = kept.get(name, 0.0) + share * (value - kept.get(name, 0.0))
        return kept[name]

    def tip_distance(self, name: str) -> float:
        """Distance of a frame from the nearest finger tip, m."""
        robot, place = self.env.robot, self.place.frame(name).position
        return min(math.dist(robot.frame(hand.tip or hand.frame).position, place) for hand in self.hands)

    def grip_distance(self, name: str) -> float:
        """Distance of a frame from the nearest point where a hand grips, m."""
        robot, place = self.env.robot, self.place.frame(name).position
        return min(math.dist(robot.frame(hand.grip or hand.frame).position, place) for hand in self.hands)

    def distance(self, name: str, other: str) -> float:
        """Distance between the origins of two frames, m."""
        return math.dist(self.place.frame(name).position, self.place.frame(other).position)

    def inside(self, name: str, item: str) -> bool:
        """Whether a frame's origin is in the space between the frames `low` and `high` of an item."""
        box = self.place.frame(f"{item}.low")
        offset = [a - b for a, b in zip(self.place.frame(name).position, box.position, strict=True)]
        local = rotations.rotate_inverse(box.orientation, offset)
        frames = self.place.things[item].spec.frames
        size = [b - a for a, b in zip(frames["low"].at, frames["high"].at, strict=True)]
        return all(0.0 <= part <= whole for part, whole in zip(local, size, strict=True))

    def touches(self, item: str, side: str | None = None) -> bool:
        """Whether the robot touches an item, with the hand on a side where one is given."""
        links = None if side is None else self._hand_links[side]
        name = self.env.model.name
        return any(
            # The engine lists points some millimetres apart as well.
            contact.other == name and contact.normal_force > 0.0 and (links is None or contact.other_link in links)
            for contact in self.place.things[item].contacts()
        )

    def lean(self, name: str) -> float:
        """Angle of a frame's z to the vertical, rad."""
        up = rotations.rotate(self.place.frame(name).orientation, (0.0, 0.0, 1.0))[2]
        return math.acos(min(1.0, max(-1.0, up)))

    def at_rest(self, item: str) -> bool:
        """Whether an item is slower than 2 cm/s."""
        return math.hypot(*self.place.things[item].state.linear_velocity) < SLOW

    def held(self, name: str, condition: bool) -> bool:
        """Whether a condition has held for half a second without a break, asked once a control step."""
        counts = self.state.values["held"]
        counts[name] = counts.get(name, 0) + 1 if condition else 0
        return counts[name] >= self._hold_steps

    def done(self, condition: bool) -> bool:
        """Whether success holds: a condition has for half a second without a break. Asked once a control step."""
        state, success = self.state.values, self.held("done", condition)
        state["lasting"] = state["lasting"] + 1 if success else 0
        if state["lasting"] == 1:
            state["cycle_time"] = self.env.steps * self.env.control_timestep
        return success

    @property
    def finished(self) -> bool:
        """Whether success has held for long enough."""
        enough = self.config.end_after_success_s
        return enough is not None and self.state.values["lasting"] * self.env.control_timestep > enough

    def checked(self, outcome: Outcome) -> Outcome:
        """A robot on its own feet can fall, whatever the task asks for."""
        if self.env.stance != "free" or outcome.failure or not balance.fallen(self.env):
            return outcome
        return replace(outcome, success=False, failure="fall")

    def metrics(self) -> dict[str, float]:
        """Time until success, s, where there is success, when each event began, and who walks set off."""
        env, state = self.env, self.state.values
        off = {f"event_{name}": one["sets_off"] for name, one in env.drawn["cell"].items() if "sets_off" in one}
        walked = {name: time for name, time in off.items() if time < env.steps * env.control_timestep}
        return {**({"cycle_time": state["cycle_time"]} if state["lasting"] else {}), **walked, **self.events.metrics()}

    # ---- episodes ----------------------------------------------------------------------------------------------------

    def draw(self, generator: np.random.Generator) -> dict[str, Any]:
        """How the cell differs in this episode, and which events it has."""
        cell = {"cell": self.place.draw(generator)}
        return {**cell, "events": self.events.draw(generator)} if self.events.spec else cell

    def apply(self, drawn: dict[str, Any]) -> None:
        """Masses and frictions, which no saved state holds."""
        self.place.apply(drawn["cell"])

    def reset(self, generator: np.random.Generator) -> None:
        """Put everything in its place."""
        self.place.place(self.env.drawn["cell"], self.missing)
        self.events.reset(self.env.drawn)
        self.devices.reset()
        self.monitor.reset()
        self.state.values = {"held": {}, "steady": {}, "lasting": 0, "pictures": {}}

    def before_step(self) -> None:
        """Sensors are read and machines go on once a control step, as a controller's cycle has it; who walks walks, and
        what is due happens."""
        env, time = self.env, self.env.steps * self.env.control_timestep
        self.devices.update(env.control_timestep)
        self.place.walk(env.drawn["cell"], time, env.control_timestep)
        for name in self.events.update(env.drawn, time):
            if isinstance(self.events.spec[name], Priority):
                self.change_order()

    def change_order(self) -> None:
        """Another order is due from now on; a task without orders has no such event."""
        raise NotImplementedError

    def save(self) -> Any:
        """The states of machines, monitor and events, besides."""
        return super().save(), self.devices.save(), self.monitor.save(), self.events.save()

    def restore(self, saved: Any) -> None:
        """Return to what `save` gave."""
        state, devices, watched, events = saved
        super().restore(state)
        self.devices.restore(devices)
        self.monitor.restore(watched)
        self.events.restore(events)

    @property
    def missing(self) -> tuple[str, ...]:
        """Items that have not been delivered in this episode."""
        return self.events.missing(self.env.drawn)

    def _require_reach(self) -> None:
        """Refuse a layout that asks for what no hand comes to, even with a straight arm."""
        env, spec = self.env, self.place.spec
        base = np.array(env.robot.start_place)
        arms = [(arm(env.model, hand), hand.side) for hand in self.hands]
        for name in spec.reach:
            goal = np.array(self.place.frame(name).position) - base
            missing, side = min((float(np.linalg.norm(goal - a.root)) - a.length, side) for a, side in arms)
            if missing > 0.0:
                raise SimulationError(
                    f"cell '{spec.name}': '{name}' is {100 * missing:.0f} cm out of reach of robot "
                    f"'{env.model.name}', its {side} arm stretched; move it (items.*.at), or change shoulder_height"
                )


def _links(model: CompiledModel, hand: HandModel) -> tuple[str, ...]:
    """Links of a hand: its palm's, and those that its fingers move."""
    joints = model.joint_names
    return (model.frames[hand.frame].link, *(model.link_names[1 + joints.index(name)] for name in hand.fingers))
