"""Settings that the algorithms that learn from recorded episodes share. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from training_ground.agents.chunks import MAX_HORIZON, ChunkSpec
from training_ground.configs.loading import StrictModel

Positive = Annotated[float, Field(gt=0)]


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
    learning_rate: Positive = 1e-3
    """The first one: it falls to 0 along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    batch_size: Annotated[int, Field(ge=1)] = 256

    @property
    def chunk(self) -> ChunkSpec:
        """How the policy's actions are carried out."""
        return ChunkSpec(horizon=self.horizon, execute=self.execute, ensemble=self.ensemble)

    @model_validator(mode="after")
    def _consistent(self) -> ImitationSettings:
        ChunkSpec(horizon=self.horizon, execute=self.execute, ensemble=self.ensemble)
        return self


class DaggerSettings(ImitationSettings):
    """Settings of DAgger, besides those of behaviour cloning."""

    rounds: Annotated[int, Field(ge=1, le=1000)] = 5
    episodes: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Of each round."""
    first_seed: Annotated[int, Field(ge=0, lt=1_000_000)] = 500_000
    """Of the first episode of the first round; they go up from there, and must stay below 1,000,000."""
    latest_s: Positive = 2.0
    """The expert takes over at a time that is drawn evenly between the begin of the episode and this, s."""
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the updates before the first round; the rest is the same after each."""

    @model_validator(mode="after")
    def _seeds_below_evaluation(self) -> DaggerSettings:
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
