"""What an environment is made from: keyword arguments, checked."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from training_ground.assets.model import CompiledModel
from training_ground.configs.errors import SimulationError, unknown
from training_ground.configs.loading import StrictModel, validate
from training_ground.envs.actuator import MAX_DELAY
from training_ground.envs.randomisation import Noise, Randomisation
from training_ground.envs.task import Task


class EnvOptions(StrictModel):
    """Keyword arguments that every task has, beside its own."""

    robot: str = "g1"
    """Name of a shipped robot, or path of a specification."""
    stance: Literal["free", "mounted"] | None = None
    """`free`, or `mounted`: the base fixed on a stand. The task's default where absent."""
    control: Literal["joint_position", "joint_delta", "joint_torque"] = "joint_position"
    """What an action means: joint targets around those that hold the default pose, changes of targets, or torques."""
    driven: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    """Joints that the action moves: names, patterns (`*_hip_*`), or `legs`, `arms`, `trunk`; the motors of the others
    hold the default pose."""
    observed: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    """Joints whose angles and speeds a policy sees, named as in `driven`."""
    locked: tuple[str, ...] = ()
    """Joints that the compiler locks at the default pose, named as in `driven`: a physics step costs less without them,
    and their links give way to nothing."""
    action_scale: Annotated[float, Field(gt=0)] | None = None
    """rad a unit of action (`joint_position`; where absent the task's, or what asks for 80 % of each motor's torque),
    rad a step (`joint_delta`, 0.05), or share of the effort limit (`joint_torque`, 1)."""
    stiffness_scale: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Factor on every motor's proportional gain but those of fingers, and of legs that a balance policy drives. The
    specifications' gains are made for walking at a physics step of 5 ms; hands that work want stiffer and better damped
    arms, and with smaller steps can have them."""
    damping_scale: Annotated[float, Field(gt=0, le=20)] = 1.0
    """Factor on every motor's derivative gain but those."""
    physics_timestep: Annotated[float, Field(gt=0)] = 0.005
    """s."""
    decimation: Annotated[int, Field(ge=1, le=200)] = 4
    """Physics steps in a control step."""
    solver_iterations: Annotated[int, Field(ge=1, le=500)] = 10
    episode_length_s: Annotated[float, Field(gt=0)] | None = None
    """The task's where absent."""
    start_joint_noise: Annotated[float, Field(ge=0)] = 0.05
    """Half width of the uniform noise on the joint positions at the start, rad."""
    reward: Literal["shaped", "sparse"] = "shaped"
    """The task's terms, or 1 in each step in which its success predicate holds and 0 in every other."""
    randomisation: Randomisation = Randomisation()
    noise: Noise | None = None
    observation_format: Literal["flat", "dict"] = "flat"
    """One vector, or a dictionary by channel, which has the pictures of the task's cameras besides."""
    observation_history: Annotated[int, Field(ge=1, le=64)] = 1
    """Observations in the flat vector, the newest first; before there were as many, the first one stands in."""
    visuals: bool = False
    """Whether to load the meshes that cameras see; `render_mode` and a task with cameras imply it."""

    @model_validator(mode="after")
    def _delay_fits(self) -> EnvOptions:
        delay = self.randomisation.delay_s
        if delay and round(delay[1] / self.physics_timestep) > MAX_DELAY:
            most = MAX_DELAY * self.physics_timestep
            raise ValueError(f"randomisation.delay_s = {delay}: must be at most {most:g} s, {MAX_DELAY} physics steps")
        return self

    @model_validator(mode="after")
    def _history_is_flat(self) -> EnvOptions:
        if self.observation_history > 1 and self.observation_format != "flat":
            raise ValueError(f"observation_history = {self.observation_history}: needs observation_format 'flat'")
        return self

    @model_validator(mode="after")
    def _held_joints_need_position_control(self) -> EnvOptions:
        if self.driven != ("*",) and self.control == "joint_torque":
            raise ValueError("driven: joints that the action does not move need position control, not 'joint_torque'")
        return self


def named_joints(option: str, patterns: Sequence[str], model: CompiledModel) -> tuple[int, ...]:
    """Return the indices of the joints that an option's patterns name, in the robot's order.

    Raises:
        SimulationError: A pattern fits no joint; the nearest name is offered. A group may be empty, but then something
            else must be driven and observed.
    """
    names, chosen = model.joint_names, set[str]()
    for pattern in patterns:
        found = model.groups.get(pattern) or [name for name in names if fnmatchcase(name, pattern)]
        if not found and pattern not in model.groups:
            raise SimulationError(unknown(f"joint in {option} of robot '{model.name}'", pattern, names))
        chosen.update(found)
    if not chosen and option != "locked":
        raise SimulationError(f"{option}: robot '{model.name}' has no {' and no '.join(patterns)}")
    return tuple(i for i, name in enumerate(names) if name in chosen)


def split_options(task: type[Task], options: dict[str, Any]) -> tuple[EnvOptions, Any]:
    """Sort keyword arguments into the environment's and the task's, and check both.

    Raises:
        SimulationError: An option is unknown to both (the nearest name is offered), or its value is not allowed.
    """
    own, tasks = EnvOptions.model_fields, task.config_type.model_fields
    for name in options:
        if name not in own and name not in tasks:
            raise SimulationError(unknown(f"option of TrainingGround/{task.id}-v0", name, [*own, *tasks]))
    where = f"TrainingGround/{task.id}-v0"
    rest = {k: v for k, v in options.items() if k in tasks}
    task_config = validate(task.config_type, rest, where, SimulationError)
    freed = task.freed if options.get("stance") == "free" else {}
    given = {**task.environment(task_config), **freed, **{k: v for k, v in options.items() if k in own}}
    return validate(EnvOptions, given, where, SimulationError), task_config
