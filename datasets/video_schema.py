"""What is written of pictures: how a channel is stored, which file holds an episode's frames, where cameras stood."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from training_ground.configs.loading import StrictModel

MAX_MEDIA_BYTES = 16 << 30
"""Largest media file."""
MAX_SIDE = 8192
"""Most pixels along one side of a picture."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Metres = Annotated[float, Field(gt=0, le=1e6)]
Vector3 = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
UNIT_TOLERANCE = 1e-6


def brief(data: dict[str, Any], optional: tuple[str, ...]) -> dict[str, Any]:
    """Return a written model without the `optional` keys that say nothing: versions before them read the rest."""
    return {key: value for key, value in data.items() if key not in optional or value not in (None, {}, (), [])}


class CameraPose(StrictModel):
    """Where a camera stands: its axes are x to the right, y down and z along the view.

    Attributes:
        position: Optical centre, m.
        orientation: Quaternion xyzw that turns camera axes into those of the frame.
    """

    position: Vector3
    orientation: Quaternion

    @pydantic.field_validator("orientation")
    @classmethod
    def _unit(cls, value: Quaternion) -> Quaternion:
        if abs(math.hypot(*value) - 1.0) > UNIT_TOLERANCE:
            raise ValueError("must be a quaternion xyzw of length 1")
        return value


class CalibrationSchema(CameraPose):
    """A pinhole camera; see `envs.channels.Calibration`."""

    matrix: tuple[Vector3, Vector3, Vector3]
    distortion: Literal["none"] = "none"
    frame: Annotated[str, Field(min_length=1, max_length=128)]
    near: Metres
    far: Metres

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> CalibrationSchema:
        (fx, _, _), (shear, fy, _), last = self.matrix
        if fx <= 0 or fy <= 0 or shear != 0 or last != (0.0, 0.0, 1.0):
            raise ValueError("matrix: must be [[fx, s, cx], [0, fy, cy], [0, 0, 1]] with fx, fy > 0, in pixels")
        if self.near >= self.far:
            raise ValueError(f"near = {self.near:g}: must be less than far = {self.far:g}")
        return self


class VideoStorage(StrictModel):
    """A channel whose samples are frames of a video outside the Parquet file.

    Attributes:
        codec: `h264`, for pictures, or `ffv1`, for depth and grey as well.
        quality: x264's constant rate factor where frames may lose something (18 is hard to tell from the picture, 28
            easy); None: every bit comes back.
        keyframe_interval: Frames from one that is decoded alone to the next.
        depth_step: m of one unit of the 16-bit numbers that a float32 channel is stored as; what is recorded is off by
            half of it at most. None for other channels.
    """

    codec: Literal["h264", "ffv1"] = "h264"
    quality: Annotated[int, Field(ge=1, le=51)] | None = None
    keyframe_interval: Annotated[int, Field(ge=1, le=300)] = 10
    depth_step: Annotated[float, Field(gt=0, le=1)] | None = None

    @pydantic.model_validator(mode="after")
    def _possible(self) -> VideoStorage:
        if self.codec == "ffv1" and (self.quality is not None or self.keyframe_interval != 1):
            raise ValueError(
                "codec 'ffv1' loses nothing and decodes each frame alone: quality null, keyframe_interval 1"
            )
        return self

    @property
    def lossless(self) -> bool:
        """Whether frames come back as they were recorded (depth: as it was rounded)."""
        return self.quality is None

    def problem(self, dtype: str, shape: tuple[int, ...]) -> str | None:
        """Say why samples of this type and shape cannot be stored so; None where they can."""
        if not 2 <= len(shape) <= 3 or max(shape[:2]) > MAX_SIDE or min(shape[:2]) < 2:
            return f"a video's sample is (height, width) or (height, width, 3), 2 to {MAX_SIDE} pixels a side"
        kind = (dtype, shape[2:])
        if kind not in {("uint8", (3,)), ("uint8", ()), ("uint16", ()), ("float32", ())}:
            return "a video holds uint8 (H, W, 3), uint8 (H, W), uint16 (H, W) or float32 (H, W)"
        if (dtype == "float32") != (self.depth_step is not None):
            return "depth_step must be given for float32 and for nothing else"
        if self.codec == "h264" and kind != ("uint8", (3,)):
            return "codec 'h264' holds uint8 (H, W, 3) only; use 'ffv1'"
        if self.quality is not None and (shape[0] % 2 or shape[1] % 2):
            return "quality: a lossy video needs even numbers of pixels (its colours are halved)"
        return None


class Media(StrictModel):
    """The file that holds an episode's frames of one channel: `media/<sha256>.mkv`.

    Attributes:
        sha256, bytes: Of the file.
        frames: How many there are; each is shown for one or more rows.
        decoded_sha256: sha256 over the bytes of all frames, where nothing is lost.
        psnr_db: Where something is: measured over all frames while they were recorded, dB (100 where they are equal).
    """

    sha256: Sha256
    bytes: Annotated[int, Field(ge=1, le=MAX_MEDIA_BYTES)]
    frames: Annotated[int, Field(ge=1, le=100_000_001)]
    decoded_sha256: Sha256 | None = None
    psnr_db: Annotated[float, Field(ge=0, le=100)] | None = None

    @property
    def name(self) -> str:
        """Its name in the folder `media`."""
        return f"{self.sha256}.mkv"
