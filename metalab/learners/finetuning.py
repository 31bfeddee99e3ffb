r"""The baseline that people would try first: train one classifier on everything, then fine-tune it on each task.

One classifier learns all C training characters at once, by ordinary minibatch training. For a new task its last layer
is replaced by a fresh one for N ways, and the whole network takes K gradient steps on the support set. (Chen et al.
2019, "A closer look at few-shot classification", call this the baseline; they fine-tune the last layer alone.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .. import arguments
from ..engine.derivatives import gradient
from ..losses import accuracy, cross_entropy
from ..nets import Conv4, Params, for_tasks
from ..tasks import Episode
from .learner import WithStatistics, check_episode, check_net, check_params


@dataclass(frozen=True)
class FineTuning(WithStatistics):
    """Train on all classes, then fine-tune. Its training batch is not an episode: see `meta_gradient`.

    Args:
        net: a Conv4 with as many outputs as there are training characters.
        inner_lr: the learning rate of the fine-tuning, which is plain gradient descent on the mean cross-entropy.
        inner_steps: K, the number of its steps.
        body: True fine-tunes every layer; False leaves all but the fresh last layer as it was trained.

    Raises:
        TypeError, ValueError: an argument is of another type, the network has no outputs, or a number is negative.
    """

    net: Conv4
    inner_lr: float = 0.1
    inner_steps: int = 20
    body: bool = True

    def __post_init__(self) -> None:
        check_net(self.net)
        if self.net.outputs is None:
            raise ValueError(f"net={self.net} must have as many outputs as there are training characters")
        arguments.real(least=0, inner_lr=self.inner_lr)
        arguments.whole(least=0, inner_steps=self.inner_steps)
        arguments.flag(body=self.body)

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters of the classifier."""
        return self.net.init(generator)

    def meta_gradient(self, params: Params, batch: tuple[Tensor, Tensor]) -> tuple[Params, dict[str, Tensor]]:
        """Return the ordinary gradient for images [B, 1, H, W] with labels [B]; nothing is "meta" in this training.

        Raises:
            TypeError, ValueError: the batch is no pair of such tensors, or does not fit the parameters.
        """
        if not isinstance(batch, tuple) or len(batch) != 2:
            raise TypeError(f"batch={arguments.shown(batch)} must be a pair of images and labels")
        images, labels = batch
        arguments.shapes(images=(images, "B 1 H W"), labels=(labels, "B"))
        check_params(self, params, images)
        arguments.labels(self.net.outputs, labels=labels)

        def loss(theta: Params) -> tuple[Tensor, dict[str, Tensor]]:
            logits = self.net(theta, images[None])
            return cross_entropy(logits, labels[None]), {"accuracy": accuracy(logits.detach(), labels[None]).mean()}

        grads, losses, metrics = gradient(loss, for_tasks(params, 1), has_aux=True)
        return {name: g[0] for name, g in grads.items()}, {"loss": losses[0], **metrics}

    def predict(self, params: Params, episode: Episode) -> Tensor:
        """Fine-tune on each task's support set, then answer its queries: logits [T, Q, N].

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner, or there are no `stats` of the
                training pictures.
        """
        check_episode(self, params, episode, every_class=True)
        ways, stats = episode.ways, self._statistics()
        net = replace(self.net, outputs=ways)
        fresh = {"head": params["head"].new_zeros(net.widths[-1], ways), "bias": params["bias"].new_zeros(ways)}
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
