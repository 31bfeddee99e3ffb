"""The pictures, the panel and the game of the lesson on fast learning with uncertainty."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ...analysis.paired import Interval
from ...analysis.roc import Roc
from ...checkpoint import shipped
from ...experiments import uncertainty as study
from ...nets import Params
from ...tasks import Characters, Episode, sine
from ..kit.canvas import TWO_COLUMNS, Canvas
from ..kit.figures import (
    BLACK,
    BLUE,
    GREY,
    LOOKS,
    ORANGE,
    TEXT,
    VERMILION,
    draw_character,
    figure,
    finish,
    legend_of_all,
    smooth,
)
from ..kit.panels import LivePicture, Panel, grid, panel_box, show_widget, slider

MEASURED = Path(__file__).with_name("measured.json")
TITLES = {name: study.METHODS[name].title for name in study.JUDGED} | {"ensemble": "5 MAMLs"}
REACH = study.half_width(0.9)  # of the bands in pictures, in standard deviations
TOP = 7.5  # of the y axes
Answer = Callable[[Episode], tuple[Tensor, Tensor]]


# Results and parameters that come with the lesson


def load_results() -> dict[str, Any]:
    """Read what `python -m metalab.experiments.uncertainty` measured."""
    return json.loads(MEASURED.read_text())


def over_seeds(results: Mapping[str, Any], method: str, way: str, measure: str) -> list[float]:
    """Return a measure of a method by seed: "error", "nll", "failed", or a level of coverage such as "0.9"."""
    runs = [run for run in results["runs"] if run["method"] == method]
    return [_of(run[way], measure) for run in sorted(runs, key=lambda run: run["seed"])]


def with_few(results: Mapping[str, Any], method: str, tasks: int | None, measure: str, on: str = "new") -> list[float]:
    """Return a measure by seed after training on so many waves; None: new waves all the time."""
    runs = [run for run in results["few"] if (run["method"], run["tasks"]) == (method, tasks)]
    return [_of(run[on], measure) for run in sorted(runs, key=lambda run: run["seed"])]


def _of(judged: Mapping[str, Any], measure: str) -> float:
    if measure in judged:
        return judged[measure]
    return judged["coverage"][[f"{level:g}" for level in study.LEVELS].index(measure)]


def members() -> list[Params]:
    """Return the parameters of the five MAMLs that the command trained first."""
    params, _about = shipped("sine_maml_ensemble_5shot")
    return [{name: p[i] for name, p in params.items()} for i in range(study.MEMBERS)]


# Bands


def line(low: float = -5, high: float = 5, count: int = 201) -> Tensor:
    """Return x at equal distances, as queries: [1, count, 1]."""
    return torch.linspace(low, high, count)[None, :, None]


def asked(x: Tensor, y: Tensor, at: Tensor) -> Episode:
    """Return an episode of one task from points [K, 1], with the queries at `at` [1, Q, 1]."""
    return Episode(x[None], y[None], at, torch.zeros_like(at))


def _band(ax: Axes, at: Tensor, mean: Tensor, variance: Tensor, color: str = BLUE) -> None:
    x, middle, reach = (part.flatten().double().cpu() for part in (at, mean, REACH * variance.sqrt()))
    ax.fill_between(x, middle - reach, middle + reach, color=color, alpha=0.22, linewidth=0, label="90 % band")
    ax.plot(x, middle, color=color, linewidth=2.2, label="answer (mean)")


def draw_waves(at: Tensor, curves: Mapping[str, Tensor], x: Tensor, y: Tensor, title: str) -> tuple[Figure, str]:
    """Draw curves [1, Q, 1] by their names, and points [K, 1]."""
    fig, ax = figure(9, 4.2)
    for (name, curve), (color, dash) in zip(curves.items(), LOOKS, strict=False):
        ax.plot(at.flatten(), curve.flatten(), dash, color=color, linewidth=2.2, label=name)
    ax.plot(x.flatten(), y.flatten(), "o", color=BLACK, markersize=9, label="the points")
    ax.set_ylim(-TOP + 1.5, TOP - 1.5)
    finish(ax, title, "x", "y", legend=True)
    return fig, f"{title}: {', '.join(curves)}, and {len(x)} points."


def draw_bands(
    answers: Mapping[str, tuple[Tensor, Tensor]],
    at: Tensor,
    points: Mapping[str, tuple[Tensor, Tensor]] | tuple[Tensor, Tensor],
    truth: Tensor | None = None,
    *,
    seen: float | None = None,
) -> tuple[Figure, str]:
    """Draw the answers to one task next to each other, each with its 90 % band.

    Args:
        answers: means and variances [1, Q, 1] by title.
        at: the queries [1, Q, 1].
        points: the points [K, 1], x and y; or those of each answer by its title.
        truth: the wave [1, Q, 1].
        seen: the x up to which there were points in training, marked by a line.
    """
    columns = 2 if len(answers) <= 4 else 3
    rows = -(-len(answers) // columns)
    fig, axes = figure(9, 3.4 if rows == 1 else 5, nrows=rows, ncols=columns, sharey=True, squeeze=False)
    words = []
    for ax in axes.flat[len(answers) :]:
        ax.axis("off")
    for ax, (title, (mean, variance)) in zip(axes.flat, answers.items(), strict=False):
        _band(ax, at, mean, variance)
        if truth is not None:
            ax.plot(at.flatten(), truth.flatten(), "--", color=VERMILION, linewidth=1.8, label="the wave")
        x, y = points[title] if isinstance(points, Mapping) else points
        ax.plot(x.flatten(), y.flatten(), "o", color=BLACK, markersize=7, label="measurements")
        if seen is not None:
            ax.axvline(seen, color=GREY, linestyle=":", linewidth=1.5)
        ax.set_ylim(-TOP, TOP)
        finish(ax, title, "x", "y" if ax in axes[:, 0] else "")
        words.append(f"{title}: mean width of the band {2 * REACH * variance.sqrt().mean():.2f}")
    legend_of_all(fig, axes[0, 0].get_legend_handles_labels()[0])
    return fig, f"Answers with their 90 % bands. {'; '.join(words)}."


def draw_losses(losses: Mapping[str, Sequence[float]], title: str) -> tuple[Figure, str]:
    """Draw the losses of trainings, each the mean of the last 50 meta-steps."""
    fig, ax = figure(9, 3.6)
    ends = []
    for (name, values), (color, dash) in zip(losses.items(), LOOKS, strict=False):
        means = smooth(list(values))
        ax.plot(range(1, len(values) + 1), means, dash, color=color, linewidth=2, label=name)
        ends.append(f"{name} ends at {means[-1]:.2f}")
    ax.set_ylim(-1, 2.5)
    finish(ax, title, "meta-step", "loss, nats per point", legend=True)
    return fig, f"{title}: {', '.join(ends)}."


class _BandsPicture:
    """What the panel of bands shows: two answers to one wave, next to each other."""

    def __init__(self, at: Tensor, seen: float) -> None:
        self._at = at.flatten().numpy()
        fig, axes = figure(9, 3.4, ncols=2, sharey=True)
        self._parts, moving = [], []
        for ax in axes:
            nothing = 0 * self._at
            band = ax.fill_between(self._at, nothing, nothing, color=BLUE, alpha=0.22, linewidth=0, label="90 % band")
            [mean] = ax.plot(self._at, nothing, color=BLUE, linewidth=2.2, label="answer (mean)")
            [truth] = ax.plot(self._at, nothing, "--", color=VERMILION, linewidth=1.8, label="the wave")
            [dots] = ax.plot([], [], "o", color=BLACK, markersize=7, label="measurements")
            ax.axvline(seen, color=GREY, linestyle=":", linewidth=1.5)
            ax.set_ylim(-TOP, TOP)
            finish(ax, "a method", "x", "y" if ax is axes[0] else "")
            self._parts.append((band, mean, truth, dots, ax.title))
            moving += self._parts[-1]
        legend_of_all(fig, axes[0].get_legend_handles_labels()[0])
        self._canvas = Canvas(fig, moving)

    def __call__(
        self, answers: Sequence[tuple[str, Tensor, Tensor]], points: tuple[Tensor, Tensor], wave: Tensor
    ) -> Canvas:
        """Return the picture of two answers: the name of each, its mean, and its variance [1, Q, 1]."""
        for (name, mean, variance), (band, line, truth, dots, title) in zip(answers, self._parts, strict=True):
            middle, reach = mean.flatten().double().numpy(), REACH * variance.flatten().double().sqrt().numpy()
            ahead = np.stack([self._at, middle + reach], 1)
            back = np.stack([self._at, middle - reach], 1)[::-1]
            band.set_verts([np.concatenate([ahead, back])])
            line.set_ydata(middle)
            truth.set_ydata(wave.flatten())
            dots.set_data(points[0].flatten(), points[1].flatten())
            title.set_text(name)
        return self._canvas


def bands_panel(answers: Mapping[str, Answer], *, seed: int = 4, waves: int = 20) -> Panel:
    """Return a panel in which points are added to a wave, and two methods answer next to each other.

    At first they are the last and the first one.

    Args:
        answers: by the name of a method, what maps an episode to means and variances.
        seed: seed of the waves and of the noise.
        waves: how many waves there are.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = sine.Sine.draw(waves, generator)
    most = 8
    xs = -5 + 10 * torch.rand(waves, most, 1, generator=generator)
    noise = study.NOISE * torch.randn(waves, most, 1, generator=generator)
    at = line(-5, 10, 226)
    names = list(answers)
    controls = {
        "wave": slider("wave", 1, 1, waves, 1),
        "points": slider("number of points", 2, 1, most, 1),
        "last": slider("x of the last point", 0.0, -5.0, 10.0, 0.25),
        "left": widgets.ToggleButtons(options=names, value=names[-1], description="left"),
        "right": widgets.ToggleButtons(options=names, value=names[0], description="right"),
    }

    picture = _BandsPicture(at, seen=5)

    def redraw(wave: int, points: int, last: float, left: str, right: str) -> tuple[Canvas, str]:
        one = sine.Sine(drawn.amplitude[wave - 1 : wave], drawn.phase[wave - 1 : wave])
        x = xs[wave - 1, :points].clone()
        x[-1] = last
        y = one(x[None])[0] + noise[wave - 1, :points]
        found = {name: answers[name](asked(x, y, at)) for name in dict.fromkeys((left, right))}
        canvas = picture([(name, *found[name]) for name in (left, right)], (x, y), one(at))
        words = []
        for name, (mean, variance) in found.items():
            inside = at.flatten() <= 5
            widths = [2 * REACH * variance.flatten()[part].sqrt().mean() for part in (inside, ~inside)]
            covered = ((mean - one(at)).abs() <= REACH * variance.sqrt()).float().mean()
            words.append(
                f"{name}: the band is {widths[0]:.2f} wide on average up to x = 5, and {widths[1]:.2f} beyond; the "
                f"wave is inside on {covered:.0%} of the line"
            )
        return canvas, f"{'. '.join(words)}."

    alt = "Panel: points are added to a wave, and two methods answer with their 90 % bands, up to x = 10."
    return Panel(controls, redraw, alt=alt)


# Honest bands


def draw_calibration(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> tuple[Figure, str]:
    """Draw how often measurements lie in central intervals, over the intervals' probabilities.

    Args:
        curves: for each plot, by its title, the coverages at `study.LEVELS` by method.
    """
    fig, axes = figure(9, 4.6, ncols=len(curves), sharey=True, squeeze=False)
    levels = [0, *(100 * level for level in study.LEVELS), 100]
    words = []
    for ax, (title, by_method) in zip(axes[0], curves.items(), strict=True):
        ax.plot([0, 100], [0, 100], color=GREY, linewidth=1.2, label="honest")
        for (name, values), (color, dash) in zip(by_method.items(), LOOKS, strict=False):
            ax.plot(levels, [0, *(100 * v for v in values), 100], dash, color=color, linewidth=2.2, label=name)
        finish(ax, title, "probability of the interval, %", "measurements inside, %" if ax is axes[0, 0] else "")
        words.append(f"{title}: " + ", ".join(f"{name} {v[-1]:.0%} in 90 %" for name, v in by_method.items()))
    _legend_in_columns(fig, axes[0, 0], 4)
    return fig, f"Calibration curves. {'; '.join(words)}."


def _legend_in_columns(fig: Figure, ax: Axes, columns: int) -> None:
    handles = ax.get_legend_handles_labels()[0]
    fig.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=TEXT, frameon=False)


def draw_few(results: Mapping[str, Any], methods: Sequence[str]) -> tuple[Figure, str]:
    """Draw the error on new waves over the number of training waves: each seed as a dot, and the medians as a line."""
    fig, axes = figure(9, 4.2, ncols=len(methods), squeeze=False)
    counts = (*study.FEW, None)
    names = [f"{n:,}" if n else "new" for n in counts]
    words = []
    for ax, method in zip(axes[0], methods, strict=True):
        for on, color, mark, dash in (("seen", ORANGE, "s", "--"), ("new", BLUE, "o", "-")):
            shown = counts[:-1] if on == "seen" else counts
            values = [with_few(results, method, n, "error", on) for n in shown]
            for place, seeds in enumerate(values):
                ax.plot([place] * len(seeds), seeds, mark, color=color, alpha=0.55, markersize=6)
            middle = [statistics.median(seeds) for seeds in values]
            ax.plot(range(len(values)), middle, dash, color=color, linewidth=2, label=f"{on} waves, new points")
            words.append(f"{method}, {on} waves: {', '.join(f'{m:.3f}' for m in middle)}")
        ax.set_yscale("log")
        ax.set_xticks(range(len(names)), names)
        title = study.METHODS[method].title
        finish(ax, title, "training waves", "mean squared error" if ax is axes[0, 0] else "")
    legend_of_all(fig, axes[0, 0].get_legend_handles_labels()[0])
    return fig, f"Errors (medians over seeds) after training on 10, 100, 1,000 and new waves. {'; '.join(words)}."


# Active choice


def draw_error_over_points(errors: Mapping[str, Tensor], title: str) -> tuple[Figure, str]:
    """Draw mean errors over the number of points, with 95 % intervals, for ways to choose: errors [waves, points]."""
    fig, ax = figure(9, 4)
    words = []
    for (name, values), (color, dash) in zip(errors.items(), LOOKS, strict=False):
        found = [Interval.of(column.tolist()) for column in values.T]
        x = range(1, len(found) + 1)
        means = [one.mean for one in found]
        ax.plot(x, means, dash, marker="o", color=color, linewidth=2.2, label=name)
        ax.fill_between(x, [max(1e-4, one.low) for one in found], [one.high for one in found], color=color, alpha=0.15)
        words.append(f"{name}: {', '.join(f'{mean:.3f}' for mean in means)}")
    ax.set_yscale("log")
    ax.set_xticks(list(x))
    finish(ax, title, "points measured", "mean squared error", legend=True)
    return fig, f"{title}, over the number of points. {'; '.join(words)}."


class QuestionGame:
    """A game: the reader chooses where to measure next, and plays against the posterior's own choice.

    Both begin with the same measurement of the same wave, and both answer by the same method. The rival measures where
    the variance is largest.

    Args:
        answer: maps an episode to means and variances.
        points: how many measurements a game has, the first one included.
        seed: seed of the waves and of the noise.
    """

    def __init__(self, answer: Answer, *, points: int = 4, seed: int = 8) -> None:
        self.answer, self.points = answer, points
        self.generator = torch.Generator().manual_seed(seed)
        self.at = line(count=101)
        self.scores: list[tuple[float, float]] = []  # of the games that were finished: the reader's error, the rival's
        self.where = slider("measure at x", 0.0, -5.0, 5.0, 0.1)
        self.ask, self.next = (widgets.Button(description=text) for text in ("Measure here", "Next wave"))
        self.ask.on_click(lambda _button: self.measure())
        self.next.on_click(lambda _button: self.new())
        self.picture = LivePicture()
        self.box = panel_box([grid([self.where]), widgets.HBox([self.ask, self.next]), self.picture.box])
        self.alt = "Game: choose where to measure a wave next, against the choice of the largest variance."
        self.new()

    def new(self) -> None:
        """Begin with another wave."""
        self.wave = sine.Sine.draw(1, self.generator)
        first = -5 + 10 * torch.rand(1, 1, generator=self.generator)
        self.noise = study.NOISE * torch.randn(self.points, 1, generator=self.generator)
        self.yours, self.rivals = [first], [first]
        while len(self.rivals) < self.points:
            _mean, variance = self._answers(self.rivals)
            self.rivals.append(self.at[0, variance.argmax()][None])
        self._draw()

    def measure(self, x: float | None = None) -> None:
        """Measure at x, or where the slider is. When all measurements are taken, nothing happens."""
        if len(self.yours) < self.points:
            self.yours.append(torch.tensor([[self.where.value if x is None else x]], dtype=torch.float32))
            if len(self.yours) == self.points:
                self.scores.append((self.errors(self.yours)[-1], self.errors(self.rivals)[-1]))
            self._draw()

    def errors(self, points: list[Tensor]) -> list[float]:
        """Return the mean squared error of the mean after each of the points."""
        truth = self.wave(self.at)
        return [(self._answers(points[:n])[0] - truth).square().mean().item() for n in range(1, len(points) + 1)]

    def show(self) -> None:
        """Display the game."""
        show_widget(self.box, self.picture.still(), self.alt)

    def _measured(self, points: list[Tensor]) -> tuple[Tensor, Tensor]:
        x = torch.cat(points)
        return x, self.wave(x[None])[0] + self.noise[: len(x)]

    def _answers(self, points: list[Tensor]) -> tuple[Tensor, Tensor]:
        return self.answer(asked(*self._measured(points), self.at))

    def _draw(self) -> None:
        with self.picture.up_to_date():
            over = len(self.yours) == self.points
            fig, (left, right) = figure(9, 4.2, ncols=2, width_ratios=[3, 2])
            _band(left, self.at, *self._answers(self.yours))
            left.plot(*(part.flatten() for part in self._measured(self.yours)), "o", color=BLACK, label="your points")
            if over:
                x, y = self._measured(self.rivals)
                left.plot(self.at.flatten(), self.wave(self.at).flatten(), "--", color=VERMILION, label="the wave")
                left.plot(x.flatten(), y.flatten(), "^", color=ORANGE, markersize=9, label="the rival's points")
            left.set_ylim(-TOP, TOP)
            finish(left, f"after {len(self.yours)} of {self.points} measurements", "x", "y", legend=True)
            own, rival = self.errors(self.yours), self.errors(self.rivals[: len(self.yours)])
            right.plot(range(1, len(own) + 1), own, "o-", color=BLUE, linewidth=2.2, label="you")
            right.plot(range(1, len(rival) + 1), rival, "^--", color=ORANGE, linewidth=2.2, label="largest variance")
            right.set_yscale("log")
            right.set_xlim(0.8, self.points + 0.2)
            right.set_ylim(1e-4, 30)
            right.set_xticks(range(1, self.points + 1))
            finish(right, "error on the whole line", "measurements", "mean squared error", legend=True)
            words = [f"Your error is {own[-1]:.3g}, and the rival's is {rival[-1]:.3g}."]
            if over:
                won = sum(a < b for a, b in self.scores)
                words.append(f"All measurements are taken. You were nearer on {won} of {len(self.scores)} waves.")
                words.append("Press “Next wave” for another one.")
            else:
                words.append("Choose the next x, and press “Measure here”.")
            self.picture.draw(Canvas(fig, narrowest=TWO_COLUMNS), " ".join(words))


# Characters


def draw_strangers(
    known: Characters, drawings: Tensor, strangers: Tensor, scores: Mapping[str, Tensor]
) -> tuple[Figure, str]:
    """Draw queries of known and of unknown characters, each with the surest class's softmax and the GP's variance.

    Args:
        known: where the drawings come from.
        drawings: the support drawing of each class [N, 1, H, W].
        strangers: queries [Q, 1, H, W], known ones first, then as many unknown ones.
        scores: numbers [Q] by name, to be written below each query.
    """
    count = len(strangers)
    fig, axes = figure(9, 4.4, nrows=2, ncols=count, squeeze=False)
    for i, ax in enumerate(axes[0]):
        if i < len(drawings):
            draw_character(ax, drawings[i], f"class {i + 1}")
        else:
            ax.axis("off")
    for i, ax in enumerate(axes[1]):
        draw_character(ax, strangers[i], frame=BLUE if i < count // 2 else VERMILION)
        text = "\n".join(f"{name} {values[i]:.2f}" for name, values in scores.items())
        ax.set_xlabel(text, fontsize=TEXT)
        ax.set_title("known" if i < count // 2 else "unknown", fontsize=TEXT)
    fig.suptitle(f"five classes, and six queries ({known.source})")
    told = "; ".join(f"{name}: {', '.join(f'{v:.2f}' for v in values.tolist())}" for name, values in scores.items())
    return fig, f"Five known characters, and queries: three of them known, three unknown. {told}."


def draw_rocs(curves: Mapping[str, Roc], title: str) -> tuple[Figure, str]:
    """Draw ROC curves of accepting known characters and rejecting unknown ones."""
    fig, ax = figure(9, 5)
    ax.set_aspect("equal")
    for (name, curve), (color, dash) in zip(curves.items(), LOOKS, strict=False):
        ax.plot(100 * curve.false_positive, 100 * curve.true_positive, dash, color=color, linewidth=2.2, label=name)
    ax.plot([0, 100], [0, 100], color=GREY, linewidth=1)
    finish(ax, title, "unknown ones accepted, %", "known ones accepted, %", legend=True)
    return fig, f"{title}: " + ", ".join(f"{name} has AUC {curve.auc:.3f}" for name, curve in curves.items()) + "."
