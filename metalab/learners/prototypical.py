r"""Prototypical networks (Snell, Swersky & Zemel 2017).

A class is the mean of its support embeddings, its prototype, and a query belongs to the nearest one:

    c_n = mean of f(x) over the support of class n,    p(n | x) = softmax_n( −‖f(x) − c_n‖² )

Nothing is adapted at test time: the embedding f was trained on episodes until it could do without.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import arguments
from ..engine.derivatives import gradient
from ..losses import accuracy, cross_entropy
from ..nets import Conv4, Params, for_tasks
from ..tasks import Episode
from .learner import WithStatistics, check_episode, check_logits, check_net


def prototype_logits(support_z: Tensor, support_y: Tensor, query_z: Tensor, ways: int) -> Tensor:
    """Return −(squared Euclidean distance) of each query to each class's mean: [T, Q, N].

    Args:
        support_z: support embeddings [T, S, E].
        support_y: their labels [T, S], 0 … N − 1.
        query_z: query embeddings [T, Q, E].
        ways: N.

    Raises:
        TypeError, ValueError: the arguments are no tensors of these shapes, or a class has no support.
    """
    check_logits(support_z, support_y, query_z, ways)
    return _prototype_logits(support_z, support_y, query_z, ways)


def _prototype_logits(support_z: Tensor, support_y: Tensor, query_z: Tensor, ways: int) -> Tensor:
    member = F.one_hot(support_y, ways).to(support_z.dtype)  # [T, S, N]
    prototypes = member.transpose(1, 2) @ support_z / member.sum(1).unsqueeze(2)  # [T, N, E]
    square, to = query_z.square().sum(2, keepdim=True), prototypes.square().sum(2).unsqueeze(1)
    return torch.baddbmm(square + to, query_z, prototypes.mT, beta=-1, alpha=2)  # −‖q − c‖², by a matrix product


@dataclass(frozen=True)
class PrototypicalNet(WithStatistics):
    """A prototypical network. In training, each episode is normalised by its own statistics, as in the code of the
    paper.

    Args:
        net: the embedding f, a Conv4 without outputs.
        transductive: how `predict` normalises: False by `stats`, measured on training images (the paper uses running
            statistics); True by the test episode's own pictures, queries included.

    Raises:
        TypeError: an argument is of another type.
    """

    net: Conv4
    transductive: bool = False

    def __post_init__(self) -> None:
        check_net(self.net)
        arguments.flag(transductive=self.transductive)

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters of the embedding."""
        return self.net.init(generator)

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """Return the gradient of the episodes' mean query loss with respect to `params`, and the metrics.

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner.
        """
        check_episode(self, params, episode, every_class=True)

        def query_loss(theta: Params) -> tuple[Tensor, dict[str, Tensor]]:
            logits = self._answer(theta, self.net(theta, _images(episode)), episode)
            metrics = {"accuracy": accuracy(logits.detach(), episode.query_y).mean()}
            return cross_entropy(logits, episode.query_y), metrics

        grads, losses, metrics = gradient(query_loss, for_tasks(params, episode.tasks), has_aux=True)
        return {name: g.mean(0) for name, g in grads.items()}, {"loss": losses.mean(), **metrics}

    @torch.no_grad()
    def predict(self, params: Params, episode: Episode) -> Tensor:
        """Compare each query with the class prototypes: logits [T, Q, N].

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner, or there are no `stats`, and the
                learner is not transductive.
        """
        check_episode(self, params, episode, every_class=True)
        images = _images(episode)
        if self.transductive:
            theta = for_tasks(params, episode.tasks)
            return self._answer(theta, self.net(theta, images), episode)
        # With fixed statistics no picture depends on another, so all episodes go through as one batch.
        one = for_tasks(params, 1)
        z = self.net(one, images.flatten(0, 1)[None], stats=self._statistics())
        return self._answer(one, z.view(*images.shape[:2], -1), episode)

    def logits(self, params: Params, support_z: Tensor, support_y: Tensor, query_z: Tensor, ways: int) -> Tensor:
        """Tell the classes apart: from embeddings [T, S, E] and [T, Q, E], and labels [T, S], to logits [T, Q, N].

        The parameters have a task axis of length T or 1. A variant may have some that the comparison depends on.
        """
        return _prototype_logits(support_z, support_y, query_z, ways)

    def _answer(self, params: Params, z: Tensor, episode: Episode) -> Tensor:
        support = episode.support_x.shape[1]
        return self.logits(params, z[:, :support], episode.support_y, z[:, support:], episode.ways)


def _images(episode: Episode) -> Tensor:
    return torch.cat([episode.support_x, episode.query_x], 1)  # [T, S+Q, 1, H, W]
