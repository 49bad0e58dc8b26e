"""The schema of a multi-task run: which demonstrations are learned from, how they are seen, and the network."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from training_ground.agents.imitation.settings import ImitationSettings
from training_ground.configs.loading import StrictModel
from training_ground.configs.training import CheckpointConfig, NetworkConfig, NormalisationConfig

Count = Annotated[int, Field(ge=1)]

OTHERWISE = {
    "datasets": "data",
    "unseen": "unseen",
    **dict.fromkeys(("mirror", "transformer", "flow", "remembered", "exact")),
}
"""Settings of `bc` that a policy for several tasks does not have, and what it has in their place."""


class MultiTaskConfig(StrictModel):
    """`configs/multitask/<name>.yaml`."""

    algorithm: ClassVar[str] = "multitask_cloning"
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
    """Of the policy."""
    data: Annotated[dict[str, str], Field(min_length=1, max_length=100)]
    """Store of demonstrations of each task, by the task's name; relative paths begin where the command is called."""
    unseen: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Channels that the policy does not see, by task, or under `*` for all: goals that the instruction names, say."""
    words: Annotated[int, Field(ge=1, le=384)] = 32
    """Numbers that an instruction is reduced to before it stands beside the observation."""
    words_noise: Annotated[float, Field(ge=0)] = 0.02
    """Standard deviation that is added to each number of an embedding, which are about 0.05 large."""
    bc: ImitationSettings = ImitationSettings()
    """How is learned, as with behaviour cloning of one task; `batch_size` has as many samples of each task."""
    network: NetworkConfig = NetworkConfig(hidden=(512, 512, 512))
    normalisation: NormalisationConfig = NormalisationConfig()
    total_steps: Count = 20_000
    """Updates of the weights."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    checkpoints: CheckpointConfig = CheckpointConfig(interval=5_000)

    @model_validator(mode="after")
    def _consistent(self) -> MultiTaskConfig:
        for field, instead in OTHERWISE.items():
            if getattr(self.bc, field) != ImitationSettings.model_fields[field].get_default(call_default_factory=True):
                raise ValueError(f"bc.{field}: not for several tasks" + (f"; '{instead}' is" if instead else ""))
        if not self.normalisation.observation:
            raise ValueError("normalisation.observation = false: tasks that share slots need one scale")
        strangers = sorted(set(self.unseen) - {"*", *self.data})
        if strangers:
            raise ValueError(f"unseen: {', '.join(strangers)}: no task of 'data'; allowed: *, {', '.join(self.data)}")
        if self.bc.batch_size < len(self.data):
            raise ValueError(
                f"bc.batch_size = {self.bc.batch_size}: at least one sample of each of {len(self.data)} tasks"
            )
        return self
