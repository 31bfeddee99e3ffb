r"""The supervised contrastive loss (Khosla et al. 2020): InfoNCE (van den Oord, Li & Vinyals 2018) with labels.

Each drawing i is asked which of the other drawings of its group show its character. With the cosine of two embeddings
as their similarity s, a temperature τ, and P(i) the other drawings of its character,

    L_i = − mean over p in P(i) of log( exp(s(i, p) / τ) / Σ_{a ≠ i} exp(s(i, a) / τ) )

This is the paper's L_out. With two drawings of each character, P(i) has one element, and L_i is InfoNCE.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import arguments
from ..nets import Params
from .siamese import Siamese, kinds_of_pairs

SHORTEST = 1e-3  # a shorter embedding is not stretched to length 1: at 0 it has no direction, and its slope is infinite


@dataclass(frozen=True)
class SupervisedContrastive(Siamese):
    """The supervised contrastive loss. The paper trains a projection head on top of the embedding; this does not.

    Args:
        temperature: τ; 0.1 as in the paper.

    Raises:
        TypeError, ValueError: the temperature is not above 0.
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        arguments.real(above=0, temperature=self.temperature)

    def similarity(self, params: Params, a: Tensor, b: Tensor) -> Tensor:
        """Return the cosines of embeddings [..., A, E] and [..., B, E]: [..., A, B]."""
        a, b = (F.normalize(z, dim=-1, eps=SHORTEST) for z in (a, b))
        return a @ b.mT

    def loss(self, similarity: Tensor, drawings: int) -> Tensor:
        """Return the mean of L_i over the drawings of each group, from its similarities [G, B, B]: [G]."""
        positive, negative = kinds_of_pairs(similarity.shape[-1], drawings, similarity.device)
        logits = (similarity / self.temperature).masked_fill(~(positive | negative), -torch.inf)
        log_p = logits - logits.logsumexp(2, keepdim=True)
        return -log_p.masked_fill(~positive, 0).sum((1, 2)) / positive.sum()
