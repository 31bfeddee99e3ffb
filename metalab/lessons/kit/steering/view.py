"""Pictures of a training. They show the data that they are given, and only what moves is drawn again.

A frame is a kept background with some curves on top; see `kit.canvas`. It takes a few milliseconds.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import FuncFormatter, LogLocator

from ....arguments import real
from ..canvas import Canvas
from ..figures import BLUE, DPI, GREEN, GREY, ORANGE, PURPLE, TEXT, VERMILION, FigureCanvasAgg, finish, plain
from .driver import KEPT_RUNS, Change, Gone, History, label

Size = Callable[[float, float], tuple[float, float, float]]
ROOM = 500  # how many meta-steps a curve has room for at first
POINTS = 200  # how many points a loss curve has, about
MARKS = 9  # how many of the last changes have a number; earlier ones keep only their line
LEAST, MOST = 1e-6, 1e12  # the loss's axis never ends beyond these
NARROW = 620  # CSS pixels: on a narrower page the lesson's own picture stands below the curve
WIDTH, HEIGHTS = 900, {False: 360, True: 640}  # CSS pixels of the whole: next to each other, below each other
NEEDED = {False: (520, 240), True: (340, 420)}  # what axes and legends need; a smaller picture is scaled as a whole
EARLIER = tuple(f"earlier {number}" for number in range(KEPT_RUNS))
LOOKS = {  # name, colour and dash of each curve, in the order in which they are drawn
    EARLIER[0]: ("", ORANGE, "--"),
    EARLIER[1]: ("", GREEN, "-."),
    EARLIER[2]: ("", PURPLE, (0, (1, 1))),
    EARLIER[3]: ("", GREY, (0, (6, 2))),
    "gone": ("diverged, taken back", VERMILION, ":"),
    "change": ("a change", "black", ":"),
    "now": ("now", BLUE, "-"),
}
NEAR = 0.02  # changes of one setting that are closer, as a share of the width, come from one drag and share a mark


@dataclass(frozen=True)
class Frame:
    """The data that a frame shows.

    Args:
        losses: one loss per meta-step.
        width: how many meta-steps the curve has room for.
        changes: the changes of settings, which get marks.
        earlier: the runs before the last reset, each with its name and its losses.
        gone: the stretch that a divergence took back.
        picture: the data for the lesson's own picture.
    """

    losses: Sequence[float]
    width: int
    changes: Sequence[Change] = ()
    earlier: Sequence[tuple[str, Sequence[float]]] = ()
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


def _scale(size: Size, narrow: bool) -> float:
    """Return by how much a picture has to be scaled down to have the room that it needs; 1 if it has that already."""
    width, height, _ratio = size(WIDTH, HEIGHTS[narrow])
    return min(1.0, width / NEEDED[narrow][0], height / NEEDED[narrow][1])


class View:
    """The loss curve with a mark at each change, and a lesson's own picture next to it, or below it on a narrow page.

    Args:
        picture: the lesson's own picture; None for the curve alone.
        loss: the label of the loss's axis.
        between: where the loss's axis begins and ends before the first step.

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
        self.picture, self.loss, self.between = picture, loss, (low, high)
        self._build(narrow=False)

    def _build(self, *, narrow: bool) -> None:
        """Make the figure anew. Its parts stand below each other on a narrow page."""
        figure = Figure(figsize=(WIDTH / DPI, HEIGHTS[narrow] / DPI), dpi=DPI, facecolor="white")
        figure.set_layout_engine("constrained")
        FigureCanvasAgg(figure)
        self.left, right = figure, None
        if self.picture:
            self.left, right = figure.subfigures(*((2, 1) if narrow else (1, 2)), facecolor="white")
        self.ax = self.left.subplots()
        self.ax.set_yscale("log")
        self.ax.set_ylim(*self.between)
        self.lines = {}
        for kind, (name, color, dash) in LOOKS.items():
            [self.lines[kind]] = self.ax.plot([], [], color=color, linestyle=dash, linewidth=2, label=name)
        self.lines["change"].set_linewidth(1)
        self.numbers = []
        for number in range(1, MARKS + 1):
            sign = {"color": "black", "marker": f"${number}$", "markersize": 9, "linestyle": ""}
            self.numbers += self.ax.plot([], [], **sign, clip_on=False)  # whole, also at the end of the axis
        self._marked = self._named = None
        self._longest = 0  # how many losses the curve had when the axis was last fitted
        self._letters = 0  # of the longest number for which the axis has room
        finish(self.ax, "loss so far", "meta-step", self.loss)
        # The axis begins and ends at one of these ticks, and each of them has its number.
        self.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=7))
        self.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _at: plain(value)))
        self.ax.minorticks_off()
        moving = self.picture.draw(right) if self.picture else ()
        self.canvas = Canvas(figure, [*self.lines.values(), *self.numbers, *moving])
        self.narrow = narrow

    def frame(self, frame: Frame, size: Size = lambda width, height: (width, height, 1.0)) -> tuple[bytes, str, float]:
        """Return a frame as a JPEG, the description of the lesson's picture, and the frame's width in CSS pixels.

        Args:
            frame: the data.
            size: maps the width and the height that a picture was made for to those of its place, and to the dots for
                each pixel there; see `kit.room.Room.size`.
        """
        narrow = bool(self.picture) and size(WIDTH, HEIGHTS[False])[0] < NARROW
        if narrow and _scale(size, False) > _scale(size, True):  # on a low page
            narrow = False
        if narrow != self.narrow:
            self._build(narrow=narrow)
        width, height, ratio = size(WIDTH, HEIGHTS[narrow])
        scale = _scale(size, narrow)
        self.canvas.fit(width / scale, height / scale, ratio * scale)
        caption = self._update(frame)
        return self.canvas.jpeg(), caption, width

    def still(self, frame: Frame) -> tuple[bytes, str]:
        """Return a picture that stays as a PNG, and the description of the lesson's picture."""
        caption = self._update(frame)
        return self.canvas.png(), caption

    def _update(self, frame: Frame) -> str:
        each = max(1, frame.width // POINTS)  # how many steps a point is the mean of
        self._set("now", *curve(frame.losses, each))
        earlier = list(frame.earlier)[-len(EARLIER) :]
        for i, kind in enumerate(EARLIER):
            self._set(kind, *curve(earlier[i][1] if i < len(earlier) else (), each))
        gone = frame.gone or Gone(1, [])
        self._set("gone", *curve(gone.losses, 1, gone.step))
        self._fit(frame.width, len(frame.losses))
        low, high = self.ax.get_ylim()
        steps = [group[-1].step for group in marks(frame.changes, NEAR * frame.width)]
        if (steps, low, high) != self._marked:
            self._mark(steps, low, high)
            self._marked = steps, low, high
        self._name([name for name, _losses in earlier])
        return self.picture.update(frame.picture) if self.picture else ""

    def _mark(self, steps: list[int], low: float, high: float) -> None:
        self._set("change", [x for step in steps for x in (step, step, step)], [low, high, math.nan] * len(steps))
        for number, line in enumerate(self.numbers):
            step = steps[-MARKS:][number : number + 1]
            height = low * (high / low) ** (0.95 - 0.07 * (number % 3))  # so that neighbours do not cover one another
            line.set_data(step, [height] * len(step))
            line.set_visible(bool(step))

    def _name(self, earlier: list[str]) -> None:
        """Name the curves that are there in a legend below the axes, where it covers none of them."""
        names = dict(zip(EARLIER, earlier, strict=False))
        there = {kind: names.get(kind, line.get_label()) for kind, line in self.lines.items() if line.get_visible()}
        inches = self.canvas.figure.get_figwidth() / (1 if self.narrow or not self.picture else 2)
        letters = max(12, int((inches - 0.6) / 0.085))  # of a line of the legend
        if (there, letters) == self._named:
            return
        needed = bool(set(there) - {"now"})
        if self.left.legends or needed:
            self.canvas.lay_out()  # first, because an interrupt can come after each line
        for legend in self.left.legends:
            legend.remove()
        if needed:
            lines = [textwrap.wrap(name, letters, max_lines=2, placeholder=" …") for name in there.values()]
            labels = ["\n".join(line) for line in lines]
            handles = [self.lines[kind] for kind in there]
            columns = 1 if names else 2
            self.left.legend(handles, labels, loc="outside lower left", fontsize=TEXT, frameon=False, ncols=columns)
        self._named = there, letters

    def _set(self, kind: str, x: Sequence[float], y: Sequence[float]) -> None:
        self.lines[kind].set_data(x, y)
        self.lines[kind].set_visible(len(x) > 0)  # drawing an empty curve takes time too

    def _fit(self, width: int, steps: int) -> None:
        """Make room for the curves of this run and of the earlier ones.

        The axis goes from step to step of TICKS, so that it is rarely drawn again, and as long as the run grows, it
        only becomes longer. What a divergence took back may leave it.
        """
        values = [self.lines[kind].get_ydata() for kind in ("now", *EARLIER)]
        values = np.concatenate([np.asarray(v, dtype=np.float64) for v in values])
        values = values[(values > 0) & np.isfinite(values)]
        low, high = self.between
        if len(values):
            low, high = _round(max(values.min() / 1.2, LEAST), down=True), _round(min(values.max() * 1.2, MOST))
        if steps >= self._longest > 0:
            before = self.ax.get_ylim()
            low, high = min(low, before[0]), max(high, before[1])
        self._longest = steps
        limits = (0, width), (low, high)
        if (self.ax.get_xlim(), self.ax.get_ylim()) != limits:
            self.canvas.forget(self.left)  # first, because an interrupt can come after each line
            letters = max(len(plain(end)) for end in limits[1])
            if letters > self._letters:
                self.canvas.lay_out()  # longer numbers at the axis need more room
                self._letters = letters
            self.ax.set_xlim(*limits[0])
            self.ax.set_ylim(*limits[1])


def _round(value: float, *, down: bool = False) -> float:
    """Return the next number above a value, or below it, of 1, 2 and 5 times the powers of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    steps = [power * digit for digit in (1, 2, 5, 10)]
    return max(s for s in steps if s <= value * 1.000001) if down else min(s for s in steps if s >= value * 0.999999)


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


def width(steps: int, target: int | None) -> int:
    """Return how many steps a curve has room for: up to the target, and else those so far and up to as many again.

    Args:
        steps: the number of steps of the longest run.
        target: the step at which the training ends; None if there is none.
    """
    room = ROOM
    while room < steps:
        room *= 2
    return room if target is None else max(steps, min(room, target))


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


def in_words(
    changes: Sequence[Change], start: dict[str, float], width: int, say: Callable[[str, float], str]
) -> list[str]:
    """Describe the numbered marks in words: which setting was changed, when, and from which value to which.

    Args:
        changes: the changes of settings.
        start: the settings before the first step.
        width: how many meta-steps the curve has room for.
        say: maps the name and the value of a setting to the value in words.
    """
    values, entries = dict(start), []
    for group in marks(changes, NEAR * width):
        name, before = group[0].name, values[group[0].name]
        values[name] = group[-1].value
        entries.append(f"at meta-step {group[-1].step} {label(name)} {say(name, before)} → {say(name, values[name])}")
    return [f"{number}: {entry}" for number, entry in enumerate(entries[-MARKS:], start=1)]


def what_differs(run: History, usual: dict[str, float], say: Callable[[str, float], str]) -> str:
    """Describe in words in what a run differed from one that has the usual settings all the time."""
    parts = [f"{label(name)} {say(name, value)}" for name, value in run.start.items() if value != usual.get(name)]
    groups = marks([change for change in run.changes if change.step <= len(run.losses)], NEAR * len(run.losses))
    if len(groups) == 1:
        last = groups[0][-1]
        parts.append(f"{label(last.name)} {say(last.name, last.value)} from {last.step} on")
    elif groups:
        parts.append(f"{len(groups)} changes on the way")
    return ", ".join(parts) or "the settings of the start"
