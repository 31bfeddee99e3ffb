r"""The contrastive loss (Chopra, Hadsell & LeCun 2005; Hadsell, Chopra & LeCun 2006).

Two drawings of one character are pulled together; two of different characters are pushed apart, but only until they
are a margin m from each other. With d = ‖f(x₁) − f(x₂)‖ and y = 1 where both are of one character:

    L = y d² + (1 − y) max(0, m − d)²

Hadsell, Chopra & LeCun write the opposite label, Y = 0 for a similar pair, and halve both terms:
(1 − Y) ½ d² + Y ½ max(0, m − d)². That is half of our loss, with y = 1 − Y. A network
trained with one label and tested with the other takes every different pair for a same one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import arguments
from ..arguments import shown
from .siamese import Siamese, balanced_mean, kinds_of_pairs


def contrastive_loss(distance: Tensor, same: Tensor, margin: float | Tensor) -> Tensor:
    """Return the loss of each pair, for distances and labels `same` (True or 1 where y = 1) of one shape.

    With a margin of 0 nothing is pushed apart, and an embedding of everything in one point is perfect.

    Raises:
        TypeError, ValueError: the arguments are no tensors of one shape, a distance is negative, a label is not 0 or 1,
            or the margin is negative or not finite: no distance is below it.
    """
    arguments.real(least=0, margin=margin)
    if not isinstance(distance, Tensor) or not isinstance(same, Tensor):
        raise TypeError(f"distance={shown(distance)} and same={shown(same)} must be tensors of one shape")
    if distance.shape != same.shape or not distance.numel():
        shapes = f"{list(distance.shape)} and {list(same.shape)}"
        raise ValueError(f"distance and same have the shapes {shapes}; they must have one shape, and not be empty")
    if same.dtype != torch.bool and same.device.type == "cpu" and not ((same == 0) | (same == 1)).all():
        raise ValueError("same has values other than 0 and 1; it must be True, or 1, for two drawings of one character")
    if distance.device.type == "cpu" and not (distance >= 0).all():
        raise ValueError("distance has values that are negative or not a number; no distance is")
    return _contrastive_loss(distance, same, margin)


def _contrastive_loss(distance: Tensor, same: Tensor, margin: float | Tensor) -> Tensor:
    return torch.where(same.bool(), distance.square(), (margin - distance).relu().square())


@dataclass(frozen=True)
class Contrastive(Siamese):
    """The contrastive loss over the pairs of a group. The positive pairs together weigh as much as the negative ones.

    Args:
        margin: m, in units of the embedding. A tensor without axes may be changed in place while a training runs; a
            step that was recorded on a GPU then follows.
        hardest: how many negative pairs of each drawing count, the nearest ones; None: all, as in the paper. Most pairs
            are soon far beyond the margin and teach nothing, so that training goes several times faster on the pairs
            that still do ("hard negative mining", Simo-Serra et al. 2015).

    Raises:
        TypeError, ValueError: the margin is negative or not finite, or `hardest` is less than 1.
    """

    margin: float | Tensor = 1.0
    hardest: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        arguments.real(least=0, margin=self.margin)
        if self.hardest is not None:
            arguments.whole(hardest=self.hardest)

    def loss(self, similarity: Tensor, drawings: int) -> Tensor:
        same, _different = kinds_of_pairs(similarity.shape[-1], drawings, similarity.device)
        return balanced_mean(_contrastive_loss(-similarity, same, self.margin), drawings, hardest=self.hardest)
