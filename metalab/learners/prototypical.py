r"""Prototypical networks (Snell, Swersky & Zemel 2017).

A class is the mean of its support embeddings, and a query belongs to the nearest one:

    c_n = mean of f(x) over the support of class n,    p(n | x) = softmax_n( −‖f(x) − c_n‖² )

Nothing is adapted at test time: the embedding f was trained on episodes until it could do without.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.derivatives import gradient
from ..losses import accuracy, cross_entropy
from ..nets import Conv4, Params, for_tasks
from ..tasks import Episode


def prototype_logits(support_z: Tensor, support_y: Tensor, query_z: Tensor, ways: int) -> Tensor:
    """−(squared Euclidean distance) of queries [T, Q, E] to the class means of [T, S, E], labels [T, S]: [T, Q, N]."""
    member = F.one_hot(support_y, ways).to(support_z.dtype)  # [T, S, N]
    prototypes = member.transpose(1, 2) @ support_z / member.sum(1).unsqueeze(2)  # [T, N, E]
    return -(query_z.unsqueeze(2) - prototypes.unsqueeze(1)).square().sum(3)


@dataclass(frozen=True)
class PrototypicalNet:
    """Learns the embedding `net`. Training normalises each episode by its own statistics, as everybody does.

    Args:
        net: Conv4 without outputs.
        transductive: how `predict` normalises: False by `stats` measured on training images (the paper's running
            statistics), True by the test episode's own pictures, queries included.
    """

    net: Conv4
    transductive: bool = False

    def init(self, generator: torch.Generator) -> Params:
        return self.net.init(generator)

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """The gradient of the episodes' mean query loss with respect to `params`, and the metrics."""
        metrics = {}

        def query_loss(theta: Params) -> Tensor:
            logits = self._answer(self.net(theta, _images(episode)), episode)
            metrics["accuracy"] = accuracy(logits.detach(), episode.query_y).mean()
            return cross_entropy(logits, episode.query_y)

        grads, losses = gradient(query_loss, for_tasks(params, episode.tasks))
        return {name: g.mean(0) for name, g in grads.items()}, {"loss": losses.mean(), **metrics}

    @torch.no_grad()
    def predict(self, params: Params, episode: Episode, *, stats: Params | None = None) -> Tensor:
        """Logits of the queries [T, Q, N]. Inductive prediction needs `stats`, from `net.statistics(...)`."""
        images = _images(episode)
        if self.transductive:
            return self._answer(self.net(for_tasks(params, episode.tasks), images), episode)
        if stats is None:
            raise ValueError("stats=None: measure them by net.statistics(params, images), or set transductive=True")
        # With fixed statistics no picture depends on another, so all episodes go through as one batch.
        z = self.net(for_tasks(params, 1), images.flatten(0, 1)[None], stats=stats)
        return self._answer(z.view(*images.shape[:2], -1), episode)

    def logits(self, support_z: Tensor, support_y: Tensor, query_z: Tensor, ways: int) -> Tensor:
        """How the classes are told apart: from embeddings [T, S, E] and [T, Q, E], and labels [T, S], to [T, Q, N]."""
        return prototype_logits(support_z, support_y, query_z, ways)

    def _answer(self, z: Tensor, episode: Episode) -> Tensor:
        support = episode.support_x.shape[1]
        return self.logits(z[:, :support], episode.support_y, z[:, support:], episode.ways)


def _images(episode: Episode) -> Tensor:
    return torch.cat([episode.support_x, episode.query_x], 1)  # [T, S+Q, 1, H, W]
