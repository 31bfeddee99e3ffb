r"""Model-agnostic meta-learning (Finn, Abbeel & Levine 2017), of second and of first order, for T tasks at once.

The inner loop adapts to each task's support set by K gradient steps:

    θ_0 = θ,    θ_{k+1} = θ_k − α ∇L_S(θ_k)

The meta-gradient is the query loss's gradient with respect to where the adaptation *started*. With H_k the Hessian
of L_S at θ_k, the chain rule gives a recursion that walks back through the steps:

    v_K = ∇L_Q(θ_K),    v_k = (I − α H_k) v_{k+1},    meta-gradient = mean over tasks of v_0

That is exact, and needs the parameters θ_0 … θ_K but no graph from step to step. First-order MAML drops H: v_0 = v_K.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..losses import accuracy, cross_entropy
from ..nets import Net, Params, for_tasks
from ..tasks import Episode

Loss = Callable[[Params], Tensor]  # params [T, ...] to one loss per task [T]


def gradient(loss: Loss, params: Params) -> tuple[Params, Tensor]:
    """Each task's gradient [T, ...] with respect to its own parameters, and the losses [T]."""
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        losses = loss(leaves)
        # Summing is safe: task t's loss depends on nobody's parameters but its own.
        grads = torch.autograd.grad(losses.sum(), list(leaves.values()))
    return dict(zip(leaves, grads, strict=True)), losses.detach()


def hessian_vector(loss: Loss, params: Params, vector: Params) -> Params:
    """Each task's Hessian times its vector [T, ...], as the gradient of ⟨∇L, v⟩ (Pearlmutter 1994)."""
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        grads = torch.autograd.grad(loss(leaves).sum(), list(leaves.values()), create_graph=True)
        # A parameter that enters the loss linearly alone has a gradient without it: its product is zero.
        products = torch.autograd.grad(
            grads, list(leaves.values()), [vector[name] for name in leaves], materialize_grads=True
        )
    return dict(zip(leaves, products, strict=True))


@dataclass(frozen=True)
class MAML:
    """Defaults are the paper's for 5-way Omniglot: one inner step of 0.4, second order, transductive batch norm.

    Args:
        net: the network that is adapted.
        loss: predictions [T, B, out] and targets to one loss per task [T].
        inner_lr: α, the inner learning rate, for a *mean* loss.
        inner_steps: K; 0 is plain joint training on the query sets of all tasks.
        order: 2 for the exact meta-gradient, 1 for FOMAML, which leaves out the Hessian.
        transductive: True normalises a query batch by its own statistics, so that queries see each other, as the
            paper's code does; False by the support set's.
    """

    net: Net
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy
    inner_lr: float = 0.4
    inner_steps: int = 1
    order: int = 2
    transductive: bool = True

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise ValueError(f"order={self.order!r} must be 1 (first-order MAML) or 2 (MAML)")
        if self.inner_steps < 0:
            raise ValueError(f"inner_steps={self.inner_steps} must be 0 or more")
        if not self.inner_lr >= 0:
            raise ValueError(f"inner_lr={self.inner_lr} must be 0 or more")

    def adapt(self, params: Params, episode: Episode, *, steps: int | None = None) -> list[Params]:
        """The trajectory [θ_0, …, θ_K] of each task's parameters [T, ...]; `steps` overrides K, at test say."""
        trajectory = [for_tasks(params, episode.tasks)]
        for _ in range(self.inner_steps if steps is None else steps):
            theta = trajectory[-1]
            grads, _losses = gradient(self._support_loss(episode), theta)
            trajectory.append({name: p - self.inner_lr * grads[name] for name, p in theta.items()})
        return trajectory

    def meta_gradient(self, params: Params, episode: Episode) -> tuple[Params, dict[str, Tensor]]:
        """The gradient of the mean query loss with respect to `params`, and the metrics after adaptation."""
        trajectory = self.adapt(params, episode)
        metrics = {}

        def query_loss(theta: Params) -> Tensor:
            prediction = self.query(theta, episode)
            if self.loss is cross_entropy:
                metrics["accuracy"] = accuracy(prediction.detach(), episode.query_y).mean()
            return self.loss(prediction, episode.query_y)

        v, losses = gradient(query_loss, trajectory[-1])
        if self.order == 2:
            for theta in reversed(trajectory[:-1]):
                hv = hessian_vector(self._support_loss(episode), theta, v)
                v = {name: v[name] - self.inner_lr * hv[name] for name in v}
        return {name: g.mean(0) for name, g in v.items()}, {"loss": losses.mean(), **metrics}

    def predict(self, params: Params, episode: Episode, *, steps: int | None = None) -> Tensor:
        """The adapted networks' answers to the queries: [T, Q, out]."""
        with torch.no_grad():
            return self.query(self.adapt(params, episode, steps=steps)[-1], episode)

    def query(self, theta: Params, episode: Episode) -> Tensor:
        """What networks of parameters θ [T, ...] answer to the queries: [T, Q, out]."""
        return self.net(theta, episode.query_x, context=None if self.transductive else episode.support_x)

    def _support_loss(self, episode: Episode) -> Loss:
        return lambda theta: self.loss(self.net(theta, episode.support_x), episode.support_y)
