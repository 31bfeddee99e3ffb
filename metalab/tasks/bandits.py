"""Bernoulli bandits: each task has A arms, and pulling an arm pays 1 with that arm's chance, and otherwise 0.

The chances are uniform in 0 … 1, as in Duan et al. 2016 and Wang et al. 2016. A player has K pulls of each bandit, and
wants as many payments as possible. Everything random is drawn beforehand, also what decides a payment and what a policy
chooses its arm with. So a game can be played again with another policy and the same luck.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments

ARMS, PULLS = 5, 10  # of the smallest problem of Duan et al.


@dataclass(frozen=True)
class Bandits:
    """T bandits, and the luck of K pulls of each.

    Args:
        chances: how probably each arm pays [T, A].
        luck: numbers in 0 … 1 that decide whether a pull pays [T, K]: it does if they are below the arm's chance.
        choice: numbers in 0 … 1 by which `choose` picks an arm [T, K].

    Raises:
        TypeError: one of them is no tensor.
        ValueError: they are not of these shapes, or not floating-point numbers of one precision on one device.
    """

    chances: Tensor
    luck: Tensor
    choice: Tensor

    def __post_init__(self) -> None:
        if not arguments.is_trusted():
            arguments.shapes(chances=(self.chances, "T A"), luck=(self.luck, "T K"))
            arguments.floats(chances=self.chances, luck=self.luck)
            arguments.shapes(luck=(self.luck, "T K"), choice=(self.choice, "T K"))
            arguments.floats(luck=self.luck, choice=self.choice)

    @property
    def arms(self) -> int:
        """The number of arms, A."""
        return self.chances.shape[1]

    @property
    def pulls(self) -> int:
        """The number of pulls, K."""
        return self.luck.shape[1]

    def pull(self, arm: Tensor, number: int) -> Tensor:
        """Return what pull `number`, counted from 0, pays at these arms [T]: 0 or 1 each [T]."""
        return (self.luck[:, number] < self.chances.gather(1, arm[:, None])[:, 0]).to(self.chances.dtype)

    def choose(self, probabilities: Tensor, number: int) -> Tensor:
        """Return arms [T] with these probabilities [T, A], for pull `number`, counted from 0.

        An arm is chosen if the number of `choice`, in 0 … 1, falls into the arm's part of that interval.
        """
        ends = probabilities.cumsum(1)
        at = self.choice[:, number, None] * ends[:, -1:]
        return (ends <= at).sum(1).clamp(max=self.arms - 1)


def sample(
    tasks: int, generator: torch.Generator, *, arms: int = ARMS, pulls: int = PULLS, dtype: torch.dtype = torch.float32
) -> Bandits:
    """Draw T bandits whose arms pay with chances that are uniform in 0 … 1, and the luck of their pulls.

    Args:
        tasks: T.
        generator: source of randomness; the bandits are on its device.
        arms: A.
        pulls: K.
        dtype: the precision of the numbers.

    Raises:
        TypeError: a number is no whole number, or `generator` is no generator.
        ValueError: a number is less than 1, or the precision is none of floating-point numbers.
    """
    arguments.whole(tasks=tasks, arms=arms, pulls=pulls)
    arguments.generator(generator)
    arguments.one_of((torch.float32, torch.float64), dtype=dtype)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, device=generator.device, dtype=dtype)

    return Bandits(uniform(tasks, arms), uniform(tasks, pulls), uniform(tasks, pulls))
