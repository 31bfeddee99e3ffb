"""MAML as its paper states it, for the tests to compare with. It uses a learner's settings and none of its methods."""

import torch

from metalab.learners import MultiStepLoss, PerStepRates


class StraightThrough(torch.autograd.Function):
    """A step at 0 whose slope is taken for 1 (Bengio, Léonard & Courville 2013)."""

    @staticmethod
    def forward(ctx, gate):
        return torch.where(gate < 0, 0.0, 1.0).double()

    @staticmethod
    def backward(ctx, grad):
        return grad


def naive_loss(learner, params, episode, *, create_graph=True):
    """The mean query loss: a Python loop over tasks, the graph kept through every inner step."""
    total = 0.0
    start = {name: p for name, p in params.items() if not name.startswith(("rate.", "gate."))}
    rates = {name: learner.inner_lr if name in getattr(learner, "head", start) else 0.0 for name in start}
    for name in start:
        if f"rate.{name}" in params:
            rates[name] = params[f"rate.{name}"]
        if f"gate.{name}" in params:
            rates[name] = learner.inner_lr * StraightThrough.apply(params[f"gate.{name}"])
    weights = [0.0] * learner.inner_steps + [1.0]  # of the query losses before and after each step
    if isinstance(learner, MultiStepLoss):
        weights = [0.0, *(learner.importance.tolist() if learner.importance is not None else [])]
        weights += [1 / learner.inner_steps] * (learner.inner_steps + 1 - len(weights))
    for t in range(episode.tasks):
        task = episode[t : t + 1]
        theta = {name: p[None] for name, p in start.items()}
        context = None if learner.transductive else task.support_x
        for step in range(learner.inner_steps + 1):
            if weights[step]:
                judged = learner.loss(learner.net(theta, task.query_x, context=context), task.query_y).sum()
                total = total + weights[step] * judged
            if step == learner.inner_steps:
                break
            loss = learner.loss(learner.net(theta, task.support_x), task.support_y).sum()
            grads = torch.autograd.grad(loss, list(theta.values()), create_graph=create_graph)
            now = {n: rate[step] if isinstance(learner, PerStepRates) else rate for n, rate in rates.items()}
            theta = {n: p - now[n] * g for (n, p), g in zip(theta.items(), grads, strict=True)}
    return total / episode.tasks


def naive_meta_gradient(learner, params, episode):
    """The loss of `naive_loss` and its gradient by autograd; without the graph through the steps at order 1."""
    leaves = leaves_of(params)
    loss = naive_loss(learner, leaves, episode, create_graph=learner.order == 2)
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True)), loss.item()


def slope(learner, params, episode, direction, step=1e-7):
    """The slope of `naive_loss` along a direction, by finite differences."""
    there, back = (
        naive_loss(learner, leaves_of({n: p + h * direction[n] for n, p in params.items()}), episode).item()
        for h in (step, -step)
    )
    return (there - back) / (2 * step)


def leaves_of(params):
    return {name: p.clone().requires_grad_() for name, p in params.items()}


def flat(params):
    return torch.cat([p.flatten() for p in params.values()])


def relative_error(ours, theirs):
    """The length of the difference, relative to that of theirs."""
    return ((flat(ours) - flat(theirs)).norm() / flat(theirs).norm()).item()
