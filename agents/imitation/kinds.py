"""Which network a preset's settings ask for."""

from __future__ import annotations

from typing import Any

from training_ground.agents.imitation.flow import FlowModel
from training_ground.agents.imitation.model import ChunkModel
from training_ground.agents.imitation.settings import ImitationSettings
from training_ground.agents.imitation.transformer import TransformerModel
from training_ground.agents.signature import Signature


def make_model(settings: ImitationSettings, *rest: Any) -> ChunkModel:
    """Return the model of a run; arguments as of `ChunkModel`."""
    kind = FlowModel if settings.flow else TransformerModel if settings.transformer else ChunkModel
    return kind(settings, *rest)


def tokens_of(signature: Signature, size: int) -> tuple[int, ...]:
    """Cut an observation of `size` numbers into its channels, those of each of a history's rows apart.

    What is behind the last channel is one more token.
    """
    channels = [channel.size for channel in signature.channels]
    history, rest = divmod(size, sum(channels))
    return (*channels * history, *([rest] if rest else []))
