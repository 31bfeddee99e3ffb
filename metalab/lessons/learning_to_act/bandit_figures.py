"""The results and figures of the section on bandits.

The functions that draw return the figure and its description in words: `show(*draw_rewards(…))`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ... import checkpoint
from ...analysis.bandits import posterior_mean
from ...analysis.paired import Interval
from ...learners.recurrent_policy import Game
from ...nets import Params
from ..kit.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, figure, finish

NETWORK = "recurrent network"
LOOKS = {  # of the methods, in every picture: colour and dash
    NETWORK: (PURPLE, "-"),
    "optimal": (BLACK, "--"),
    "greedy": (GREEN, "-."),
    "Thompson": (BLUE, "-"),
    "UCB1": (VERMILION, "--"),
    "any arm": (GREY, ":"),
    "UCB1, best c": (ORANGE, "-."),
    "Gittins": (SKY, ":"),
}


def load_results() -> dict[str, Any]:
    """Return what `python -m metalab.experiments.bandits` measured."""
    return json.loads(Path(__file__).with_name("bandits.json").read_text())


def load_network() -> Params:
    """Return the network that the command trained with seed 0."""
    params = checkpoint.load(Path(__file__).with_name("recurrent_policy.safetensors"))[0]
    return {name: p.float() for name, p in params.items()}


def below(results: Mapping[str, Any]) -> Interval:
    """Return how much less than the optimal play the network gets in a game, over the seeds, with the same luck."""
    return Interval.of([run["below"] for run in results["runs"]])


def draw_rewards(curves: Mapping[str, Sequence[float]]) -> tuple[Figure, str]:
    """Draw the mean reward of each pull for some methods, by their names in LOOKS."""
    fig, ax = figure(9, 4.4)
    for name, values in curves.items():
        color, dash = LOOKS[name]
        ax.plot(range(1, len(values) + 1), values, dash, color=color, linewidth=2.2, label=name)
    ax.set_xticks(range(1, len(values) + 1))
    finish(ax, "5 arms: how much each pull pays", "pull", "mean reward", legend=True)
    said = ", ".join(f"{name} {sum(values):.2f}" for name, values in curves.items())
    return fig, f"The mean reward over the pulls of a game. Whole games: {said}."


def readable(game: Game) -> list[float]:
    """Return how much of the posterior means a linear function of the state explains, before pulls 2 … K.

    The function is fitted to the first half of the games. The result, R² over all arms, is that of the second half.
    """
    found = []
    one_hot = torch.nn.functional.one_hot(game.arms, game.log_p.shape[2]).to(game.rewards.dtype)  # [T, K, A]
    wins = (one_hot * game.rewards[:, :, None]).cumsum(1)
    losses = (one_hot * (1 - game.rewards[:, :, None])).cumsum(1)
    half = len(game.arms) // 2
    for number in range(1, game.arms.shape[1]):
        state = game.states[:, number].detach().double()
        x = torch.cat([state, torch.ones_like(state[:, :1])], 1)
        y = posterior_mean(wins[:, number - 1], losses[:, number - 1]).double()
        xx = x[:half].mT @ x[:half] + 1e-6 * half * torch.eye(x.shape[1], dtype=x.dtype)
        weights = torch.linalg.solve(xx, x[:half].mT @ y[:half])
        off, spread = y[half:] - x[half:] @ weights, y[half:] - y[half:].mean(0)
        found.append(1 - (off.square().sum() / spread.square().sum()).item())
    return found


def draw_state(shares: Mapping[str, Sequence[float]], states: Tensor, best: Tensor) -> tuple[Figure, str]:
    """Draw what can be read off the states, and the states of games themselves in two dimensions.

    Args:
        shares: what `readable` found before pulls 2 … K, by the name of the network.
        states: states [T, width] before one pull.
        best: for each game the arm with the largest posterior mean [T].
    """
    fig, (left, right) = figure(9, 4.4, ncols=2)
    for (name, values), (color, dash) in zip(shares.items(), ((PURPLE, "-"), (GREY, ":")), strict=False):
        left.plot(range(2, len(values) + 2), values, dash, marker="o", color=color, linewidth=2.2, label=name)
    left.set_ylim(0, 1.02)
    finish(left, "the posterior means, read off the state", "before pull", "explained share, R²", legend=True)
    centred = states.detach().double() - states.detach().double().mean(0)
    at = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].mT
    marks = zip("os^Dv", (BLUE, ORANGE, GREEN, VERMILION, PURPLE), strict=True)
    for arm, (mark, color) in enumerate(marks):
        some = at[best == arm]
        right.plot(*some.T, mark, color=color, markersize=4, alpha=0.6, label=f"arm {arm + 1}")
    finish(right, "states, by the best arm so far", "first component", "second component", legend=True)
    said = "; ".join(f"{name}: {values[0]:.2f} to {values[-1]:.2f}" for name, values in shares.items())
    return fig, f"How much of the posterior means a linear function of the state explains: {said}. States in a plane."
