"""Figures that are easy to read on a projector.

They are drawn without pyplot, so they look the same in a cell's output and in a live panel. Matplotlib reads only what
is on the CPU: a function that draws copies its tensors there, so that it can be given those of a GPU.
"""

from __future__ import annotations

import io
import math
import textwrap
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from IPython.display import display
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.gridspec import GridSpec
from matplotlib.legend import Legend
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter
from matplotlib.transforms import ScaledTranslation
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# Colour-blind readers can tell the colours of Okabe & Ito's palette apart. Lines also differ by dash and label.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY = "#6E6E6E"
# Curves of one picture, in this order. No two have both the same colour and the same dash.
LOOKS = [(BLUE, "-"), (VERMILION, "--"), (GREEN, "-."), (BLACK, ":"), (PURPLE, "-"), (ORANGE, "--"), (SKY, "-.")]
DPI = 100
# A page shows a figure up to 900 pixels wide. On a page of 600 pixels, letters of 12 points are 11 pixels high.
WIDTH = 9.0  # inches: no figure is wider
TEXT, TITLE = 12, 13  # points: no letter is smaller


def figure(width: float = WIDTH, height: float = 4, **grid: Any) -> tuple[Figure, Any]:
    """Return a figure of `width` × `height` inches, and its axes as `subplots(**grid)` makes them.

    The paper is white, so that the figure can be read in a dark theme too.
    """
    fig = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(fig)
    return fig, fig.subplots(**grid)


def finish(ax: Axes, title: str, x: str = "", y: str = "", *, legend: bool = False) -> None:
    """Give axes a title, labels with units, a light grid, plain numbers, and optionally a legend below."""
    ax.set_title(title, fontsize=TITLE)
    ax.set_xlabel(x, fontsize=TEXT)
    ax.set_ylabel(y, fontsize=TEXT)
    ax.tick_params(labelsize=TEXT)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "log":
            plain_ticks(axis)
    if legend:
        legend_below(ax)


class _Plain(LogFormatter):
    """Labels the ticks that matplotlib would label, by plain numbers."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return plain(x) if super().__call__(x, pos) else ""


def plain_ticks(axis: Axis) -> None:
    """Label the ticks of a logarithmic axis by plain numbers, such as 0.01 or 2,000, and not by powers of ten."""
    axis.set_major_formatter(_Plain())
    axis.set_minor_formatter(_Plain(minor_thresholds=(1, 0.5)))
    axis.set_tick_params(which="both", labelsize=TEXT)


def plain(number: float) -> str:
    """Return a number as readers write it. Only what is too long for a tick is a power of ten: 10⁹."""
    if 0.9e-5 < number < 0.9e6:
        return f"{number:,.10f}".rstrip("0").rstrip(".")
    digits, power = f"{number:.0e}".split("e")
    power = str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power}" if digits == "1" else f"{digits}·10{power}"


def legend_below(ax: Axes, handles: list[Artist] | None = None) -> Legend:
    """Put the legend of axes below them, where it covers no data, in as many columns as there is room for.

    Args:
        ax: the axes, with all that the legend names.
        handles: what the legend names; None for all that has a label.
    """
    handles = ax.get_legend_handles_labels()[0] if handles is None else handles
    parent = ax.figure
    legend = ax.legend(
        handles=handles,
        fontsize=TEXT,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        # The label and the numbers of the axis are in between.
        bbox_transform=ax.transAxes + ScaledTranslation(0, -0.55, parent.dpi_scale_trans),
        ncols=_columns(ax, handles),
        handlelength=1.8,
        columnspacing=1.2,
        frameon=False,
        borderaxespad=0,
    )
    legend.below = handles  # for `fit_legends`
    return legend


def _columns(ax: Axes, handles: list[Artist]) -> int:
    """Return in how many columns a legend has room below its axes."""
    return _most_columns(handles, _room(ax))


def _room(ax: Axes) -> float:
    """Return how many inches of its figure's width axes have, with their labels."""
    cells, parent = ax.get_subplotspec(), ax.figure
    return parent.bbox.width / parent.get_dpi() * len(cells.colspan) / cells.get_gridspec().ncols


def _most_columns(handles: list[Artist], room: float) -> int:
    """Return in how many columns a legend has so many inches of room."""
    lengths = [len(handle.get_label()) for handle in handles]

    def width(columns: int) -> float:
        """Return how many inches the legend is wide, about."""
        return sum(0.55 + 0.087 * max(column) for column in np.array_split(lengths, columns))

    # Axes whose legend is too wide become narrower each time the figure is laid out, so some room is left over.
    return next((columns for columns in range(len(handles), 1, -1) if width(columns) <= room - 0.35), 1)


def fit_legends(fig: Figure) -> None:
    """Give the legends that `legend_below` and `legend_of_all` made as many columns as there is room for now."""
    for ax in fig.axes:
        handles = getattr(ax.get_legend(), "below", None)
        if handles and _columns(ax, handles) != ax.get_legend()._ncols:
            legend_below(ax, handles)
    for legend in list(fig.legends):
        if handles := getattr(legend, "below", None):
            legend.remove()
            room = 0.88 * fig.bbox.width / fig.get_dpi()  # its columns are wider than those below axes
            legend_of_all(fig, handles, _most_columns(handles, room))


def legend_of_all(fig: Figure, handles: list[Artist], columns: int | None = None) -> None:
    """Put one legend below all axes of a figure, because they show the same things; in one line by default."""
    columns = columns or len(handles)
    legend = fig.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=TEXT, frameon=False)
    legend.below = handles  # for `fit_legends`


LETTER = 0.085  # inches: the mean width of a letter of a title


def fit_titles(fig: Figure) -> None:
    """Break the titles of axes into as many lines as they need now. Axes with fixed places keep theirs."""
    for ax in fig.axes if fig.get_layout_engine() else ():
        title = ax.title
        if title.get_text() != getattr(title, "broken", None):  # a new one
            title.unbroken = title.get_text()
        if "\n" not in title.unbroken and ax.get_subplotspec():
            letters = max(10, int((_room(ax) - 0.7) / LETTER))  # it stands above the axes without their labels
            title.broken = textwrap.fill(title.unbroken, letters)
            title.set_text(title.broken)


def side_by_side(fig: Figure) -> int:
    """Return how many axes of a figure stand next to each other in one row; 1 if it has other axes too."""
    cells = [ax.get_subplotspec() for ax in fig.axes]
    if not cells or None in cells or fig.subfigs or any(ax.figure is not fig for ax in fig.axes):
        return 1
    grids = {cell.get_gridspec() for cell in cells}
    grid = next(iter(grids))
    whole = all(cell.num1 == cell.num2 for cell in cells)
    return grid.ncols if len(grids) == 1 and grid.nrows == 1 and whole else 1


def arrange(fig: Figure, columns: int) -> None:
    """Put axes that `side_by_side` has counted into so many columns."""
    cells = {ax: ax.get_subplotspec() for ax in fig.axes}
    before = next(iter(cells.values())).get_gridspec()
    grid = GridSpec(math.ceil(before.nrows * before.ncols / columns), columns, figure=fig)
    for ax, cell in cells.items():
        ax.set_subplotspec(grid[cell.num1])


class Label(Text):
    """A text in a picture that changes often. Pillow draws it in a tenth of the time that matplotlib takes.

    It is horizontal, aligned at its top or bottom, and has no mathematics. `ax.add_artist` puts it on axes.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._font_file = findfont(self.get_fontproperties())  # which takes as long as drawing

    def draw(self, renderer: RendererAgg) -> None:
        """Draw the text on an Agg canvas."""
        text = self.get_text()
        if not self.get_visible() or not text:
            return
        anchor = {"left": "l", "center": "m", "right": "r"}[self.get_ha()] + {"top": "a", "bottom": "d"}[self.get_va()]
        size = renderer.points_to_pixels(self.get_fontsize())
        left, bottom, pixels = _ink(text, self._font_file, size, anchor, to_rgb(self.get_color()))
        x, y = map(round, self.get_transform().transform(self.get_unitless_position()).tolist())
        renderer.draw_image(renderer.new_gc(), x + left, y - bottom, pixels)


_BLANK = ImageDraw.Draw(Image.new("L", (1, 1)))  # to measure texts
_font = lru_cache(maxsize=32)(ImageFont.truetype)


@lru_cache(maxsize=512)  # labels such as "97 %" come again and again
def _ink(text: str, file: str, size: float, anchor: str, color: tuple) -> tuple[int, int, np.ndarray]:
    """Return a text's left end and its lower end, in pixels from its anchor, and its pixels [height, width, RGBA].

    The lowest line of pixels is the first, as Agg has it.
    """
    style = {"font": _font(file, size), "anchor": anchor, "align": "center", "spacing": 0}
    left, top, right, bottom = map(round, _BLANK.multiline_textbbox((0, 0), text, **style))
    ink = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(ink).multiline_text((-left, -top), text, fill=255, **style)
    pixels = np.empty((*np.shape(ink), 4), np.uint8)
    pixels[..., :3] = np.multiply(color, 255)
    pixels[..., 3] = ink
    return left, bottom, pixels[::-1].copy()


def png(fig: Figure) -> bytes:
    """Return a figure as a PNG."""
    out = io.BytesIO()
    fig.savefig(out, format="png")
    return out.getvalue()


def show(fig: Figure, alt: str) -> None:
    """Display a figure with a description in words, for screen readers and for pages where pictures do not load."""
    metadata = {"image/png": {"alt": alt, "needs_background": "light"}}
    display({"image/png": compact(png(fig)), "text/plain": alt}, raw=True, metadata=metadata)


def compact(picture: bytes) -> bytes:
    """Return the same PNG without transparency, in 256 colours and in fewer bytes, because a notebook stores it.

    A drawing has few colours, and the shades at the edges of its lines and letters: nobody sees which of them are left
    out, and a third of the bytes is enough. This takes about a tenth of a second.
    """
    out = io.BytesIO()
    few = Image.open(io.BytesIO(picture)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(out, "png", optimize=True)
    return out.getvalue()


def draw_character(ax: Axes, image: Tensor, title: str = "", *, frame: str | None = None) -> None:
    """Draw one character [1, H, W] or [H, W], ink 1 on paper 0, without axes. `frame` colours its border."""
    ax.imshow(1 - image.reshape(image.shape[-2:]).cpu().numpy(), cmap="gray", vmin=0, vmax=1)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(color=frame or "#BBBBBB", linewidth=3 if frame else 1)
    if title:
        ax.set_title(title, fontsize=TEXT)


def drawing_png(image: Tensor) -> bytes:
    """Return one character [1, H, W] or [H, W], ink 1 on paper 0, as a PNG of as many pixels."""
    levels = (255 * (1 - image.reshape(image.shape[-2:]).cpu())).round().to(torch.uint8)
    out = io.BytesIO()
    Image.fromarray(levels.numpy()).save(out, "png")
    return out.getvalue()


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: `1 step`, `2 steps`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def smooth(values: list[float], window: int = 50) -> Tensor:
    """Return the mean of each value and the `window` − 1 values before it, or as many as there are: [len(values)]."""
    if not values:
        return torch.empty(0, dtype=torch.float64)
    # Each window is averaged by itself. In differences of a running sum, one huge loss would drown all later ones.
    padded = torch.tensor([math.nan] * (window - 1) + values, dtype=torch.float64)
    return padded.unfold(0, window, 1).nanmean(1)
