r"""What people would try first: train on everything, then fine-tune.

One classifier learns all C training characters at once, by ordinary minibatch training. For a new task its last layer
is replaced by a fresh one for N ways, and the whole network takes K gradient steps on the support set. (Chen et al.
2019, "A closer look at few-shot classification", call this the baseline; they fine-tune the last layer alone.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..engine.derivatives import gradient
from ..losses import accuracy, cross_entropy
from ..nets import Conv4, Params, for_tasks
from ..tasks import Episode


@dataclass(frozen=True)
class FineTuning:
    """Args:
    net: Conv4 with as many outputs as there are training characters.
    inner_lr: learning rate of the fine-tuning (plain gradient descent on the mean cross-entropy).
    inner_steps: K, its number of steps.
    body: fine-tune every layer; False leaves all but the fresh last layer as trained.
    """

    net: Conv4
    inner_lr: float = 0.1
    inner_steps: int = 20
    body: bool = True

    def init(self, generator: torch.Generator) -> Params:
        return self.net.init(generator)

    def meta_gradient(self, params: Params, batch: tuple[Tensor, Tensor]) -> tuple[Params, dict[str, Tensor]]:
        """The ordinary gradient for images [B, 1, H, W] and labels [B]: nothing is "meta" in training."""
        images, labels = batch
        metrics = {}

        def loss(theta: Params) -> Tensor:
            logits = self.net(theta, images[None])
            metrics["accuracy"] = accuracy(logits.detach(), labels[None]).mean()
            return cross_entropy(logits, labels[None])

        grads, losses = gradient(loss, for_tasks(params, 1))
        return {name: g[0] for name, g in grads.items()}, {"loss": losses[0], **metrics}

    def predict(self, params: Params, episode: Episode, *, stats: Params) -> Tensor:
        """Logits of the queries [T, Q, N] after fine-tuning; batch norm uses the training pictures' `stats`."""
        ways = episode.ways
        net = replace(self.net, outputs=ways)
        fresh = {"head": params["head"].new_zeros(net.channels, ways), "bias": params["bias"].new_zeros(ways)}
        theta = for_tasks({**params, **fresh}, episode.tasks)

        def support_loss(theta: Params) -> Tensor:
            return cross_entropy(net(theta, episode.support_x, stats=stats), episode.support_y)

        for _ in range(self.inner_steps):
            grads, _losses = gradient(support_loss, theta)
            theta = {
                name: p - self.inner_lr * grads[name] if self.body or name in fresh else p for name, p in theta.items()
            }
        with torch.no_grad():
            return net(theta, episode.query_x, stats=stats)
