r"""The N-pair loss (Sohn 2016): every drawing of one person is looked for among another person's.

A group has P characters with K drawings each. Its k-th drawings are taken as the support set of a one-shot task with P
ways, and its l-th drawings as the queries, for every k ≠ l: K (K − 1) tasks from one embedding of the group. With the
cosine of two embeddings as their similarity s and a temperature τ, the l-th drawing of character i costs

    L = − log( exp(s(x_il, x_ik) / τ) / Σ_j exp(s(x_il, x_jk) / τ) )

The paper has K = 2 and inner products of embeddings, which it keeps short by a penalty on their length.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .supervised_contrastive import SupervisedContrastive


@dataclass(frozen=True)
class NPair(SupervisedContrastive):
    """The N-pair loss on cosines. Where the k-th drawings are by one person, its tasks are those of Lake's challenge.

    Args:
        temperature: τ.
    """

    def loss(self, similarity: Tensor, drawings: int) -> Tensor:
        """Return the mean of L over the tasks of each group, from its similarities [G, B, B]: [G]."""
        s = similarity.unflatten(2, (-1, drawings)).unflatten(1, (-1, drawings)) / self.temperature  # [G, P, K, P, K]
        log_p = s.diagonal(dim1=1, dim2=3) - s.logsumexp(3).permute(0, 2, 3, 1)  # [G, K queries, K supports, P]
        itself = torch.eye(drawings, dtype=torch.bool, device=s.device)[:, :, None]
        return -log_p.masked_fill(itself, 0).sum((1, 2, 3)) / (log_p[0].numel() * (1 - 1 / drawings))
