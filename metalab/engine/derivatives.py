"""The gradients of many tasks' losses, and Hessian-vector products: by hand for the papers' nets, or by autograd."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from .layers import SLOPES, Layer, Params, Tape, TaskLoss


class Net(Protocol):
    """A network that is a function of its parameters, for T tasks at once."""

    def init(self, generator: torch.Generator) -> Params:
        """Draw fresh parameters, without the task axis, on the generator's device."""
        ...

    def __call__(self, params: Params, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """Map params [T, ...] and inputs [T, B, ...] to outputs [T, B, out]; `context` is for batch norm."""
        ...

    def chain(self, x: Tensor) -> list[Layer] | None:
        """Return fresh layers that compute what `net(params, x)` does, with derivatives written out, or None."""
        ...


class Derivatives(Protocol):
    """What `differentiate` returns."""

    outputs: Tensor  # [T, B, out]

    def losses(self) -> Tensor:
        """Return each task's loss: [T]."""
        ...

    def gradient(self) -> Params:
        """Return each task's gradient: [T, ...]."""
        ...

    def hessian_vector(self, v: Params) -> Params:
        """Return each task's Hessian times its vector: [T, ...]."""
        ...


def is_by_hand(net: Net, loss: TaskLoss, x: Tensor) -> bool:
    """Tell whether `net` and `loss` have derivatives written out for inputs like x."""
    return loss in SLOPES and net.chain(x) is not None


def differentiate(
    net: Net, loss: TaskLoss, params: Params, x: Tensor, y: Tensor, *, context: Tensor | None = None
) -> Derivatives:
    """Return the derivatives of T tasks' losses with respect to their params [T, ...].

    Args:
        net: any network; one that has a `chain` of layers is differentiated by them, without autograd.
        loss: maps outputs [T, B, out] and targets to losses [T].
        params: [T, ...].
        x: inputs [T, B, ...].
        y: targets, [T, B] labels or [T, B, out].
        context: if given, batch norm takes its statistics from these inputs instead of from x.
    """
    chain = net.chain(x) if context is None and loss in SLOPES else None
    if chain is None:
        return _Autograd(net, loss, params, x, y, context)
    with torch.no_grad():
        return Tape(chain, params, x, loss, y)


class _Autograd:
    """Derivatives by autograd: the gradient at once, a Hessian-vector product by differentiating it again."""

    def __init__(self, net: Net, loss: TaskLoss, params: Params, x: Tensor, y: Tensor, context: Tensor | None) -> None:
        def losses(theta: Params) -> tuple[Tensor, Tensor]:
            outputs = net(theta, x, context=context)
            each = loss(outputs, y)
            if each.shape != outputs.shape[:1]:  # a mean over all tasks would make every step too short
                raise ValueError(f"loss returned the shape {list(each.shape)}; it must be [T], here [{len(outputs)}]")
            return each, outputs.detach()

        self._loss, self._params = losses, params
        self._gradient, self._losses, self.outputs = gradient(losses, params, has_aux=True)

    def losses(self) -> Tensor:
        return self._losses

    def gradient(self) -> Params:
        return self._gradient

    def hessian_vector(self, v: Params) -> Params:
        return hessian_vector(lambda theta: self._loss(theta)[0], self._params, v)


def gradient(loss: Callable[[Params], Any], params: Params, *, has_aux: bool = False) -> tuple:
    """Return each task's gradient with respect to its own parameters, by autograd.

    Args:
        loss: maps params [T, ...] to losses [T], or to (losses, more) with `has_aux`, as JAX's `value_and_grad` does.
        params: [T, ...].
        has_aux: whether `loss` returns more than the losses; metrics, for instance.

    Returns:
        (gradient [T, ...], losses [T]), and with `has_aux` what else `loss` returned as a third.
    """
    leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
    with torch.enable_grad():
        losses, *aux = loss(leaves) if has_aux else (loss(leaves),)
        # Summing is safe: the loss of a task depends on no parameters but its own.
        grads = torch.autograd.grad(losses.sum(), list(leaves.values()))
    return dict(zip(leaves, grads, strict=True)), losses.detach(), *aux


def hessian_vector(loss: Callable[[Params], Tensor], params: Params, vector: Params) -> Params:
    """Return each task's Hessian times its vector [T, ...], as the gradient of ⟨∇L, v⟩ (Pearlmutter 1994), by autograd.

    Args:
        loss: maps params [T, ...] to losses [T].
        params: [T, ...].
        vector: shaped like params.
    """
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
