r"""The triplet loss (Schroff, Kalenichenko & Philbin 2015; Hermans, Beyer & Leibe 2017).

A drawing a, the anchor, should be nearer to another drawing p of its character than to a drawing n of any other
character, by a margin m:

    L = max(0, m + d(a, p) − d(a, n))

Most triplets soon satisfy this and teach nothing. Therefore triplets are mined in each batch:

    hard        (Hermans) for each anchor, its farthest p and its nearest n
    semi-hard   (Schroff) for each pair a, p, the nearest n that is farther than p; if there is none, the farthest n

d is the Euclidean distance, as in Hermans' paper; Schroff squares it and embeds on the unit sphere.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments
from .siamese import Siamese, kinds_of_pairs


def batch_hard(distance: Tensor, drawings: int, margin: float) -> Tensor:
    """Return the mean over the anchors' hardest triplets: [G].

    Args:
        distance: distances [G, B, B], with the K drawings of each character next to one another.
        drawings: K.
        margin: m.

    Raises:
        TypeError, ValueError: the distances are no such tensor, the margin is not above 0, or there are fewer than 2
            drawings of a character or 2 characters.
    """
    _check(distance, margin)
    positive, negative = kinds_of_pairs(distance.shape[-1], drawings, distance.device)
    farthest = distance.masked_fill(~positive, -torch.inf).amax(2)  # [G, B]
    nearest = distance.masked_fill(~negative, torch.inf).amin(2)
    return (margin + farthest - nearest).relu().mean(1)


def semi_hard(distance: Tensor, drawings: int, margin: float) -> Tensor:
    """Return the mean over all positive pairs, each with its semi-hard negative: [G]; arguments as in `batch_hard`."""
    _check(distance, margin)
    positive, negative = kinds_of_pairs(distance.shape[-1], drawings, distance.device)
    # Sort each anchor's negatives, nearest first, and find where in this order each positive would stand.
    negatives = distance.masked_fill(~negative, torch.inf).sort(2).values  # [G, B, B]
    place = torch.searchsorted(negatives.detach(), distance.detach().contiguous(), right=True)
    count = distance.shape[-1] - drawings  # negatives of an anchor; infinities follow them
    beyond = negatives.gather(2, place.clamp(max=count - 1))  # the next one, or the last
    return ((margin + distance - beyond).relu() * positive).sum((1, 2)) / positive.sum()


@dataclass(frozen=True)
class Triplet(Siamese):
    """The triplet loss. The default margin is Schroff's, the default mining Hermans'.

    Args:
        margin: m, in units of the embedding.
        mining: "hard" or "semi-hard".

    Raises:
        TypeError, ValueError: the margin is not above 0, or the mining is not known.
    """

    margin: float = 0.2
    mining: str = "hard"

    def __post_init__(self) -> None:
        super().__post_init__()
        arguments.real(above=0, margin=self.margin)
        arguments.one_of(("hard", "semi-hard"), mining=self.mining)

    def loss(self, similarity: Tensor, drawings: int) -> Tensor:
        mine = batch_hard if self.mining == "hard" else semi_hard
        return mine(-similarity, drawings, self.margin)


def _check(distance: Tensor, margin: float) -> None:
    arguments.shapes(distance=(distance, "G B B"))
    arguments.real(above=0, margin=margin)  # at 0, an embedding of everything in one point is perfect
