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
from ...learners.recurrent import next_state
from ...learners.recurrent_policy import Game
from ...nets import Params
from ...tasks import bandits
from ..kit.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, figure, finish

NETWORK = "recurrent network"
NEAR = 0.1  # payments of a whole game: who loses less comes near the optimal play
LOOKS = {  # of the methods, in every picture: colour and dash
    NETWORK: (PURPLE, "-"),
    "optimal": (BLACK, "--"),
    "greedy": (GREEN, "-."),
    "Thompson": (BLUE, "-"),
    "UCB1": (VERMILION, "--"),
    "any arm": (GREY, ":"),
    "UCB1, best c": (ORANGE, "-."),
    "UCB1 with prior": (ORANGE, "-."),
    "greedy, least pulled": (VERMILION, ":"),
    "Gittins": (SKY, ":"),
}


def load_results() -> dict[str, Any]:
    """Return what `python -m metalab.experiments.bandits` measured."""
    return json.loads(Path(__file__).with_name("bandits.json").read_text())


def load_network(seed: int = 0) -> Params:
    """Return a network that the command trained."""
    kept = checkpoint.load(Path(__file__).with_name("recurrent_policies.safetensors"))[0]
    return {name.removeprefix(f"{seed}."): p for name, p in kept.items() if name.startswith(f"{seed}.")}


def below(results: Mapping[str, Any], name: str = "optimal") -> Interval:
    """Return how much less than another player the network gets in a game, over the seeds. Each value is exact."""
    return Interval.of([sum(results["exact"][name]) - sum(run["by pull"]) for run in results["runs"]])


def draw_rewards(curves: Mapping[str, Sequence[float]]) -> tuple[Figure, str]:
    """Draw the mean reward of each pull, and how much it differs from the optimal play's for those that come near it.

    Args:
        curves: the reward of each pull by names in LOOKS, "optimal" among them.
    """
    fig, (left, right) = figure(9, 4.6, ncols=2)
    best = curves["optimal"]
    pulls = range(1, len(best) + 1)
    for name, values in curves.items():
        color, dash = LOOKS[name]
        left.plot(pulls, values, dash, color=color, linewidth=2.2, label=name)
        if name == "optimal" or sum(best) - sum(values) < NEAR:
            gap = [value - most for value, most in zip(values, best, strict=True)]
            right.plot(pulls, gap, dash, color=color, linewidth=2.2, label=name)
    for ax, title in ((left, "how much each pull pays"), (right, "the same minus the optimal play")):
        ax.set_xticks(pulls)
        finish(ax, title, "pull", "mean reward" if ax is left else "difference", legend=True)
    said = ", ".join(f"{name} {sum(values):.2f}" for name, values in curves.items())
    return fig, f"The mean reward over the pulls of a game. Whole games: {said}."


def states_in(params: Params, game: Game) -> Tensor:
    """Return the states [T, K, width] of a network that reads the arms and rewards of games, whoever played them."""
    arms = torch.nn.functional.one_hot(game.arms, game.log_p.shape[2]).to(game.rewards.dtype)
    told = torch.cat([arms, game.rewards[:, :, None]], 2)
    state, states = told.new_zeros(len(told), len(params["state"])), []
    for number in range(told.shape[1]):
        read = told[:, number - 1] if number else torch.zeros_like(told[:, 0])
        state = next_state(params, read @ params["input"] + params["bias"], state)
        states.append(state)
    return torch.stack(states, 1)


def means_before(arms: Tensor, rewards: Tensor) -> Tensor:
    """Return the posterior mean of each of the 5 arms before each pull [T, K, 5], from arms and rewards [T, K]."""
    pulled = torch.nn.functional.one_hot(arms, bandits.ARMS).double()
    paid = rewards[:, :, None].double()
    wins, losses = (part.cumsum(1) - part for part in (pulled * paid, pulled * (1 - paid)))
    return posterior_mean(wins, losses)


def explored(arms: Tensor, rewards: Tensor) -> list[float]:
    """Return for each pull in which share of the games [T, K] it was of an arm that did not look best."""
    means = means_before(arms, rewards)
    pulled = means.gather(2, arms[:, :, None])[:, :, 0]
    return (pulled < means.amax(2) - 1e-9).double().mean(0).tolist()


def read_off(states: Tensor, means: Tensor) -> tuple[float, Tensor]:
    """Fit a linear function of the states [T, W] to the posterior means [T, A], in the first half of the games.

    Returns:
        R² over all arms in the second half, and the values of the function there [T / 2, A].
    """
    half = len(states) // 2
    x = torch.cat([states.detach().double(), torch.ones(len(states), 1, dtype=torch.float64)], 1)
    xx = x[:half].mT @ x[:half] + 1e-6 * half * torch.eye(x.shape[1], dtype=x.dtype)
    values = x[half:] @ torch.linalg.solve(xx, x[:half].mT @ means[:half])
    off, spread = means[half:] - values, means[half:] - means[half:].mean(0)
    return 1 - (off.square().sum() / spread.square().sum()).item(), values


def draw_state(shares: Mapping[str, Sequence[float]], true: Tensor, read: Tensor) -> tuple[Figure, str]:
    """Draw how much of the posterior means can be read off the states, and the reading of one arm.

    Args:
        shares: R² before pulls 2 … K, by the name of the network.
        true: the posterior mean of an arm in some games [T].
        read: what the linear function reads off the trained state there [T].
    """
    fig, (left, right) = figure(9, 4.4, ncols=2)
    for (name, values), (color, dash) in zip(shares.items(), ((PURPLE, "-"), (GREY, ":")), strict=False):
        left.plot(range(2, len(values) + 2), values, dash, marker="o", color=color, linewidth=2.2, label=name)
    left.set_ylim(0, 1.02)
    finish(left, "posterior means, read off the state", "before pull", "explained share, R²", legend=True)
    right.plot(true, read, "o", color=PURPLE, markersize=4, alpha=0.3)
    right.plot([0, 1], [0, 1], ":", color=BLACK)
    finish(right, "arm 1 before the last pull, trained", "posterior mean", "read off the state")
    said = "; ".join(f"{name}: {values[0]:.2f} to {values[-1]:.2f}" for name, values in shares.items())
    return fig, f"How much of the posterior means a linear function of the state explains: {said}. One arm, by game."
