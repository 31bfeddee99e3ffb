r"""Koch's verification network (Koch, Zemel & Salakhutdinov 2015): the measure of similarity is learned as well.

A logistic regression on the distances in each coordinate says how probable it is that two drawings show one character:

    p(same) = σ( Σ_j α_j |f_j(x₁) − f_j(x₂)| + b )

The loss is binary cross-entropy, over all pairs in the paper. Without the bias b, which the paper's formula leaves out,
a drawing would be the same as itself with a probability of only ½. A query gets the class of the support drawing with
the highest p.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import arguments
from ..nets import Params
from .siamese import Siamese, balanced_mean, differences, kinds_of_pairs


@dataclass(frozen=True)
class Koch(Siamese):
    """The paper's head on our small network. The paper's own network has four convolutions on 105 × 105 pixels and
    4,096 sigmoid units.

    The parameters are the network's, and `pair_weight` α [E] and `pair_bias` b.

    Args:
        hardest: how many negative pairs of each drawing count, those that it takes most for the same; None: all, as in
            the paper.

    Raises:
        TypeError, ValueError: `hardest` is no whole number of at least 1.
    """

    hardest: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hardest is not None:
            arguments.whole(hardest=self.hardest)

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters of the embedding, and start the head as a distance."""
        params = self.net.init(generator)
        width = self.net.outputs or self.net.widths[-1]
        # The negative sum of the coordinates' distances, scaled to the size that logits have.
        alpha = torch.full((width,), -(width**-0.5), device=generator.device)
        return {**params, "pair_weight": alpha, "pair_bias": alpha.new_zeros(())}

    def similarity(self, params: Params, a: Tensor, b: Tensor) -> Tensor:
        """Return the logits of p(same) for embeddings [..., A, E] and [..., B, E]: [..., A, B]."""
        return differences(a, b).abs() @ params["pair_weight"] + params["pair_bias"]

    def loss(self, similarity: Tensor, drawings: int) -> Tensor:
        same, _different = kinds_of_pairs(similarity.shape[-1], drawings, similarity.device)
        target = same.to(similarity.dtype).expand_as(similarity)
        losses = F.binary_cross_entropy_with_logits(similarity, target, reduction="none")
        return balanced_mean(losses, drawings, hardest=self.hardest)
