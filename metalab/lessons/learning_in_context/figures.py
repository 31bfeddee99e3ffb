"""The results, figures and panels of the lesson on learning in context.

The functions that draw return the figure and its description in words: `show(*draw_errors(…))`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from torch import Tensor

from ... import checkpoint
from ...analysis.paired import Interval
from ...analysis.sine_bayes import SinePosterior
from ...experiments import in_context as study
from ...experiments import pictures_in_context as pictures
from ...nets import Params
from ...tasks import Episode, linear
from ...tasks.sine import X_RANGE
from ..kit.canvas import Canvas
from ..kit.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    TEXT,
    VERMILION,
    figure,
    finish,
    legend_of_all,
)
from ..kit.panels import Panel, slider

NOISE = study.NOISE
GRID = torch.linspace(*X_RANGE, 101).view(1, -1, 1)
LOOKS = {  # of the methods, in every picture: colour and dash
    "set encoder": (BLUE, "-"),
    "recurrent": (PURPLE, "--"),
    "transformer": (GREEN, "-."),
    "transformer, longer": (GREEN, "-"),
    "MAML, 1 step": (VERMILION, ":"),
    "MAML, 5 steps": (VERMILION, "-."),
    "MAML, 10 steps": (VERMILION, "-"),
    "joint network, 10 steps": (ORANGE, "-."),
    "nearest neighbour": (GREY, ":"),
    "exact answer": (BLACK, "--"),
}
GRADIENT = {f"MAML, {n} step{'s' * (n > 1)}": ("MAML", n) for n in study.INNER_STEPS} | {
    "joint network, 10 steps": ("joint", 10)
}

Results = dict[str, Any]


def load_results() -> Results:
    """Return what `python -m metalab.experiments.in_context` measured."""
    return json.loads(Path(__file__).with_name("measured.json").read_text())


def load_pictures() -> Results:
    """Return what `python -m metalab.experiments.pictures_in_context` measured."""
    return json.loads(Path(__file__).with_name("pictures.json").read_text())


def load_linear() -> Params:
    """Return the transformer that the command trained on linear functions, with seed 0."""
    return checkpoint.load(Path(__file__).with_name("linear_transformer.safetensors"))[0]


def errors(results: Results, method: str, shots: int, what: str = "mean") -> list[float | None]:
    """Return a method's errors after so many examples, one for each seed.

    Args:
        results: the results.
        method: a name of LOOKS.
        shots: the number of examples.
        what: "mean" or "median" over the tasks, or "failed", the number of tasks whose error is above 100. A mean is
            None where inner steps diverged.
    """
    if method in ("exact answer", "nearest neighbour"):
        return [results["limits"][method.split()[0]][str(shots)][what]]
    name, steps = GRADIENT.get(method, (method, None))
    rows = [run["errors"] for run in results["runs"] if run["method"] == name]
    rows = [row[str(steps)] for row in rows] if steps is not None else rows
    return [row[str(shots)][what] for row in rows]


def ratio(results: Results, method: str, shots: int, what: str = "mean") -> Interval | None:
    """Return a method's error as a multiple of the limit, with its interval over seeds; None if it diverged."""
    limit = errors(results, "exact answer", shots, what)[0]
    found = errors(results, method, shots, what)
    if any(error is None for error in found):
        return None
    return Interval.of([error / limit for error in found]) if len(found) > 1 else Interval(*[found[0] / limit] * 3)


def ratios_in_words(results: Results, method: str, shots: int) -> str:
    """Return a method's errors as multiples of the limit, from the best to the worst seed, as "1.1 … 1.2"."""
    [limit] = errors(results, "exact answer", shots)
    found = errors(results, method, shots)
    ratios = sorted(error / limit for error in found if error is not None)
    words = [f"{n:.1f}" if n < 10 else f"{n:,.0f}" for n in ratios] + ["diverged"] * found.count(None)
    return words[0] if words[0] == words[-1] else f"{words[0]} … {words[-1]}"


def linear_error(results: Results, shots: int, shift: str = "none", method: str = "transformer") -> list[float]:
    """Return the relative errors on linear functions, one for each seed, or one alone for what is not trained."""
    if method == "transformer":
        return [run["errors"][shift][str(shots)] for run in results["runs"] if run["method"] == "linear"]
    return [results["limits"]["linear"][shift][method][str(shots)]]


# Concepts


def draw_two_ways() -> tuple[Figure, str]:
    """Draw how MAML learns a task, and how a network does that reads it."""
    fig, axes = figure(9, 3.1, ncols=2)
    steps = {
        "adapt by gradients (MAML)": ("examples", "gradient\nsteps", "new\nweights", "answer"),
        "read in context": ("examples", "network:\nits weights\nstay fixed", "answer"),
    }
    for ax, (title, boxes), color in zip(axes, steps.items(), (VERMILION, GREEN), strict=True):
        ax.set(xlim=(0, 10), ylim=(0, 4))
        ax.axis("off")
        ax.set_title(title, fontsize=13)
        width = 9.5 / len(boxes) - 0.6
        places = [0.3 + i * 9.5 / len(boxes) for i in range(len(boxes))]
        for i, (x, words) in enumerate(zip(places, boxes, strict=True)):
            box = FancyBboxPatch((x, 1.9), width, 1.4, boxstyle="round,pad=0.08", fc="white", ec=color, lw=2)
            ax.add_patch(box)
            ax.text(x + width / 2, 2.6, words, ha="center", va="center", fontsize=TEXT - (len(boxes) > 3))
            if i:
                ax.add_patch(
                    FancyArrowPatch(
                        (places[i - 1] + width + 0.05, 2.6),
                        (x - 0.05, 2.6),
                        mutation_scale=15,
                        color=GREY,
                        shrinkA=0,
                        shrinkB=0,
                    )
                )
        ask = places[-2] + width / 2
        ax.add_patch(FancyArrowPatch((ask, 0.8), (ask, 1.85), mutation_scale=15, color=GREY))
        ax.text(ask, 0.75, "question x", ha="center", va="top", fontsize=TEXT)
    return fig, (
        "Two diagrams. Left, MAML: examples, gradient steps, new weights, answer; the question goes to the new "
        "weights. Right: examples and the question go into a network whose weights stay fixed, and the answer comes."
    )


def draw_posterior(episode: Episode, counts: Sequence[int]) -> tuple[Figure, str]:
    """Draw the exact answer for one wave after some numbers of points, with waves that are still possible.

    Args:
        episode: one task, whose queries are GRID.
        counts: how many of its support points are used in each picture.
    """
    fig, axes = figure(9, 3.9, ncols=len(counts), sharey=True)
    x, said = GRID.flatten(), []
    for ax, count in zip(axes, counts, strict=True):
        px, py = episode.support_x[:, :count], episode.support_y[:, :count]
        known = SinePosterior.of(px, py, noise=NOISE)
        mean, sd = known.mean(GRID).flatten(), known.variance(GRID).flatten().sqrt()
        waves = known.draw(25, torch.Generator().manual_seed(1))(GRID.double().expand(25, -1, -1)).squeeze(2)
        ax.plot(x, waves.T, color="#BDBDBD", linewidth=0.8)
        ax.lines[0].set_label("possible waves")
        ax.plot(x, episode.query_y.flatten(), color=BLACK, linestyle=":", linewidth=2, label="the wave")
        ax.plot(x, mean, color=BLUE, linewidth=2.5, label="the exact answer")
        ax.plot(px.flatten(), py.flatten(), "o", color=VERMILION, markersize=8, label="examples", zorder=5)
        finish(ax, f"{count} example{'s' * (count != 1)}", "x", "y" if ax is axes[0] else "")
        said.append(f"{sd.mean():.2f} after {count}")
    handles = axes[-1].get_legend_handles_labels()[0]
    legend_of_all(fig, handles)
    return fig, f"The exact answer and possible waves. Mean standard deviation: {', '.join(said)}."


def draw_mask(mask: Tensor, examples: int) -> tuple[Figure, str]:
    """Draw which token may look at which: black where it may."""
    fig, ax = figure(5.6, 4.8)
    n, told = len(mask), 2 * examples
    ax.imshow(~mask.cpu().numpy(), cmap="gray", vmin=0, vmax=1)
    names = [f"{'x' if t % 2 == 0 else 'xy'}{t // 2 + 1}" if t < told else f"q{t - told + 1}" for t in range(n)]
    ax.set_xticks(range(n), names)
    ax.set_yticks(range(n), names)
    finish(ax, "black: the row may look at the column", "is looked at", "looks")
    ax.grid(False)
    return fig, f"A mask of {n} tokens; {int(mask.sum())} of {n * n} fields are black."


# Results


def draw_errors(results: Results, methods: Sequence[str], title: str) -> tuple[Figure, str]:
    """Draw the errors over the number of examples: the mean over the seeds, and the range of the seeds as a band."""
    fig, ax = figure(9, 5.6)
    said = []
    for method in methods:
        color, dash = LOOKS[method]
        shots = [s for s in study.SHOTS if None not in errors(results, method, s)]
        values = [errors(results, method, s) for s in shots]
        means = [sum(seeds) / len(seeds) for seeds in values]
        ax.plot(shots, means, dash, marker="o", markersize=4, color=color, linewidth=2, label=method)
        ax.fill_between(shots, [min(v) for v in values], [max(v) for v in values], color=color, alpha=0.15, linewidth=0)
        said.append(
            f"{method} {', '.join(f'{m:.2g} at {s}' for s, m in zip(shots, means, strict=True) if s in (1, 5, 10))}"
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_ylim(6e-4, 80)
    finish(ax, title, "examples", "mean squared error", legend=True)
    ax.set_xticks(study.SHOTS, [str(s) for s in study.SHOTS])
    ax.minorticks_off()
    return fig, f"{title}. Errors: {'; '.join(said)}."


def draw_linear(results: Results) -> tuple[Figure, str]:
    """Draw the errors on linear functions over the number of examples, next to least squares and simpler rules."""
    fig, ax = figure(9, 4.8)
    looks = {
        "transformer": (GREEN, "-"),
        "least squares": (BLACK, "--"),
        "averaging": (ORANGE, "-."),
        "3 nearest": (GREY, ":"),
    }
    for method, (color, dash) in looks.items():
        values = [linear_error(results, s, method=method) for s in study.LINEAR_SHOTS]
        means = [sum(v) / len(v) for v in values]
        ax.plot(study.LINEAR_SHOTS, means, dash, marker="o", markersize=4, color=color, linewidth=2, label=method)
        ax.fill_between(
            study.LINEAR_SHOTS, *zip(*[(min(v), max(v)) for v in values], strict=True), color=color, alpha=0.2
        )
    ax.axvline(study.EXAMPLES, color=GREY, linewidth=1)
    ax.text(study.EXAMPLES + 0.3, 1.35, "as many as in training", fontsize=TEXT)
    ax.set_ylim(0, 1.5)
    finish(ax, "linear functions in 5 dimensions", "examples", "error / variance of y", legend=True)
    ends = {s: sum(linear_error(results, s)) / len(linear_error(results, s)) for s in (5, 10, 30)}
    return fig, "Relative errors of the transformer: " + ", ".join(f"{e:.3f} at {s}" for s, e in ends.items()) + "."


def draw_pictures(results: Results) -> tuple[Figure, str]:
    """Draw the accuracy in training over the steps, for the transformer that reads pictures and for prototypes."""
    fig, ax = figure(9, 4.4)
    said = []
    for method, (color, dash) in {"prototypes": (SKY, "-"), "transformer": LOOKS["transformer"]}.items():
        runs = [run for run in results["runs"] if run["method"] == method]
        for i, run in enumerate(runs):
            steps = [pictures.EVERY * n for n in range(1, len(run["learned"]) + 1)]
            ax.plot(steps, run["learned"], dash, color=color, linewidth=2, label=None if i else method)
        ends = sorted(run["learned"][-1] for run in runs)
        said.append(f"{method} {ends[0]:.0%} … {ends[-1]:.0%}")
    ax.axhline(1 / pictures.WAYS, color=GREY, linewidth=1, linestyle=":", label="chance")
    ax.set_ylim(0, 1)
    finish(ax, "5-way 1-shot: accuracy in training", "training steps", "accuracy", legend=True)
    return fig, f"Accuracy in training, at the end: {', '.join(said)}."


def draw_fits(episode: Episode, curves: Mapping[str, Tensor], title: str) -> tuple[Figure, str]:
    """Draw answers [1, grid, 1] for one task, by their names in LOOKS or others."""
    fig, ax = figure(9, 4.4)
    x = GRID.flatten()
    ax.plot(x, episode.query_y.flatten(), color=BLACK, linestyle=":", linewidth=2, label="the wave")
    others = iter([(SKY, "-"), (ORANGE, "-.")])
    for name, curve in curves.items():
        color, dash = LOOKS.get(name) or next(others)
        ax.plot(x, curve.detach().cpu().flatten(), dash, color=color, linewidth=2, label=name)
    ax.plot(
        episode.support_x.flatten(), episode.support_y.flatten(), "o", color=VERMILION, markersize=8, label="examples"
    )
    finish(ax, title, "x", "y", legend=True)
    ends = {n: (c.cpu() - episode.query_y).square().mean().item() for n, c in curves.items()}
    return fig, f"{title}. Errors here: " + ", ".join(f"{n} {e:.2g}" for n, e in ends.items()) + "."


def milliseconds(action: Callable[[], object], repeats: int = 9) -> float:
    """Return the median time of an action in milliseconds, after a first time that does not count."""
    action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - start))
    return sorted(times)[repeats // 2]


# The panel of points

HIGHEST = 7  # the y at the top of the picture


class _ContextPicture:
    """What the panel of points shows: answers of several methods to points that the reader sets."""

    def __init__(self, learners: Mapping[str, tuple[Any, Params]]) -> None:
        self._learners = learners
        fig, ax = figure(9, 4.6)
        x = GRID.flatten()
        self._lines = {}
        for name in ("exact answer", *learners):
            color, dash = LOOKS[name]
            [self._lines[name]] = ax.plot(x, 0 * x, dash, color=color, linewidth=2.2, label=name)
        self._band = [ax.plot(x, 0 * x, ":", color=BLACK, linewidth=1)[0] for _ in range(2)]
        self._band[0].set_label("exact, ± 2 standard deviations")
        [self._dots] = ax.plot([], [], "o", color=BLUE, markersize=9, label="your points", zorder=5)
        ax.set_ylim(-HIGHEST, HIGHEST)
        finish(ax, "your points, and what each method answers", "x", "y", legend=True)
        self._canvas = Canvas(fig, [*self._band, *self._lines.values(), self._dots])

    def __call__(self, points: int, **places: float) -> tuple[Canvas, str]:
        x, y = (torch.tensor([[[places[f"{axis}{i}"]] for i in range(1, points + 1)]]) for axis in "xy")
        known = SinePosterior.of(x, y, noise=NOISE)
        mean, sd = known.mean(GRID).flatten(), known.variance(GRID).flatten().sqrt()
        self._lines["exact answer"].set_ydata(mean)
        for line, side in zip(self._band, (-2, 2), strict=True):
            line.set_ydata(mean + side * sd)
        self._dots.set_data(x.flatten(), y.flatten())
        said, lost, outside = [], [], []
        for name, (learner, params) in self._learners.items():
            answers = learner.predict(params, Episode(x, y, GRID, torch.zeros_like(GRID))).flatten()
            fine = bool(answers.isfinite().all()) and answers.abs().max() < 1e3
            self._lines[name].set_ydata(answers if fine else answers * float("nan"))
            if fine:
                said.append(f"{name} {(answers - mean).square().mean().sqrt():.2f}")
                if answers.abs().max() > HIGHEST:
                    outside.append(name)
            else:
                lost.append(name)
        words = f"{points} point{'s' * (points > 1)}. Typical distance from the exact answer: {', '.join(said)}."
        if outside:
            words += f" Partly outside of the picture: {' and '.join(outside)}."
        if lost:
            words += f" Not drawn: {' and '.join(lost)}, whose gradient steps diverged on these points."
        return self._canvas, words


def context_panel(learners: Mapping[str, tuple[Any, Params]]) -> Panel:
    """Return a panel in which points are set, and the answers of learners on the CPU follow, next to the exact one.

    Args:
        learners: learner and parameters by a name of LOOKS.
    """
    start = ((-3.0, 2.2), (0.5, -1.5), (3.5, 2.0))
    controls = {"points": slider("points", 2, 1, 3, 1)}
    for i, (x, y) in enumerate(start, start=1):
        controls[f"x{i}"] = slider(f"x of point {i}", x, -5.0, 5.0, 0.1)
        controls[f"y{i}"] = slider(f"y of point {i}", y, -5.0, 5.0, 0.1)
    alt = "Panel: up to three points are set by sliders; a transformer, MAML and the exact answer draw their waves."
    return Panel(controls, _ContextPicture(learners), alt=alt)


# The panel of shifts

PANEL_TASKS, MOST = 100, 40


def prefix_answers(x: Tensor, y: Tensor, noise: float) -> Tensor:
    """Return the prediction of each y from the points before it, by the posterior mean of a linear function: [T, K].

    Args:
        x: inputs [T, K, d].
        y: outputs [T, K].
        noise: the noise that it counts on; with a small one this is least squares of least norm.
    """
    x, y = x.double(), y.double()
    products = x[:, :, :, None] * x[:, :, None]  # [T, K, d, d]
    matrix, vector = (s.cumsum(1) - s for s in (products, x * y[:, :, None]))  # of the points before
    ridge = max(noise, 1e-4) ** 2 * torch.eye(x.shape[2], dtype=x.dtype)
    w = torch.linalg.solve(matrix + ridge, vector[..., None]).squeeze(3)
    return (w * x).sum(2)


class _ShiftPicture:
    """What the panel of shifts shows: errors over the number of examples."""

    def __init__(self) -> None:
        self._learner, self._params = study.LINEAR, load_linear()
        fig, ax = figure(9, 4.6)
        self._lines = {}
        looks = {"transformer": (GREEN, "-"), "least squares": (VERMILION, "-."), "exact answer": (BLACK, "--")}
        for name, (color, dash) in looks.items():
            [self._lines[name]] = ax.plot([], [], dash, color=color, linewidth=2.2, label=name)
        ax.axhline(1, color=GREY, linewidth=1, label="answering 0")
        ax.axvline(study.EXAMPLES, color=GREY, linewidth=1, linestyle=":", label="as in training")
        ax.set_yscale("log")
        ax.set(xlim=(0, MOST), ylim=(1e-3, 30))
        finish(
            ax,
            "linear functions: your shift",
            "examples",
            "error / variance of y",
            legend=True,
        )
        self._canvas = Canvas(fig, [*self._lines.values()])

    @torch.no_grad()
    def __call__(self, scale: float, noise: float, most: int) -> tuple[Canvas, str]:
        # The same tasks for every number of examples. The prediction after `most` of them needs one point more.
        given = linear.sample(PANEL_TASKS, MOST + 1, 1, torch.Generator().manual_seed(3), scale=scale)
        added = noise * torch.randn(PANEL_TASKS, MOST + 1, 1, generator=torch.Generator().manual_seed(4))
        x, clean, y = (t[:, : most + 1] for t in (given.support_x, given.support_y, given.support_y + added))
        clean = clean[:, :, 0]
        found = {
            "transformer": self._learner.read(self._params, x, y, given.query_x)[0][:, :, 0],
            "least squares": prefix_answers(x, y[:, :, 0], 0.0),
            "exact answer": prefix_answers(x, y[:, :, 0], noise),
        }
        ends = []
        for name, answers in found.items():
            relative = (answers - clean).square().mean(0) / (linear.DIMENSIONS * scale**2)
            self._lines[name].set_data(range(most + 1), relative.clamp(1e-4, 1e4))
            ends.append(f"{name} {relative[-1]:.2g}")
        words = f"After {most} examples, inputs × {scale:g} and noise {noise:g}: {', '.join(ends)}."
        return self._canvas, words


def shift_panel() -> Panel:
    """Return a panel in which linear tasks are shifted away from those that the shipped transformer was trained on."""
    controls = {
        "scale": slider("inputs times", 1.0, 0.25, 4.0, 0.25),
        "noise": slider("noise of the examples", 0.0, 0.0, 2.0, 0.1),
        "most": slider("examples", study.EXAMPLES, 4, MOST, 1),
    }
    alt = "Panel: inputs, noise and number of examples of linear tasks are shifted; errors over the number of examples."
    return Panel(controls, _ShiftPicture(), alt=alt)
