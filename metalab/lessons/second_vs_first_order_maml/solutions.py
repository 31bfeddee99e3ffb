"""Our solutions, which `solution()` prints as they are. They are notebook code, so they have no type hints."""

import torch


def hessian_vector(loss, params, vector):
    """Return the Hessian of loss(params) times vector, a list shaped like params.

    The vector counts as a constant, even where it was computed from params.
    """
    grads = torch.autograd.grad(loss(params), params, create_graph=True)
    dot = sum((g * v.detach()).sum() for g, v in zip(grads, vector, strict=True))
    return list(torch.autograd.grad(dot, params))


def meta_gradient(support_loss, query_loss, params, inner_lr, steps):
    """Return the gradient of query_loss after the inner steps, at params."""
    theta, points = params, []
    for _ in range(steps):
        points.append(theta)
        grads = torch.autograd.grad(support_loss(theta), theta)
        moved = [p - inner_lr * g for p, g in zip(theta, grads, strict=True)]
        theta = [p.detach().requires_grad_() for p in moved]
    v = list(torch.autograd.grad(query_loss(theta), theta))
    for theta in reversed(points):
        product = hessian_vector(support_loss, theta, v)
        v = [a - inner_lr * b for a, b in zip(v, product, strict=True)]
    return v


def two_terms(first_loss, second_loss, params):
    """Return AvgGrad and AvgGradInner for two losses of one task."""
    g1 = torch.autograd.grad(first_loss(params), params)
    g2 = torch.autograd.grad(second_loss(params), params)
    h1 = hessian_vector(first_loss, params, g2)
    h2 = hessian_vector(second_loss, params, g1)
    avg_grad = [(a + b) / 2 for a, b in zip(g1, g2, strict=True)]
    return avg_grad, [(a + b) / 2 for a, b in zip(h1, h2, strict=True)]
