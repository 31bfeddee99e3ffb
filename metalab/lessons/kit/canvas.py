"""Pictures for live panels, drawn faster than matplotlib draws a whole figure, and encoded for a page."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from typing import Any

from matplotlib.artist import Artist
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from .figures import DPI, arrange, fit_legends, fit_titles, side_by_side

NARROWEST = 320  # CSS pixels that axes need; on a narrower page, a picture is scaled down as a whole
TWO_COLUMNS = 720  # CSS pixels that two axes need next to each other
SMALLEST = 0.66  # of the size of a picture: letters of 12 points are 11 pixels high


class Canvas:
    """A figure in which only the artists that move are drawn again.

    Matplotlib takes as long to draw a whole figure as fifty meta-steps on sine tasks take. Here axes, ticks and legends
    are drawn once and kept. A picture is this background with the artists that move on top. It takes a few
    milliseconds.

    Args:
        figure: a figure that `metalab.lessons.kit.figures.figure` made, or another one that has an Agg canvas.
        moving: the artists that move, in the order in which they are drawn, on top of everything else.
        rigid: whether the parts of the figure have fixed places, so that a page scales it as a whole.
        narrowest: the CSS pixels that its axes need next to each other. A narrower page scales it as a whole, and a
            page on which its letters would be too small for that has its axes below each other.

    Attributes:
        size: the width and the height in CSS pixels that the figure was made for.
    """

    def __init__(
        self, figure: Figure, moving: Iterable[Artist] = (), *, rigid: bool = False, narrowest: float = NARROWEST
    ) -> None:
        self.figure, self.moving, self.rigid, self.narrowest = figure, list(moving), rigid, narrowest
        for artist in self.moving:
            artist.set_animated(True)  # drawing the figure then leaves it out
        self.size = size_of(figure)
        self._most = self._columns = side_by_side(figure)
        self._layout = figure.get_layout_engine()
        self._still = None
        self._stale: list[Figure | SubFigure] = []

    def forget(self, part: Figure | SubFigure) -> None:
        """Draw this whole part of the figure the next time, because something else in it has changed."""
        if part not in self._stale:
            self._stale.append(part)

    def lay_out(self) -> None:
        """Find places for axes, titles and legends again the next time, because some of them need other room."""
        self._still = None  # first, because an interrupt can come after each line
        self.figure.set_layout_engine(self._layout)

    def needs(self, width: float) -> float:
        """Return how many CSS pixels the axes need next to each other on a page with room for `width` of them.

        Where that is too little, they are put below each other, half of them in each of two rows.
        """
        needed = min(self.narrowest, self.size[0])
        columns = self._most if width >= SMALLEST * needed else math.ceil(self._most / 2)
        if columns != self._columns:
            arrange(self.figure, columns)
            self._columns = columns
            fit_titles(self.figure)
            fit_legends(self.figure)
            self.lay_out()
        return needed * columns / self._most

    def fit(self, width: float, height: float, ratio: float = 1.0) -> None:
        """Draw the figure for a place of `width` × `height` CSS pixels on a screen with `ratio` dots for each pixel."""
        if fit(self.figure, width, height, ratio):
            self.lay_out()

    def draw(self) -> Image.Image:
        """Return the picture, which the next drawing changes."""
        canvas = self.figure.canvas
        if self._still is None:
            canvas.draw()
            self.figure.set_layout_engine("none")  # it took half of the time, and nothing changes its place any more
            self._still = canvas.copy_from_bbox(self.figure.bbox)
            self._stale.clear()
        canvas.restore_region(self._still)
        if self._stale:
            for part in self._stale:
                part.draw(canvas.get_renderer())
            self._still = canvas.copy_from_bbox(self.figure.bbox)
            self._stale.clear()  # only now, because an interrupt can come before
        for artist in self.moving:
            artist.axes.draw_artist(artist)
        size = canvas.get_width_height()
        return Image.frombuffer("RGBX", size, canvas.buffer_rgba(), "raw", "RGBX", 0, 1)  # without a copy

    def jpeg(self) -> bytes:
        """Return the picture as a JPEG, which is several times as fast as a PNG. Live pictures use it."""
        return _encoded(self.draw(), "jpeg", quality=90, subsampling=0)

    def png(self) -> bytes:
        """Return the picture as a PNG, for a picture that stays."""
        return _encoded(self.draw().convert("RGB"), "png", compress_level=1)


def size_of(figure: Figure) -> tuple[float, float]:
    """Return the width and the height of a figure in CSS pixels, of which an inch has DPI."""
    width, height = figure.get_size_inches()
    return DPI * float(width), DPI * float(height)


def fit(figure: Figure, width: float, height: float, ratio: float) -> bool:
    """Give a figure the size of its place on the page, and return whether that has changed anything.

    Type keeps its size: where there is less room, axes become smaller, and letters do not.

    Args:
        figure: the figure.
        width: the width of the place in CSS pixels.
        height: its height.
        ratio: how many dots the screen has for a CSS pixel.
    """
    if (*size_of(figure), figure.dpi) == (width, height, DPI * ratio):
        return False
    figure.set_size_inches(width / DPI, height / DPI)
    figure.set_dpi(DPI * ratio)
    fit_titles(figure)
    fit_legends(figure)
    return True


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()
