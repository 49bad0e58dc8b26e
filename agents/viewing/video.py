"""Pictures and videos of a session, drawn by the simulation's own camera; no display is needed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.agents.viewing.session import Session
from training_ground.configs.errors import AgentError

Frame = NDArray[np.uint8]
QUALITY = 7
"""imageio's scale from 1 to 10."""
PUSH_SHOWN_S = 0.6
"""Simulated time for which a push is told, s."""


def frames(
    session: Session, episodes: int, fps: int, on_frame: Callable[[float], None] | None = None
) -> Iterator[Frame]:
    """Run episodes and give a picture (H, W, 3) every 1/`fps` s of simulated time.

    Args:
        session: Its environment must be made with `render_mode="rgb_array"`.
        episodes: How many.
        fps: Pictures a simulated second; at most the control rate.
        on_frame: Called after each picture with the simulated seconds since the last one.
    """
    every = 1.0 / fps
    for episode in range(episodes):
        if episode:
            session.reset()
        due, last = 0.0, 0.0
        while True:
            ended = session.ended
            if session.time >= due - 1e-9 or ended:
                yield captioned(session.env.render(), session)
                due += every
                if on_frame is not None:
                    on_frame(session.time - last)
                last = session.time
            if ended:
                break
            session.step()


def captioned(frame: Frame, session: Session) -> Frame:
    """Write the time, and a push while it is new, into a picture."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(frame)
    draw, size = ImageDraw.Draw(picture), max(12, frame.shape[0] // 26)
    font = ImageFont.load_default(size=size)
    draw.text((size * 0.8, size * 0.6), f"{session.time:.2f} s", (40, 46, 54), font)
    push = session.push
    if push is not None and session.push_age_s < PUSH_SHOWN_S:
        text = f"push {float(np.hypot(push[0], push[1])):.2f} m/s"
        draw.text((size * 0.8, size * 1.9), text, (205, 64, 24), font)
    return np.asarray(picture)


@contextlib.contextmanager
def video_writer(path: Path, fps: int) -> Iterator[Callable[[Frame], None]]:
    """Give a function that adds a frame to an MP4 (H.264); the file gets its name when it is complete.

    An exception, Ctrl-C included, leaves what was drawn so far as a playable file.

    Raises:
        AgentError: The file cannot be written.
    """
    if path.suffix.lower() != ".mp4":
        raise AgentError(f"video '{path}': the name must end in .mp4")
    import imageio_ffmpeg

    part = path.with_name(f".{path.stem}.part.mp4")
    stream: Any = None
    count = 0

    def add(frame: Frame) -> None:
        nonlocal stream, count
        height, width = frame.shape[:2]
        if stream is None:
            stream = imageio_ffmpeg.write_frames(
                str(part),
                (width, height),
                fps=fps,
                quality=QUALITY,
                macro_block_size=2,
                ffmpeg_log_level="error",
                output_params=["-movflags", "+faststart"],
            )
            stream.send(None)
        stream.send(np.ascontiguousarray(frame))
        count += 1

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield add
        finally:
            if stream is not None:
                stream.close()
        part.replace(path)
    except KeyboardInterrupt:
        if count and part.is_file():
            part.replace(path)
        raise
    except OSError as problem:
        raise AgentError(f"{path}: cannot be written: {problem.strerror or problem}") from problem
    finally:
        part.unlink(missing_ok=True)


def write_frames(folder: Path, pictures: Iterator[Frame]) -> int:
    """Write pictures as `frame_00000.png`, … to a folder and return how many.

    Raises:
        AgentError: The folder holds frames already, or cannot be written.
    """
    from PIL import Image

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.glob("frame_*.png")):
            raise AgentError(f"{folder}: holds frames already; choose another folder")
        count = 0
        for picture in pictures:
            Image.fromarray(picture).save(folder / f"frame_{count:05d}.png")
            count += 1
        return count
    except OSError as problem:
        raise AgentError(f"{folder}: cannot be written: {problem.strerror or problem}") from problem
