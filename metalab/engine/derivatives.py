"""The gradients of many tasks' losses and Hessian-vector products: by hand for the papers' nets, else by autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from ..nets import Net, Params
from .layers import SLOPES, Tape

Loss = Callable[[Params], Tensor]  # params [T, ...] to one loss per task [T]


class Derivatives(Protocol):
    """What `differentiate` gives."""

    outputs: Tensor  # [T, B, out]

    def losses(self) -> Tensor:
        """Each task's loss: [T]."""
        ...

    def gradient(self) -> Params:
        """Each task's gradient: [T, ...]."""
        ...

    def hessian_vector(self, v: Params) -> Params:
        """Each task's Hessian times its vector: [T, ...]."""
        ...


def is_by_hand(net: Net, loss: Callable[[Tensor, Tensor], Tensor], x: Tensor) -> bool:
    """Whether net and loss have derivatives written out for inputs like x."""
    return loss in SLOPES and net.chain(x) is not None


def differentiate(
    net: Net,
    loss: Callable[[Tensor, Tensor], Tensor],
    params: Params,
    x: Tensor,
    y: Tensor,
    *,
    context: Tensor | None = None,
) -> Derivatives:
    """The derivatives of T tasks' losses with respect to their params [T, ...].

    Args:
        net: any network of this package's kind; one with a `chain` of layers is differentiated by it, without autograd.
        loss: outputs [T, B, out] and targets to losses [T].
        params: [T, ...].
        x: inputs [T, B, ...].
        y: targets, [T, B] labels or [T, B, out].
        context: batch norm's statistics come from these inputs instead of x.
    """
    chain = net.chain(x) if context is None and loss in SLOPES else None
    if chain is None:
        return _Autograd(net, loss, params, x, y, context)
    with torch.no_grad():
        return Tape(chain, params, x, loss, y)


class _Autograd:
    def __init__(self, net, loss, params, x, y, context) -> None:
        outputs = []  # not `self` in the function below: a cycle would keep everything until Python looks for cycles

        def losses(theta: Params) -> Tensor:
            outputs[:] = [net(theta, x, context=context)]
            return loss(outputs[0], y)

        self._loss, self._params = losses, params
        self._gradient, self._losses = gradient(losses, params)
        self.outputs = outputs.pop().detach()

    def losses(self) -> Tensor:
        return self._losses

    def gradient(self) -> Params:
        return self._gradient

    def hessian_vector(self, v: Params) -> Params:
        return hessian_vector(self._loss, self._params, v)


def gradient(loss: Loss, params: Params) -> tuple[Params, Tensor]:
    """Each task's gradient [T, ...] with respect to its own parameters, and the losses [T], by autograd."""
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        losses = loss(leaves)
        # Summing is safe: task t's loss depends on nobody's parameters but its own.
        grads = torch.autograd.grad(losses.sum(), list(leaves.values()))
    return dict(zip(leaves, grads, strict=True)), losses.detach()


def hessian_vector(loss: Loss, params: Params, vector: Params) -> Params:
    """Each task's Hessian times its vector [T, ...], as the gradient of ⟨∇L, v⟩ (Pearlmutter 1994), by autograd."""
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        grads = torch.autograd.grad(loss(leaves).sum(), list(leaves.values()), create_graph=True)
        # A gradient that does not depend on the parameters does not move with them.
        moving = {name: g for name, g in zip(leaves, grads, strict=True) if g.requires_grad}
        if not moving:
            return {name: torch.zeros_like(p) for name, p in params.items()}
        products = torch.autograd.grad(
            list(moving.values()),
            list(leaves.values()),
            [vector[name] for name in moving],
            materialize_grads=True,  # zero for a parameter that no gradient depends on
        )
    return dict(zip(leaves, products, strict=True))
