"""The pictures and the panel of the lesson on new domains."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ...analysis.paired import Interval
from ...experiments import domains as study
from ...experiments.intervals import share_over_seeds
from ...losses import accuracy
from ...tasks import Characters
from ...tasks.domains import CHANGES, Varying, changed
from ..kit.canvas import TWO_COLUMNS, Canvas
from ..kit.figures import (
    BLACK,
    BLUE,
    GREEN,
    LOOKS,
    ORANGE,
    PURPLE,
    TEXT,
    VERMILION,
    draw_character,
    figure,
    finish,
    plural,
    smooth,
)
from ..kit.panels import Panel, slider

MEASURED = Path(__file__).with_name("measured_domains.json")
STREAMS = Path(__file__).with_name("measured_streams.json")
SHOWN = 8  # pictures of a domain, and the largest number of ways of the panel
COLORS = {  # of a method in all pictures
    "prototypes": (BLUE, "o"),
    "classifier, nearest mean": (VERMILION, "s"),
    "classifier, last layer": (GREEN, "^"),
    "MAML": (BLACK, "D"),
    "pixels, nearest mean": (PURPLE, "v"),
    "nearest mean, support's statistics": (ORANGE, "<"),
}
TITLES = {  # the methods of the ranking, which see no other query
    "prototypes": "prototypes",
    "nearest mean": "classifier, nearest mean",
    "last layer, centred": "classifier, last layer",
    "MAML": "MAML",
    "pixels": "pixels, nearest mean",
}


def load_results() -> dict[str, Any]:
    """Read what `python -m metalab.experiments.domains` measured."""
    return json.loads(MEASURED.read_text())


def over_seeds(results: Mapping[str, Any], method: str, domain: str) -> list[float]:
    """Return a method's accuracies on a domain by seed, in 0 … 1."""
    runs = [run for run in results["runs"] if method in run["accuracy"]]
    return [run["accuracy"][method][domain] for run in sorted(runs, key=lambda run: run["seed"])]


def milliseconds(results: Mapping[str, Any], method: str) -> float:
    """Return the mean processor time of a task, support and queries together."""
    found = [run["milliseconds"][method] for run in results["runs"] if method in run["milliseconds"]]
    return sum(found) / len(found)


def draw_domains(domains: Mapping[str, Characters]) -> tuple[Figure, str]:
    """Draw a row of pictures of each domain, each of another class."""
    fig, axes = figure(9, 1.05 * len(domains), nrows=len(domains), ncols=SHOWN, squeeze=False)
    for row, (name, domain) in zip(axes, domains.items(), strict=True):
        step = len(domain) // SHOWN
        for i, ax in enumerate(row):
            draw_character(ax, domain.images[i * step, 0].float() / 255)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=12)
    source = next(iter(domains.values())).source
    return fig, f"{SHOWN} pictures of each domain, from {source}: {', '.join(domains)}."


def draw_losses(losses: Mapping[str, Sequence[float]]) -> tuple[Figure, str]:
    """Draw the training accuracies of the networks, each the mean of the last 50 steps."""
    fig, ax = figure(9, 3.4)
    ends = []
    for (name, values), (color, dash) in zip(losses.items(), LOOKS, strict=False):
        means = 100 * smooth(list(values))
        ax.plot(range(1, len(values) + 1), means, dash, color=color, linewidth=2.2, label=name)
        ends.append(f"{name} ends at {means[-1]:.0f} %")
    ax.set_ylim(0, 100)
    finish(ax, "accuracy in training, mean of the last 50 steps", "step", "accuracy, %", legend=True)
    return fig, f"Training accuracy over the steps: {', '.join(ends)}."


def draw_accuracies(found: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> tuple[Figure, str]:
    """Draw the accuracy of methods on domains: the mean over seeds, and its 95 % interval where there are seeds.

    Args:
        found: accuracies by seed, in 0 … 1, by domain within the method's title.
        title: of the picture.
    """
    domains = list(next(iter(found.values())))
    fig, ax = figure(9, 5)
    words = []
    for number, (method, by_domain) in enumerate(found.items()):
        color, mark = COLORS[method]
        places = [i + 0.12 * (number - (len(found) - 1) / 2) for i in range(len(domains))]
        means = [100 * sum(values) / len(values) for values in by_domain.values()]
        if len(next(iter(by_domain.values()))) > 1:
            whole = [share_over_seeds(list(values)) for values in by_domain.values()]
            ax.errorbar(places, means, _bars(whole), fmt=mark, color=color, markersize=7, capsize=3, label=method)
        else:
            ax.plot(places, means, mark, color=color, markersize=7, label=method)
        told = ", ".join(f"{domain} {mean:.0f} %" for domain, mean in zip(domains, means, strict=True))
        words.append(f"{method}: {told}")
    ax.set_xticks(range(len(domains)), [name.replace(" ", "\n") for name in domains])
    ax.set_ylim(0, 102)
    ax.grid(axis="y", alpha=0.3)
    finish(ax, title, "", "accuracy, %")
    fig.legend(loc="outside lower center", ncols=3, fontsize=TEXT, frameon=False)
    return fig, f"{title}. {'; '.join(words)}."


def _bars(intervals: Sequence[Interval]) -> list[list[float]]:
    """Return how far intervals of shares reach below and above their means, in points."""
    return [[100 * (one.mean - one.low) for one in intervals], [100 * (one.high - one.mean) for one in intervals]]


def load_streams() -> dict[str, Any]:
    """Read what `python -m metalab.experiments.continual` measured."""
    return json.loads(STREAMS.read_text())


def of_streams(results: Mapping[str, Any], representation: str, learner: str, classes: int) -> list[float]:
    """Return the accuracies at the end of streams, by training seed, in 0 … 1."""
    runs = sorted((run for run in results["runs"] if run["representation"] == representation), key=lambda r: r["seed"])
    return [run["classes"][str(classes)]["accuracy"][learner] for run in runs]


def of_waves(results: Mapping[str, Any], representation: str, learner: str) -> Tensor:
    """Return the squared errors at the end of streams of waves, by training seed and place in the stream: [S, 10]."""
    runs = sorted((run for run in results["waves"] if run["representation"] == representation), key=lambda r: r["seed"])
    return torch.tensor([run["error"][learner] for run in runs])


def draw_streams(results: Mapping[str, Any]) -> tuple[Figure, str]:
    """Draw the accuracy at the end of a stream over its number of classes: of steps, and of what needs no steps."""
    fig, axes = figure(10, 4.2, ncols=2, sharey=True)
    looks = [(BLUE, "o-"), (VERMILION, "s-"), (ORANGE, "^--")]
    steps = [(name, "steps", name) for name in ("prototypes", "OML", "OML, shuffled")]
    others = [("prototypes", name, name) for name in ("running mean", "closed form", "steps, centred")]
    told = []
    for ax, lines, title in ((axes[0], steps, "steps, on features of"), (axes[1], others, "on prototypes' features")):
        for (representation, learner, label), (color, look) in zip(lines, looks, strict=True):
            found = [share_over_seeds(of_streams(results, representation, learner, n)) for n in results["classes"]]
            means = [100 * one.mean for one in found]
            ax.errorbar(results["classes"], means, _bars(found), fmt=look, color=color, capsize=3, label=label)
            told.append(f"{title} {label}: " + ", ".join(f"{mean:.0f} %" for mean in means))
        ax.set_xscale("log")
        ax.set_ylim(0, 102)
        ax.grid(alpha=0.3)
        finish(ax, title, "classes in the stream", "accuracy at its end, %", legend=True)
        ax.set_xticks(results["classes"], [str(n) for n in results["classes"]])
        ax.minorticks_off()
    numbers = ", ".join(map(str, results["classes"]))
    return fig, f"Accuracy at the end of streams of {numbers} classes. {'; '.join(told)}."


def draw_ages(found: Mapping[str, Sequence[float]]) -> tuple[Figure, str]:
    """Draw the accuracy of learners at the end of a stream, by the age of the class, from the oldest fifth on."""
    fig, ax = figure(7.5, 3.8)
    looks = [(VERMILION, "s-"), (ORANGE, "^-"), (GREEN, "v-"), (BLUE, "o-")]
    told = []
    for (name, shares), (color, look) in zip(found.items(), looks, strict=True):
        ax.plot(range(1, len(shares) + 1), [100 * share for share in shares], look, color=color, label=name)
        told.append(f"{name}: " + ", ".join(f"{share:.0%}" for share in shares))
    ax.set_xticks(range(1, 6), ["oldest", "2", "3", "4", "newest"])
    ax.set_ylim(-2, 102)
    ax.grid(alpha=0.3)
    finish(ax, "accuracy at the end of the stream", "fifth of the classes, by age", "accuracy, %")
    fig.legend(loc="outside lower center", ncols=2, fontsize=TEXT, frameon=False)
    return fig, f"Accuracy by age of the class, from the oldest fifth to the newest. {'; '.join(told)}."


def draw_waves(results: Mapping[str, Any]) -> tuple[Figure, str]:
    """Draw the squared error of each wave of a stream at its end, the mean over the training seeds."""
    fig, ax = figure(7.5, 3.8)
    lines = [
        ("OML", "steps", VERMILION, "s-", "steps, features of OML"),
        ("OML, shuffled", "steps", ORANGE, "^--", "steps, features of OML, shuffled"),
        ("OML, shuffled", "closed form", BLUE, "o-", "closed form, features of OML, shuffled"),
    ]
    told = []
    for representation, learner, color, look, label in lines:
        errors = of_waves(results, representation, learner).mean(0).tolist()
        ax.plot(range(1, len(errors) + 1), errors, look, color=color, label=label)
        told.append(f"{label}: from {errors[0]:.2f} for the oldest to {errors[-1]:.2f} for the newest wave")
    ax.set_ylim(0)
    ax.grid(alpha=0.3)
    finish(ax, "error at the end of a stream of ten waves", "place of the wave in the stream", "squared error")
    fig.legend(loc="outside lower center", fontsize=TEXT, frameon=False)
    return fig, f"Squared error by place in the stream. {'; '.join(told)}."


class _DomainsPicture:
    """A support picture of each class above, and a bar for each method below. Only what moves is drawn again.

    Args:
        methods: their titles.
    """

    def __init__(self, methods: Sequence[str]) -> None:
        fig = figure(9, 3.6)[0]
        fig.clear()
        top, bottom = fig.subfigures(2, 1, height_ratios=[1, 1.6])
        self._classes = list(top.subplots(1, SHOWN))
        for i, ax in enumerate(self._classes, start=1):
            draw_character(ax, torch.zeros(28, 28), f"class {i}")
        self._ax = ax = bottom.subplots()
        self._bars = ax.barh(methods, [0] * len(methods), color=[COLORS[name][0] for name in methods])
        self._numbers = [ax.text(0, row, "", va="center", fontsize=TEXT) for row in range(len(methods))]
        self._chance = ax.axvline(0, color="black", linestyle=":", linewidth=1.5)
        ax.set_xlim(0, 105)
        ax.invert_yaxis()
        finish(ax, "tasks of some ways", "accuracy, %")
        parts = [*self._classes, *self._bars, *self._numbers, self._chance, ax.title]
        self._canvas = Canvas(fig, parts, narrowest=TWO_COLUMNS)

    def __call__(self, pictures: Tensor, scores: Mapping[str, float], title: str) -> Canvas:
        """Return the picture of a task's classes [N, 1, H, W] and of the methods' accuracies."""
        for i, ax in enumerate(self._classes):
            ax.set_visible(i < len(pictures))
            if i < len(pictures):
                ax.images[0].set_data(1 - pictures[i, 0].numpy())
        for bar, number, score in zip(self._bars, self._numbers, scores.values(), strict=True):
            bar.set_width(100 * score)
            number.set_x(100 * score + 0.7)
            number.set_text(f"{100 * score:.0f}")
        self._chance.set_xdata([100 / len(pictures)] * 2)
        self._ax.set_title(title)
        return self._canvas


def domains_panel(
    others: Mapping[str, Characters], test: Characters, answers: Mapping[str, study.Answer], *, seed: int = 0
) -> Panel:
    """Return a panel: choose a domain, the strength of a change, ways and shots; see a task, and the accuracies.

    Args:
        others: domains without a strength, by name.
        test: the characters that are changed.
        answers: methods by title.
        seed: of the tasks.
    """
    kept = test.select(torch.arange(0, len(test), max(1, len(test) // 100), device=test.images.device))
    controls = {
        "domain": widgets.ToggleButtons(options=[*CHANGES, *others], value="inverted", description="domain"),
        "strength": slider("strength of the change", 1.0, 0.0, 1.0, 0.1),
        "ways": slider("ways", 5, 3, SHOWN, 1),
        "shots": slider("shots", 1, 1, 5, 1),
    }

    @lru_cache(64)  # a fifth of a second for what is new, and nothing for where the reader goes back to
    def measured(domain: str, strength: float, ways: int, shots: int) -> tuple[Tensor, dict[str, float]]:
        """Return a support picture of each class of a task, and the methods' accuracies."""
        source = changed(kept, domain, strength, seed=1) if domain in CHANGES else others[domain]
        sample = Varying(source, (ways, ways), (shots, shots), queries=3)
        episode = sample(12, torch.Generator(source.images.device).manual_seed(seed))
        scores = {name: accuracy(answer(episode), episode.query_y).mean().item() for name, answer in answers.items()}
        return episode.support_x[0, ::shots].cpu(), scores

    picture = _DomainsPicture(list(answers))

    def redraw(domain: str, strength: float, ways: int, shots: int) -> tuple[Canvas, str]:
        pictures, scores = measured(domain, strength, ways, shots)
        canvas = picture(pictures, scores, f"12 tasks of {ways} ways, {plural(shots, 'shot')}; dotted: chance")
        told = ", ".join(f"{name} {s:.0%}" for name, s in scores.items())
        how = f"{domain}, strength {strength:.1f}" if domain in CHANGES else domain
        return canvas, f"{how}; {ways} ways, {plural(shots, 'shot')}; chance {1 / ways:.0%}: {told}."

    alt = "Panel: choose a domain, how strong its change is, ways and shots; see a task and each method's accuracy."
    return Panel(controls, redraw, alt=alt)
