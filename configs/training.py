"""The schema of a training run; the algorithm's own settings stand in its file in `agents/algorithms/`."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Field

from training_ground.configs.loading import StrictModel

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


class EnvConfig(StrictModel):
    """The environment."""

    id: str
    """Task id, such as `TrainingGround/Stand-v0`."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Its keyword arguments: robot, stance, control, randomisation and the task's own."""


class NetworkConfig(StrictModel):
    """Actor and critic: two multilayer perceptrons of the same shape that share nothing."""

    hidden: Annotated[tuple[Count, ...], Field(min_length=1, max_length=8)] = (256, 128)
    activation: Literal["elu", "tanh", "relu"] = "elu"
    initial_std: Positive = 0.4
    """Standard deviation of the first actions, in units of the action."""


class NormalisationConfig(StrictModel):
    """Running mean and variance, as the bundle repeats them: clip((x - mean) / sqrt(variance + epsilon))."""

    observation: bool = True
    reward: bool = False
    """Divide rewards by the running standard deviation of the discounted return."""
    clip: Positive = 10.0
    epsilon: Positive = 1e-4
    """Added to the variance: a quantity that hardly moves is not blown up."""


class CurriculumConfig(StrictModel):
    """Ranges that grow while the robot copes: `start` at level 0, what `env.kwargs` says at level 1."""

    start: Annotated[dict[str, float | tuple[float, float]], Field(min_length=1)]
    """Keyword arguments of the environment, by name."""
    measure: Literal["length", "success"] = "length"
    """Of how the robot copes: the mean share of the time limit that episodes last, or the share that succeeds."""
    raise_above: Annotated[float, Field(gt=0, lt=1)] = 0.75
    """The share above which the level rises (holosoma: 750 of 1000 steps)."""
    lower_below: Annotated[float, Field(ge=0, lt=1)] = 0.15
    """The same, below which it falls."""
    step: Annotated[float, Field(gt=0, le=1)] = 0.02
    """Change of the level after an update."""


class CheckpointConfig(StrictModel):
    """What is written while training."""

    interval: Count = 200_000
    """Environment steps, or updates of `bc`, `dagger` and `distil`, between checkpoints."""
    keep: Annotated[int, Field(ge=2)] = 3
    """Newest checkpoints kept; at least two, so that one damaged file costs no run."""


class EvalConfig(StrictModel):
    """The evaluation of the finished policy, written into its bundle."""

    episodes: Annotated[int, Field(ge=0)] = 50
    """0 evaluates nothing."""
    seed: Annotated[int, Field(ge=1_000_000)] = 1_000_000
    """First of the evaluation's seeds; training uses those below 1,000,000."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments that differ from the training environment's; the bundle is for the environment of both."""


class RunConfig(StrictModel):
    """A training run; `agents/training.py` adds a field named after the algorithm with that algorithm's settings."""

    env: EnvConfig
    algorithm: str = "ppo"
    network: NetworkConfig = NetworkConfig()
    normalisation: NormalisationConfig = NormalisationConfig()
    curriculum: CurriculumConfig | None = None
    checkpoints: CheckpointConfig = CheckpointConfig()
    eval: EvalConfig = EvalConfig()
    start_from: str | None = None
    """Policy whose actor the run begins with: a shipped one's name, in which `{robot}` stands for the robot's, or the
    path of a bundle or a run. Channels that it does not know weigh nothing at first."""
    policy: Annotated[str, Field(pattern=r"^[A-Za-z0-9{][A-Za-z0-9_.{}-]{0,99}$")] | None = None
    """What the policy is called, `{robot}` in it as above; otherwise after its task: `walk_g1`."""
    total_steps: Count
    """Environment steps of the whole run, all environments together; updates of the weights where recorded episodes are
    learned from."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    workers: Annotated[int, Field(ge=1, le=1024)] = 2
    """Processes that step environments."""
    envs_per_worker: Annotated[int, Field(ge=1, le=4096)] = 8
    torch_threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads of the learner; more than one pays only where cores are idle while it learns."""
    tensorboard: bool = False

    @property
    def robot(self) -> str:
        """Name of the robot, also where it is given as a path."""
        return PurePath(str(self.env.kwargs.get("robot", "robot"))).stem

    @property
    def origin(self) -> str | None:
        """`start_from` with the robot's name in it."""
        return self.start_from and self.start_from.replace("{robot}", self.robot)

    @property
    def policy_name(self) -> str | None:
        """`policy` with the robot's name in it."""
        return self.policy and self.policy.replace("{robot}", self.robot)

    @property
    def evaluated_kwargs(self) -> dict[str, Any]:
        """Keyword arguments of the environment that the policy is for, and is evaluated in."""
        return {**self.env.kwargs, **self.eval.kwargs}
