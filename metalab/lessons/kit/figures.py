"""Figures that are easy to read on a projector.

They are drawn without pyplot, so they look the same in a cell's output and in a live panel. Matplotlib reads only what
is on the CPU: a function that draws copies its tensors there, so that it can be given those of a GPU.
"""

from __future__ import annotations

import io
import math
from typing import Any

import torch
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

# Colour-blind readers can tell the colours of Okabe & Ito's palette apart. Lines also differ by dash and label.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
GREY = "#6E6E6E"
DPI = 100


def figure(width: float = 9, height: float = 4, **grid: Any) -> tuple[Figure, Any]:
    """Return a figure of `width` × `height` inches, and its axes as `subplots(**grid)` makes them.

    The paper is white, so that the figure can be read in a dark theme too.
    """
    fig = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(fig)
    return fig, fig.subplots(**grid)


def finish(ax: Axes, title: str, x: str = "", y: str = "", *, legend: bool = False) -> None:
    """Give axes a title, labels with units, a light grid, and optionally a legend."""
    ax.set_title(title, fontsize=13)
    ax.set_xlabel(x, fontsize=12)
    ax.set_ylabel(y, fontsize=12)
    ax.tick_params(labelsize=11)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    if legend:
        ax.legend(fontsize=11, framealpha=0.9)


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
    """Return the same PNG without transparency and in fewer bytes, because a notebook stores it.

    This takes up to a tenth of a second.
    """
    out = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").save(out, "png", optimize=True)
    return out.getvalue()


def draw_character(ax: Axes, image: Tensor, title: str = "", *, frame: str | None = None) -> None:
    """Draw one character [1, H, W] or [H, W], ink 1 on paper 0, without axes. `frame` colours its border."""
    ax.imshow(1 - image.reshape(image.shape[-2:]).cpu().numpy(), cmap="gray", vmin=0, vmax=1)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(color=frame or "#BBBBBB", linewidth=3 if frame else 1)
    if title:
        ax.set_title(title, fontsize=11)


def plural(number: int, noun: str) -> str:
    """Return a number with its noun: `1 step`, `2 steps`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def smooth(values: list[float], window: int = 50) -> Tensor:
    """Return the mean of each value and the `window` − 1 values before it, or as many as there are: [len(values)]."""
    # Each window is averaged by itself. In differences of a running sum, one huge loss would drown all later ones.
    padded = torch.tensor([math.nan] * (window - 1) + values, dtype=torch.float64)
    return padded.unfold(0, window, 1).nanmean(1)
