"""What tasks share in which the hands hold a mass."""

from __future__ import annotations

from training_ground.assets.model import CompiledModel
from training_ground.envs.task import Task


class Laden(Task):
    """A task in which each hand may hold a mass, given by `draw` as `loads`."""

    @classmethod
    def unsupported(cls, model: CompiledModel, stance: str) -> str | None:
        """A robot needs hands."""
        if not model.hands:
            return f"robot '{model.name}' has no hands; task '{cls.id}' needs them"
        return super().unsupported(model, stance)

    @classmethod
    def loads(cls, model: CompiledModel) -> tuple[str, ...]:
        """The hands."""
        return tuple(hand.frame for hand in model.hands)
