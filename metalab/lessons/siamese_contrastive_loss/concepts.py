"""The figures of the Siamese lesson that explain a concept, and the results over seeds that come with the lesson."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from torch import Tensor

from ...evaluate import Score
from ...experiments.intervals import difference_of_shares, over_seeds, wilson
from ..kit.figures import BLACK, BLUE, GREY, ORANGE, SKY, TEXT, TITLE, VERMILION, WIDTH, figure, finish

MEASURED = Path(__file__).with_name("measured.json")  # what `python -m benchmarks distances` wrote
CHALLENGE = Path(__file__).with_name("challenge.json")  # an older network for the challenge, and published error rates

PAPERS = ["contrastive", "triplet, hard", "supervised contrastive", "prototypical", "matching", "Koch"]
REPAIRED = [
    "matching, learned factor",
    "Koch, hard pairs",
    "Koch, distortions",
    "Koch, both",
    "supervised contrastive, τ=1/40",
]
COMPARED = PAPERS + REPAIRED


def measured() -> dict[str, Any]:
    """Read what `python -m benchmarks distances` measured on Omniglot, as shipped with the package."""
    return json.loads(MEASURED.read_text())


def challenge() -> dict[str, Any]:
    """Read which older network for the challenge is shipped, and the published error rates of others."""
    return json.loads(CHALLENGE.read_text())


def compare_errors(errors: int, trials: int, rival: dict[str, Any]) -> tuple[float, float, str]:
    """Return an interval for a count's error rate minus a published one, and what it says of our network.

    Args:
        errors: how many of our trials were wrong.
        trials: how many there were.
        rival: the published "error" rate, and the number of its "trials"; None where it is a mean over people, which is
            taken as it is.

    Returns:
        The ends of the 95 % interval, and "better", "worse", or "undecided" if it contains 0.
    """
    if rival["trials"] is None:
        low, high = (end - rival["error"] for end in wilson(errors, trials))
    else:
        wrong = round(rival["error"] * rival["trials"])
        low, high = difference_of_shares(errors, trials, wrong, rival["trials"])
    return low, high, "better" if high < 0 else "worse" if low > 0 else "undecided"


def print_errors(errors: dict[str, int], trials: int, rivals: dict[str, dict[str, Any]]) -> None:
    """Print error counts, then published error rates, with Wilson's intervals; none where a rate is a mean over people.

    Args:
        errors: how many of the trials were wrong, by network.
        trials: how many there were.
        rivals: what is published, each as in `compare_errors`.
    """
    print(f"{'':28}{f'of {trials}':>8}{'errors':>9}    Wilson's 95 % interval")
    for name, count in errors.items():
        low, high = wilson(count, trials)
        print(f"{name:28}{count:>8}{count / trials:>9.2%}{low:>10.2%} … {high:.2%}")
    for name, rival in rivals.items():
        print(f"{name:28}{rival['error']:>17.2%}", end="")
        if rival["trials"] is not None:
            low, high = wilson(round(rival["error"] * rival["trials"]), rival["trials"])
            print(f"{low:>10.2%} … {high:.2%}", end="")
        print()


def accuracies(results: dict[str, Any], learner: str, kind: str, part: str = "validation") -> Tensor:
    """Return a learner's accuracies [S] on one kind of episodes, in the order of the seeds.

    Raises:
        ValueError: there are none.
    """
    runs = sorted((run for run in results["runs"] if run["learner"] == learner), key=lambda run: run["seed"])
    found = [run[part][kind] for run in runs if kind in run.get(part, {})]
    if not found:
        raise ValueError(f"learner={learner!r} and kind={kind!r} were not measured on the {part} alphabets")
    return torch.tensor(found, dtype=torch.float64)


def difference(results: dict[str, Any], one: str, other: str, kind: str, part: str = "validation") -> Score:
    """Return how much more accurate one learner is than another, seed by seed: mean ± 95 % interval over the seeds."""
    return over_seeds(accuracies(results, one, kind, part) - accuracies(results, other, kind, part))


def points(score: Score) -> str:
    """Return a difference of two shares in points: `+3.1 ± 0.4 points`."""
    return f"{100 * score.mean:+.1f} ± {100 * score.ci95:.1f} points"


def print_family(results: dict[str, Any], learners: list[str], part: str = "validation") -> None:
    """Print the accuracies of several learners: mean ± 95 % interval over the seeds."""
    kinds = {"5-way, any": "5-way", "20-way, any": "20-way", "5-way, one": "5-way", "20-way, one": "20-way"}
    print(f"{'':32}{'any alphabets':>21}{'one alphabet':>28}")
    print(f"{'':32}" + "".join(f"{ways:>14}" for ways in kinds.values()))
    for name in learners:
        cells = [over_seeds(accuracies(results, name, kind, part)).percent() for kind in kinds]
        print(f"{name:32}" + "".join(f"{cell:>14}" for cell in cells))


def draw_siamese() -> Figure:
    """Draw a Siamese network: two drawings, one network that is used twice, two points, and their distance."""
    fig, ax = figure(height=2.7)  # the units of the axes are inches
    for y, x in ((1.9, "$x_1$"), (0.7, "$x_2$")):
        ax.add_patch(Rectangle((0.3, y - 0.35), 0.7, 0.7, facecolor="white", edgecolor=BLACK))
        ax.text(0.65, y, x, ha="center", va="center", fontsize=TITLE)
        ax.add_patch(Rectangle((2.3, y - 0.35), 1.6, 0.7, facecolor=SKY, alpha=0.5, edgecolor=BLACK))
        ax.text(3.1, y, "network $f$", ha="center", va="center", fontsize=TEXT)
        ax.add_patch(Circle((5.6, y), 0.08, color=BLUE))
        ax.text(5.6, y + (0.2 if y > 1 else -0.2), f"$f(${x}$)$", ha="center", va="center", fontsize=TEXT)
        for begin, end in ((1.05, 2.25), (3.95, 5.45)):
            ax.add_patch(FancyArrowPatch((begin, y), (end, y), arrowstyle="-|>", mutation_scale=14, color=GREY))
    ax.text(3.1, 1.3, "the same parameters", ha="center", va="center", fontsize=TEXT)
    ax.plot([5.6, 5.6], [0.8, 1.8], color=VERMILION, linewidth=2.5, linestyle="--")
    ax.text(5.75, 1.3, "distance $d$", ha="left", va="center", fontsize=TEXT)
    ax.add_patch(FancyArrowPatch((6.9, 1.3), (7.5, 1.3), arrowstyle="-|>", mutation_scale=14, color=GREY))
    ax.text(7.6, 1.3, "small: same\nlarge: different", ha="left", va="center", fontsize=TEXT)
    ax.set(xlim=(0, WIDTH), ylim=(0.1, 2.6))
    ax.axis("off")
    return fig


def draw_triplets(margin: float = 0.6, seed: int = 3) -> Figure:
    """Draw an anchor, a drawing of its character, and drawings of others: too near, within the margin, and beyond."""
    positive, generator = 1.0, torch.Generator().manual_seed(seed)
    radius = torch.tensor([0.62, 0.8, 1.2, 1.32, 1.4, 1.95, 1.9, 2.1, 2.2, 2.4, 2.5, 2.6, 2.2, 2.45])
    angle = torch.linspace(0.5, 5.9, len(radius))[torch.randperm(len(radius), generator=generator)]
    x, y = radius * angle.cos(), radius * angle.sin()
    fig, ax = figure(height=4.8)
    for size, color, fill in ((positive + margin, ORANGE, 0.18), (positive, VERMILION, 0.18)):
        ax.add_patch(Circle((0, 0), size, facecolor="white", edgecolor="none"))
        ax.add_patch(Circle((0, 0), size, facecolor=color, alpha=fill, edgecolor="none"))
        ax.add_patch(Circle((0, 0), size, facecolor="none", edgecolor=color, linewidth=2))
    ax.scatter(0, 0, s=190, color=BLACK, marker="*", label="anchor a", zorder=3)
    ax.scatter(positive, 0, s=150, color=BLUE, marker="o", label="same character p", zorder=3)
    kinds = (
        ("hard: nearer than p", radius < positive, VERMILION, "X"),
        ("semi-hard: within the margin", (radius >= positive) & (radius < positive + margin), "#7A4F00", "s"),
        ("easy: costs nothing", radius >= positive + margin, GREY, "^"),
    )
    for label, which, color, marker in kinds:
        ax.scatter(x[which], y[which], s=150, color=color, marker=marker, label=label, zorder=3)
    ax.plot([0, positive], [0, 0], color=BLUE, linewidth=2)
    ax.set(xlim=(-4.6, 4.6), ylim=(-2.7, 2.7), aspect="equal", xticks=[], yticks=[])
    finish(ax, "which drawings of other characters count (made up, margin 0.6)", legend=True)
    ax.spines[:].set_visible(False)
    return fig


def draw_family(results: dict[str, Any], learners: list[str], kind: str, title: str) -> Figure:
    """Draw for each learner the accuracy of each seed, and the mean with its 95 % interval over the seeds.

    Args:
        results: what `measured` returns.
        learners: their names, from top to bottom.
        kind: the kind of episodes.
        title: the title of the figure.
    """
    fig, ax = figure(height=0.36 * len(learners) + 1.2)
    for row, name in enumerate(learners):
        values = accuracies(results, name, kind)
        score = over_seeds(values)
        ax.scatter(100 * values, [row] * len(values), s=150, facecolor="none", edgecolor=SKY, linewidth=1.5)
        ax.errorbar(100 * score.mean, row, xerr=100 * score.ci95, color=BLUE, fmt="|", markersize=14, capsize=5)
    ax.set_yticks(range(len(learners)), learners)
    ax.invert_yaxis()
    ax.set_ylim(len(learners) - 0.4, -0.6)
    finish(ax, title, "accuracy (%): circles are seeds, bars the mean ± 95 %")
    return fig
