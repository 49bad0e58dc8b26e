"""Pictures from the engine's software renderer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from training_ground.envs.states import CameraImage
from training_ground.envs.world.engine import engine
from training_ground.envs.world.register import Register


def take_picture(
    client: int,
    register: Register,
    eye: Sequence[float],
    target: Sequence[float],
    *,
    width: int,
    height: int,
    field_of_view_deg: float,
    up: Sequence[float],
    near: float,
    far: float,
    shadow: bool,
    light: Sequence[float],
) -> CameraImage:
    """Take a picture; arguments as in `World.camera`."""
    view = engine.computeViewMatrix(list(eye), list(target), list(up))
    projection = engine.computeProjectionMatrixFOV(field_of_view_deg, width / height, near, far)
    _, _, rgba, buffer, mask = engine.getCameraImage(
        width,
        height,
        view,
        projection,
        lightDirection=list(light),
        shadow=int(shadow),
        renderer=engine.ER_TINY_RENDERER,
        flags=engine.ER_SEGMENTATION_MASK_OBJECT_AND_LINKINDEX,
        physicsClientId=client,
    )
    # Every other picture of the renderer has a pixel here and there that is brighter by one: an odd number of calls
    # between two pictures keeps those of a state equal, whatever was looked at before.
    engine.getCameraImage(1, 1, renderer=engine.ER_TINY_RENDERER, physicsClientId=client)
    rgb = np.asarray(rgba, dtype=np.uint8).reshape(height, width, 4)[:, :, :3].copy()
    z = np.asarray(buffer, dtype=np.float32).reshape(height, width)
    depth = (far * near / (far - (far - near) * z)).astype(np.float32)
    return CameraImage(rgb, depth, register.segment(np.asarray(mask, dtype=np.int32).reshape(height, width)))
