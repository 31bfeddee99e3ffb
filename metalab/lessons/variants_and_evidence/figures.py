"""The results, figures and panel of the lesson on variants.

The functions that draw return the figure and its description in words: `show(*draw_ratios(…))`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ...analysis.paired import MARGIN, Interval, Verdict, compare, holm, t_quantile
from ..kit.canvas import TWO_COLUMNS, Canvas
from ..kit.figures import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    LOOKS,
    PURPLE,
    TEXT,
    VERMILION,
    figure,
    finish,
    legend_of_all,
    plural,
    smooth,
)
from ..kit.panels import Panel, slider

PARTS = ("sine", "omniglot")
TITLES = {
    "maml": "MAML",
    "fomaml": "first-order MAML",
    "reptile": "Reptile",
    "anil": "ANIL",
    "meta_sgd": "Meta-SGD",
    "sparse_maml": "sparse-MAML",
    "multi_step": "multi-step loss",
    "per_step": "per-step rates",
}
WHAT = {"sine": ("mean squared error", 1), "omniglot": ("wrong answers, %", 100)}  # the measure, and its scale
NARROW, WIDE = (0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2, 3, 4), (0.1, 0.3, 1, 3, 10)  # ticks of ratios
NAMES = {"sine": "sines, 10 shots", "omniglot": "Omniglot, 5-way 1-shot"}

Results = dict[str, Any]


def load_results() -> dict[str, Results]:
    """Return what `python -m metalab.experiments.variants` measured, by the part: "sine" and "omniglot"."""
    return {part: _measured(part) for part in PARTS}


def load_unclipped() -> Results:
    """Return what `python -m metalab.experiments.variants sine --unclipped --steps 3000` measured."""
    return _measured("sine_unclipped")


def _measured(name: str) -> Results:
    return json.loads(Path(__file__).with_name(f"measured_{name}.json").read_text())


def errors(results: Results, method: str, equal: str = "steps") -> dict[int, float]:
    """Return the test errors of a method by seed; `equal` is "steps", "time", or "half" of the steps."""
    rows = [r for r in results["runs"] if (r["method"], r["equal"]) == (method, equal)]
    return {row["seed"]: row["error"] for row in sorted(rows, key=lambda row: row["seed"])}


def pairs(results: Results, method: str, equal: str = "steps", rival: str = "maml") -> tuple[Tensor, Tensor]:
    """Return the errors of a method and of its rival at equal steps, with the seeds that both have: two tensors [S]."""
    own, base = errors(results, method, equal), errors(results, rival)
    seeds = sorted(own.keys() & base.keys())
    ours, theirs = (torch.tensor([by_seed[seed] for seed in seeds], dtype=torch.float64) for by_seed in (own, base))
    return ours, theirs


def curve(results: Results, method: str, part_of_training: float) -> dict[int, float]:
    """Return the training errors of a method at equal steps after a part of its training, by seed."""
    found = {}
    for row in results["runs"]:
        if (row["method"], row["equal"]) == (method, "steps"):
            reached = [error for step, error in row["curve"] if step <= part_of_training * row["steps"]]
            found[row["seed"]] = reached[-1]
    return found


def verdicts(results: Results, rival: str = "maml") -> dict[tuple[str, str], Verdict]:
    """Compare every other method with a rival, by (method, "steps") and where it was measured (method, "time")."""
    base, found = errors(results, rival), {}
    for method in TITLES:
        for equal in ("steps", "time"):
            own = errors(results, method, equal)
            if method != rival and len(own.keys() & base.keys()) > 1:
                found[method, equal] = compare(own, base)
    return found


def compared(results: Mapping[str, Results]) -> dict[tuple[str, str, str], tuple[Verdict, bool]]:
    """Compare every method with MAML wherever it was measured.

    Returns:
        By the part, the method, and what was equal ("steps" or "time"): the verdict, and whether it has a star, that
        is, whether it stays significant among all these comparisons (Holm's method).
    """
    found = {(part, *key): verdict for part, measured in results.items() for key, verdict in verdicts(measured).items()}
    stars = holm([verdict.p for verdict in found.values()])
    return dict(zip(found, zip(found.values(), stars, strict=True), strict=True))


def evidence(results: Mapping[str, Results], method: str) -> list[str]:
    """Return what is known of a method, a line for each part and each kind of equality, with its star."""
    return [
        f"{part:8} equal {equal}: {verdict.ratio} × MAML's{'*' if star else ''} ({verdict.seeds} seeds): {verdict}"
        for (part, name, equal), (verdict, star) in compared(results).items()
        if name == method
    ]


def percent(interval: Interval, part: str) -> str:
    """Return a mean error with its interval, in the unit of the part."""
    scale = WHAT[part][1]
    return f"{scale * interval.mean:.3g} ({scale * interval.low:.3g} … {scale * interval.high:.3g})"


# Results


def draw_pairs(results: Results, part: str, methods: Sequence[str]) -> tuple[Figure, str]:
    """Draw the errors of methods seed by seed; a line joins those of one seed."""
    fig, ax = figure(9, 3.8)
    scale = WHAT[part][1]
    found = [errors(results, method) for method in methods]
    for seed in sorted(set.intersection(*(set(by_seed) for by_seed in found))):
        values = [scale * by_seed[seed] for by_seed in found]
        color, dash = LOOKS[seed % len(LOOKS)]
        ax.plot(range(len(methods)), values, dash, marker="o", color=color, linewidth=1.8, label=f"seed {seed}")
    for place, by_seed in enumerate(found):
        mean = scale * sum(by_seed.values()) / len(by_seed)
        ax.plot([place - 0.12, place + 0.12], [mean, mean], color=BLACK, linewidth=3)
    ax.set_xticks(range(len(methods)), [TITLES[method] for method in methods])
    ax.set_xlim(-0.4, len(methods) - 0.6)
    finish(ax, f"{NAMES[part]}: test error by seed", y=WHAT[part][0], legend=True)
    names = " and ".join(TITLES[method] for method in methods)
    return fig, f"Test errors of {names} on {NAMES[part]}, joined seed by seed; a bar at the mean."


def draw_ratios(results: Mapping[str, Results], methods: Sequence[str] | None = None) -> tuple[Figure, str]:
    """Draw each method's error as a multiple of MAML's, with its intervals, one plot for each part."""
    fig, axes = figure(9, 0.55 * len(methods or TITLES) + 2.4, ncols=len(results), sharey=True, squeeze=False)
    said = []
    for ax, (part, measured) in zip(axes[0], results.items(), strict=True):
        found = {key: v for key, v in verdicts(measured).items() if methods is None or key[0] in methods}
        rows = list(dict.fromkeys(method for method, _equal in found))
        ax.axvspan(1 / MARGIN, MARGIN, color=GREY, alpha=0.18, linewidth=0, label=f"within a factor of {MARGIN}")
        ax.axvline(1, color=BLACK, linewidth=1)
        for (method, equal), verdict in found.items():
            color, marker, shift = (BLUE, "o", -0.13) if equal == "steps" else (VERMILION, "s", 0.17)
            y = rows.index(method) + shift
            ax.plot([verdict.ratio.low, verdict.ratio.high], [y, y], color=color, linewidth=1.5)
            ax.plot([verdict.narrow.low, verdict.narrow.high], [y, y], color=color, linewidth=4.5)
            first = f"equal {equal}" not in ax.get_legend_handles_labels()[1]
            ax.plot(verdict.ratio.mean, y, marker, color=color, label=f"equal {equal}" if first else None, markersize=8)
            said.append(f"{NAMES[part]}, {TITLES[method]}, equal {equal}: {verdict.ratio}")
        ax.set_xscale("log")
        ax.set_yticks(range(len(rows)), [TITLES[method] for method in rows])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        finish(ax, NAMES[part], "error / MAML's error")
        low, high = max(ax.get_xlim()[0], 0.1), min(ax.get_xlim()[1], 12)  # a bar may go on beyond the picture
        ax.set_xlim(low, high)
        ticks = [tick for tick in (WIDE if high > 6 * low else NARROW) if low < tick < high]
        ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        ax.minorticks_off()
    legend_of_all(fig, axes[0, 0].get_legend_handles_labels()[0])
    return fig, "Errors as multiples of MAML's (thin bar 95 %, thick bar 90 %). " + "; ".join(said) + "."


def draw_curves(results: Mapping[str, Results], methods: Sequence[str]) -> tuple[Figure, str]:
    """Draw the errors of the training tasks over the meta-steps, the medians over the seeds."""
    fig, axes = figure(9, 4.4, ncols=len(results), squeeze=False)
    for ax, (part, measured) in zip(axes[0], results.items(), strict=True):
        for method, (color, dash) in zip(methods, LOOKS, strict=False):
            curves = [r["curve"] for r in measured["runs"] if (r["method"], r["equal"]) == (method, "steps")]
            steps = [number for number, _ in curves[0]]
            values = np.median([[WHAT[part][1] * error for _, error in curve] for curve in curves], axis=0)
            ax.plot(steps, values, dash, color=color, linewidth=2, label=TITLES[method])
        ax.set_yscale("log")
        ax.set_ylim(top=1.3 * max(line.get_ydata()[0] for line in ax.lines))  # a curve may jump out of the picture
        finish(ax, NAMES[part], "meta-step", f"training tasks: {WHAT[part][0]}", legend=True)
    return fig, f"Errors on training tasks over the meta-steps, for {', '.join(TITLES[m] for m in methods)}."


# What was learned


def draw_rates(rates: Mapping[str, Sequence[float]], start: float, title: str) -> tuple[Figure, str]:
    """Draw the learned inner rates of each layer by five quantiles.

    A thin line goes from 5 to 95 %, a thick line from 25 to 75 %, and a dot marks the median.
    """
    fig, ax = figure(9, 0.33 * len(rates) + 1.9)
    for row, (lowest, low, middle, high, highest) in enumerate(rates.values()):
        ax.plot([lowest, highest], [row, row], "-", color=GREY, linewidth=1.5)
        ax.plot([low, high], [row, row], "-", color=BLUE, linewidth=6, solid_capstyle="butt")
        ax.plot(middle, row, "o", color=BLACK)
    ax.axvline(start, color=VERMILION, linestyle="--", label=f"where all started: {start:g}")
    ax.axvline(0, color=GREY, linewidth=1)
    ax.set_yticks(range(len(rates)), rates)
    ax.invert_yaxis()
    finish(ax, title, "inner learning rate", legend=True)
    return fig, "Learned rates by layer: " + ", ".join(f"{name} median {q[2]:.3g}" for name, q in rates.items())


def draw_gates(shares: Mapping[str, Mapping[str, float]]) -> tuple[Figure, str]:
    """Draw the share of open gates of each layer, one plot for each part."""
    fig, axes = figure(9, 4.4, ncols=len(shares), squeeze=False)
    for ax, (part, by_layer) in zip(axes[0], shares.items(), strict=True):
        ax.barh(list(by_layer), [100 * share for share in by_layer.values()], color=BLUE)
        ax.axvline(50, color=VERMILION, linestyle="--", label="at the start")
        ax.set_xlim(0, 100)
        ax.invert_yaxis()
        finish(ax, NAMES[part], "gates open, %", legend=True)
    words = "; ".join(f"{NAMES[p]}: " + ", ".join(f"{n} {s:.0%}" for n, s in by.items()) for p, by in shares.items())
    return fig, f"Shares of open gates by layer. {words}."


def draw_per_step(rates: Mapping[str, Mapping[str, Sequence[float]]]) -> tuple[Figure, str]:
    """Draw the learned rates of the layers' weights in each inner step, one plot for each part."""
    fig, axes = figure(9, 4.6, ncols=len(rates), squeeze=False)
    for ax, (part, by_layer) in zip(axes[0], rates.items(), strict=True):
        for (name, values), (color, dash) in zip(by_layer.items(), LOOKS, strict=False):
            ax.plot(range(1, len(values) + 1), values, dash, marker="o", color=color, linewidth=2, label=name)
        ax.axhline(0, color=GREY, linewidth=1)
        ax.set_xticks(range(1, len(values) + 1))
        finish(ax, NAMES[part], "inner step", "learned rate", legend=True)
    words = "; ".join(
        f"{NAMES[part]}: " + ", ".join(f"{name} {', '.join(f'{v:.2g}' for v in r)}" for name, r in by_layer.items())
        for part, by_layer in rates.items()
    )
    return fig, f"Learned rates by layer and inner step. {words}."


def draw_learning(seen: Mapping[int, Mapping[str, Sequence[float]]]) -> tuple[Figure, str]:
    """Draw how rates are learned, one plot for each layer and one curve for each inner step.

    Args:
        seen: by the number of meta-steps and the name of the layer, the rates of the inner steps.
    """
    steps, names = list(seen), list(next(iter(seen.values())))
    fig, axes = figure(9, 3.8, ncols=len(names), sharey=True, squeeze=False)
    ends = []
    for ax, name in zip(axes[0], names, strict=True):
        curves = list(zip(*(rates[name] for rates in seen.values()), strict=True))
        for inner, (curve, (color, dash)) in enumerate(zip(curves, LOOKS, strict=False), start=1):
            ax.plot(steps, curve, dash, color=color, linewidth=2, label=f"inner step {inner}")
        ax.axhline(0, color=GREY, linewidth=1)
        finish(ax, f"rates of {name}", "meta-step", "rate" if name == names[0] else "")
        ends.append(f"{name} {', '.join(f'{curve[-1]:.3f}' for curve in curves)}")
    legend_of_all(fig, axes[0, 0].get_legend_handles_labels()[0])
    return fig, f"Learned rates over the meta-steps, by inner step; at the end: {'; '.join(ends)}."


def draw_similarities(bars: Mapping[str, Mapping[str, tuple[float, float]]], title: str) -> tuple[Figure, str]:
    """Draw linear CKA by layer: for each kind of comparison a mean with the standard deviation over tasks."""
    fig, ax = figure(9, 4.2)
    width = 0.8 / len(bars)
    looks = ((BLUE, ""), (VERMILION, "///"), (GREEN, "..."))
    for i, ((name, by_layer), (color, hatch)) in enumerate(zip(bars.items(), looks, strict=False)):
        places = [layer + (i - (len(bars) - 1) / 2) * width for layer in range(len(by_layer))]
        means, spreads = zip(*by_layer.values(), strict=True)
        ax.bar(places, means, width, yerr=spreads, color=color, hatch=hatch, edgecolor="white", label=name)
    ax.set_xticks(range(len(by_layer)), by_layer)
    ax.set_ylim(0, 1.05)
    finish(ax, title, y="linear CKA", legend=True)
    words = "; ".join(f"{n}: " + ", ".join(f"{k} {m:.2f}" for k, (m, _) in by.items()) for n, by in bars.items())
    return fig, f"Bars by layer. {words}."


# The panel: how many seeds?

MOST, EXPERIMENTS = 20, 1000
OUTCOMES = {
    "fewer errors": BLUE,
    "more errors": VERMILION,
    "different, but too little": PURPLE,
    "equivalent": GREEN,
    "undecided": GREY,
}
_DRAWN = np.random.default_rng(5).standard_normal((EXPERIMENTS, MOST))
_T95 = np.array([t_quantile(0.975, n - 1) for n in range(2, MOST + 1)])
_T90 = np.array([t_quantile(0.95, n - 1) for n in range(2, MOST + 1)])


def running(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what is known of the mean after 2, 3, … values, for experiments [E, n].

    Returns:
        The means, and the half widths of the 95 % and 90 % intervals: each [E, n − 1].
    """
    counts = np.arange(2, logs.shape[1] + 1)
    means = logs.cumsum(1)[:, 1:] / counts
    squares = (logs**2).cumsum(1)[:, 1:] - counts * means**2
    errors_of_means = np.sqrt(np.maximum(squares, 0) / (counts - 1) / counts)
    return means, _T95[: len(counts)] * errors_of_means, _T90[: len(counts)] * errors_of_means


def outcomes(means: np.ndarray, half95: np.ndarray, half90: np.ndarray, margin: float = MARGIN) -> np.ndarray:
    """Return each comparison's outcome as an index into OUTCOMES."""
    different = np.abs(means) > half95
    equivalent = np.abs(means) + half90 < np.log(margin)
    return np.select([different & equivalent, different & (means < 0), different, equivalent], [2, 0, 1, 3], default=4)


class _SeedsPicture:
    """What the panel shows. Only what moves is drawn again."""

    def __init__(self) -> None:
        fig, (left, right) = figure(9, 4.4, ncols=2, width_ratios=[3, 2])
        self._numbers = np.arange(2, MOST + 1)
        nothing = np.ones(len(self._numbers))
        left.axhspan(1 / MARGIN, MARGIN, color=GREY, alpha=0.18, linewidth=0)
        left.axhline(1, color=BLACK, linewidth=1)
        self._truth = left.axhline(1, color=GREEN, linewidth=2, linestyle="--", label="the truth")
        self._wide = left.fill_between(self._numbers, nothing, nothing, color=BLUE, alpha=0.25, label="95 %")
        [self._found] = left.plot(self._numbers, nothing, color=BLUE, linewidth=2, label="ratio found")
        [self._narrow] = left.plot([], [], color=BLACK, linewidth=4, label="90 %, chosen seeds")
        left.set_yscale("log")
        left.set_ylim(0.4, 2.5)
        left.set_xticks([2, 5, 10, 15, 20])
        finish(left, "one experiment", "seeds so far", "ratio of the errors", legend=True)
        names = [name.replace("but ", "but\n") for name in OUTCOMES]
        self._bars = list(right.barh(names, [0] * len(names), color=list(OUTCOMES.values())))
        self._shares = [right.text(0, row, "", va="center", fontsize=TEXT) for row in range(len(names))]
        right.set_xlim(0, 140)  # room for the numbers
        right.set_xticks([0, 50, 100])
        right.invert_yaxis()
        finish(right, f"{EXPERIMENTS:,} experiments", "share of them, %")
        moving = [self._truth, self._wide, self._found, self._narrow, left.title, *self._bars, *self._shares]
        self._canvas = Canvas(fig, moving, narrowest=TWO_COLUMNS)

    def __call__(self, ratio: float, spread: float, seeds: int, experiment: int) -> tuple[Canvas, str]:
        means, half95, half90 = running(np.log(ratio) + spread * _DRAWN)
        found = outcomes(means, half95, half90)
        one, at = found[experiment - 1], seeds - 2
        mean, wide, narrow = (values[experiment - 1] for values in (means, half95, half90))
        self._truth.set_ydata([ratio, ratio])
        above, below = (np.stack([self._numbers, np.exp(mean + side * wide)], 1) for side in (1, -1))
        self._wide.set_verts([np.concatenate([above, below[::-1]])])
        self._found.set_ydata(np.exp(mean))
        low, high = np.exp(mean[at] - narrow[at]), np.exp(mean[at] + narrow[at])
        self._narrow.set_data([seeds, seeds], [low, high])
        self._found.axes.set_title(f"experiment {experiment}")
        shares = [100 * float((found[:, at] == k).mean()) for k in range(len(OUTCOMES))]
        for bar, text, share in zip(self._bars, self._shares, shares, strict=True):
            bar.set_width(share)
            text.set_x(share + 3)
            text.set_text(f"{share:.0f} %")
        names, flips = list(OUTCOMES), int((one[1:] != one[:-1]).sum())
        ends = f"{np.exp(mean[at]):.2f} ({np.exp(mean[at] - wide[at]):.2f} … {np.exp(mean[at] + wide[at]):.2f})"
        words = (
            f"With {seeds} seeds, experiment {experiment} finds the ratio {ends}, and its outcome is: "
            f"{names[one[at]]}. The truth is {ratio:.2f}. From 2 to {MOST} seeds, its outcome changes "
            f"{plural(flips, 'time')}. Of {EXPERIMENTS:,} experiments with {seeds} seeds, "
            + ", ".join(f"{share:.0f} % end with “{name}”" for name, share in zip(names, shares, strict=True))
            + "."
        )
        return self._canvas, words


def seeds_panel() -> Panel:
    """Return a panel that compares two made-up methods, whose true ratio is known, with as many seeds as one likes."""
    controls = {
        "ratio": slider("true ratio of the errors", 1.0, 0.7, 1.5, 0.05),
        "spread": slider("spread between seeds", 0.15, 0.05, 0.5, 0.05),
        "seeds": slider("seeds", 3, 2, MOST, 1),
        "experiment": slider("experiment", 1, 1, 50, 1),
    }
    alt = "Panel: two made-up methods whose true ratio is set, compared with few or many seeds; what is concluded."
    return Panel(controls, _SeedsPicture(), alt=alt)


def outcome_rates(ratio: float, spread: float, seeds: int) -> dict[str, float]:
    """Return how often each outcome comes out of the panel's experiments, as shares."""
    means, half95, half90 = running(np.log(ratio) + spread * _DRAWN[:, :seeds])
    found = outcomes(means, half95, half90)[:, -1]
    return {name: float((found == k).mean()) for k, name in enumerate(OUTCOMES)}


def stopped_early(spread: float) -> float:
    """Return how often two equal methods are called different by somebody who looks after every seed."""
    found = outcomes(*running(spread * _DRAWN))
    return float(np.isin(found, [0, 1, 2]).any(1).mean())


# A training by the reader's own function


def draw_losses(losses: Mapping[str, list[float]], title: str) -> tuple[Figure, str]:
    """Draw the losses of trainings, each the mean of the last 50 meta-steps."""
    fig, ax = figure(9, 3.8)
    ends = []
    for (name, values), (color, dash) in zip(losses.items(), LOOKS, strict=False):
        means = smooth(values)
        ax.plot(range(1, len(values) + 1), means, dash, color=color, linewidth=2, label=name)
        ends.append(f"{name} ends at {means[-1]:.2f}")
    ax.set_ylim(bottom=0)
    finish(ax, title, "meta-step", "query loss, mean of 50", legend=True)
    return fig, f"{title}: {', '.join(ends)}."
