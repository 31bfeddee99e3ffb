r"""Reptile (Nichol, Achiam & Schulman 2018, "On first-order meta-learning algorithms", algorithm 2).

Train on each task by K minibatches, then move the start towards where that led:

    θ̃ = θ after K steps of Adam with β₁ = 0,    θ ← θ + ε (mean over tasks of θ̃ − θ)

No loss of a query set, and no derivative through the inner loop. θ − mean θ̃ stands in for a meta-gradient: a step of
plain gradient descent along it, at the rate ε, is the paper's interpolation. Adam without its first moment is

    s_k = β₂ s_{k−1} + (1 − β₂) g_k²,    θ_k = θ_{k−1} − α g_k / (√(s_k / (1 − β₂^k)) + 10⁻⁸)

Here every task starts with s = 0. In the paper's code s is handed from each task to the next, and to the test tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..engine.cores import in_parts
from ..engine.derivatives import differentiate
from ..losses import accuracy, cross_entropy
from ..nets import Net, Params, for_tasks
from ..tasks import Episode

BETA2, EPSILON = 0.999, 1e-8


@dataclass(frozen=True)
class Reptile:
    """Defaults are the paper's for 5-way Omniglot, trained with 10 shots whatever the test's. It tests with 50 steps
    of 5 drawings: `replace(learner, inner_steps=50, inner_batch=5)`.

    Args:
        net: the network that is trained on each task.
        loss: predictions [T, B, out] and targets to one loss per task [T].
        inner_lr: α, Adam's learning rate on a task.
        inner_steps: K, the number of minibatches.
        inner_batch: rows in a minibatch.
        transductive: True normalises a query batch by its own statistics; False by the support set's. (The paper's
            inductive test puts the query itself beside the support set.)
    """

    net: Net
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    inner_lr: float = 1e-3
    inner_steps: int = 5
    inner_batch: int = 10
    transductive: bool = True

    def __post_init__(self) -> None:
        for name in ("inner_steps", "inner_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
        if not self.inner_lr > 0:
            raise ValueError(f"inner_lr={self.inner_lr} must be above 0")

    def init(self, generator: torch.Generator) -> Params:
        return self.net.init(generator)

    def stream(self, episode: Episode, generator: torch.Generator) -> Episode:
        """The episode, its support rows in the order in which the inner loop takes them: K minibatches, one after
        another, from passes over the support set that each shuffle it anew."""
        tasks, shots = episode.support_x.shape[:2]
        rows = self.inner_steps * self.inner_batch
        passes = torch.rand(tasks, -(-rows // shots), shots, generator=generator, device=generator.device).argsort(2)
        order = passes.flatten(1)[:, :rows]
        task = torch.arange(tasks, device=order.device).unsqueeze(1)
        return replace(episode, support_x=episode.support_x[task, order], support_y=episode.support_y[task, order])

    def meta_gradient(self, params: Params, streamed: Episode) -> tuple[Params, dict[str, Tensor]]:
        """θ − mean θ̃, for an episode that comes from `stream`, and the metrics of its query set after adaptation."""
        sums = in_parts(lambda part: self._sums(params, part), streamed)
        grads, metrics = ({name: total / streamed.tasks for name, total in kind.items()} for kind in sums)
        return grads, metrics

    @torch.no_grad()
    def _sums(self, params: Params, streamed: Episode) -> tuple[Params, dict[str, Tensor]]:
        theta = self.adapt(params, streamed)
        outputs = self.net(theta, streamed.query_x)
        metrics = {"loss": self.loss(outputs, streamed.query_y).sum()}
        if self.loss is cross_entropy:
            metrics["accuracy"] = accuracy(outputs, streamed.query_y).sum()
        return {name: (p - theta[name]).sum(0) for name, p in params.items()}, metrics

    @torch.no_grad()
    def adapt(self, params: Params, streamed: Episode) -> Params:
        """θ̃ [T, ...] of each task of an episode that comes from `stream`.

        Raises:
            ValueError: it does not; its support rows are another number than the minibatches take.
        """
        rows = self.inner_steps * self.inner_batch
        if streamed.support_x.shape[1] != rows:
            raise ValueError(
                f"the support set has {streamed.support_x.shape[1]} rows, and {self.inner_steps} minibatches of "
                f"{self.inner_batch} take {rows}: draw them by stream(episode, generator)"
            )
        theta = for_tasks(params, streamed.tasks)
        squares = {name: torch.zeros_like(p) for name, p in theta.items()}
        batches = zip(
            streamed.support_x.split(self.inner_batch, 1), streamed.support_y.split(self.inner_batch, 1), strict=True
        )
        for k, (x, y) in enumerate(batches, start=1):
            grads = differentiate(self.net, self.loss, theta, x, y).gradient()
            for name, g in grads.items():
                squares[name].mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
                scale = (squares[name] / (1 - BETA2**k)).sqrt_().add_(EPSILON)
                theta[name] = torch.addcdiv(theta[name], g, scale, value=-self.inner_lr)
        return theta

    def predict(self, params: Params, episode: Episode, *, generator: torch.Generator) -> Tensor:
        """The trained networks' answers to the queries of a plain episode: [T, Q, out]. The minibatches are drawn."""
        theta = self.adapt(params, self.stream(episode, generator))
        with torch.no_grad():
            return self.net(theta, episode.query_x, context=None if self.transductive else episode.support_x)
