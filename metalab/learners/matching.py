r"""Matching networks (Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra 2016).

A query attends to the support drawings, and each of them gives its attention to its own class:

    a(x, x_i) = softmax_i( cos(f(x), f(x_i)) ),    p(n | x) = Σ a(x, x_i) over the support x_i of class n

This is the simple form, in which f embeds every drawing by itself. The paper's "full context embeddings", where
recurrent networks let the embeddings of an episode depend on each other, helped little on Omniglot and are left out.
A prototypical network differs in comparing with class means, and by squared distance; with one shot per class, the
distance is the only difference.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .learner import check_logits
from .prototypical import PrototypicalNet

SHORTEST = 1e-3  # a shorter embedding is not stretched to length 1: at 0 it has no direction, and its slope is infinite


def matching_logits(support_z: Tensor, support_y: Tensor, query_z: Tensor, ways: int) -> Tensor:
    """Return log p(n | x) of each query: [T, Q, N].

    Args:
        support_z: support embeddings [T, S, E].
        support_y: their labels [T, S], 0 … N − 1.
        query_z: query embeddings [T, Q, E].
        ways: N.

    Raises:
        TypeError, ValueError: the arguments are no tensors of these shapes, or a class has no support.
    """
    check_logits(support_z, support_y, query_z, ways)
    return _matching_logits(support_z, support_y, query_z, ways)


def _matching_logits(support_z: Tensor, support_y: Tensor, query_z: Tensor, ways: int) -> Tensor:
    support_z, query_z = (F.normalize(z, dim=2, eps=SHORTEST) for z in (support_z, query_z))
    attention = (query_z @ support_z.mT).softmax(2)  # [T, Q, S]
    member = F.one_hot(support_y, ways).to(attention.dtype)  # [T, S, N]
    return (attention @ member).log()


class MatchingNet(PrototypicalNet):
    """A matching network: a prototypical network in all but how its embeddings are compared."""

    def logits(self, support_z: Tensor, support_y: Tensor, query_z: Tensor, ways: int) -> Tensor:
        """Return the log-probabilities of the classes; shapes as in `PrototypicalNet.logits`."""
        return _matching_logits(support_z, support_y, query_z, ways)
