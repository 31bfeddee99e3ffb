"""Our solutions, which `solution()` prints as they are. They are notebook code, so they have no type hints."""

import torch


def adapt(loss, params, inner_lr):
    """One gradient step on loss(params) from params, a list of tensors: the new list, to be differentiated through."""
    grads = torch.autograd.grad(loss(params), params, create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, grads, strict=True)]


def hessian_vector(loss, params, vector):
    """The Hessian of loss(params) times `vector`, both lists of tensors shaped like params: a list like them.

    The vector counts as a constant, also where it was computed from params.
    """
    grads = torch.autograd.grad(loss(params), params, create_graph=True)
    dot = sum((g * v.detach()).sum() for g, v in zip(grads, vector, strict=True))
    return list(torch.autograd.grad(dot, params))


def reptile_update(params, adapted, outer_lr):
    """Move params, a list of tensors, by outer_lr of the way to the mean of adapted, one such list for each task."""
    means = [torch.stack(ends).mean(dim=0) for ends in zip(*adapted, strict=True)]
    return [p + outer_lr * (mean - p) for p, mean in zip(params, means, strict=True)]
