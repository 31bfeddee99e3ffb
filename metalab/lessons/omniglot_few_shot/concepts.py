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
    """Draw the parts of the data as bars, as wide as they have alphabets.

    Args:
        parts: for each part its number of alphabets, and what it is for.
    """
    fig, ax = figure(height=1.7)
    left = 0.0
    for (name, (alphabets, use)), colour in zip(parts.items(), (SKY, ORANGE, GREEN), strict=False):
        ax.add_patch(Rectangle((left, 0), alphabets, 1, facecolor=colour, alpha=0.35, edgecolor="white", linewidth=4))
        ax.text(left + alphabets / 2, 0.62, f"{name}\n{alphabets} alphabets", ha="center", va="center", fontsize=TEXT)
        ax.text(left + alphabets / 2, 0.18, use, ha="center", va="center", fontsize=TEXT, color=BLACK)
        left += alphabets
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
    centres = torch.tensor([[-1.6, 0.9], [1.5, 1.1], [0.1, -1.4]])
    points = centres[:, None] + 0.45 * torch.randn(3, 4, 2, generator=generator)  # [classes, shots, 2]
    prototypes = points.mean(1)
    query = torch.tensor([0.55, 0.35])
    fig, ax = figure(height=4.8)
    x, y = torch.meshgrid(torch.linspace(-3.2, 3.2, 320), torch.linspace(-2.6, 2.4, 250), indexing="xy")
    nearest = torch.cdist(torch.stack([x, y], -1).reshape(-1, 2), prototypes).argmin(1).reshape(x.shape)
    levels = [-0.5, 0.5, 1.5, 2.5]
    ax.contourf(x, y, nearest, levels=levels, colors=CLASSES[:3], alpha=0.12)
    ax.contour(x, y, nearest, levels=levels[1:-1], colors=GREY, linewidths=1)
    for n, (colour, marker) in enumerate(zip(CLASSES, MARKERS, strict=True)):
        if n == 3:
            break
        ax.scatter(*points[n].T, color=colour, marker=marker, s=45, label=f"support of class {n}")
        ax.plot(*torch.stack([query, prototypes[n]]).T, color=colour, linestyle="--", linewidth=1.5)
        ax.scatter(*prototypes[n], color=colour, marker="*", s=330, edgecolor=BLACK, zorder=3)
        ax.annotate(
            f"$c_{n}$", prototypes[n].tolist(), textcoords="offset points", xytext=(11, 9), fontsize=TITLE, color=BLACK
        )
    ax.scatter(*query, color=BLACK, marker="X", s=110, zorder=4, label="a query")
    ax.scatter([], [], color="white", marker="*", s=330, edgecolor=BLACK, label="prototypes (class means)")
    ax.set(xlim=(-3.2, 3.2), ylim=(-2.6, 2.4), xticks=[], yticks=[])
    title = "an embedding with its prototypes (made up, in two dimensions)"
    finish(ax, title, "first number of the embedding", "second number", legend=True)
    return fig


def draw_conv4(widths: tuple[int, ...], size: int = 28) -> Figure:
    """Draw the shapes that a picture takes on its way through a Conv4: four blocks, and the mean over positions."""
    sizes = [size]
    for _ in widths:
        sizes.append((sizes[-1] + 1) // 2)
    shapes = [(1, size), *zip(widths, sizes[1:], strict=True), (widths[-1], 1)]
    fig, ax = figure(height=3.2)
    left, ends = 0.0, []
    for number, (channels, side) in enumerate(shapes):
        height, width = max(0.12, side / size * 2.0), max(0.12, channels**0.5 / 7)
        for shift in (0.16, 0.08, 0.0)[0 if channels > 1 else 2 :]:
            colour = GREEN if number == len(shapes) - 1 else SKY if number else "white"
            ax.add_patch(
                Rectangle(
                    (left + shift, -height / 2 + shift), width, height, facecolor=colour, edgecolor=BLACK, alpha=0.9
                )
            )
        name = "picture" if number == 0 else f"block {number}" if number < len(shapes) - 1 else "embedding"
        shape = f"{channels} × {side} × {side}" if number < len(shapes) - 1 else f"{channels} numbers"
        ax.text(left + width / 2 + 0.05, -1.35, name, ha="center", va="top", fontsize=TEXT)
        ax.text(left + width / 2 + 0.05, -1.62, shape, ha="center", va="top", fontsize=TEXT)
        ends.append((left, left + width + 0.16))
        left += width + 1.15
    steps = ["3×3 convolution, stride 2\nbatch norm, ReLU", *[""] * (len(shapes) - 3), "mean over\npositions"]
    for (_, start), (stop, _), label in zip(ends, ends[1:], steps, strict=False):
        ax.add_patch(
            FancyArrowPatch((start + 0.05, 0), (stop - 0.05, 0), arrowstyle="-|>", mutation_scale=14, color=GREY)
        )
        ax.text((start + stop) / 2, 1.25, label, ha="center", va="bottom", fontsize=TEXT, color=BLACK)
    ax.set(xlim=(-0.6, left - 0.3), ylim=(-2.0, 1.9))
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
        ax.scatter([i] * len(row), 100 * row, color=colour, marker=marker, s=60, zorder=3)
        ax.text(i, 100 * row.max() + 0.35, f"{100 * row.mean():.1f}", ha="center", va="bottom", fontsize=TEXT)
    ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.margins(y=0.2)
    finish(ax, title, "", "accuracy (%)")
    ax.tick_params(axis="x", labelsize=12)
    return fig


def print_table(rows: dict[str, dict[str, str]], width: int = 34) -> None:
    """Print a table: the names of the rows, and below the names of the columns their entries."""
    columns = list(next(iter(rows.values())))
    print(" " * width + "".join(f"{column:>18}" for column in columns))
    for name, entries in rows.items():
        print(f"{name:{width}}" + "".join(f"{entries.get(column, ''):>18}" for column in columns))
