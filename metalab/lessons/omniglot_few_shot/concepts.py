"""The figures of the characters lesson that explain a concept, and the results over seeds that come with the lesson."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor

from ...evaluate import Score
from ..kit.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    TEXT,
    TITLE,
    VERMILION,
    WIDTH,
    draw_character,
    figure,
    finish,
)
from .training import student as student

MEASURED = Path(__file__).with_name("measured.json")  # what `python -m benchmarks few-shot` wrote
CLASSES = (BLUE, ORANGE, GREEN, PURPLE, VERMILION)  # a colour for each class of a 5-way task
MARKERS = ("o", "s", "^", "D", "v")


def measured() -> dict[str, Any]:
    """Read what `python -m benchmarks few-shot` measured on Omniglot, as shipped with the package."""
    return json.loads(MEASURED.read_text())


def accuracies(results: dict[str, Any], training: str, tested: str) -> Tensor:
    """Return the validation accuracies [S] of one kind of training, tested in one way, in the order of the seeds.

    Raises:
        ValueError: there are none.
    """
    runs = sorted((run for run in results["runs"] if run["training"] == training), key=lambda run: run["seed"])
    found = [run["validation"][tested] for run in runs if tested in run["validation"]]
    if not found:
        raise ValueError(f"training={training!r} and tested={tested!r} were not measured")
    return torch.tensor(found, dtype=torch.float64)


def draw_parts(parts: dict[str, tuple[int, str]]) -> Figure:
    """Draw the parts of the data as bars. One with more alphabets is wider, and each has room for its words.

    Args:
        parts: for each part its number of alphabets, and what it is for.
    """
    fig, ax = figure(height=1.7)
    left = 0.0
    for (name, (alphabets, use)), colour in zip(parts.items(), (SKY, ORANGE, GREEN), strict=True):
        width = 6 + alphabets
        ax.add_patch(Rectangle((left, 0), width, 1, facecolor=colour, alpha=0.35, edgecolor="white", linewidth=4))
        ax.text(left + width / 2, 0.62, f"{name}\n{alphabets} alphabets", ha="center", va="center", fontsize=TEXT)
        ax.text(left + width / 2, 0.18, use, ha="center", va="center", fontsize=TEXT, color=BLACK)
        left += width
    ax.set(xlim=(0, left), ylim=(0, 1))
    ax.axis("off")
    return fig


def draw_episode(
    support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor, title: str, *, answers: bool = False
) -> Figure:
    """Draw an episode: the support drawings with their labels, an arrow, and the queries with a question mark.

    Args:
        support_x: the support drawings [S, H, W], ink 255 or 1.
        support_y: their labels [S].
        query_x: the query drawings [Q, H, W].
        query_y: their labels [Q].
        title: the title of the figure.
        answers: whether the labels of the queries are written below them.
    """
    sets = []
    for x, y in ((support_x, support_y), (query_x, query_y)):
        order = y.cpu().argsort(stable=True) if y is support_y else torch.arange(len(y))
        x = x.cpu().float().reshape(len(x), *x.shape[-2:])
        sets.append(((x / max(1.0, x.max().item()))[order], y.cpu()[order].tolist()))
    columns = max(len(x) for x, _y in sets)
    fig, axes = figure(height=3.6, nrows=2, ncols=columns, squeeze=False)
    fig.set_layout_engine(None)  # it would make the first column as wide as the words above it
    fig.subplots_adjust(left=0.01, right=0.99, bottom=0.08, top=0.82, hspace=0.6)
    for row, (x, y), said in zip(axes, sets, (True, answers), strict=True):
        for ax in row:
            ax.axis("off")
        for ax, drawing, label in zip(row, x, y, strict=False):
            ax.axis("on")
            known = said or row is axes[0]
            draw_character(ax, drawing, frame=CLASSES[label % len(CLASSES)] if known else None)
            ax.set_xlabel(f"label {label}" if known else "?", fontsize=TEXT)
    axes[0, 0].set_title("support set: labels are told", fontsize=TEXT, loc="left")
    axes[1, 0].set_title("query set: labels are asked for", fontsize=TEXT, loc="left")
    fig.suptitle(title, fontsize=TITLE)
    return fig


def draw_prototypes(seed: int = 0) -> Figure:
    """Draw an embedding in the plane: three classes' support points, their prototypes, a query, and its distances."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[-2.4, 0.7], [2.2, 0.7], [0.2, -1.0]])
    points = centres[:, None] + 0.35 * torch.randn(3, 4, 2, generator=generator)  # [classes, shots, 2]
    prototypes = points.mean(1)
    query = torch.tensor([1.3, 0.5])
    fig, ax = figure(height=4.8)
    x, y = torch.meshgrid(torch.linspace(-4.6, 4.6, 460), torch.linspace(-2.0, 1.7, 185), indexing="xy")
    nearest = torch.cdist(torch.stack([x, y], -1).reshape(-1, 2), prototypes).argmin(1).reshape(x.shape)
    levels = [-0.5, 0.5, 1.5, 2.5]
    ax.contourf(x, y, nearest, levels=levels, colors=CLASSES[:3], alpha=0.12)
    ax.contour(x, y, nearest, levels=levels[1:-1], colors=GREY, linewidths=1)
    for n, (colour, marker) in enumerate(zip(CLASSES, MARKERS, strict=True)):
        if n == 3:
            break
        ax.scatter(*points[n].T, color=colour, marker=marker, s=150, label=f"support of class {n}")
        ax.plot(*torch.stack([query, prototypes[n]]).T, color=colour, linestyle="--", linewidth=1.5)
        ax.scatter(*prototypes[n], color=colour, marker="*", s=330, edgecolor=BLACK, zorder=3)
        ax.annotate(
            f"$c_{n}$", prototypes[n].tolist(), textcoords="offset points", xytext=(11, 9), fontsize=TITLE, color=BLACK
        )
    ax.scatter(*query, color=BLACK, marker="X", s=180, zorder=4, label="a query")
    ax.scatter([], [], color="white", marker="*", s=330, edgecolor=BLACK, label="prototypes (class means)")
    ax.set(xlim=(-4.6, 4.6), ylim=(-2.0, 1.7), xticks=[], yticks=[], aspect="equal")
    title = "an embedding with its prototypes (made up, in two dimensions)"
    finish(ax, title, "first number of the embedding", "second number", legend=True)
    return fig


def draw_conv4(widths: tuple[int, ...], size: int = 28) -> Figure:
    """Draw the shapes that a picture takes on its way through a Conv4: four blocks, and the mean over positions."""
    sizes = [size]
    for _ in widths:
        sizes.append((sizes[-1] + 1) // 2)
    shapes = [(1, size), *zip(widths, sizes[1:], strict=True), (widths[-1], 1)]
    names = ["picture", *(f"block {i}" for i in range(1, len(shapes) - 1)), "embedding"]
    fig, ax = figure(height=3.0)  # the units of the axes are inches
    apart, middle = WIDTH / len(shapes), 1.45
    ends = []
    for number, ((channels, side), name) in enumerate(zip(shapes, names, strict=True)):
        centre = (number + 0.5) * apart
        height, width = max(0.1, 1.4 * side / size), 0.1 + 0.06 * channels**0.5
        colour = GREEN if name == "embedding" else SKY if number else "white"
        for shift in (0.1, 0.05, 0.0) if channels > 1 else (0.0,):
            corner = (centre - width / 2 + shift, middle - height / 2 + shift)
            ax.add_patch(Rectangle(corner, width, height, facecolor=colour, edgecolor=BLACK))
        shape = f"{channels} numbers" if name == "embedding" else f"{channels} × {side} × {side}"
        ax.text(centre, 0.62, f"{name}\n{shape}", ha="center", va="top", fontsize=TEXT)
        ends.append((centre - width / 2 - 0.05, centre + width / 2 + 0.15))
    steps = ["3×3 convolution, stride 2,\nbatch norm, ReLU", *["the same"] * (len(shapes) - 3), "mean over\npositions"]
    for (_, begin), (end, _), step in zip(ends, ends[1:], steps, strict=False):
        ax.add_patch(FancyArrowPatch((begin, middle), (end, middle), arrowstyle="-|>", mutation_scale=14, color=GREY))
        ax.text((begin + end) / 2, 2.4, step, ha="center", va="bottom", fontsize=TEXT)
    ax.set(xlim=(0, WIDTH), ylim=(0, 3.0))
    ax.axis("off")
    return fig


def draw_runs(
    runs: dict[str, dict[int, Score]], title: str, x: str = "step", *, floor: dict[str, float] | None = None
) -> Figure:
    """Draw the validation accuracies of several trainings in one picture, at the same scale.

    Args:
        runs: for each training its scores by step.
        title: the title of the figure.
        x: the name of the horizontal axis.
        floor: shares that are drawn as horizontal lines, by name.
    """
    fig, ax = figure(height=4.2)
    for (name, scores), colour, marker in zip(runs.items(), CLASSES, MARKERS, strict=False):
        means, bars = zip(*((100 * s.mean, 100 * s.ci95) for s in scores.values()), strict=True)
        ax.errorbar(list(scores), means, bars, color=colour, fmt=f"{marker}-", capsize=4, label=name)
    for name, share in (floor or {}).items():
        ax.axhline(100 * share, color=GREY, linestyle=":", label=name)
    finish(ax, title, x, "accuracy (%)", legend=True)
    return fig


def draw_seeds(groups: dict[str, Tensor], title: str) -> Figure:
    """Draw a dot for each seed of each method, and lines between the dots of one seed.

    Args:
        groups: the accuracies [S] by method, in the order of the same seeds.
        title: the title of the figure.
    """
    fig, ax = figure(height=4)
    names, values = list(groups), torch.stack(list(groups.values()))  # [methods, S]
    for seed in range(values.shape[1]):
        ax.plot(range(len(names)), 100 * values[:, seed], color=GREY, linewidth=1, alpha=0.7)
    for i, (row, colour, marker) in enumerate(zip(values, CLASSES, MARKERS, strict=False)):
        ax.scatter([i] * len(row), 100 * row, color=colour, marker=marker, s=150, zorder=3)
        place = {"xytext": (0, 11), "textcoords": "offset points", "ha": "center", "va": "bottom"}
        ax.annotate(f"{100 * row.mean():.1f}", (i, 100 * row.max().item()), fontsize=TEXT, **place)
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.margins(y=0.2)
    finish(ax, title, "", "accuracy (%)")
    ax.tick_params(axis="x", labelsize=12)
    return fig


def print_table(rows: dict[str, dict[str, str]], width: int = 34) -> None:
    """Print a table: the names of the rows, and below the names of the columns their entries."""
    columns = list(next(iter(rows.values())))
    print(" " * width + "".join(f"{column:>24}" for column in columns))
    for name, entries in rows.items():
        print(f"{name:{width}}" + "".join(f"{entries.get(column, ''):>24}" for column in columns))
