"""Linear functions in some dimensions, y = w · x with normal w and x, as Garg et al. 2022 draw them."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import arguments
from .episode import Episode

DIMENSIONS = 5  # of the authors' smallest problem; 20 in the paper


def sample(
    tasks: int,
    shots: int,
    queries: int,
    generator: torch.Generator,
    *,
    dimensions: int = DIMENSIONS,
    scale: float = 1.0,
    noise: float = 0.0,
) -> Episode:
    """Draw an episode of fresh linear tasks: x is [T, shots, dimensions], and y [T, shots, 1].

    The weights w and the inputs x are standard normal, so that y has the variance of `dimensions`.

    Args:
        tasks: T.
        shots: how many support points each task has.
        queries: how many query points.
        generator: source of randomness.
        dimensions: the number of inputs.
        scale: multiplies all inputs x.
        noise: standard deviation of the normal noise that is added to the support's y. Queries have none.

    Raises:
        TypeError: a number is no number or no whole number, or `generator` is no generator.
        ValueError: a number is out of range: whole ones must be at least 1, the scale above 0, the noise at least 0.
    """
    arguments.whole(tasks=tasks, shots=shots, queries=queries, dimensions=dimensions)
    arguments.generator(generator)
    arguments.real(above=0, scale=scale)
    arguments.real(least=0, noise=noise)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=generator.device)

    w, x = normal(tasks, dimensions, 1), scale * normal(tasks, shots + queries, dimensions)
    y = x @ w
    support_y = y[:, :shots] + noise * normal(tasks, shots, 1)
    return Episode(x[:, :shots], support_y, x[:, shots:], y[:, shots:])
