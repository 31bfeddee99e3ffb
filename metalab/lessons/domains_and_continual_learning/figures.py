"""The pictures and the panel of the lesson on new domains."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import torch
from matplotlib.figure import Figure

from ...analysis.paired import Interval
from ...experiments import domains as study
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
    "last layer": "classifier, last layer",
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
    finish(ax, "accuracy on training tasks", "step", "accuracy, %", legend=True)
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
        whole = [Interval.of(list(values)) if len(values) > 1 else None for values in by_domain.values()]
        half = [100 * (one.high - one.mean) if one else 0 for one in whole]
        ax.errorbar(places, means, half, fmt=mark, color=color, markersize=7, capsize=3, label=method)
        told = ", ".join(f"{domain} {mean:.0f} %" for domain, mean in zip(domains, means, strict=True))
        words.append(f"{method}: {told}")
    ax.set_xticks(range(len(domains)), [name.replace(" ", "\n") for name in domains])
    ax.set_ylim(0, 102)
    ax.grid(axis="y", alpha=0.3)
    finish(ax, title, "", "accuracy, %")
    fig.legend(loc="outside lower center", ncols=3, fontsize=TEXT, frameon=False)
    return fig, f"{title}. {'; '.join(words)}."


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

    def redraw(domain: str, strength: float, ways: int, shots: int) -> tuple[Canvas, str]:
        source = changed(kept, domain, strength, seed=1) if domain in CHANGES else others[domain]
        sample = Varying(source, (ways, ways), (shots, shots), queries=3)
        episode = sample(12, torch.Generator(source.images.device).manual_seed(seed))
        scores = {name: accuracy(answer(episode), episode.query_y).mean().item() for name, answer in answers.items()}
        fig = figure(9, 3.6)[0]
        fig.clear()
        top, bottom = fig.subfigures(2, 1, height_ratios=[1, 1.6])
        pictures = episode.support_x[0, ::shots].cpu()
        for i, ax in enumerate(top.subplots(1, SHOWN)):
            if i < ways:
                draw_character(ax, pictures[i, 0], f"class {i + 1}")
            else:
                ax.axis("off")
        ax = bottom.subplots()
        bars = ax.barh(list(scores), [100 * s for s in scores.values()], color=[COLORS[name][0] for name in scores])
        ax.bar_label(bars, [f"{100 * s:.0f}" for s in scores.values()], padding=3, fontsize=12)
        ax.axvline(100 / ways, color="black", linestyle=":", linewidth=1.5)
        ax.set_xlim(0, 105)
        ax.invert_yaxis()
        finish(ax, f"12 tasks of {ways} ways, {plural(shots, 'shot')}; dotted: chance", "accuracy, %")
        told = ", ".join(f"{name} {s:.0%}" for name, s in scores.items())
        how = f"{domain}, strength {strength:.1f}" if domain in CHANGES else domain
        words = f"{how}; {ways} ways, {plural(shots, 'shot')}; chance {1 / ways:.0%}: {told}."
        return Canvas(fig, narrowest=TWO_COLUMNS), words

    alt = "Panel: choose a domain, how strong its change is, ways and shots; see a task and each method's accuracy."
    return Panel(controls, redraw, alt=alt)
