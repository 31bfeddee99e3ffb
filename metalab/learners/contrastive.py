r"""The contrastive loss (Chopra, Hadsell & LeCun 2005; Hadsell, Chopra & LeCun 2006).

Two drawings of one character are pulled together; two of different characters are pushed apart, but only until they
are a margin m from each other. With d = ‖f(x₁) − f(x₂)‖ and y = 1 where both are of one character:

    L = y d² + (1 − y) max(0, m − d)²

Hadsell, Chopra & LeCun write the opposite label, Y = 0 for a similar pair, and halve both terms:
(1 − Y) ½ d² + Y ½ max(0, m − d)². That is half of our loss, with y = 1 − Y. A network
trained with one label and tested with the other takes every different pair for a same one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .siamese import Siamese, balanced_mean, kinds_of_pairs


def contrastive_loss(distance: Tensor, same: Tensor, margin: float) -> Tensor:
    """Return the loss of each pair, for distances and labels `same` (True or 1 where y = 1) of one shape.

    With a margin of 0 nothing is pushed apart, and an embedding of everything in one point is perfect.

    Raises:
        ValueError: the margin is negative or not finite: no distance is below it.
    """
    _check(margin)
    return torch.where(same.bool(), distance.square(), (margin - distance).relu().square())


@dataclass(frozen=True)
class Contrastive(Siamese):
    """The contrastive loss over the pairs of a group. The positive pairs together weigh as much as the negative ones.

    Args:
        margin: m, in units of the embedding.
        hardest: how many negative pairs of each drawing count, the nearest ones; None: all, as in the paper. Most pairs
            are soon far beyond the margin and teach nothing, so that training goes several times faster on the pairs
            that still do ("hard negative mining", Simo-Serra et al. 2015).

    Raises:
        ValueError: the margin is negative or not finite.
    """

    margin: float = 1.0
    hardest: int | None = None

    def __post_init__(self) -> None:
        _check(self.margin)

    def loss(self, similarity: Tensor, drawings: int) -> Tensor:
        same, _different = kinds_of_pairs(similarity.shape[-1], drawings, similarity.device)
        return balanced_mean(contrastive_loss(-similarity, same, self.margin), drawings, hardest=self.hardest)


def _check(margin: float) -> None:
    if not (margin >= 0 and math.isfinite(margin)):
        raise ValueError(f"margin={margin} must be a finite number of at least 0: no distance is negative")
