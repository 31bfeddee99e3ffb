"""Pictures of a training. They show the data that they are given, and only what moves is drawn again.

Matplotlib takes as long to draw a whole figure as fifty meta-steps on sine tasks take. Here axes, ticks and legends are
drawn once and kept. A frame is this background with some curves on top, as a JPEG. It takes a few milliseconds.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure, SubFigure
from PIL import Image

from ....arguments import real
from ..figures import BLUE, GREY, VERMILION, FigureCanvasAgg, finish
from .driver import Change, Gone, label

SMALL = 75  # dots per inch: a frame has fewer than a figure that stays, so that it is encoded faster
ROOM = 2000  # how many meta-steps a curve has room for at first
POINTS = 200  # how many points a loss curve has, about
MARKS = 9  # how many of the last changes have a number; earlier ones keep only their line
LEAST, MOST = 1e-6, 1e12  # the loss's axis never ends beyond these
NEAR = 0.02  # changes of one setting that are closer, as a share of the width, come from one drag and share a mark


@dataclass(frozen=True)
class Frame:
    """The data that a frame shows.

    Args:
        losses: one loss per meta-step.
        width: how many meta-steps the curve has room for.
        changes: the changes of settings, which get marks.
        earlier: the losses before the last reset.
        gone: the stretch that a divergence took back.
        picture: the data for the lesson's own picture.
    """

    losses: Sequence[float]
    width: int
    changes: Sequence[Change] = ()
    earlier: Sequence[float] = ()
    gone: Gone | None = None
    picture: Any = None


class Picture(Protocol):
    """The picture that a lesson shows next to the loss curve."""

    def draw(self, figure: SubFigure) -> list[Artist]:
        """Draw the picture, and return the artists that move."""
        ...

    def update(self, data: Any) -> str:
        """Make the artists that move show `data`, and return a description in words."""
        ...


class Canvas:
    """A figure in which only the artists that move are drawn again.

    Args:
        figure: a figure that `metalab.lessons.kit.figures.figure` made, or another one that has an Agg canvas.
        moving: the artists that move, in the order in which they are drawn, on top of everything else.
    """

    def __init__(self, figure: Figure, moving: Iterable[Artist]) -> None:
        self.figure, self.moving = figure, list(moving)
        for artist in self.moving:
            artist.set_animated(True)  # drawing the figure then leaves it out
        self._still = None
        self._stale: list[Figure | SubFigure] = []

    def forget(self, part: Figure | SubFigure) -> None:
        """Draw this whole part of the figure the next time, because something else in it has changed."""
        if part not in self._stale:
            self._stale.append(part)

    def _draw(self) -> Image.Image:
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
        """Return the picture as a JPEG, which is several times as fast as a PNG. Frames use it."""
        return _encoded(self._draw(), "jpeg", quality=90, subsampling=0)

    def png(self) -> bytes:
        """Return the picture as a PNG, for a picture that stays."""
        return _encoded(self._draw().convert("RGB"), "png", compress_level=1)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


class View:
    """The loss curve with a mark at each change, and a lesson's own picture to its right.

    Args:
        picture: the lesson's own picture; None for the curve alone.
        loss: the label of the loss's axis.
        between: where the loss's axis begins and ends at first. It grows when a loss lies beyond.

    Raises:
        TypeError: an end of `between` is no number.
        ValueError: `between` are not two finite numbers above 0 of which the second is larger.
    """

    def __init__(
        self, picture: Picture | None = None, *, loss: str = "query loss", between: tuple[float, float] = (0.1, 10.0)
    ) -> None:
        low, high = between
        real(above=0, low=low)
        real(above=low, high=high)
        self.picture = picture
        figure = Figure(figsize=(10, 3.6), dpi=SMALL, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        self.left, right = figure.subfigures(1, 2, facecolor="white") if picture else (figure, None)
        self.ax = self.left.subplots()
        self.ax.set_yscale("log")
        self.ax.minorticks_off()
        self.ax.set_ylim(low, high)
        names = {"now": "now", "earlier": "before Reset", "gone": "diverged, taken back", "change": "a change"}
        looks = {"now": (BLUE, "-"), "earlier": (GREY, "--"), "gone": (VERMILION, ":"), "change": ("black", ":")}
        self.lines = {}
        for kind in ("earlier", "gone", "change", "now"):
            color, dash = looks[kind]
            width = 1 if kind == "change" else 2
            [self.lines[kind]] = self.ax.plot([], [], color=color, linestyle=dash, linewidth=width, label=names[kind])
        self.numbers = []
        for number in range(1, MARKS + 1):
            self.numbers += self.ax.plot([], [], color="black", marker=f"${number}$", markersize=9, linestyle="")
        self._marked = None
        finish(self.ax, "loss so far", "meta-step", loss)
        self.ax.legend(fontsize=9, framealpha=0.9, loc="lower left", ncols=2)  # a falling curve does not come here
        self.canvas = Canvas(figure, [*self.lines.values(), *self.numbers, *(picture.draw(right) if picture else ())])

    def frame(self, frame: Frame) -> tuple[bytes, str]:
        """Return a frame as a JPEG, and the description of the lesson's picture."""
        caption = self._update(frame)
        return self.canvas.jpeg(), caption

    def still(self, frame: Frame) -> tuple[bytes, str]:
        """Return a picture that stays as a PNG, and the description of the lesson's picture."""
        caption = self._update(frame)
        return self.canvas.png(), caption

    def _update(self, frame: Frame) -> str:
        each = max(1, frame.width // POINTS)  # how many steps a point is the mean of
        self._set("now", *curve(frame.losses, each))
        self._set("earlier", *curve(frame.earlier, each))
        gone = frame.gone or Gone(1, [])
        self._set("gone", *curve(gone.losses, 1, gone.step))
        self._fit(frame.width)
        low, high = self.ax.get_ylim()
        steps = [group[-1].step for group in marks(frame.changes, NEAR * frame.width)]
        if (steps, low, high) != self._marked:
            self._mark(steps, low, high)
            self._marked = steps, low, high
        return self.picture.update(frame.picture) if self.picture else ""

    def _mark(self, steps: list[int], low: float, high: float) -> None:
        self._set("change", [x for step in steps for x in (step, step, step)], [low, high, math.nan] * len(steps))
        for number, line in enumerate(self.numbers):
            step = steps[-MARKS:][number : number + 1]
            height = low * (high / low) ** (0.95 - 0.07 * (number % 3))  # so that neighbours do not cover one another
            line.set_data(step, [height] * len(step))
            line.set_visible(bool(step))

    def _set(self, kind: str, x: Sequence[float], y: Sequence[float]) -> None:
        self.lines[kind].set_data(x, y)
        self.lines[kind].set_visible(len(x) > 0)  # drawing an empty curve takes time too

    def _fit(self, width: int) -> None:
        """Make room for all curves. The axis grows by whole powers of ten, so that it is rarely drawn again."""
        low, high = self.ax.get_ylim()
        for kind in ("now", "earlier", "gone"):
            losses = self.lines[kind].get_ydata()
            if len(losses) and losses.min() < low:
                low = 10.0 ** math.floor(math.log10(max(losses.min(), LEAST)))
            if len(losses) and losses.max() > high:
                high = 10.0 ** math.ceil(math.log10(min(losses.max(), MOST)))
        limits = (0, width), (low, high)
        if (self.ax.get_xlim(), self.ax.get_ylim()) != limits:
            self.canvas.forget(self.left)  # first, because an interrupt can come after each line
            self.ax.set_xlim(*limits[0])
            self.ax.set_ylim(*limits[1])


def curve(losses: Sequence[float], each: int, start: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of a loss curve, each for `each` losses in a row; the last point may have fewer.

    Args:
        losses: the losses of successive steps.
        each: how many losses a point is the mean of.
        start: the number of the first step.

    Returns:
        The last step of each point, and its mean loss.
    """
    values = np.asarray(losses, dtype=np.float64)
    if not len(values):
        return values, values
    rows = np.arange(0, len(values), each)
    ends = np.minimum(rows + each, len(values))
    return start - 1 + ends, np.add.reduceat(values, rows) / (ends - rows)


def width(steps: int, budget: int) -> int:
    """Return how many steps a curve has room for: those so far and up to as many again, but at most `budget`."""
    room = ROOM
    while room < min(steps, budget):
        room *= 2
    return min(room, budget)


def marks(changes: Sequence[Change], near: float) -> list[list[Change]]:
    """Group the changes that share a mark: successive ones of one setting, each at most `near` steps after the last."""
    groups: list[list[Change]] = []
    for change in changes:
        last = groups[-1][-1] if groups else None
        if last and last.name == change.name and change.step - last.step <= near:
            groups[-1].append(change)
        else:
            groups.append([change])
    return groups


def in_words(changes: Sequence[Change], start: dict[str, float], width: int) -> list[str]:
    """Describe the numbered marks in words: which setting was changed, when, and from which value to which."""
    values, entries = dict(start), []
    for group in marks(changes, NEAR * width):
        name, before = group[0].name, values[group[0].name]
        values[name] = group[-1].value
        entries.append(f"at meta-step {group[-1].step} {label(name)} {before:.3g} → {values[name]:.3g}")
    return [f"{number}: {entry}" for number, entry in enumerate(entries[-MARKS:], start=1)]
