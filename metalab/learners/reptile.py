r"""Reptile (Nichol, Achiam & Schulman 2018, "On first-order meta-learning algorithms", algorithm 2).

Train on each task by K minibatches, then move the start towards where that led:

    θ̃ = θ after K steps of Adam with β₁ = 0,    θ ← θ + ε (mean over tasks of θ̃ − θ)

There is no query loss, and no derivative through the inner loop. θ − mean θ̃ stands in for a meta-gradient: a step of
plain gradient descent along it, at the rate ε, is the paper's interpolation. Adam without its first moment is

    s_k = β₂ s_{k−1} + (1 − β₂) g_k²,    θ_k = θ_{k−1} − α g_k / (√(s_k / (1 − β₂^k)) + 10⁻⁸)

Here every task starts with s = 0. The paper's code hands s from each task to the next, and to the test tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .. import arguments
from ..engine.cores import sum_over_tasks
from ..engine.derivatives import differentiate
from ..losses import accuracy, cross_entropy
from ..nets import Net, Params, for_tasks
from ..tasks import Episode
from .learner import check_episode, check_net

BETA2, EPSILON = 0.999, 1e-8


@dataclass(frozen=True)
class Reptile:
    """Reptile. The defaults are the paper's for training on 5-way Omniglot, with 10 shots whatever the shots of the
    test are. The paper tests with 50 steps of 5 drawings: `replace(learner, inner_steps=50, inner_batch=5)`.

    Args:
        net: the network that is trained on each task.
        loss: maps predictions [T, B, out] and targets to one loss per task [T].
        inner_lr: α, Adam's learning rate on a task.
        inner_steps: K, the number of minibatches.
        inner_batch: the number of examples in a minibatch.
        transductive: True normalises a query batch by its own statistics; False by those of the support set. (The
            paper's inductive test normalises each query together with the support set.)
        generator: draws the minibatches of `predict`; None: one that is seeded with 0, anew for each call.

    Raises:
        TypeError, ValueError: an argument is of another type, or a number is not positive.
    """

    net: Net
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    inner_lr: float = 1e-3
    inner_steps: int = 5
    inner_batch: int = 10
    transductive: bool = True
    generator: torch.Generator | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_net(self.net)
        arguments.function(loss=self.loss)
        arguments.real(above=0, inner_lr=self.inner_lr)
        arguments.whole(inner_steps=self.inner_steps, inner_batch=self.inner_batch)
        arguments.flag(transductive=self.transductive)
        if self.generator is not None:
            arguments.generator(self.generator)

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters of the network."""
        return self.net.init(generator)

    def stream(self, episode: Episode, generator: torch.Generator) -> Episode:
        """Return the episode with its support examples in the order in which the inner loop takes them.

        The K minibatches follow one another. They come from passes over the support set, each shuffled anew.

        Raises:
            TypeError, ValueError: an argument is of another type, or the generator is on another device.
        """
        if not isinstance(episode, Episode):
            raise TypeError(f"episode={arguments.shown(episode)} must be an Episode")
        arguments.generator(generator, episode.support_x.device)
        tasks, shots = episode.support_x.shape[:2]
        rows = self.inner_steps * self.inner_batch
        passes = torch.rand(tasks, -(-rows // shots), shots, generator=generator, device=generator.device).argsort(2)
        order = passes.flatten(1)[:, :rows]
        task = torch.arange(tasks, device=order.device).unsqueeze(1)
        return replace(episode, support_x=episode.support_x[task, order], support_y=episode.support_y[task, order])

    def meta_gradient(self, params: Params, streamed: Episode) -> tuple[Params, dict[str, Tensor]]:
        """Return θ − mean θ̃ for an episode that comes from `stream`, and the metrics of its adapted queries.

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner.
        """
        self._check(params, streamed)
        sums = sum_over_tasks(lambda some: self._sums(params, some), streamed)
        gradient, metrics = ({name: total / streamed.tasks for name, total in sum_.items()} for sum_ in sums)
        return gradient, metrics

    @torch.no_grad()
    def _sums(self, params: Params, streamed: Episode) -> tuple[Params, dict[str, Tensor]]:
        theta = self._adapt(params, streamed)
        outputs = self.net(theta, streamed.query_x)
        metrics = {"loss": self.loss(outputs, streamed.query_y).sum()}
        if self.loss is cross_entropy:
            metrics["accuracy"] = accuracy(outputs, streamed.query_y).sum()
        return {name: (p - theta[name]).sum(0) for name, p in params.items()}, metrics

    @torch.no_grad()
    def adapt(self, params: Params, streamed: Episode) -> Params:
        """Train on each task of an episode that comes from `stream`: θ̃ [T, ...].

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner.
        """
        self._check(params, streamed)
        return self._adapt(params, streamed)

    def _check(self, params: Params, streamed: Episode) -> None:
        check_episode(self, params, streamed, outputs=getattr(self.net, "outputs", None), name="streamed")
        rows = self.inner_steps * self.inner_batch
        if streamed.support_x.shape[1] != rows:
            raise ValueError(
                f"the support set has {streamed.support_x.shape[1]} examples, but {self.inner_steps} minibatches of "
                f"{self.inner_batch} take {rows}: order them by stream(episode, generator)"
            )

    def _adapt(self, params: Params, streamed: Episode) -> Params:
        theta = for_tasks(params, streamed.tasks)
        squares = {name: torch.zeros_like(p) for name, p in theta.items()}
        batches = zip(
            streamed.support_x.split(self.inner_batch, 1), streamed.support_y.split(self.inner_batch, 1), strict=True
        )
        for k, (x, y) in enumerate(batches, start=1):
            gradient = differentiate(self.net, self.loss, theta, x, y).gradient()
            for name, g in gradient.items():
                squares[name].mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
                scale = (squares[name] / (1 - BETA2**k)).sqrt_().add_(EPSILON)
                theta[name] = torch.addcdiv(theta[name], g, scale, value=-self.inner_lr)
        return theta

    def predict(self, params: Params, episode: Episode) -> Tensor:
        """Train on each task's support set, by minibatches drawn from it, then answer its queries: [T, Q, out].

        Raises:
            TypeError, ValueError: parameters and episode do not fit this learner.
        """
        check_episode(self, params, episode, outputs=getattr(self.net, "outputs", None))
        generator = self.generator or torch.Generator(episode.support_x.device).manual_seed(0)
        theta = self.adapt(params, self.stream(episode, generator))
        with torch.no_grad():
            return self.net(theta, episode.query_x, context=None if self.transductive else episode.support_x)
