r"""Matching networks (Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra 2016).

A query attends to the support drawings, and each of them gives its attention to its own class:

    a(x, x_i) = softmax_i( cos(f(x), f(x_i)) ),    p(n | x) = Σ a(x, x_i) over the support x_i of class n

This is the simple form, in which f embeds every drawing by itself. The paper's "full context embeddings", where
recurrent networks let the embeddings of an episode depend on each other, helped little on Omniglot and are left out.
A prototypical network differs in comparing with class means, and by squared distance; with one shot per class, the
distance is the only difference.

A cosine is at most 1, so with many classes the softmax cannot become sure. Later work therefore multiplies the cosines
by a factor that is learned (Gidaris & Komodakis 2018; Oreshkin, Rodríguez López & Lacoste 2018): `first_scale`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import arguments
from ..nets import Params
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


def _matching_logits(
    support_z: Tensor, support_y: Tensor, query_z: Tensor, ways: int, scale: Tensor | float = 1.0
) -> Tensor:
    support_z, query_z = (F.normalize(z, dim=2, eps=SHORTEST) for z in (support_z, query_z))
    log_attention = (scale * (query_z @ support_z.mT)).log_softmax(2)  # [T, Q, S]
    member = F.one_hot(support_y, ways).bool().mT  # [T, N, S]
    return log_attention[:, :, None].masked_fill(~member[:, None], -torch.inf).logsumexp(3)


@dataclass(frozen=True)
class MatchingNet(PrototypicalNet):
    """A matching network: a prototypical network in all but how its embeddings are compared.

    With a learned factor, the parameters are the network's and `log_scale`, the logarithm of the factor.

    Args:
        first_scale: the factor of the cosines at the start of the training, which learns it; None: no factor, as in the
            paper.

    Raises:
        TypeError, ValueError: `first_scale` is no number above 0.
    """

    first_scale: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first_scale is not None:
            arguments.real(above=0, first_scale=self.first_scale)

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters of the embedding, with the factor as told."""
        params = super().init(generator)
        if self.first_scale is None:
            return params
        return {**params, "log_scale": torch.tensor(math.log(self.first_scale), device=generator.device)}

    def logits(self, params: Params, support_z: Tensor, support_y: Tensor, query_z: Tensor, ways: int) -> Tensor:
        """Return the log-probabilities of the classes; shapes as in `PrototypicalNet.logits`."""
        scale = 1.0 if self.first_scale is None else params["log_scale"].exp().view(-1, 1, 1)
        return _matching_logits(support_z, support_y, query_z, ways, scale)
