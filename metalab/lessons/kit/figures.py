"""Figures that read well on a projector: drawn without pyplot, the same in a cell's output and in a live panel."""

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

# Okabe & Ito's palette, told apart by colour-blind readers; lines also differ by dash and label, never by hue alone.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
GREY = "#6E6E6E"
DPI = 100


def figure(width: float = 9, height: float = 4, **grid: Any) -> tuple[Figure, Any]:
    """A figure of so many inches on white paper (readable in a dark theme too), and its axes as by `subplots`."""
    fig = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(fig)
    return fig, fig.subplots(**grid)


def finish(ax: Axes, title: str, x: str = "", y: str = "", *, legend: bool = False) -> None:
    """Title, axis labels with units, a light grid, and a legend if asked for."""
    ax.set_title(title, fontsize=13)
    ax.set_xlabel(x, fontsize=12)
    ax.set_ylabel(y, fontsize=12)
    ax.tick_params(labelsize=11)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    if legend:
        ax.legend(fontsize=11, framealpha=0.9)


def png(fig: Figure) -> bytes:
    out = io.BytesIO()
    fig.savefig(out, format="png")
    return out.getvalue()


def show(fig: Figure, alt: str) -> None:
    """Display a figure with its description in words, for screen readers and for wherever pictures do not load."""
    metadata = {"image/png": {"alt": alt, "needs_background": "light"}}
    display({"image/png": compact(png(fig)), "text/plain": alt}, raw=True, metadata=metadata)


def compact(picture: bytes) -> bytes:
    """The same PNG, without transparency, in fewer bytes: a notebook keeps it. Takes up to a tenth of a second."""
    out = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").save(out, "png", optimize=True)
    return out.getvalue()


def draw_character(ax: Axes, image: Tensor, title: str = "", *, frame: str | None = None) -> None:
    """One drawing [1, H, W] or [H, W], ink 1 on paper 0, without axes; `frame` colours its border."""
    ax.imshow(1 - image.reshape(image.shape[-2:]).cpu().numpy(), cmap="gray", vmin=0, vmax=1)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(color=frame or "#BBBBBB", linewidth=3 if frame else 1)
    if title:
        ax.set_title(title, fontsize=11)


def plural(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def smooth(values: list[float], window: int = 50) -> Tensor:
    """A trailing mean over `window` values (fewer at the start)."""
    # Window by window and not by differences of a running sum, in which one huge loss would drown all later ones.
    padded = torch.tensor([math.nan] * (window - 1) + values, dtype=torch.float64)
    return padded.unfold(0, window, 1).nanmean(1)
