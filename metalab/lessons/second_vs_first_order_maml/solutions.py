"""Our solutions, which `solution()` prints as they are. They are notebook code, so they have no type hints."""

import torch


def adapt(loss, params, inner_lr):
    """Take one gradient step on loss(params). Return new tensors with their graph."""
    grads = torch.autograd.grad(loss(params), params, create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, grads, strict=True)]


def hessian_vector(loss, params, vector):
    """Return the Hessian of loss(params) times vector, a list shaped like params.

    The vector counts as a constant, even where it was computed from params.
    """
    grads = torch.autograd.grad(loss(params), params, create_graph=True)
    dot = sum((g * v.detach()).sum() for g, v in zip(grads, vector, strict=True))
    return list(torch.autograd.grad(dot, params))


def reptile_update(params, adapted, outer_lr):
    """Move params a part outer_lr of the way to the mean of adapted, over tasks."""
    means = [torch.stack(ends).mean(dim=0) for ends in zip(*adapted, strict=True)]
    return [p + outer_lr * (mean - p) for p, mean in zip(params, means, strict=True)]
