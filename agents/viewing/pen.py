"""Draws lines, boxes and text finer than they are kept, for smooth edges."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

FINER = 2
"""Pixels drawn for one that is kept, each way."""
PAPER: Colour = (255, 255, 255)


class Pen:
    """Draws finer than is kept, for smooth edges; places and sizes are those of what is kept."""

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._image = Image.new("RGB", (width * FINER, height * FINER), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def text(self, x: float, y: float, text: str, colour: Colour, size: int, anchor: str | None = None) -> None:
        """Write text with its top left corner at a place, or as Pillow's `anchor` says."""
        font = ImageFont.load_default(size=size * FINER)
        self._draw.text((x * FINER, y * FINER), text, colour, font, anchor=anchor)

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float) -> None:
        """Draw a line through points."""
        scaled = [(x * FINER, y * FINER) for x, y in points]
        self._draw.line(scaled, fill=colour, width=round(width * FINER), joint="curve")

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        """Fill a rectangle."""
        self._draw.rectangle((left * FINER, top * FINER, right * FINER, bottom * FINER), fill=colour)

    def chip(self, x: float, y: float, letter: str, colour: Colour, filled: bool, size: int = 20) -> None:
        """Draw a letter in a box that is filled or not."""
        box = (x * FINER, y * FINER, (x + size) * FINER, (y + size) * FINER)
        self._draw.rounded_rectangle(box, 5 * FINER, fill=colour if filled else PAPER, outline=colour, width=2 * FINER)
        font = ImageFont.load_default(size=13 * FINER)
        middle = ((x + size / 2) * FINER, (y + size / 2) * FINER)
        self._draw.text(middle, letter, PAPER if filled else colour, font, anchor="mm")

    def finished(self) -> Image.Image:
        """Return the picture in the size that is kept."""
        return self._image.resize(self._size, Image.Resampling.LANCZOS)
