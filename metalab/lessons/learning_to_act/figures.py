"""The pictures and the panel of the lesson on learning to act."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from matplotlib.artist import Artist
from matplotlib.figure import Figure, SubFigure
from torch import Tensor

from ... import checkpoint
from ...analysis.paired import Interval
from ...experiments import navigation as study
from ...learners import PolicyMAML
from ...nets import Params
from ...tasks import navigation
from ...tasks.navigation import Attempts, Trajectories
from ..kit import steering
from ..kit.canvas import Canvas
from ..kit.figures import BLACK, BLUE, LOOKS, VERMILION, figure, finish
from ..kit.panels import Panel, slider
from ..kit.steering.controls import standard
from ..kit.steering.view import View

HERE = Path(__file__).parent
TITLES = {"maml": "MAML", "pretrained": "pretrained"}
REACH = 1.0  # the ends of the axes of walks
SHOWN = 6  # how many trajectories are drawn
MOST = 3  # inner steps in the training that is steered
# Mean return after 0 to 3 steps, and half of the 95 % interval over 40 goals, from icml/icml_point_results_*.pkl of
AUTHORS = {  # github.com/cbfinn/maml_rl
    "maml": ((-40.4, 4.1), (-11.7, 2.2), (-3.3, 0.6), (-3.2, 0.6)),
    "pretrained": ((-40.8, 4.1), (-19.7, 3.0), (-11.7, 1.7), (-8.5, 0.5)),
}


def load_results() -> dict[str, Any]:
    """Read what `python -m metalab.experiments.navigation` measured."""
    return json.loads((HERE / "measured.json").read_text())


def trained(method: str = "maml", seed: int = 0) -> Params:
    """Return the parameters of a training of the command."""
    return study.part(checkpoint.load(HERE / "policies.safetensors")[0], f"{method}.{seed}.")


def runs_of(results: Mapping[str, Any], method: str) -> list[dict[str, Any]]:
    """Return the trainings of a method, in the order of their seeds."""
    return sorted((run for run in results["runs"] if run["method"] == method), key=lambda run: run["seed"])


def tried(results: Mapping[str, Any]) -> dict[float, Tensor]:
    """Return the mean returns on validation goals [seeds, 4] of MAML, by the share that the later steps had."""
    rows = zip(*(run["tried"] for run in runs_of(results, "maml")), strict=True)
    return {row[0][1]: torch.tensor([each[2:] for each in row]) for row in rows}


def of_seeds(results: Mapping[str, Any], method: str) -> Tensor:
    """Return the mean returns over the goals, by seed and number of steps: [seeds, 4]."""
    return torch.tensor([run["returns"] for run in runs_of(results, method)]).mean(1)


class WalkPicture:
    """Trajectories towards a goal, in axes next to each other, of which only what moves is drawn again.

    Args:
        titles: of the axes.
    """

    def __init__(self, titles: Sequence[str]) -> None:
        self.titles = titles

    def draw(self, figure: Figure | SubFigure) -> list[Artist]:
        """Draw the axes, and return the titles, the trajectories and the goals, which move."""
        axes = figure.subplots(1, len(self.titles), sharex=True, sharey=True, squeeze=False)[0]
        self.moving = []
        for k, (ax, title) in enumerate(zip(axes, self.titles, strict=True)):
            [paths] = ax.plot([], [], color=BLUE, linewidth=1, alpha=0.7)
            ax.plot(0, 0, "o", color=BLACK, markersize=6)
            [goal] = ax.plot([], [], "*", color=VERMILION, markersize=15, markeredgecolor=BLACK)
            ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
            finish(ax, f"{title}: −99.9", "x", "y" if k == 0 else "")
            self.moving.append((ax.title, paths, goal))
        return [artist for group in self.moving for artist in group]

    def update(self, data: tuple[Sequence[Trajectories], Tensor, int]) -> str:
        """Show the trajectories of a task, one round in each axes, and return their mean returns in words.

        Args:
            data: the rounds, the goal [2], and the number of the task.
        """
        walks, goal, task = data
        words = []
        for (title, paths, star), name, walked in zip(self.moving, self.titles, walks, strict=True):
            places = torch.cat([walked.states, walked.last[:, :, None]], 2)[task].cpu()
            value = walked.returns()[task].mean().item()
            title.set_text(f"{name}: {value:.1f}")
            gap = torch.full_like(places[:SHOWN, :1], torch.nan)  # between two trajectories
            paths.set_data(*torch.cat([places[:SHOWN], gap], 1).clamp(-99, 99).flatten(0, 1).numpy().T)
            star.set_data(*goal.cpu()[:, None].numpy())
            outside = ", some leave the picture" if (places.abs() > REACH).any() else ""
            words.append(f"{value:.1f} ({name}{outside})")
        return f"Trajectories from the dot at the origin, and the goal as a star. Mean return: {', '.join(words)}."


def titles(steps: int) -> list[str]:
    """Return the titles of the rounds before and after each of some inner steps."""
    return [f"{k} inner step{'s' if k != 1 else ''}" for k in range(steps + 1)]


def draw_walks(walks: Sequence[Trajectories], goal: Tensor, task: int = 0) -> tuple[Figure, str]:
    """Draw trajectories towards a goal [2], after 0, 1, 2 … steps next to each other."""
    fig, ax = figure(9, 3.2)
    ax.remove()
    picture = WalkPicture(titles(len(walks) - 1))
    picture.draw(fig)
    return fig, picture.update((walks, goal, task))


def draw_returns(results: Mapping[str, Any]) -> tuple[Figure, str]:
    """Draw the mean return over the number of steps, ours by seed and the authors'."""
    fig, axes = figure(9, 4, ncols=2, sharey=True)
    words = []
    for (method, title), (color, dash) in zip(TITLES.items(), LOOKS, strict=False):
        for i, values in enumerate(of_seeds(results, method)):
            axes[0].plot(range(4), values, dash, color=color, marker="o", label=title if i == 0 else None)
        if method in AUTHORS:
            mean, half = zip(*AUTHORS[method], strict=True)
            axes[1].errorbar(range(4), mean, half, color=color, linestyle=dash, marker="o", capsize=4, label=title)
        words.append(f"{title} {of_seeds(results, method).mean(0)[-1]:.1f} after 3 steps")
    for ax, title in zip(axes, ("ours, a line for each seed", "the authors' data, with intervals"), strict=True):
        ax.set_xticks(range(4))
        finish(ax, title, "inner steps", "mean return" if ax is axes[0] else "", legend=True)
    return fig, f"Returns of 40 goals over the inner steps, ours and the authors'. Ours: {', '.join(words)}."


def seeds_interval(values: Tensor) -> Interval:
    """Return the 95 % interval of the mean over seeds."""
    return Interval.of(values.tolist())


def goal_panel(params: Params, learner: PolicyMAML) -> Panel:
    """Return a panel in which the reader places the goal, and sees the trajectories after 0 to 3 steps.

    Args:
        params: a trained policy.
        learner: adapts it, with its own rate and with the share of it that the reader chooses for the later steps.
    """
    noise = navigation.sample(1, study.TRIALS, study.ROUNDS, torch.Generator().manual_seed(5)).noise
    controls = {
        "x": slider("goal, x", -0.4, -0.5, 0.5, 0.05),
        "y": slider("goal, y", 0.1, -0.5, 0.5, 0.05),
        "later": slider("share of the rate in later steps", learner.later, 0.0, 1.0, 0.05),
    }
    fig, ax = figure(9, 3.2)
    ax.remove()
    picture = WalkPicture(titles(study.ROUNDS - 1))
    canvas = Canvas(fig, picture.draw(fig), narrowest=720)

    def redraw(x: float, y: float, later: float) -> tuple[Canvas, str]:
        goal = torch.tensor([[x, y]])
        _thetas, walks = replace(learner, later=later).adapt(params, Attempts(goal, noise))
        return canvas, picture.update((walks, goal[0], 0))

    return Panel(controls, redraw, alt="Panel: place the goal, and see how the trajectories change with each step.")


def training_panel(*, seed: int = 0, device: str | torch.device = "cpu") -> steering.SteeringPanel:
    """Return a panel that steers MAML for acting while it trains: `await training_panel().train(60)`."""
    values = {"inner_lr": 0.5, "outer_lr": study.OUTER_LR, "inner_steps": 1}
    learner = PolicyMAML(inner_lr=torch.tensor(0.5, device=device))  # a tensor changes without a new learner

    def sample(generator: torch.Generator) -> Attempts:
        return navigation.sample(study.TASKS, study.TRAJECTORIES, MOST + 1, generator)

    driver = steering.Driver(learner, sample, values, seed=seed, device=device)
    goal = torch.tensor([[0.3, 0.3]], device=device)
    noise = navigation.sample(1, study.TRIALS, MOST + 1, torch.Generator(device).manual_seed(seed + 1)).noise

    def look(driver: steering.Driver) -> tuple[list[Trajectories], Tensor, int]:
        attempts = Attempts(goal, noise[:, : driver.values["inner_steps"] + 1])
        _thetas, walks = driver.trainer.learner.adapt(driver.trainer.params, attempts)
        return [walks[0], walks[-1]], goal[0], 0

    steps = {"inner_steps": slider("inner steps", 1, 0, MOST, 1)}
    controls = standard({name: value for name, value in values.items() if name not in steps}) | steps
    alt = "Panel: sliders that steer MAML while it learns to act; the distance to the goal, and walks to an unseen one."
    presets = {"Small α": {"inner_lr": 0.05}, "Blow it up": {"outer_lr": 0.5}}
    view = View(WalkPicture(["before", "after"]), loss="mean distance to the goal")
    return steering.SteeringPanel(driver, view, look=look, controls=controls, presets=presets, alt=alt)
