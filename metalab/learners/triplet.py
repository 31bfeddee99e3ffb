r"""The triplet loss (Schroff, Kalenichenko & Philbin 2015; Hermans, Beyer & Leibe 2017).

A drawing a, the anchor, shall be nearer to another drawing p of its character than to a drawing n of any other, by a
margin m:

    L = max(0, m + d(a, p) − d(a, n))

Most triplets have learnt that soon, and teach nothing. So triplets are mined in each batch:

    hard        (Hermans) for each anchor its farthest p and its nearest n
    semi-hard   (Schroff) for each pair a, p the nearest n that is farther than p; where there is none, the farthest n

d is the Euclidean distance, as Hermans has it; Schroff squares it, and embeds on the unit sphere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .siamese import Siamese, kinds_of_pairs


def batch_hard(distance: Tensor, drawings: int, margin: float) -> Tensor:
    """Mean over the anchors' hardest triplets, of distances [G, B, B] with K drawings of one character in a row: [G].

    Raises:
        ValueError: a margin that is not above 0, fewer than 2 drawings of a character, or fewer than 2 characters.
    """
    _check(margin)
    positive, negative = kinds_of_pairs(distance.shape[-1], drawings, distance.device)
    farthest = distance.masked_fill(~positive, -torch.inf).amax(2)  # [G, B]
    nearest = distance.masked_fill(~negative, torch.inf).amin(2)
    return (margin + farthest - nearest).relu().mean(1)


def semi_hard(distance: Tensor, drawings: int, margin: float) -> Tensor:
    """Mean over all positive pairs, each with its semi-hard negative: [G]; arguments and errors as `batch_hard`'s."""
    _check(margin)
    positive, negative = kinds_of_pairs(distance.shape[-1], drawings, distance.device)
    # Each anchor's negatives, nearest first; then where in this order each positive would stand.
    negatives = distance.masked_fill(~negative, torch.inf).sort(2).values  # [G, B, B]
    place = torch.searchsorted(negatives.detach(), distance.detach().contiguous(), right=True)
    count = distance.shape[-1] - drawings  # negatives of an anchor; behind them stand infinities
    beyond = negatives.gather(2, place.clamp(max=count - 1))  # the next one, or the last
    return ((margin + distance - beyond).relu() * positive).sum((1, 2)) / positive.sum()


@dataclass(frozen=True)
class Triplet(Siamese):
    """Args:
    margin: m, in units of the embedding.
    mining: "hard" or "semi-hard".
    """

    margin: float = 0.2
    mining: str = "hard"

    def __post_init__(self) -> None:
        _check(self.margin)
        if self.mining not in ("hard", "semi-hard"):
            raise ValueError(f'mining={self.mining!r} must be "hard" or "semi-hard"')

    def loss(self, similarity: Tensor, drawings: int) -> Tensor:
        mine = batch_hard if self.mining == "hard" else semi_hard
        return mine(-similarity, drawings, self.margin)


def _check(margin: float) -> None:
    if not (margin > 0 and math.isfinite(margin)):
        raise ValueError(f"margin={margin} must be above 0: else an embedding of everything in one point is perfect")
