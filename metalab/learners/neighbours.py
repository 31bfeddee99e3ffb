r"""Neighbourhood components analysis (Goldberger et al. 2004), a prototypical network that asks every drawing.

In training, each of an episode's drawings is a query in turn, and each of the others is a prototype by itself. With
F(i) the other drawings of the class of drawing i,

    p(j | i) = softmax over all j ≠ i of −‖f(x_i) − f(x_j)‖²,    L = − mean over i of log Σ_{j in F(i)} p(j | i)

A prototypical network's loss compares the queries with the support only; this one compares all with all, at the cost of
the same embeddings. Laenen & Bertinetto 2021 find that it trains better. Prediction is that of a prototypical network.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..engine.derivatives import gradient
from ..losses import accuracy
from ..nets import Params, for_tasks
from ..tasks import Episode
from .learner import check_episode
from .prototypical import PrototypicalNet


class NeighbourhoodComponents(PrototypicalNet):
    """Neighbourhood components analysis: a prototypical network in all but its training loss."""

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """Return the gradient of the episodes' mean loss over all drawings, and the metrics.

        The accuracy is that of a prototypical network on the queries.

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner.
        """
        check_episode(self, params, episode, every_class=True)
        labels = torch.cat([episode.support_y, episode.query_y], 1)
        itself = torch.eye(labels.shape[1], dtype=torch.bool, device=labels.device)
        stranger = labels.unsqueeze(2) != labels.unsqueeze(1)  # [T, B, B]

        def loss(theta: Params) -> tuple[Tensor, dict[str, Tensor]]:
            z = self.net(theta, torch.cat([episode.support_x, episode.query_x], 1))  # [T, B, E]
            square = z.square().sum(2)
            logits = 2 * z @ z.mT - square.unsqueeze(2) - square.unsqueeze(1)
            logits = logits.masked_fill(itself, -torch.inf)
            of_fellows = logits.masked_fill(stranger, -torch.inf)
            losses = (logits.logsumexp(2) - of_fellows.logsumexp(2)).mean(1)
            return losses, {"accuracy": accuracy(self._answer(theta, z.detach(), episode), episode.query_y).mean()}

        grads, losses, metrics = gradient(loss, for_tasks(params, episode.tasks), has_aux=True)
        return {name: g.mean(0) for name, g in grads.items()}, {"loss": losses.mean(), **metrics}
