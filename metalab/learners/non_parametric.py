r"""Two learners without parameters: kernel regression and nearest neighbours. Their memory is the support set itself.

Kernel regression (Nadaraya 1964; Watson 1964) answers with a weighted mean of the support set's y, in which near points
count most, and k nearest neighbours (Cover & Hart 1967) with the plain mean of the k nearest:

    ŷ(x) = Σ_i k(x, x_i) y_i / Σ_i k(x, x_i)  with  k(x, x') = exp( −‖x − x'‖² / 2ℓ² ),    ŷ(x) = mean of y_i, i nearest

Both answer with a number between the smallest and the largest y that they have seen, and with no uncertainty.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .. import arguments
from ..tasks import Episode
from .alpaca import numbers_of


def kernel_regression(episode: Episode, length: float) -> Tensor:
    """Answer each query by a mean of the support set's y, weighted by a kernel: [T, Q, out].

    Args:
        episode: the tasks.
        length: ℓ, the distance over which a point counts, in units of x.

    Raises:
        TypeError, ValueError: `episode` is none, or the length is not above 0.
    """
    arguments.real(above=0, length=length)
    gaps = _gaps(episode)
    # softmax is the division by the sum, and has a value where all kernels are too small for a number
    return (-0.5 * (gaps / length).square()).softmax(2) @ numbers_of(episode)[0]


def nearest_neighbours(episode: Episode, count: int = 1) -> Tensor:
    """Answer each query by the mean of the y of the nearest support points: [T, Q, out].

    Args:
        episode: the tasks.
        count: k, how many of them count.

    Raises:
        TypeError, ValueError: `episode` is none, or there are fewer than `count` support points.
    """
    gaps = _gaps(episode)
    arguments.whole(most=gaps.shape[2], what="the support points", count=count)
    nearest = gaps.topk(count, dim=2, largest=False).indices  # [T, Q, k]
    near = torch.zeros_like(gaps).scatter(2, nearest, 1 / count)
    return near @ numbers_of(episode)[0]


def _gaps(episode: Episode) -> Tensor:
    """Return the distances of queries and support points: [T, Q, S]."""
    if not isinstance(episode, Episode):
        raise TypeError(f"episode={arguments.shown(episode)} must be an Episode")
    return torch.cdist(episode.query_x.flatten(2), episode.support_x.flatten(2))
