"""The pictures and the panel of the lesson on learning to act."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ... import checkpoint
from ...analysis.paired import Interval
from ...experiments import navigation as study
from ...nets import Params
from ...tasks import navigation
from ...tasks.navigation import Trajectories
from ..kit.canvas import TWO_COLUMNS, Canvas
from ..kit.figures import BLACK, BLUE, GREY, LOOKS, TEXT, VERMILION, figure, finish, smooth
from ..kit.panels import Panel, slider

HERE = Path(__file__).parent
TITLES = {"maml": "MAML", "pretrained": "pretrained", "random": "random"}
AUTHORS = {  # the authors' own data: mean return after 0 to 3 steps, and half of the 95 % interval over 40 goals
    "maml": ((-40.4, 4.1), (-11.7, 2.2), (-3.3, 0.6), (-3.2, 0.6)),
    "pretrained": ((-40.8, 4.1), (-19.7, 3.0), (-11.7, 1.7), (-8.5, 0.5)),
    "random": ((-82.7, 2.2), (-58.0, 1.9), (-53.8, 1.6), (-46.8, 1.3)),
}


def load_results() -> dict[str, Any]:
    """Read what `python -m metalab.experiments.navigation` measured."""
    return json.loads((HERE / "measured.json").read_text())


def trained(device: str | torch.device = "cpu") -> Params:
    """Return MAML's parameters of seed 0, which the command trained."""
    params, _about = checkpoint.load(HERE / "maml.safetensors")
    return {name: p.float().to(device) for name, p in params.items()}


def of_seeds(results: Mapping[str, Any], method: str) -> Tensor:
    """Return the mean returns over the goals, by seed and number of steps: [seeds, 4]."""
    runs = sorted((run for run in results["runs"] if run["method"] == method), key=lambda run: run["seed"])
    return torch.tensor([run["returns"] for run in runs]).mean(1)


def draw_walks(walks: Sequence[Trajectories], goal: Tensor, task: int = 0, most: int = 6) -> tuple[Figure, str]:
    """Draw trajectories towards a goal [2], after 0, 1, 2 … steps next to each other."""
    fig, axes = figure(9, 3.2, ncols=len(walks), sharex=True, sharey=True, squeeze=False)
    words = []
    paths = [torch.cat([walked.states, walked.last[:, :, None]], 2)[task, :most].cpu() for walked in walks]
    reach = max(1.0, *(1.05 * states.abs().max().item() for states in paths))
    for k, (ax, walked) in enumerate(zip(axes[0], walks, strict=True)):
        for path in paths[k]:
            ax.plot(path[:, 0], path[:, 1], color=BLUE, linewidth=1, alpha=0.7)
        ax.plot(0, 0, "o", color=BLACK, markersize=6)
        ax.plot(*goal.cpu().tolist(), "*", color=VERMILION, markersize=15, markeredgecolor=BLACK)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        value = walked.returns()[task].mean().item()
        finish(ax, f"after {k} step{'s' if k != 1 else ''}: {value:.1f}", "x", "y" if k == 0 else "")
        words.append(f"{value:.1f} after {k}")
    return fig, f"Trajectories from the dot at the origin, and the goal as a star. Mean return: {', '.join(words)}."


def draw_returns(results: Mapping[str, Any]) -> tuple[Figure, str]:
    """Draw the mean return over the number of steps, ours by seed and the authors'."""
    fig, axes = figure(9, 4, ncols=2, sharey=True)
    words = []
    for (method, title), (color, dash) in zip(TITLES.items(), LOOKS, strict=False):
        for i, values in enumerate(of_seeds(results, method)):
            axes[0].plot(range(4), values, dash, color=color, marker="o", label=title if i == 0 else None)
        mean, half = zip(*AUTHORS[method], strict=True)
        axes[1].errorbar(range(4), mean, half, color=color, linestyle=dash, marker="o", capsize=4, label=title)
        words.append(f"{title} {of_seeds(results, method).mean(0)[-1]:.1f} after 3 steps")
    for ax, title in zip(axes, ("ours, a line for each seed", "the authors' data, with intervals"), strict=True):
        ax.set_xticks(range(4))
        finish(ax, title, "inner steps", "mean return" if ax is axes[0] else "", legend=True)
    return fig, f"Returns of 40 goals over the inner steps, ours and the authors'. Ours: {', '.join(words)}."


def draw_loss(losses: Sequence[float]) -> tuple[Figure, str]:
    """Draw the loss of a training, each the mean of the last 10 meta-steps."""
    fig, ax = figure(9, 3.2)
    means = smooth(list(losses), 10)
    ax.plot(range(1, len(means) + 1), means, color=BLUE, linewidth=2)
    ax.axhline(0.38, color=GREY, linestyle=":")
    ax.text(len(means), 0.33, "dotted: staying at the origin", ha="right", va="top", color=GREY, fontsize=TEXT)
    ax.set_ylim(0, 0.8)
    finish(ax, "training MAML to act", "meta-step", "mean distance to the goal")
    return fig, f"The distance to the goal after a step, over {len(means)} meta-steps; at the end {means[-1]:.2f}."


def seeds_interval(values: Tensor) -> Interval:
    """Return the 95 % interval of the mean over seeds."""
    return Interval.of(values.tolist())


def goal_panel(params: Params, *, rate: float = study.LEARNER.inner_lr) -> Panel:
    """Return a panel in which the reader places the goal, and sees the trajectories after 0 to 3 steps."""
    noise = navigation.sample(1, study.TRIALS, study.ROUNDS, torch.Generator().manual_seed(5)).noise
    controls = {
        "x": slider("goal, x", 0.3, -0.5, 0.5, 0.05),
        "y": slider("goal, y", 0.3, -0.5, 0.5, 0.05),
    }

    def redraw(x: float, y: float) -> tuple[Canvas, str]:
        goal = torch.tensor([[x, y]])
        _thetas, walks = study.LEARNER.adapt(params, navigation.Attempts(goal, noise), inner_lr=rate)
        fig, words = draw_walks(walks, goal[0])
        return Canvas(fig, narrowest=TWO_COLUMNS), words

    return Panel(controls, redraw, alt="Panel: place the goal, and see how the trajectories change with each step.")
