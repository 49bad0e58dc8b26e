"""The task interface: what a task file fills in, and what it is given."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from training_ground.assets.model import CompiledModel, Mirror
from training_ground.configs.loading import StrictModel
from training_ground.envs.channels import Channel
from training_ground.envs.terrain import FLAT, Slabs, Terrain

if TYPE_CHECKING:
    from training_ground.envs.env import HumanoidEnv
    from training_ground.envs.safety.monitor import Monitor


SPARSE = ("success",)
"""The one reward term where the option `reward` is `sparse`."""


class TaskConfig(StrictModel):
    """A task's own keyword arguments; a subclass adds fields with defaults."""


@dataclass
class Outcome:
    """What a task says of one control step.

    Attributes:
        terms: Reward terms, weighted; the reward is their sum.
        success: Whether the task's success predicate holds now; the reward plays no part in it.
        failure: Kind of failure that ends the episode (`fall`, ...), or None.
        phase: Name of the phase that the robot is in.
    """

    terms: dict[str, float]
    success: bool
    failure: str | None = None
    phase: str = ""

    def sparse(self) -> Outcome:
        """Return the same with the reward 1 where success holds, else 0."""
        return replace(self, terms=dict.fromkeys(SPARSE, float(self.success)))


@dataclass
class TaskState:
    """Everything of a task that changes during an episode; saved and restored with the world."""

    values: dict[str, Any] = field(default_factory=dict)


class Task:
    """A task: one short file in `envs/tasks/<family>/`. Its docstring is its documentation page.

    Class attributes:
        id: Name in `TrainingGround/<id>-v0`.
        instruction: The task in words, as a dataset or a language-conditioned policy has it.
        stances: Stances that it can be done in, the default one first.
        terms: Names of the reward terms; an instance may have fewer.
        failures: Kinds of failure that it reports.
        phases: Names of the phases that it reports.
        action_scale: rad a unit of action in control mode `joint_position`; `range` where a full action shall reach
            every joint's limits; None for a share of each motor's torque.
        works: Whether the robot begins in its work pose, the hands in front of it.
        defaults: Options of the environment (`EnvOptions`) that are different for this task.
        episode_length_s: Length of an episode, s.
        config_type: Its keyword arguments.
        adjustable: Fields of its configuration that may change between episodes (`HumanoidEnv.adjust`).
        slabs: What its terrains are laid of; None for a level floor.
        turned: Whether a free robot begins with a random heading, else along the world's x.
        balanced: Whether in stance `free` a balance policy drives the legs, and actions do not (`envs/legs.py`).
        freed: Options of the environment that are different in stance `free`, beside `defaults`.
        prepares: Whether `prepare` has something to do; it then may move the robot as it likes.
    """

    id: ClassVar[str]
    instruction: ClassVar[str]
    stances: ClassVar[tuple[str, ...]]
    terms: tuple[str, ...]
    failures: ClassVar[tuple[str, ...]] = ("fall",)
    phases: ClassVar[tuple[str, ...]] = ("",)
    action_scale: ClassVar[float | Literal["range"] | None] = None
    defaults: ClassVar[dict[str, Any]] = {}
    works: ClassVar[bool] = False
    episode_length_s: ClassVar[float] = 20.0
    config_type: ClassVar[type[TaskConfig]] = TaskConfig
    adjustable: ClassVar[tuple[str, ...]] = ()
    prepares: ClassVar[bool] = False
    slabs: ClassVar[Slabs | None] = None
    turned: ClassVar[bool] = True
    balanced: ClassVar[bool] = False
    freed: ClassVar[dict[str, Any]] = {}

    def __init__(self, config: Any, env: HumanoidEnv) -> None:
        self.config = config
        self.env = env
        self.state = TaskState()

    @classmethod
    def environment(cls, config: Any) -> dict[str, Any]:
        """Return `defaults`, and what else this configuration of the task needs of the environment."""
        return cls.defaults

    @classmethod
    def unsupported(cls, model: CompiledModel, stance: str) -> str | None:
        """Why this robot cannot do the task in this stance, as a sentence; None where it can."""
        if stance not in cls.stances:
            return f"task '{cls.id}' has no stance '{stance}'. Allowed: {', '.join(cls.stances)}"
        if stance not in model.stances:
            return f"robot '{model.name}' has no stance '{stance}'. Allowed: {', '.join(model.stances)}"
        return None

    @classmethod
    def tracked(cls, model: CompiledModel) -> tuple[str, ...]:
        """Frames (keys of `model.frames`) whose state the robot must read every step, beside its feet."""
        return ()

    @classmethod
    def loads(cls, model: CompiledModel) -> tuple[str, ...]:
        """Frames (keys of `model.frames`) at which the robot carries a mass, given by `draw` as `loads`."""
        return ()

    @classmethod
    def shoulder_height(cls, config: Any) -> float | None:
        """Height of a mounted robot's shoulders over the floor, m; None where its stand has the usual height."""
        return None

    @classmethod
    def ground(cls, stance: str) -> Slabs | None:
        """What the world has for its terrains in a stance."""
        return cls.slabs

    @classmethod
    def has_cameras(cls) -> bool:
        """Whether it takes pictures: the meshes that cameras see are loaded then."""
        return False

    @property
    def monitor(self) -> Monitor | None:
        """The safety monitor, of tasks that have one."""
        return None

    @property
    def asked(self) -> str:
        """What this episode asks for, in words: `instruction`, where nothing of it is drawn."""
        return self.instruction

    def channels(self) -> tuple[Channel, ...]:
        """Channels that the task adds to the environment's own."""
        return ()

    def mirror(self) -> dict[str, Mirror]:
        """How the task's own observation channels look in the mirror of the robot's x-z plane, by name."""
        return {}

    def draw(self, generator: np.random.Generator) -> dict[str, Any]:
        """What differs in the robot itself from episode to episode; `Robot.randomise` applies it, a record keeps it."""
        return {}

    def apply(self, drawn: dict[str, Any]) -> None:
        """Give the world what an episode has drawn and no saved state holds: masses, friction of objects."""

    def terrain(self, generator: np.random.Generator, heading: float) -> Terrain:
        """Draw the ground, of no more than `slabs`; the robot will stand at the origin, with a heading in rad."""
        return FLAT

    def prepare(self, generator: np.random.Generator) -> None:
        """Draw what the robot itself has to try out, such as goals within reach, before it is put in its start pose."""

    def reset(self, generator: np.random.Generator) -> None:
        """Start an episode: the robot is in its start pose already; every draw comes from `generator`."""

    def reference(self) -> NDArray[np.float64] | None:
        """Joint offsets (n), rad, that control mode `joint_position` adds to what a zero action commands; or None."""
        return None

    def reference_model(self) -> dict[str, Any] | None:
        """Plain data from which a controller can work `reference` out by itself; None where it adds nothing."""
        return None

    def before_step(self) -> None:
        """Act on the world before a control step: pushes, commands, moving goals."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do, asked after each step: the episode is then truncated."""
        return False

    def values(self) -> dict[str, NDArray[np.float64] | list[float] | float]:
        """Current values of the task's channels, by name."""
        return {}

    def pictures(self) -> dict[str, NDArray[np.uint8]]:
        """The latest picture of each channel that is one, (height, width, 3), by name; asked for once a control step
        where observations hold pictures."""
        return {}

    def camera_poses(self) -> dict[str, dict[str, Sequence[float]]]:
        """Position (3,) in the world, m, and orientation (4,), a quaternion xyzw, of the camera behind each picture."""
        return {}

    def save(self) -> Any:
        """Everything of the task that changes during an episode, for `restore`."""
        return copy.deepcopy(self.state)

    def restore(self, saved: Any) -> None:
        """Return to what `save` gave; the world must be restored before."""
        self.state = saved

    def metrics(self) -> dict[str, float]:
        """What an episode is measured by beside its reward and success, by name; asked for at its end."""
        return {}

    def evaluate(self) -> Outcome:
        """Judge the control step that has just been simulated."""
        raise NotImplementedError

    def checked(self, outcome: Outcome) -> Outcome:
        """Return what `evaluate` gave, or a failure that tasks of a kind have in common."""
        return outcome
