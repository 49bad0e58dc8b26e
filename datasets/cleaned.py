"""What was done to an episode's rows since they were recorded: `cleaned` in its metadata.

`Origin` is about something else, an episode that was simulated after the example of another one.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from training_ground.configs.loading import StrictModel

Row = Annotated[int, Field(ge=0, le=2**62)]


class AppliedOperation(StrictModel):
    """One operation, with the parameters that it ran with."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    parameters: dict[str, Any] = Field(default_factory=dict)


class FilledRun(StrictModel):
    """Values that were not recorded: of one component (index in the flattened sample), first and last row here."""

    channel: Annotated[str, Field(min_length=1, max_length=128)]
    component: Row
    rows: tuple[Row, Row]


class CleaningStep(StrictModel):
    """One step from a recorded or cleaned episode to the next.

    Attributes:
        episode: The source's number in its own store.
        content_sha256, length: As the source's metadata has them; steps.
        rows: First and last row of the source that are kept.
        step: Every how many of them.
        operations: In the order in which they were applied.
        filled: What was filled in.
        code_commit: Of the code that did it, as in `EpisodeMetadata`.
    """

    episode: Row
    content_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    length: Row
    rows: tuple[Row, Row]
    step: Annotated[int, Field(ge=1, le=100_000_000)] = 1
    operations: Annotated[tuple[AppliedOperation, ...], Field(max_length=1000)]
    filled: Annotated[tuple[FilledRun, ...], Field(max_length=100_000)] = ()
    code_commit: Annotated[str, Field(max_length=100)] | None = None

    @property
    def as_recorded(self) -> bool:
        """Whether the rows are all those of the source, unchanged."""
        return self.rows == (0, self.length) and self.step == 1 and not self.filled

    def __str__(self) -> str:
        every = f", every {self.step}th" if self.step > 1 else ""
        filled = f", {len(self.filled)} runs of values filled in" if self.filled else ""
        names = ", ".join(operation.name for operation in self.operations)
        return f"rows {self.rows[0]} to {self.rows[1]}{every} of episode {self.episode}{filled} ({names})"
