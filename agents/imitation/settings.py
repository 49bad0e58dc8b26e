"""Settings that the algorithms that learn from recorded episodes share. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from training_ground.agents.chunks import MAX_HORIZON, ChunkSpec
from training_ground.agents.clock import ClockSpec
from training_ground.agents.network_specs import Depth, Heads, InnerWidth, Steps, TokenWidth, check_heads
from training_ground.configs.loading import StrictModel

Positive = Annotated[float, Field(gt=0)]


class TransformerSettings(StrictModel):
    """Sizes of `agents/imitation/transformer.py`."""

    width: TokenWidth = 64
    """Of each token."""
    heads: Heads = 4
    layers: Depth = 2
    """Of the encoder; the decoder has one."""
    feedforward: InnerWidth = 256
    """Width inside of the layers that work on each token alone."""

    @model_validator(mode="after")
    def _consistent(self) -> TransformerSettings:
        check_heads(self.width, self.heads)
        return self


class FlowSettings(StrictModel):
    """Of `agents/imitation/flow.py`."""

    steps: Steps = 10
    """Of the way from noise to a chunk."""


class ImitationSettings(StrictModel):
    """Settings of behaviour cloning; the names of chunks as in ACT (Zhao et al. 2023, arXiv 2304.13705)."""

    datasets: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Folders of datasets, as `tg record` makes them; at least one."""
    only_successes: bool = True
    """Leave out episodes that did not end in success."""
    horizon: Annotated[int, Field(ge=1, le=MAX_HORIZON)] = 16
    """Actions that the policy foresees, one a control step."""
    execute: Annotated[int, Field(ge=1, le=MAX_HORIZON)] = 8
    """How many of them it carries out before it looks again; 1 with `ensemble`."""
    ensemble: Annotated[float, Field(ge=0)] | None = None
    """Weight m of ACT's temporal ensembling; none where absent."""
    clock: ClockSpec | None = None
    """Tell the policy the time since the episode's beginning."""
    clock_noise_s: Annotated[float, Field(ge=0)] = 0.0
    """Deviation, s, of the noise that the time is learned with: what is seen says when to go on, where it says it."""
    remembered: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Channels of which the policy is told the largest that they have been since the episode's beginning."""
    unseen: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    """Channels of the observation that the policy does not look at."""
    observation_noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Deviation of the noise that observations are learned with, in units of their own deviation; actions have none."""
    exact: Annotated[dict[str, Positive], Field(max_length=100)] = Field(default_factory=dict)
    """Channels that are learned without this noise, and how many times as large as others they go in: what depends on
    small differences of them, such as where to stop, is learned sooner then."""
    mirror: bool = False
    """Learn from the mirror image of half of what was recorded; the robot and the task must have one."""
    learning_rate: Positive = 1e-3
    """The first one: it falls to 0 along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    batch_size: Annotated[int, Field(ge=1)] = 256
    transformer: TransformerSettings | None = None
    """A transformer instead of the multilayer perceptron of `network.hidden`."""
    flow: FlowSettings | None = None
    """Chunks are drawn, by flow matching; its network is of `network.hidden`."""

    @property
    def chunk(self) -> ChunkSpec:
        """How the policy's actions are carried out."""
        return ChunkSpec(horizon=self.horizon, execute=self.execute, ensemble=self.ensemble)

    @model_validator(mode="after")
    def _consistent(self) -> ImitationSettings:
        ChunkSpec(horizon=self.horizon, execute=self.execute, ensemble=self.ensemble)
        if self.flow is not None and self.transformer is not None:
            raise ValueError("transformer and flow: two networks; leave one of them out")
        if self.mirror and self.remembered:
            raise ValueError("mirror and remembered: what is remembered has no mirror image; leave one of them out")
        if self.flow is not None and self.ensemble is not None:
            raise ValueError(f"ensemble = {self.ensemble}: would average what flow draws; leave one of them out")
        return self


class RoundSettings(ImitationSettings):
    """Settings of rounds in which the learner acts, besides those of behaviour cloning."""

    rounds: Annotated[int, Field(ge=1, le=1000)] = 5
    episodes: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Of each round."""
    first_seed: Annotated[int, Field(ge=0, lt=1_000_000)] = 500_000
    """Of the first episode of the first round; they go up from there, and must stay below 1,000,000."""
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the updates before the first round; the rest is the same after each."""

    @model_validator(mode="after")
    def _seeds_below_evaluation(self) -> RoundSettings:
        last = self.first_seed + self.rounds * self.episodes
        if last > 1_000_000:
            raise ValueError(f"first_seed = {self.first_seed}: the rounds need seeds up to {last - 1}, allowed: 999999")
        return self

    def updates(self, total: int) -> list[int]:
        """Return after which updates each round is rolled out."""
        first = max(1, round(self.warmup * total))
        return [first + (total - first) * i // self.rounds for i in range(self.rounds)]

    def seeds(self, stage: int) -> range:
        """Return the seeds of a round, the first of which is 1."""
        first = self.first_seed + (stage - 1) * self.episodes
        return range(first, first + self.episodes)


class DaggerSettings(RoundSettings):
    """Settings of DAgger."""

    latest_s: Positive = 2.0
    """The expert takes over at a time that is drawn evenly between the begin of the episode and this, s."""


class DistilSettings(RoundSettings):
    """Settings of distillation; the actions of `datasets` are not looked at but for their scale."""

    teacher: str = ""
    """Folder of a policy for several tasks, as `tg multitask` makes them."""

    @model_validator(mode="after")
    def _of_a_teacher(self) -> DistilSettings:
        if self.mirror:
            raise ValueError("mirror = true: the teacher has learned no mirror images; leave it out")
        return self
