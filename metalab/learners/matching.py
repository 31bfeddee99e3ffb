r"""Matching networks (Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra 2016).

A query attends to the support drawings, and each gives its attention to its own class:

    a(x, x_i) = softmax_i( cos(f(x), f(x_i)) ),    p(n | x) = Σ a(x, x_i) over the support x_i of class n

This is their simple form: f embeds every drawing by itself. Their "full context embeddings", where recurrent networks
let the embeddings of an episode depend on each other, helped little on Omniglot and are left out. Prototypical
networks, beside them, compare to class means, by squared distance; with one shot that is all that differs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..derivatives import gradient
from ..losses import accuracy, cross_entropy
from ..nets import Conv4, Params, for_tasks
from ..tasks import Episode

SHORTEST = 1e-3  # a shorter embedding is not stretched to length 1: at 0 it has no direction, nor a finite slope


def matching_logits(support_z: Tensor, support_y: Tensor, query_z: Tensor, ways: int) -> Tensor:
    """log p(n | x) of queries [T, Q, E], from the support's [T, S, E] and labels [T, S]: [T, Q, N].

    Raises:
        ValueError: support and queries are embeddings of different widths.
    """
    if support_z.shape[-1] != query_z.shape[-1]:
        widths = f"{support_z.shape[-1]} and {query_z.shape[-1]}"
        raise ValueError(f"support_z and query_z are embeddings of {widths} numbers: the widths must agree")
    support_z, query_z = (F.normalize(z, dim=2, eps=SHORTEST) for z in (support_z, query_z))
    attention = (query_z @ support_z.mT).softmax(2)  # [T, Q, S]
    member = F.one_hot(support_y, ways).to(attention.dtype)  # [T, S, N]
    return (attention @ member).log()


@dataclass(frozen=True)
class MatchingNet:
    """Learns the embedding `net`, Conv4 without outputs. Training normalises each episode by its own statistics."""

    net: Conv4

    def init(self, generator: torch.Generator) -> Params:
        return self.net.init(generator)

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """The gradient of the episodes' mean query loss with respect to `params`, and the metrics."""
        metrics = {}

        def query_loss(theta: Params) -> Tensor:
            logits = _logits(self.net(theta, _images(episode)), episode)
            metrics["accuracy"] = accuracy(logits.detach(), episode.query_y).mean()
            return cross_entropy(logits, episode.query_y)

        grads, losses = gradient(query_loss, for_tasks(params, episode.tasks))
        return {name: g.mean(0) for name, g in grads.items()}, {"loss": losses.mean(), **metrics}

    @torch.no_grad()
    def predict(self, params: Params, episode: Episode, *, stats: Params) -> Tensor:
        """Log-probabilities of the queries [T, Q, N]; `stats` from `net.statistics(params, training_images)`."""
        images = _images(episode)
        # With fixed statistics no picture depends on another, so all episodes go through as one batch.
        z = self.net(for_tasks(params, 1), images.flatten(0, 1)[None], stats=stats)
        return _logits(z.view(*images.shape[:2], -1), episode)


def _images(episode: Episode) -> Tensor:
    return torch.cat([episode.support_x, episode.query_x], 1)  # [T, S+Q, 1, H, W]


def _logits(z: Tensor, episode: Episode) -> Tensor:
    support = episode.support_x.shape[1]
    return matching_logits(z[:, :support], episode.support_y, z[:, support:], episode.ways)
