"""Pictures of a training: drawn from what they are handed, and only what moves is drawn again.

Drawing a whole figure takes matplotlib as long as fifty meta-steps on sines. Here axes, ticks and legends are drawn
once and kept; a frame is that, with some curves on top, as a JPEG: a few milliseconds.
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

from ..figures import BLUE, GREY, VERMILION, FigureCanvasAgg, finish
from .driver import Change, Gone, label

SMALL = 75  # pixels an inch: a third fewer to encode than in a figure that stays
ROOM = 2000  # meta-steps that a curve has room for at first
POINTS = 200  # of a loss curve
MARKS = 9  # with a number; earlier ones keep their line
LEAST, MOST = 1e-6, 1e12  # where the loss's axis ends at the latest
NEAR = 0.02  # changes of one setting so close, as a share of the width, are one mark: a drag


@dataclass(frozen=True)
class Progress:
    """What a frame shows.

    Args:
        losses: one a meta-step.
        width: how many meta-steps the curve has room for.
        changes: each with a mark.
        earlier: the losses before the last reset.
        gone: what a divergence took back.
        picture: what the lesson's own picture is drawn from.
    """

    losses: Sequence[float]
    width: int
    changes: Sequence[Change] = ()
    earlier: Sequence[float] = ()
    gone: Gone | None = None
    picture: Any = None


class Picture(Protocol):
    """What a lesson shows beside the loss curve."""

    def draw(self, figure: SubFigure) -> list[Artist]:
        """Draw what stays, and return what moves."""
        ...

    def update(self, data: Any) -> str:
        """Let what moves show `data`, and say it in words."""
        ...


class Canvas:
    """A figure of which only `moving` is drawn again.

    Args:
        figure: made by `metalab.lessons.kit.figures.figure`, or with an Agg canvas of its own.
        moving: artists in the order in which they are drawn, on top of everything else.
    """

    def __init__(self, figure: Figure, moving: Iterable[Artist]) -> None:
        self.figure, self.moving = figure, list(moving)
        for artist in self.moving:
            artist.set_animated(True)  # left out when the figure is drawn
        self._still = None
        self._stale: list[Figure | SubFigure] = []

    def forget(self, part: Figure | SubFigure) -> None:
        """Draw all of this part of the figure the next time: something else in it has changed."""
        self._stale.append(part)

    def _draw(self) -> Image.Image:
        canvas = self.figure.canvas
        if self._still is None:
            canvas.draw()
            self.figure.set_layout_engine("none")  # it took half of the time, and things stay where they are
            self._still = canvas.copy_from_bbox(self.figure.bbox)
            self._stale.clear()
        canvas.restore_region(self._still)
        if self._stale:
            while self._stale:
                self._stale.pop().draw(canvas.get_renderer())
            self._still = canvas.copy_from_bbox(self.figure.bbox)
        for artist in self.moving:
            artist.axes.draw_artist(artist)
        size = canvas.get_width_height()
        return Image.frombuffer("RGBX", size, canvas.buffer_rgba(), "raw", "RGBX", 0, 1)  # no copy

    def jpeg(self) -> bytes:
        """For a frame: several times as fast as a PNG."""
        return _encoded(self._draw(), "jpeg", quality=90, subsampling=0)

    def png(self) -> bytes:
        """For a picture that stays."""
        return _encoded(self._draw().convert("RGB"), "png", compress_level=1)


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


class View:
    """The loss curve with a mark at each change, and a lesson's picture to its right.

    Args:
        picture: the lesson's own.
        loss: what the curve's axis is called.
        between: where the loss's axis begins and ends; it grows when a loss is beyond.
    """

    def __init__(
        self, picture: Picture | None = None, *, loss: str = "query loss", between: tuple[float, float] = (0.1, 10.0)
    ) -> None:
        self.picture = picture
        figure = Figure(figsize=(10, 3.6), dpi=SMALL, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        self.left, right = figure.subfigures(1, 2, facecolor="white") if picture else (figure, None)
        self.ax = self.left.subplots()
        self.ax.set_yscale("log")
        self.ax.minorticks_off()
        self.ax.set_ylim(*between)
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
        self.ax.legend(fontsize=9, framealpha=0.9, loc="lower left", ncols=2)  # where a falling curve does not come
        self.canvas = Canvas(figure, [*self.lines.values(), *self.numbers, *(picture.draw(right) if picture else ())])

    def frame(self, progress: Progress) -> tuple[bytes, str]:
        """A JPEG, and the lesson's picture in words."""
        words = self._update(progress)
        return self.canvas.jpeg(), words

    def still(self, progress: Progress) -> tuple[bytes, str]:
        """A PNG, and the lesson's picture in words."""
        words = self._update(progress)
        return self.canvas.png(), words

    def _update(self, progress: Progress) -> str:
        each = max(1, progress.width // POINTS)  # steps that one point is the mean of
        self._set("now", *curve(progress.losses, each))
        self._set("earlier", *curve(progress.earlier, each))
        gone = progress.gone or Gone(1, [])
        self._set("gone", *curve(gone.losses, 1, gone.step))
        self._fit(progress.width)
        low, high = self.ax.get_ylim()
        at = [group[-1].step for group in marks(progress.changes, NEAR * progress.width)]
        if (at, low, high) != self._marked:
            self._marked = at, low, high
            self._mark(at, low, high)
        return self.picture.update(progress.picture) if self.picture else ""

    def _mark(self, at: list[int], low: float, high: float) -> None:
        self._set("change", [x for step in at for x in (step, step, step)], [low, high, math.nan] * len(at))
        for number, line in enumerate(self.numbers):
            step = at[-MARKS:][number : number + 1]
            height = low * (high / low) ** (0.95 - 0.07 * (number % 3))  # so that neighbours can be told apart
            line.set_data(step, [height] * len(step))
            line.set_visible(bool(step))

    def _set(self, kind: str, x: Sequence[float], y: Sequence[float]) -> None:
        self.lines[kind].set_data(x, y)
        self.lines[kind].set_visible(len(x) > 0)  # an empty curve takes time too

    def _fit(self, width: int) -> None:
        """Make room for all of the curves, by whole powers of ten: seldom, because all must be drawn again."""
        low, high = self.ax.get_ylim()
        for kind in ("now", "earlier", "gone"):
            losses = self.lines[kind].get_ydata()
            if len(losses) and losses.min() < low:
                low = 10.0 ** math.floor(math.log10(max(losses.min(), LEAST)))
            if len(losses) and losses.max() > high:
                high = 10.0 ** math.ceil(math.log10(min(losses.max(), MOST)))
        limits = (0, width), (low, high)
        if (self.ax.get_xlim(), self.ax.get_ylim()) != limits:
            self.ax.set_xlim(*limits[0])
            self.ax.set_ylim(*limits[1])
            self.canvas.forget(self.left)


def curve(losses: Sequence[float], each: int, start: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Means of `each` losses in a row, and the last step of each row; the last row may be shorter."""
    values = np.asarray(losses, dtype=np.float64)
    if not len(values):
        return values, values
    rows = np.arange(0, len(values), each)
    ends = np.minimum(rows + each, len(values))
    return start - 1 + ends, np.add.reduceat(values, rows) / (ends - rows)


def width(steps: int, budget: int) -> int:
    """Room for the steps so far and about as many again, but for no more than there will be."""
    room = ROOM
    while room < min(steps, budget):
        room *= 2
    return min(room, budget)


def marks(changes: Sequence[Change], near: float) -> list[list[Change]]:
    """Changes that share a mark: of one setting in a row, each at most `near` steps after the one before."""
    groups: list[list[Change]] = []
    for change in changes:
        last = groups[-1][-1] if groups else None
        if last and last.name == change.name and change.step - last.step <= near:
            groups[-1].append(change)
        else:
            groups.append([change])
    return groups


def in_words(changes: Sequence[Change], start: dict[str, float], width: int) -> list[str]:
    """The numbered marks in words: what was changed, when, from what to what."""
    values, said = dict(start), []
    for group in marks(changes, NEAR * width):
        name, before = group[0].name, values[group[0].name]
        values[name] = group[-1].value
        said.append(f"at meta-step {group[-1].step} {label(name)} {before:.3g} → {values[name]:.3g}")
    return [f"{number}: {words}" for number, words in enumerate(said[-MARKS:], start=1)]
