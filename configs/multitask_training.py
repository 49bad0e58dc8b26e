"""The schema of a multi-task run: which demonstrations are learned from, how they are seen, and the network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from training_ground.configs.loading import StrictModel

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class MultiTaskConfig(StrictModel):
    """`configs/multitask/<name>.yaml`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    """Of the policy."""
    data: Annotated[dict[str, str], Field(min_length=1, max_length=100)]
    """Store of demonstrations of each task, by the task's name; relative paths begin where the command is called."""
    episodes: Count | None = None
    """The first so many successful ones of each; all where absent."""
    unseen: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Channels that the policy does not see, by task, or under `*` for all: goals that the instruction names, say."""
    hidden: Annotated[tuple[Count, ...], Field(min_length=1, max_length=8)] = (512, 512, 512)
    activation: Literal["elu", "tanh", "relu"] = "elu"
    clock: bool = True
    """Whether the policy is told the time since the episode's beginning."""
    clock_noise: Annotated[float, Field(ge=0)] = 0.1
    """s: standard deviation of that time while learning."""
    words: Annotated[int, Field(ge=1, le=384)] = 32
    """Numbers that an instruction is reduced to before it stands beside the observation."""
    horizon: Annotated[int, Field(ge=1, le=1000)] = 20
    """Actions that are learned at once."""
    execute: Annotated[int, Field(ge=1, le=1000)] = 10
    """How many of them are carried out before the next ones are asked for."""
    loss: Literal["l1", "l2"] = "l1"
    """Of normalised actions."""
    steps: Count = 20_000
    batch: Count = 256
    """Samples a step, as many of each task."""
    learning_rate: Positive = 1e-3
    """At the beginning; falls to nothing by a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    observation_noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation, in those of the observation."""
    words_noise: Annotated[float, Field(ge=0)] = 0.02
    """Standard deviation that is added to each number of an embedding, which are about 0.05 large."""
    clip: Positive = 10.0
    epsilon: Positive = 1e-4
    """Added to the variance of observations: a quantity that hardly moves is not blown up."""
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> MultiTaskConfig:
        if self.execute > self.horizon:
            raise ValueError(f"execute = {self.execute}: no more than horizon = {self.horizon} actions are learned")
        strangers = sorted(set(self.unseen) - {"*", *self.data})
        if strangers:
            raise ValueError(f"unseen: {', '.join(strangers)}: no task of 'data'; allowed: *, {', '.join(self.data)}")
        if self.batch < len(self.data):
            raise ValueError(f"batch = {self.batch}: at least one sample of each of {len(self.data)} tasks")
        return self
