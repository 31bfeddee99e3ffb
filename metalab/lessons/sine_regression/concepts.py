"""Drawings of the sine lesson's ideas, and its comparisons of two starts, each in one picture at one scale."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch
from torch import Tensor

from ...analysis.paired import Interval
from ...arguments import one_of, whole
from ...evaluate import Score
from ...learners.maml import MAML
from ...losses import mse
from ...nets import MLP, Params
from ..kit.figures import BLACK, BLUE, GREEN, GREY, VERMILION, figure, finish, show, smooth
from ..kit.panels import LivePicture, show_widget
from .figures import GRID, one_task, support_points

MEASURED = Path(__file__).with_name("measured.json")  # what `python -m metalab.experiments.sine_over_seeds` wrote
LOOKS = {"joint training": (BLUE, "-"), "MAML": (VERMILION, "--"), "first-order MAML": (GREEN, "-.")}
TEXT = 12  # points: no letter is smaller


# Ideas


def draw_start() -> tuple[Figure, str]:
    """Draw a starting point among the best parameters of three tasks, and the short ways to them.

    Returns:
        The figure, and its description in words.
    """
    fig, ax = figure(9, 4.4)
    start, other = (0.0, 0.0), (-4.6, -1.7)
    tasks = [  # the best parameters, the tilt of the valley around them, and the task's colour
        ((-1.7, 1.15), 145, BLUE),
        ((2.3, 0.95), 20, VERMILION),
        ((0.7, -1.75), 100, GREEN),
    ]
    for number, ((x, y), tilt, color) in enumerate(tasks, start=1):
        for size, alpha in ((1.7, 0.10), (1.1, 0.16), (0.5, 0.26)):
            ax.add_patch(Ellipse((x, y), 1.5 * size, size, angle=tilt, color=color, alpha=alpha, linewidth=0))
        ax.plot(x, y, "*", color=color, markersize=14)
        ax.annotate(f"best for task {number}", (x, y), (x + 0.15, y + 0.3), fontsize=TEXT, color=color)
        _arrow(ax, start, (0.86 * x, 0.86 * y), color, width=2.5)
        _arrow(ax, other, (x - 0.12, y - 0.05), GREY, width=1.2, dash="--", bend=-0.12)
    ax.plot(*start, "o", color=BLACK, markersize=11)
    ax.annotate("a good start θ", start, (0.3, -0.08), fontsize=TEXT + 1, va="top")
    ax.plot(*other, "o", color=GREY, markersize=9)
    ax.annotate("another start:\nlong ways", other, (-4.5, -2.55), fontsize=TEXT, color=GREY)
    ax.set(xlim=(-5.4, 4.6), ylim=(-3.2, 2.3), xticks=[], yticks=[])
    finish(ax, "a starting point among the best parameters of three tasks", "one parameter", "another parameter")
    ax.grid(False)
    return fig, (
        "A drawing of the plane of two parameters. Three stars are the best parameters of three tasks. From a good "
        "start between them, a short arrow leads to each; from another start, far away, the ways are long."
    )


def draw_loops() -> tuple[Figure, str]:
    """Draw the inner loop within the outer loop.

    Returns:
        The figure, and its description in words.
    """
    fig, ax = figure(9, 4.6)
    ax.set(xlim=(0, 100), ylim=(0, 52))
    ax.axis("off")
    _frame(ax, (1, 2), 98, 48, VERMILION, "outer loop: change the start (a meta-step)")
    _frame(ax, (28, 12), 45, 31, BLUE, "inner loop: adapt to one task", sheets=2)
    _box(ax, (3, 22), 9, 12, "start\nθ", BLACK)
    _box(ax, (16, 22), 8.5, 12, "draw\ntasks", VERMILION)
    _box(ax, (31, 27), 17, 9.5, "support set:\nits points", BLUE)
    _box(ax, (52, 27), 18, 9.5, "gradient step\nθ → θ′", BLUE)
    _box(ax, (52, 14), 18, 9.5, "query set:\nloss of θ′", BLUE)
    _box(ax, (77, 22), 20, 12, "mean over tasks,\nmeta-gradient,\nAdam", VERMILION)
    _arrow(ax, (12, 28), (16, 28), VERMILION)
    _arrow(ax, (24.5, 29), (31, 31), BLUE)
    _arrow(ax, (48, 31.7), (52, 31.7), BLUE)
    _arrow(ax, (61, 27), (61, 23.5), BLUE)
    _arrow(ax, (70, 19), (77, 26), VERMILION)
    ax.plot([87, 87, 7.5], [22, 7, 7], color=VERMILION, linewidth=2.2)
    _arrow(ax, (7.5, 7), (7.5, 22), VERMILION)
    ax.text(47, 4.2, "the new start", fontsize=TEXT, color=VERMILION, ha="center")
    return fig, (
        "The outer loop: from the start θ, tasks are drawn. For each of them the inner loop takes a gradient step on "
        "the support set, from θ to θ′, and measures the loss of θ′ on the query set. The mean of these losses over "
        "the tasks gives the meta-gradient, along which Adam moves the start. Then it begins anew."
    )


def _arrow(
    ax: Axes,
    start: Sequence[float],
    end: Sequence[float],
    color: str,
    *,
    width: float = 2.2,
    dash: str = "-",
    bend: float = 0.0,
) -> None:
    look = {"color": color, "linewidth": width, "linestyle": dash, "shrinkA": 3, "shrinkB": 3}
    style = f"arc3,rad={bend}"
    arrow = FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=16, connectionstyle=style, **look)
    ax.add_patch(arrow)


def _box(ax: Axes, corner: tuple[float, float], width: float, height: float, text: str, color: str) -> None:
    box = FancyBboxPatch(corner, width, height, boxstyle="round,pad=0,rounding_size=1.5", facecolor="white")
    box.set(edgecolor=color, linewidth=1.8)
    ax.add_patch(box)
    ax.text(corner[0] + width / 2, corner[1] + height / 2, text, fontsize=TEXT, ha="center", va="center")


def _frame(
    ax: Axes, corner: tuple[float, float], width: float, height: float, color: str, title: str, *, sheets: int = 0
) -> None:
    """Draw a loop's frame; `sheets` more frames behind it stand for the other tasks."""
    for sheet in range(sheets, -1, -1):
        place = (corner[0] + 0.9 * sheet, corner[1] - 1.2 * sheet)
        frame = FancyBboxPatch(place, width, height, boxstyle="round,pad=0,rounding_size=2", facecolor="white")
        frame.set(edgecolor=color, linewidth=1.4)
        ax.add_patch(frame)
    ax.text(corner[0] + 2, corner[1] + height - 2, title, fontsize=TEXT + 1, color=color, va="top")


# Trainings


class LiveCurve:
    """The curve of a training that somebody else runs: call it with the loss of each meta-step.

        with LiveCurve("your training loop", 300) as watch:
            ...
            watch(loss)

    Args:
        title: the title of the picture.
        steps: how many meta-steps the training has.

    Attributes:
        losses: the losses so far.

    Raises:
        TypeError, ValueError: `steps` is no whole number above 0.
    """

    def __init__(self, title: str, steps: int) -> None:
        whole(steps=steps)
        self.title, self.steps, self.losses = title, steps, []
        self._picture = LivePicture()

    def __enter__(self) -> LiveCurve:
        show_widget(self._picture.box, b"", f"{self.title}: the loss, drawn while the network trains.")
        return self

    def __call__(self, loss: float) -> None:
        """Add the loss of one meta-step."""
        self.losses.append(float(loss))
        if self._picture.due():
            self._picture.draw(*self._drawn())

    def __exit__(self, *_error: object) -> None:
        caption = ""
        if self.losses:
            fig, caption = self._drawn()
            show(fig, caption)
        self._picture.leave(caption)

    def _drawn(self) -> tuple[Figure, str]:
        fig, ax = figure(9, 3.4)
        ax.plot(range(1, len(self.losses) + 1), self.losses, color=GREY, linewidth=0.7, alpha=0.6, label="each loss")
        ax.plot(range(1, len(self.losses) + 1), smooth(self.losses), color=BLUE, linewidth=2.5, label="mean of 50")
        ax.set(xlim=(0, self.steps), ylim=(0, 1.05 * max(self.losses)))
        finish(ax, self.title, "meta-step", "meta-loss (MSE)", legend=True)
        now = smooth(self.losses)[-1].item()
        done = f"{self.title}: meta-step {len(self.losses)} of {self.steps}, loss {now:.2f} (mean of the last 50)."
        return fig, done


# Comparisons


def draw_two_starts(starts: Mapping[str, Params], average: Tensor, inner_lr: float = 0.01) -> tuple[Figure, str]:
    """Draw what two networks answer before a gradient step, and after one, on the same ten points.

    Args:
        starts: the parameters, by a name of LOOKS.
        average: the average wave over GRID, [201].
        inner_lr: the rate of the step.

    Returns:
        The figure, and its description in words, with the errors on this task.
    """
    episode = support_points(one_task(3.0, 1.0), 10)
    fig, (before, after) = figure(9, 4, ncols=2, sharey=True)
    x = GRID.flatten()
    before.plot(x, average, color=BLACK, linestyle=":", linewidth=2.5, label="the average wave")
    after.plot(x, episode.query_y.flatten(), color=BLACK, linestyle="-", linewidth=1.2, label="the task")
    errors = []
    for name, params in starts.items():
        there = episode.to(next(iter(params.values())).device)
        color, dash = LOOKS[name]
        for steps, ax in ((0, before), (1, after)):
            curve = MAML(MLP(), mse, inner_lr=inner_lr, inner_steps=steps).predict(params, there).cpu()
            ax.plot(x, curve.flatten(), color=color, linestyle=dash, linewidth=2.5, label=name)
            if steps:
                errors.append(f"{name} {mse(curve, episode.query_y).item():.2f}")
    after.plot(episode.support_x.flatten(), episode.support_y.flatten(), "o", color=BLACK, label="its 10 points")
    finish(before, "both starts, before any step", "x", "y", legend=True)
    finish(after, f"after one gradient step (rate {inner_lr})", "x", legend=True)
    return fig, (
        "Before a gradient step, the curves of joint training and MAML lie near each other and near the average wave. "
        f"After one step on the same 10 points their mean squared errors on this task are: {', '.join(errors)}."
    )


def draw_errors(errors: Mapping[str, Mapping[int, Tensor]], title: str) -> tuple[Figure, str]:
    """Draw the mean error over tasks, with its 95 % interval, by the number of gradient steps.

    Args:
        errors: by a name of LOOKS and the number of steps, the tasks' errors [tasks].
        title: the title of the picture.

    Returns:
        The figure, and its description in words.
    """
    fig, ax = figure(9, 3.8)
    for name, by_steps in errors.items():
        color, dash = LOOKS[name]
        scores = {steps: Score.of(values) for steps, values in sorted(by_steps.items())}
        mean = torch.tensor([score.mean for score in scores.values()])
        half = torch.tensor([score.ci95 for score in scores.values()])
        ax.fill_between([*scores], mean - half, mean + half, color=color, alpha=0.18, linewidth=0)
        ax.plot([*scores], mean, color=color, linestyle=dash, linewidth=2.5, label=name)
    ax.set_xscale("symlog", linthresh=1)
    marks = [0, 1, 10, 100, 1000]
    most = max(steps for by_steps in errors.values() for steps in by_steps)
    ax.set_xticks([mark for mark in marks if mark <= most], [f"{mark:,}" for mark in marks if mark <= most])
    ax.set_ylim(bottom=0)
    finish(ax, title, "gradient steps on the task's 10 points", "mean squared error", legend=True)
    return fig, f"{title}: the mean over tasks for {' and '.join(errors)}, with 95 % intervals, by the gradient steps."


# Several seeds


def measured() -> dict[str, Any]:
    """Return what the trainings with several seeds have measured; see `metalab.experiments.sine_over_seeds`."""
    return json.loads(MEASURED.read_text())


def over_seeds(runs: list[dict[str, Any]], method: str, steps: int, what: str = "errors") -> list[float]:
    """Return what was measured of a method after some gradient steps, one number of each seed, in order of the seeds.

    Args:
        runs: "runs" of `measured`.
        method: the method.
        steps: the number of gradient steps.
        what: "errors", the means over the test tasks; "typical", their medians; "failed", how many tasks
            diverged; or "tuned", the mean error with a rate that was chosen on validation tasks.

    Raises:
        ValueError: `what` is none of these.
    """
    one_of(["errors", "typical", "failed", "tuned"], what=what)
    chosen = sorted((run for run in runs if run["method"] == method), key=lambda run: run["seed"])
    found = [run[what][str(steps)] for run in chosen]
    return [value["error"] for value in found] if what == "tuned" else found


def interval(values: Sequence[float]) -> str:
    """Return a mean over seeds with its 95 % interval by Student's t: `0.63 (0.61 … 0.65)`."""
    found = Interval.of(list(values))
    return f"{found.mean:.2f} ({found.low:.2f} … {found.high:.2f})"
