"""Answers to the exercises of the bug clinic: repairs that are right, and code that is still sick."""

import copy
import random

import numpy as np
import torch
import torch.nn.functional as F
from answers import right, wrong
from torch import nn
from torch.func import functional_call

from metalab.analysis.diagnosis import mlp
from metalab.lessons.bug_clinic import exercises, solutions

# descend


@right(exercises.descend)
def _(weights, grads, lr):
    new = []
    for i in range(len(weights)):
        new.append(weights[i] - lr * grads[i])
    return new


@right(exercises.descend)
def _(weights, grads, lr):
    return list(map(lambda w, g: w.add(g, alpha=-lr), weights, grads))


@right(exercises.descend)
def _(weights, grads, lr):
    return tuple(torch._foreach_sub(weights, [g * lr for g in grads]))


@right(exercises.descend)
def _(weights, grads, lr):
    new = [w.clone() for w in weights]
    for w, g in zip(new, grads, strict=True):
        w -= lr * g
    return new


@wrong(exercises.descend, "A list of tensors cannot be multiplied as a whole")
def _(weights, grads, lr):
    return weights - lr * grads


@wrong(exercises.descend, "It climbs")
def _(weights, grads, lr):
    return [w + lr * g for w, g in zip(weights, grads, strict=True)]


@wrong(exercises.descend, "in place, as -= and sub_ do")
def _(weights, grads, lr):
    with torch.no_grad():
        for w, g in zip(weights, grads, strict=True):
            w -= lr * g
    return weights


@wrong(exercises.descend, "as in a loop inside a loop. zip")
def _(weights, grads, lr):
    return [w - lr * g for w in weights for g in grads]


@wrong(exercises.descend, "A weight tensor moves by the gradient of another one")
def _(weights, grads, lr):
    if weights[0].shape == weights[-1].shape:
        return [w - lr * grads[-1] for w in weights]
    return [w - lr * g for w, g in zip(weights, grads, strict=True)]


@wrong(exercises.descend, "result[0] has the shape")
def _(weights, grads, lr):
    return [w.reshape(-1, 1) - lr * g.reshape(1, -1) for w, g in zip(weights, grads, strict=True)]


@wrong(exercises.descend, "It returns one flat tensor")
def _(weights, grads, lr):
    return torch.cat([(w - lr * g).flatten() for w, g in zip(weights, grads, strict=True)])


@wrong(exercises.descend, "to where they came from: the graph is cut")
def _(weights, grads, lr):
    with torch.no_grad():
        return [w - lr * g for w, g in zip(weights, grads, strict=True)]


@wrong(exercises.descend, "to the old weights, though")
def _(weights, grads, lr):
    return [w.detach() - lr * g for w, g in zip(weights, grads, strict=True)]


@wrong(exercises.descend, "to `grads`, though")
def _(weights, grads, lr):
    return [w - lr * g.detach() for w, g in zip(weights, grads, strict=True)]


@wrong(exercises.descend, "The learning rate is missing")
def _(weights, grads, lr):
    return [w - g for w, g in zip(weights, grads, strict=True)]


@wrong(exercises.descend, "Only the first tensor moves")
def _(weights, grads, lr):
    new = list(weights)
    new[0] = new[0] - lr * grads[0]
    return new


@wrong(exercises.descend, "The weights come back as they were")
def _(weights, grads, lr):
    for w, g in zip(weights, grads, strict=True):
        w = w - lr * g
    return weights


@wrong(exercises.descend, "which is empty after one loop over it")
def _(weights, grads, lr):
    return (w - lr * g for w, g in zip(weights, grads, strict=True))


@wrong(exercises.descend, "Does your code go over all of them")
def _(weights, grads, lr):
    for w, g in zip(weights, grads, strict=True):
        return [w - lr * g]


# adapted_loss


def inner(params, x, y, inner_lr, loss=F.mse_loss, **options):
    """Parameters after one inner step."""
    grads = torch.autograd.grad(loss(mlp(params, x), y), params, **options)
    return [p - inner_lr * g for p, g in zip(params, grads, strict=True)]


@right(exercises.adapted_loss)
def _(params, tasks, inner_lr):
    total = 0
    for sx, sy, qx, qy in tasks:
        adapted = inner(params, sx, sy, inner_lr, create_graph=True)
        total = total + ((mlp(adapted, qx) - qy) ** 2).mean()
    return total / len(tasks)


@right(exercises.adapted_loss)
def _(params, tasks, inner_lr):
    def one(task):
        sx, sy, qx, qy = task
        step = torch.func.grad(lambda p: F.mse_loss(mlp(p, sx), sy))(list(params))
        return F.mse_loss(mlp([p - inner_lr * g for p, g in zip(params, step, strict=True)], qx), qy)

    return sum(one(task) for task in tasks) / len(tasks)


@right(exercises.adapted_loss)
def _(params, tasks, inner_lr):
    losses = torch.zeros(len(tasks), dtype=params[0].dtype)
    for i, (sx, sy, qx, qy) in enumerate(tasks):
        adapted = [p.clone() for p in params]
        error = mlp(adapted, sx) - sy
        for j, g in enumerate(torch.autograd.grad(error.square().mean(), adapted, create_graph=True)):
            adapted[j] = adapted[j] - inner_lr * g
        losses[i] = F.mse_loss(mlp(adapted, qx), qy)
    return losses.mean()


@wrong(exercises.adapted_loss, "The outer loss is that of the unadapted weights")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        inner(params, sx, sy, inner_lr, create_graph=True)
        losses.append(F.mse_loss(mlp(params, qx), qy))
    return torch.stack(losses).mean()


@wrong(exercises.adapted_loss, "Is create_graph=True missing where the inner gradient is taken")
def _(params, tasks, inner_lr):
    return sum(F.mse_loss(mlp(inner(params, sx, sy, inner_lr), qx), qy) for sx, sy, qx, qy in tasks) / len(tasks)


@wrong(exercises.adapted_loss, "Is create_graph=True missing where the inner gradient is taken")
def _(params, tasks, inner_lr):
    total = 0
    for sx, sy, qx, qy in tasks:
        grads = torch.autograd.grad(F.mse_loss(mlp(params, sx), sy), params, create_graph=True)
        adapted = [p - inner_lr * g.detach() for p, g in zip(params, grads, strict=True)]
        total += F.mse_loss(mlp(adapted, qx), qy)
    return total / len(tasks)


def adapted_losses(params, tasks, inner_lr, adapt=slice(0, 2), judge=slice(2, 4), **options):
    """The outer losses, with other parts of the tasks."""
    losses = []
    for task in tasks:
        (ax, ay), (jx, jy) = task[adapt], task[judge]
        adapted = inner(params, ax, ay, inner_lr, create_graph=True, **options)
        losses.append(F.mse_loss(mlp(adapted, jx), jy))
    return torch.stack(losses)


@wrong(exercises.adapted_loss, "The outer loss is taken on the support set")
def _(params, tasks, inner_lr):
    return adapted_losses(params, tasks, inner_lr, judge=slice(0, 2)).mean()


@wrong(exercises.adapted_loss, "It adapts on the query set, then judges on the same")
def _(params, tasks, inner_lr):
    return adapted_losses(params, tasks, inner_lr, adapt=slice(2, 4)).mean()


@wrong(exercises.adapted_loss, "Support and query are swapped")
def _(params, tasks, inner_lr):
    return adapted_losses(params, tasks, inner_lr, slice(2, 4), slice(0, 2)).mean()


@wrong(exercises.adapted_loss, "are added up, not averaged")
def _(params, tasks, inner_lr):
    return adapted_losses(params, tasks, inner_lr).sum()


@wrong(exercises.adapted_loss, "Only the last task counts")
def _(params, tasks, inner_lr):
    for sx, sy, qx, qy in tasks:
        loss = F.mse_loss(mlp(inner(params, sx, sy, inner_lr, create_graph=True), qx), qy)
    return loss


@wrong(exercises.adapted_loss, "Only the first task counts")
def _(params, tasks, inner_lr):
    for sx, sy, qx, qy in tasks:
        return F.mse_loss(mlp(inner(params, sx, sy, inner_lr, create_graph=True), qx), qy)


@wrong(exercises.adapted_loss, "Each task starts where the one before it ended")
def _(params, tasks, inner_lr):
    total = 0
    for sx, sy, qx, qy in tasks:
        params = inner(params, sx, sy, inner_lr, create_graph=True)
        total = total + F.mse_loss(mlp(params, qx), qy)
    return total / len(tasks)


@wrong(exercises.adapted_loss, "The inner step climbs")
def _(params, tasks, inner_lr):
    return adapted_losses(params, tasks, -inner_lr).mean()


@wrong(exercises.adapted_loss, "A plain number has no graph")
def _(params, tasks, inner_lr):
    return adapted_losses(params, tasks, inner_lr).mean().item()


@wrong(exercises.adapted_loss, "No gradient comes back to params")
def _(params, tasks, inner_lr):
    return adapted_losses(params, tasks, inner_lr).mean().detach()


@wrong(exercises.adapted_loss, "yours is a tensor of shape")
def _(params, tasks, inner_lr):
    return adapted_losses(params, tasks, inner_lr)


@wrong(exercises.adapted_loss, "It leaves a gradient in the .grad")
def _(params, tasks, inner_lr):
    total = 0
    for sx, sy, qx, qy in tasks:
        F.mse_loss(mlp(params, sx), sy).backward(create_graph=True)
        total += F.mse_loss(mlp([p - inner_lr * p.grad for p in params], qx), qy)
    return total / len(tasks)


@wrong(exercises.adapted_loss, "Only the Hessian's part is there")
def _(params, tasks, inner_lr):
    total = 0
    for sx, sy, qx, qy in tasks:
        grads = torch.autograd.grad(F.mse_loss(mlp(params, sx), sy), params, create_graph=True)
        adapted = [p.detach() - inner_lr * g for p, g in zip(params, grads, strict=True)]
        total += F.mse_loss(mlp(adapted, qx), qy)
    return total / len(tasks)


@wrong(exercises.adapted_loss, "such as a clone of a parameter")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        adapted = [p.clone() for p in params]
        grads = torch.autograd.grad(F.mse_loss(mlp(adapted, sx), sy), adapted, create_graph=True)
        for p, g in zip(adapted, grads, strict=True):
            p.sub_(inner_lr * g)
        losses.append(F.mse_loss(mlp(adapted, qx), qy))
    return torch.stack(losses).mean()


# meta_step


def after_inner(network, params, sx, sy, inner_lr, **options):
    """The parameters after one inner step, by name."""
    grads = torch.autograd.grad(
        F.mse_loss(functional_call(network, params, (sx,)), sy), list(params.values()), **options
    )
    return {name: p - inner_lr * g for (name, p), g in zip(params.items(), grads, strict=True)}


def outer(optimizer, loss):
    """One step along the gradient of a loss, which is returned."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@right(exercises.meta_step)
def _(network, optimizer, tasks, inner_lr):  # first order, by copies whose gradients are copied back
    optimizer.zero_grad()
    total = 0.0
    for sx, sy, qx, qy in tasks:
        twin = copy.deepcopy(network)
        sgd = torch.optim.SGD(twin.parameters(), lr=inner_lr)
        sgd.zero_grad()
        F.mse_loss(twin(sx), sy).backward()
        sgd.step()
        sgd.zero_grad()
        loss = F.mse_loss(twin(qx), qy) / len(tasks)
        loss.backward()
        for p, q in zip(network.parameters(), twin.parameters(), strict=True):
            p.grad = q.grad if p.grad is None else p.grad + q.grad
        total += loss.item()
    optimizer.step()
    return total


@right(exercises.meta_step)
def _(network, optimizer, tasks, inner_lr):  # first order, by saving and restoring
    start = copy.deepcopy(network.state_dict())
    sums = [torch.zeros_like(p) for p in network.parameters()]
    losses = []
    for sx, sy, qx, qy in tasks:
        network.load_state_dict(start)
        sgd = torch.optim.SGD(network.parameters(), lr=inner_lr)
        outer(sgd, F.mse_loss(network(sx), sy))
        loss = F.mse_loss(network(qx), qy)
        grads = torch.autograd.grad(loss, list(network.parameters()))
        sums = [s + g for s, g in zip(sums, grads, strict=True)]
        losses.append(loss.item())
    network.load_state_dict(start)
    for p, s in zip(network.parameters(), sums, strict=True):
        p.grad = s / len(tasks)
    optimizer.step()
    return sum(losses) / len(losses)


@right(exercises.meta_step)
def _(network, optimizer, tasks, inner_lr):  # first order, by names
    params = dict(network.named_parameters())
    total = 0.0
    optimizer.zero_grad()
    for sx, sy, qx, qy in tasks:
        adapted = after_inner(network, params, sx, sy, inner_lr)
        loss = F.mse_loss(functional_call(network, adapted, (qx,)), qy) / len(tasks)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


@right(exercises.meta_step)
def _(network, optimizer, tasks, inner_lr):  # second order, by torch.func
    params = dict(network.named_parameters())

    def error(p, x, y):
        return F.mse_loss(functional_call(network, p, (x,)), y)

    def task_loss(sx, sy, qx, qy):
        grads = torch.func.grad(error)(params, sx, sy)
        return error({name: params[name] - inner_lr * grads[name] for name in params}, qx, qy)

    return outer(optimizer, torch.stack([task_loss(*task) for task in tasks]).mean())


@right(exercises.meta_step)
def _(network, optimizer, tasks, inner_lr):  # second order, by a closure
    params = dict(network.named_parameters())

    def closure():
        optimizer.zero_grad()
        losses = []
        for sx, sy, qx, qy in tasks:
            adapted = after_inner(network, params, sx, sy, inner_lr, create_graph=True)
            losses.append(F.mse_loss(functional_call(network, adapted, (qx,)), qy))
        loss = torch.stack(losses).mean()
        loss.backward()
        return loss

    return optimizer.step(closure=closure).item()


@wrong(exercises.meta_step, "the network's weights are no longer those that came in")
def _(network, optimizer, tasks, inner_lr):  # by a closure
    def closure():
        losses = []
        for sx, sy, qx, qy in tasks:
            sgd = torch.optim.SGD(network.parameters(), lr=inner_lr)
            outer(sgd, F.mse_loss(network(sx), sy))
            sgd.zero_grad()
            losses.append(F.mse_loss(network(qx), qy))
        torch.stack(losses[-1:]).mean().backward()
        return torch.stack(losses).mean()

    return optimizer.step(closure).item()


@wrong(exercises.meta_step, "the network's weights are no longer those that came in")
def _(network, optimizer, tasks, inner_lr):  # sick
    losses = []
    for sx, sy, qx, qy in tasks:
        sgd = torch.optim.SGD(network.parameters(), lr=inner_lr)
        outer(sgd, F.mse_loss(network(sx), sy))
        sgd.zero_grad()
        loss = F.mse_loss(network(qx), qy) / len(tasks)
        loss.backward()
        losses.append(loss.item())
    optimizer.step()
    return sum(losses)


@wrong(exercises.meta_step, "the network's weights are no longer those that came in")
def _(network, optimizer, tasks, inner_lr):  # state_dict() follows the weights
    start = network.state_dict()
    optimizer.zero_grad()
    for sx, sy, qx, qy in tasks:
        network.load_state_dict(start)
        outer(torch.optim.SGD(network.parameters(), lr=inner_lr), F.mse_loss(network(sx), sy))
        loss = F.mse_loss(network(qx), qy)
        loss.backward()
    network.load_state_dict(start)
    optimizer.step()
    return loss.item()


@wrong(exercises.meta_step, "does a zero_grad() inside the loop wipe out")
def _(network, optimizer, tasks, inner_lr):
    params = dict(network.named_parameters())
    for sx, sy, qx, qy in tasks:
        adapted = after_inner(network, params, sx, sy, inner_lr)
        optimizer.zero_grad()
        loss = F.mse_loss(functional_call(network, adapted, (qx,)), qy) / len(tasks)
        loss.backward()
    optimizer.step()
    return loss.item()


@wrong(exercises.meta_step, "takes 3 steps with 3 tasks")
def _(network, optimizer, tasks, inner_lr):
    params = dict(network.named_parameters())
    losses = []
    for sx, sy, qx, qy in tasks:
        adapted = after_inner(network, params, sx, sy, inner_lr)
        losses.append(outer(optimizer, F.mse_loss(functional_call(network, adapted, (qx,)), qy)))
    return sum(losses) / len(losses)


@wrong(exercises.meta_step, "the network has no gradients")
def _(network, optimizer, tasks, inner_lr):
    optimizer.zero_grad()
    losses = []
    for sx, sy, qx, qy in tasks:
        twin = copy.deepcopy(network)
        outer(torch.optim.SGD(twin.parameters(), lr=inner_lr), F.mse_loss(twin(sx), sy))
        loss = F.mse_loss(twin(qx), qy)
        loss.backward()
        losses.append(loss.item())
    optimizer.step()
    return sum(losses) / len(losses)


def query_losses(network, tasks, inner_lr, judge=slice(2, 4), **options):
    """The loss of each task after one inner step."""
    params, losses = dict(network.named_parameters()), []
    for task in tasks:
        adapted = after_inner(network, params, *task[:2], inner_lr, **options)
        x, y = task[judge]
        losses.append(F.mse_loss(functional_call(network, adapted, (x,)), y))
    return torch.stack(losses)


@wrong(exercises.meta_step, "goes along the sum of the tasks' gradients")
def _(network, optimizer, tasks, inner_lr):
    losses = query_losses(network, tasks, inner_lr, create_graph=True)
    outer(optimizer, losses.sum())
    return losses.mean().item()


@wrong(exercises.meta_step, "The gradients of the step before are still in .grad")
def _(network, optimizer, tasks, inner_lr):
    loss = query_losses(network, tasks, inner_lr).mean()
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong(exercises.meta_step, "The support loss's gradient is added to the meta-gradient")
def _(network, optimizer, tasks, inner_lr):
    optimizer.zero_grad()
    total = 0.0
    for sx, sy, qx, qy in tasks:
        support_loss = F.mse_loss(network(sx), sy)
        params = dict(network.named_parameters())
        grads = torch.autograd.grad(support_loss, list(params.values()), retain_graph=True)
        support_loss.backward()
        adapted = {name: p - inner_lr * g for (name, p), g in zip(params.items(), grads, strict=True)}
        loss = F.mse_loss(functional_call(network, adapted, (qx,)), qy) / len(tasks)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


@wrong(exercises.meta_step, "The outer loss is that of the unadapted weights")
def _(network, optimizer, tasks, inner_lr):
    return outer(optimizer, torch.stack([F.mse_loss(network(qx), qy) for _, _, qx, qy in tasks]).mean())


@wrong(exercises.meta_step, "The outer loss is taken on the support set")
def _(network, optimizer, tasks, inner_lr):
    return outer(optimizer, query_losses(network, tasks, inner_lr, judge=slice(0, 2)).mean())


@wrong(exercises.meta_step, "Each task starts where the one before it ended")
def _(network, optimizer, tasks, inner_lr):
    params, losses = dict(network.named_parameters()), []
    for sx, sy, qx, qy in tasks:
        params = after_inner(network, params, sx, sy, inner_lr, create_graph=True)
        losses.append(F.mse_loss(functional_call(network, params, (qx,)), qy))
    return outer(optimizer, torch.stack(losses).mean())


@wrong(exercises.meta_step, "`optimizer` takes no step: what moves them")
def _(network, optimizer, tasks, inner_lr):
    return outer(torch.optim.SGD(network.parameters(), lr=0.05), query_losses(network, tasks, inner_lr).mean())


@wrong(exercises.meta_step, "The weights do not change at all")
def _(network, optimizer, tasks, inner_lr):
    loss = query_losses(network, tasks, inner_lr).mean()
    optimizer.zero_grad()
    loss.backward()
    return loss.item()


@wrong(exercises.meta_step, "Are they set once more after it")
def _(network, optimizer, tasks, inner_lr):
    start = copy.deepcopy(network.state_dict())
    loss = outer(optimizer, query_losses(network, tasks, inner_lr).mean())
    network.load_state_dict(start)
    return loss


@wrong(exercises.meta_step, "comes back with its graph")
def _(network, optimizer, tasks, inner_lr):
    loss = query_losses(network, tasks, inner_lr).mean()
    outer(optimizer, loss)
    return loss


@wrong(exercises.meta_step, "the sum over the tasks, not their mean")
def _(network, optimizer, tasks, inner_lr):
    losses = query_losses(network, tasks, inner_lr)
    outer(optimizer, losses.mean())
    return losses.sum().item()


@wrong(exercises.meta_step, "that of the queries before adaptation")
def _(network, optimizer, tasks, inner_lr):
    before = sum(F.mse_loss(network(qx), qy).item() for _, _, qx, qy in tasks) / len(tasks)
    outer(optimizer, query_losses(network, tasks, inner_lr).mean())
    return before


@wrong(exercises.meta_step, "and before the outer one, is")
def _(network, optimizer, tasks, inner_lr):
    outer(optimizer, query_losses(network, tasks, inner_lr).mean())
    return query_losses(network, tasks, inner_lr).mean().item()


# make_learner


def dense(*last, hidden=40):
    """A network with one hidden layer."""
    return nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, 1), *last)


@right(exercises.make_learner)
def _(lr):
    network = nn.Sequential(nn.Linear(1, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    adam = torch.optim.Adam(network.parameters(), lr)

    def step(x, y):
        for p in network.parameters():
            p.grad = None
        loss = ((network(x) - y) ** 2).mean()
        loss.backward()
        adam.step()
        return float(loss.detach())

    return network, step


@right(exercises.make_learner)
def _(lr):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(1, 20), nn.Linear(20, 1)

        def forward(self, x):
            return self.second(torch.relu(self.first(x)))

    class Step:
        def __init__(self, network):
            self.network, self.optimizer = network, torch.optim.Adam(network.parameters(), lr=lr)

        def __call__(self, x, y):
            self.optimizer.zero_grad()
            loss = F.mse_loss(self.network(x), y)
            loss.backward()
            self.optimizer.step()
            return loss.item()

    network = Network()
    return network, Step(network)


@right(exercises.make_learner)
def _(lr):
    network, made = dense(hidden=100), {}

    def step(x, y):
        if "adam" not in made:
            made["adam"] = torch.optim.Adam(network.parameters(), lr=lr)
        return outer(made["adam"], F.mse_loss(network(x), y))

    return [network, step]


def learner(lr, network=None, make=torch.optim.Adam, loss=F.mse_loss):
    """A network and its step."""
    network = dense() if network is None else network
    optimizer = make(network.parameters(), lr=lr)
    return network, lambda x, y: outer(optimizer, loss(network(x), y))


@wrong(exercises.make_learner, "And the network's output is never negative")
def _(lr):  # sick
    network = dense(nn.ReLU())

    def step(x, y):
        return outer(torch.optim.Adam(network.parameters(), lr=lr), F.mse_loss(network(x), y))

    return network, step


@wrong(exercises.make_learner, "whatever its gradient. Make it once")
def _(lr):
    network = dense()

    def step(x, y):
        return outer(torch.optim.Adam(network.parameters(), lr=lr), F.mse_loss(network(x), y))

    return network, step


@wrong(exercises.make_learner, "A ReLU, or something like it, after the last layer")
def _(lr):
    return learner(lr, dense(nn.ReLU()))


@wrong(exercises.make_learner, "Does something bound its output")
def _(lr):
    return learner(lr, dense(nn.Tanh()))


@wrong(exercises.make_learner, "The network is a straight line")
def _(lr):
    return learner(lr, nn.Sequential(nn.Linear(1, 40), nn.Linear(40, 1)))


@wrong(exercises.make_learner, "The steps are those of plain SGD")
def _(lr):
    return learner(lr, make=torch.optim.SGD)


@wrong(exercises.make_learner, "The gradients of all earlier steps")
def _(lr):
    network = dense()
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)

    def step(x, y):
        loss = F.mse_loss(network(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return network, step


@wrong(exercises.make_learner, "What step returns comes back with its graph")
def _(lr):
    network = dense()
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)

    def step(x, y):
        loss = F.mse_loss(network(x), y)
        outer(optimizer, loss)
        return loss

    return network, step


@wrong(exercises.make_learner, "The second call of step stops with RuntimeError")
def _(lr):
    network = dense()
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    losses = []

    def step(x, y):
        losses.append(F.mse_loss(network(x), y))
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
        return losses[-1].item()

    return network, step


@wrong(exercises.make_learner, "The learning rate is Adam's default")
def _(lr):
    return learner(1e-3)


@wrong(exercises.make_learner, "does not change when step is called")
def _(lr):
    return dense(), learner(lr)[1]


@wrong(exercises.make_learner, "It returns the loss after the step")
def _(lr):
    network, step = learner(lr)

    def told(x, y):
        step(x, y)
        return F.mse_loss(network(x), y).item()

    return network, told


@wrong(exercises.make_learner, "so a larger batch has a larger loss")
def _(lr):
    return learner(lr, loss=lambda a, b: (a - b).square().sum())


@wrong(exercises.make_learner, "step(x, y) returns nothing")
def _(lr):
    network, step = learner(lr)

    def silent(x, y):
        step(x, y)

    return network, silent


@wrong(exercises.make_learner, "Each call takes two steps")
def _(lr):
    network = dense()
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)

    def step(x, y):
        loss = outer(optimizer, F.mse_loss(network(x), y))
        optimizer.step()
        return loss

    return network, step


@wrong(exercises.make_learner, "should return two things, network and step")
def _(lr):
    return learner(lr)[1]


ONE_FOR_ALL = dense()


@wrong(exercises.make_learner, "it returns the same network")
def _(lr):
    return learner(lr, ONE_FOR_ALL)


@wrong(exercises.make_learner, "network and step come in the wrong order")
def _(lr):
    return learner(lr)[::-1]


# dense_step


@right(exercises.dense_step)
def _(layers, optimizer, pictures, labels):
    logits = layers(pictures.view(len(pictures), -1))
    return outer(optimizer, F.nll_loss(F.log_softmax(logits, dim=1), labels))


@right(exercises.dense_step)
def _(layers, optimizer, pictures, labels):
    logits = layers(pictures.reshape(-1, 784))
    chosen = logits.gather(1, labels[:, None])[:, 0]
    return outer(optimizer, (logits.logsumexp(1) - chosen).mean())


@right(exercises.dense_step)
def _(layers, optimizer, pictures, labels):  # one step, of gradients that are added up over the pictures
    optimizer.zero_grad()
    total = 0.0
    for picture, label in zip(pictures, labels, strict=True):
        loss = nn.CrossEntropyLoss()(layers(picture.flatten()), label) / len(pictures)
        loss.backward()
        total += loss.item()
    optimizer.step()
    return total


@right(exercises.dense_step)
def _(layers, optimizer, pictures, labels):
    loss = F.cross_entropy(nn.Sequential(nn.Flatten(), *layers)(pictures), F.one_hot(labels, 10).float())
    return outer(optimizer, loss)


@wrong(exercises.dense_step, "Flatten each picture, and keep the axis of the batch")
def _(layers, optimizer, pictures, labels):
    return outer(optimizer, F.cross_entropy(layers(pictures), labels))


@wrong(exercises.dense_step, "First: softmax is applied before the cross-entropy")
def _(layers, optimizer, pictures, labels):  # sick, but for the shape
    losses = []
    for picture, label in zip(pictures, labels, strict=True):
        out = layers(picture.flatten(1)).softmax(1)
        losses.append(outer(optimizer, F.cross_entropy(out, label[None])))
    return sum(losses) / len(losses)


@wrong(exercises.dense_step, "Twice, it makes all classes nearly equally likely, and the gradients tiny. cross_entropy")
def _(layers, optimizer, pictures, labels):
    return outer(optimizer, F.cross_entropy(layers(pictures.flatten(1)).softmax(1), labels))


@wrong(exercises.dense_step, "The softmax runs over the pictures")
def _(layers, optimizer, pictures, labels):
    return outer(optimizer, F.cross_entropy(layers(pictures.flatten(1)).log_softmax(0), labels))


@wrong(exercises.dense_step, "It steps once for each picture")
def _(layers, optimizer, pictures, labels):
    losses = []
    for i in range(len(pictures)):
        losses.append(outer(optimizer, F.cross_entropy(layers(pictures[i].flatten(1)), labels[i : i + 1])))
    return sum(losses) / len(losses)


@wrong(exercises.dense_step, "The gradients of the batch before are still in .grad")
def _(layers, optimizer, pictures, labels):
    loss = F.cross_entropy(layers(pictures.flatten(1)), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


@wrong(exercises.dense_step, "The weights do not change")
def _(layers, optimizer, pictures, labels):
    loss = F.cross_entropy(layers(pictures.flatten(1)), labels)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


@wrong(exercises.dense_step, "The loss is a sum over the pictures")
def _(layers, optimizer, pictures, labels):
    return outer(optimizer, F.cross_entropy(layers(pictures.flatten(1)), labels, reduction="sum"))


@wrong(exercises.dense_step, "It returns the loss after the step")
def _(layers, optimizer, pictures, labels):
    outer(optimizer, F.cross_entropy(layers(pictures.flatten(1)), labels))
    return F.cross_entropy(layers(pictures.flatten(1)), labels).item()


@wrong(exercises.dense_step, "The pixels of different pictures are mixed up")
def _(layers, optimizer, pictures, labels):
    return outer(optimizer, F.cross_entropy(layers(pictures.view(784, -1).T), labels))


@wrong(exercises.dense_step, "Only the first picture is used")
def _(layers, optimizer, pictures, labels):
    return outer(optimizer, F.cross_entropy(layers(pictures[:1].flatten(1)), labels[:1]))


@wrong(exercises.dense_step, "The loss comes back with its graph")
def _(layers, optimizer, pictures, labels):
    loss = F.cross_entropy(layers(pictures.flatten(1)), labels)
    outer(optimizer, loss)
    return loss


@wrong(exercises.dense_step, "Right with 6 pictures, but wrong with 9 pictures")
def _(layers, optimizer, pictures, labels):  # no step of the optimizer
    loss = F.cross_entropy(layers(pictures.flatten(1)), labels)
    grads = torch.autograd.grad(loss, list(layers.parameters()))
    with torch.no_grad():
        for p, g in zip(layers.parameters(), grads, strict=True):
            p -= optimizer.param_groups[0]["lr"] * g
    return loss.item()


@wrong(exercises.dense_step, "The loss is the squared error of the probabilities")
def _(layers, optimizer, pictures, labels):
    target = F.one_hot(labels, 10).float()
    return outer(optimizer, F.mse_loss(layers(pictures.flatten(1)).softmax(1), target))


@wrong(exercises.dense_step, "nll_loss expects logarithms")
def _(layers, optimizer, pictures, labels):
    return outer(optimizer, F.nll_loss(layers(pictures.flatten(1)), labels))


# predict


def means_of(features, labels):
    """The mean features of each class."""
    return torch.stack([features[labels == c].mean(0) for c in range(int(labels.max()) + 1)])


@right(exercises.predict)
def _(encoder, support_x, support_y, query_x):  # cosines, with the graph
    means = F.normalize(means_of(encoder(support_x), support_y), dim=1)
    return F.normalize(encoder(query_x), dim=1) @ means.T


@right(exercises.predict)
def _(encoder, support_x, support_y, query_x):  # the nearest neighbour
    distance = torch.cdist(encoder(query_x), encoder(support_x)).detach()
    ways = len(support_y.unique())
    scores = torch.empty(len(query_x), ways)
    for c in range(ways):
        scores[:, c] = -distance[:, support_y == c].min(1).values
    return scores


@right(exercises.predict)
def _(encoder, support_x, support_y, query_x):  # a head that is fitted
    with torch.no_grad():
        support, query = encoder(support_x), encoder(query_x)
    head = nn.Linear(support.shape[1], int(support_y.max()) + 1)
    adam = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(60):
        outer(adam, F.cross_entropy(head(support), support_y))
    return head(query).softmax(1)


@right(exercises.predict)
def _(encoder, support_x, support_y, query_x):  # ridge regression to one-hot labels
    support, wanted = encoder(support_x), F.one_hot(support_y).float()
    inverse = torch.linalg.inv(support @ support.T + 0.1 * torch.eye(len(support)))
    return encoder(query_x) @ support.T @ inverse @ wanted


@right(exercises.predict)
def _(encoder, support_x, support_y, query_x):  # as a matching network does
    attention = (-torch.cdist(encoder(query_x), encoder(support_x)).square()).softmax(1)
    return attention @ F.one_hot(support_y).float()


@wrong(exercises.predict, "The answers do not depend on the support set")
def _(encoder, support_x, support_y, query_x):  # sick
    return encoder.head(encoder(query_x))[:, : int(support_y.max()) + 1]


@wrong(exercises.predict, "one for each class of the pretraining")
def _(encoder, support_x, support_y, query_x):
    return encoder.head(encoder(query_x))


@wrong(exercises.predict, "The scores have the wrong sign")
def _(encoder, support_x, support_y, query_x):
    return torch.cdist(encoder(query_x), means_of(encoder(support_x), support_y))


@wrong(exercises.predict, "sorted by its classes")
def _(encoder, support_x, support_y, query_x):
    support = encoder(support_x)
    means = support.reshape(int(support_y.max()) + 1, -1, support.shape[1]).mean(1)
    return -torch.cdist(encoder(query_x), means)


@wrong(exercises.predict, "The encoder is never asked")
def _(encoder, support_x, support_y, query_x):
    return -torch.cdist(query_x.flatten(1), means_of(support_x.flatten(1), support_y))


@wrong(exercises.predict, "leave argmax to the caller")
def _(encoder, support_x, support_y, query_x):
    return torch.cdist(encoder(query_x), means_of(encoder(support_x), support_y)).argmin(1)


@wrong(exercises.predict, "yours is transposed")
def _(encoder, support_x, support_y, query_x):
    return -torch.cdist(means_of(encoder(support_x), support_y), encoder(query_x))


@wrong(exercises.predict, "one score for each of the 15 support examples")
def _(encoder, support_x, support_y, query_x):
    return -torch.cdist(encoder(query_x), encoder(support_x))


@wrong(exercises.predict, "The weights of `encoder` are others afterwards")
def _(encoder, support_x, support_y, query_x):
    head = nn.Linear(encoder(support_x).shape[1], int(support_y.max()) + 1)
    adam = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=0.01)
    for _ in range(30):
        outer(adam, F.cross_entropy(head(encoder(support_x)), support_y))
    return head(encoder(query_x))


@wrong(exercises.predict, "The running statistics of `encoder` are others")
def _(encoder, support_x, support_y, query_x):
    encoder.train()
    means = means_of(encoder(support_x), support_y)
    encoder.eval()
    return -torch.cdist(encoder(query_x), means)


@wrong(exercises.predict, "is left in the other one")
def _(encoder, support_x, support_y, query_x):
    scores = solutions.predict(encoder, support_x, support_y, query_x)
    encoder.train()
    return scores


@wrong(exercises.predict, "asked one at a time, they are not")
def _(encoder, support_x, support_y, query_x):
    support, query = encoder(support_x), encoder(query_x)
    return -torch.cdist(query - query.mean(0), means_of(support - support.mean(0), support_y))


@wrong(exercises.predict, "All classes get the same score")
def _(encoder, support_x, support_y, query_x):
    distance = (encoder(query_x) - encoder(support_x).mean(0)).norm(dim=1, keepdim=True)
    return -distance.expand(-1, int(support_y.max()) + 1)


@wrong(exercises.predict, "are there enough steps?")
def _(encoder, support_x, support_y, query_x):
    return torch.cdist(encoder(query_x), means_of(encoder(support_x), support_y)).sort().values


@wrong(exercises.predict, "With 4 classes and 1 example of each: It should return scores")
def _(encoder, support_x, support_y, query_x):
    support = encoder(support_x)
    means = torch.stack([support[support_y == c].mean(0) for c in range(5)])
    return -torch.cdist(encoder(query_x), means)


# adapt


@right(exercises.adapt)
def _(params, x, y, inner_lr, steps):
    theta = list(params)
    while steps:
        theta = inner(theta, x, y, inner_lr, create_graph=True)
        steps -= 1
    return theta


@right(exercises.adapt)
def _(params, x, y, inner_lr, steps):
    theta = [p.clone() for p in params]
    gradient = torch.func.grad(lambda p: ((mlp(p, x) - y) ** 2).mean())
    for _ in range(steps):
        theta = [p - inner_lr * g for p, g in zip(theta, gradient(theta), strict=True)]
    return theta


@right(exercises.adapt)
def _(params, x, y, inner_lr, steps):
    if steps == 0:
        return params
    loss = F.mse_loss(mlp(params, x), y)
    grads = torch.autograd.grad(loss, params, retain_graph=True, create_graph=True)
    return solutions.adapt(
        tuple(p.sub(g, alpha=inner_lr) for p, g in zip(params, grads, strict=True)), x, y, inner_lr, steps - 1
    )


def steps_of(params, x, y, inner_lr, steps, **options):
    """The parameters after some steps with a graph."""
    for _ in range(steps):
        params = inner(params, x, y, inner_lr, **({"create_graph": True} | options))
    return params


@wrong(exercises.adapt, "Is create_graph=True missing where the inner gradient is taken")
def _(params, x, y, inner_lr, steps):  # sick
    return steps_of(params, x, y, inner_lr, steps, create_graph=False)


@wrong(exercises.adapt, "Only the last inner step is differentiated")
def _(params, x, y, inner_lr, steps):
    for k in range(steps):
        params = inner(params, x, y, inner_lr, create_graph=k == steps - 1)
    return params


@wrong(exercises.adapt, "No gradient comes back to params")
def _(params, x, y, inner_lr, steps):
    return [p.detach().requires_grad_() for p in steps_of(params, x, y, inner_lr, steps)]


@wrong(exercises.adapt, "through 1 step is not. Only the Hessian's part is there")
def _(params, x, y, inner_lr, steps):
    for _ in range(steps):
        grads = torch.autograd.grad(F.mse_loss(mlp(params, x), y), params, create_graph=True)
        params = [p.detach() - inner_lr * g for p, g in zip(params, grads, strict=True)]
    return params


@wrong(exercises.adapt, "as an optimizer's step and p -= … do")
def _(params, x, y, inner_lr, steps):
    sgd = torch.optim.SGD(params, lr=inner_lr)
    for _ in range(steps):
        outer(sgd, F.mse_loss(mlp(params, x), y))
    return params


@wrong(exercises.adapt, "such as a clone of a parameter")
def _(params, x, y, inner_lr, steps):
    theta = [p.clone() for p in params]
    for _ in range(steps):
        grads = torch.autograd.grad(F.mse_loss(mlp(theta, x), y), theta, create_graph=True)
        for p, g in zip(theta, grads, strict=True):
            p -= inner_lr * g
    return theta


@wrong(exercises.adapt, "It leaves a gradient in the .grad")
def _(params, x, y, inner_lr, steps):
    theta = params
    for _ in range(steps):
        for p in theta:
            p.retain_grad()
        F.mse_loss(mlp(theta, x), y).backward(create_graph=True)
        theta = [p - inner_lr * p.grad for p in theta]
    return theta


@wrong(exercises.adapt, "It climbs")
def _(params, x, y, inner_lr, steps):
    return steps_of(params, x, y, -inner_lr, steps)


@wrong(exercises.adapt, "It takes one step only, whatever")
def _(params, x, y, inner_lr, steps):
    for _ in range(steps):
        adapted = inner(params, x, y, inner_lr, create_graph=True)
    return adapted


@wrong(exercises.adapt, "It takes one step too many")
def _(params, x, y, inner_lr, steps):
    return steps_of(params, x, y, inner_lr, steps + 1)


@wrong(exercises.adapt, "It takes one step too few")
def _(params, x, y, inner_lr, steps):
    for _ in range(1, steps):
        params = inner(params, x, y, inner_lr, create_graph=True)
    return params


@wrong(exercises.adapt, "The learning rate is missing")
def _(params, x, y, inner_lr, steps):
    return steps_of(params, x, y, 1.0, steps)


@wrong(exercises.adapt, "The inner loss is a sum over the points")
def _(params, x, y, inner_lr, steps):
    return steps_of(params, x, y, inner_lr, steps, loss=lambda a, b: (a - b).square().sum())


@wrong(exercises.adapt, "Every step uses the gradient at the start")
def _(params, x, y, inner_lr, steps):
    grads = torch.autograd.grad(F.mse_loss(mlp(params, x), y), params, create_graph=True)
    for _ in range(steps):
        params = [p - inner_lr * g for p, g in zip(params, grads, strict=True)]
    return params


@wrong(exercises.adapt, "The biases do not adapt")
def _(params, x, y, inner_lr, steps):
    for _ in range(steps):
        moved = inner(params, x, y, inner_lr, create_graph=True)
        params = [q if p.dim() == 2 else p for p, q in zip(params, moved, strict=True)]
    return params


@wrong(exercises.adapt, "A list of tensors cannot be multiplied as a whole")
def _(params, x, y, inner_lr, steps):
    grads = torch.autograd.grad(F.mse_loss(mlp(params, x), y), params, create_graph=True)
    return params - inner_lr * list(grads)


# scores_one_by_one


def batch_norms(network):
    """The batch norms of a network."""
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


@right(exercises.scores_one_by_one)
def _(network, support_x, support_y, query_x):  # the support set's statistics, on a copy
    twin = copy.deepcopy(network)
    for norm in batch_norms(twin):
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        twin.train()(support_x)
        twin.eval()
        return -torch.cdist(twin(query_x), means_of(twin(support_x), support_y))


@right(exercises.scores_one_by_one)
def _(network, support_x, support_y, query_x):  # the same on the network itself, which is put back
    mode, state = network.training, copy.deepcopy(network.state_dict())
    norms = batch_norms(network)
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train()
    network(support_x)
    network.eval()
    scores = -(torch.cdist(network(query_x), means_of(network(support_x), support_y)) ** 2)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.load_state_dict(state)
    network.train(mode)
    return scores.detach()


@right(exercises.scores_one_by_one)
def _(network, support_x, support_y, query_x):  # one query after the other, with functional_call
    was, scores = network.training, []
    network.train()
    for query in query_x:
        buffers = {name: b.clone() for name, b in network.named_buffers()}
        features = functional_call(network, buffers, (torch.cat([query[None], support_x]),))
        scores.append(-torch.cdist(features[:1], means_of(features[1:], support_y))[0])
    network.train(was)
    return torch.stack(scores)


@right(exercises.scores_one_by_one)
def _(network, support_x, support_y, query_x):  # means of the support set alone
    twin = copy.deepcopy(network).train()
    means = means_of(twin(support_x), support_y)
    queries = torch.cat([twin(torch.cat([support_x, one[None]]))[-1:] for one in query_x])
    return -(queries[:, None] - means).square().mean(2)


@wrong(exercises.scores_one_by_one, "these were never measured")
def _(network, support_x, support_y, query_x):  # sick
    twin = copy.deepcopy(network).eval()
    return -torch.cdist(twin(query_x), means_of(twin(support_x), support_y))


@wrong(exercises.scores_one_by_one, "get other scores when they are asked alone")
def _(network, support_x, support_y, query_x):  # sick
    twin = copy.deepcopy(network).train()
    return -torch.cdist(twin(query_x), means_of(twin(support_x), support_y))


@wrong(exercises.scores_one_by_one, "get other scores when they are asked alone")
def _(network, support_x, support_y, query_x):
    features = copy.deepcopy(network).train()(torch.cat([support_x, query_x]))
    support, query = features.split([len(support_x), len(query_x)])
    return -torch.cdist(query, means_of(support, support_y))


@wrong(exercises.scores_one_by_one, "Each query is normalised by its own statistics")
def _(network, support_x, support_y, query_x):
    twin = copy.deepcopy(network).train()
    queries = torch.cat([twin(one[None]) for one in query_x])
    return -torch.cdist(queries, means_of(twin(support_x), support_y))


@wrong(exercises.scores_one_by_one, "The running statistics of `network` are others")
def _(network, support_x, support_y, query_x):
    was, scores = network.training, []
    network.train()
    for query in query_x:
        features = network(torch.cat([query[None], support_x]))
        scores.append(-torch.cdist(features[:1], means_of(features[1:], support_y))[0])
    network.train(was)
    return torch.stack(scores)


@wrong(exercises.scores_one_by_one, "`network` came in train mode and is left in the other one")
def _(network, support_x, support_y, query_x):
    scores = solutions.scores_one_by_one(network, support_x, support_y, query_x)
    network.eval()
    return scores


@wrong(exercises.scores_one_by_one, "A batch norm of `network` has another momentum")
def _(network, support_x, support_y, query_x):
    mode, state = network.training, copy.deepcopy(network.state_dict())
    for norm in batch_norms(network):
        norm.momentum = 1.0
    network.train()(support_x)
    network.eval()
    scores = -torch.cdist(network(query_x), means_of(network(support_x), support_y))
    network.load_state_dict(state)
    network.train(mode)
    return scores


@wrong(exercises.scores_one_by_one, "Set the mode that your code needs")
def _(network, support_x, support_y, query_x):
    twin, scores = copy.deepcopy(network), []
    for query in query_x:
        features = twin(torch.cat([query[None], support_x]))
        scores.append(-torch.cdist(features[:1], means_of(features[1:], support_y))[0])
    return torch.stack(scores)


@wrong(exercises.scores_one_by_one, "depend on which queries come before it")
def _(network, support_x, support_y, query_x):
    twin, scores = copy.deepcopy(network), []
    for norm in batch_norms(twin):
        norm.momentum = None
    for query in query_x:
        twin.train()(torch.cat([support_x, query[None]]))
        twin.eval()
        scores.append(-torch.cdist(twin(query[None]), means_of(twin(support_x), support_y))[0])
    return torch.stack(scores)


@wrong(exercises.scores_one_by_one, "The scores have the wrong sign")
def _(network, support_x, support_y, query_x):
    return -solutions.scores_one_by_one(network, support_x, support_y, query_x)


@wrong(exercises.scores_one_by_one, "yours is transposed")
def _(network, support_x, support_y, query_x):
    return solutions.scores_one_by_one(network, support_x, support_y, query_x).T


@wrong(exercises.scores_one_by_one, "one score for each of the 10 support examples")
def _(network, support_x, support_y, query_x):
    return solutions.scores_one_by_one(network, support_x, torch.arange(len(support_x)), query_x)


@wrong(exercises.scores_one_by_one, "sorted by its classes")
def _(network, support_x, support_y, query_x):
    return solutions.scores_one_by_one(network, support_x, support_y.sort().values, query_x)


@wrong(exercises.scores_one_by_one, "leave argmax to the caller")
def _(network, support_x, support_y, query_x):
    return solutions.scores_one_by_one(network, support_x, support_y, query_x).argmax(1)


@wrong(exercises.scores_one_by_one, "Some of the scores are not finite")
def _(network, support_x, support_y, query_x):
    return solutions.scores_one_by_one(network, support_x, support_y, query_x) / 0


# fair_accuracy


@right(exercises.fair_accuracy)
def _(scores, labels):
    total = 0.0
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        if row[label] == max(row):
            total += 1 / row.count(max(row))
    return total / len(labels)


@right(exercises.fair_accuracy)
def _(scores, labels):
    best = (scores == scores.amax(1, keepdim=True)).double()
    return (best / best.sum(1, keepdim=True))[range(len(labels)), labels].mean().item()


@right(exercises.fair_accuracy)
def _(scores, labels):
    own = scores[torch.arange(len(labels)), labels][:, None]
    larger, equal = (scores > own).sum(1), (scores == own).sum(1)
    return torch.where(larger > 0, 0.0, 1 / equal).mean()


@wrong(exercises.fair_accuracy, "This is what argmax gets")
def _(scores, labels):  # sick
    return (scores.argmax(1) == labels).float().mean()


@wrong(exercises.fair_accuracy, "A tie counts as right whenever")
def _(scores, labels):
    return (scores[torch.arange(len(labels)), labels] >= scores.max(1).values).float().mean()


@wrong(exercises.fair_accuracy, "Every tie counts as wrong")
def _(scores, labels):
    two = scores.topk(2, dim=1).values
    return ((two[:, 0] > two[:, 1]) & (scores.argmax(1) == labels)).float().mean()


@wrong(exercises.fair_accuracy, "it gives different results")
def _(scores, labels):
    best = (scores == scores.amax(1, keepdim=True)).double()
    return (torch.multinomial(best, 1)[:, 0] == labels).double().mean()


@wrong(exercises.fair_accuracy, "even where the right class is not among them")
def _(scores, labels):
    return (1 / (scores == scores.amax(1, keepdim=True)).sum(1)).mean()


@wrong(exercises.fair_accuracy, "A tie counts 1/N")
def _(scores, labels):
    best = scores == scores.amax(1, keepdim=True)
    among = best[torch.arange(len(labels)), labels].double()
    among[best.sum(1) > 1] /= scores.shape[1]
    return among.mean()


@wrong(exercises.fair_accuracy, "A tie counts one half")
def _(scores, labels):
    best = scores == scores.amax(1, keepdim=True)
    among = best[torch.arange(len(labels)), labels].double()
    among[best.sum(1) > 1] /= 2
    return among.mean()


@wrong(exercises.fair_accuracy, "Queries with a tie are left out")
def _(scores, labels):
    single = (scores == scores.amax(1, keepdim=True)).sum(1) == 1
    return (scores[single].argmax(1) == labels[single]).double().mean()


@wrong(exercises.fair_accuracy, "so that one query with many ties")
def _(scores, labels):
    best = scores == scores.amax(1, keepdim=True)
    return best[torch.arange(len(labels)), labels].sum() / best.sum()


@wrong(exercises.fair_accuracy, "This is the sum over the queries")
def _(scores, labels):
    return solutions.fair_accuracy(scores, labels) * len(labels)


@wrong(exercises.fair_accuracy, "This is in per cent")
def _(scores, labels):
    return 100 * solutions.fair_accuracy(scores, labels)


@wrong(exercises.fair_accuracy, "Of several largest scores, the last one is taken")
def _(scores, labels):
    return (scores.shape[1] - 1 - scores.flip(1).argmax(1) == labels).double().mean()


@wrong(exercises.fair_accuracy, "should be one number; yours is a tensor")
def _(scores, labels):
    best = scores == scores.amax(1, keepdim=True)
    return best[torch.arange(len(labels)), labels] / best.sum(1)


# split_by_alphabet


def names_of(classes):
    """The alphabets, each once."""
    return sorted({alphabet for alphabet, _ in classes})


def split(classes, test):
    """The classes whose alphabet is not in a set, and those whose is."""
    return [c for c in classes if c[0] not in test], [c for c in classes if c[0] in test]


def share_of(share, names):
    """The number of test alphabets."""
    return max(1, min(len(names) - 1, round(share * len(names))))


@right(exercises.split_by_alphabet)
def _(classes, share, generator):
    names = list(dict.fromkeys(alphabet for alphabet, _ in classes))
    keys = torch.rand(len(names), generator=generator)
    return split(classes, {names[i] for i in keys.topk(share_of(share, names)).indices})


@right(exercises.split_by_alphabet)
def _(classes, share, generator):
    of_alphabet = {}
    for one in classes:
        of_alphabet.setdefault(one[0], []).append(one)
    mixed = [list(of_alphabet)[i] for i in torch.randperm(len(of_alphabet), generator=generator)]
    count = share_of(share, mixed)
    test = [one for name in mixed[:count] for one in of_alphabet[name]]
    return [one for name in mixed[count:] for one in of_alphabet[name]], test


@right(exercises.split_by_alphabet)
def _(classes, share, generator):
    names = names_of(classes)
    mix = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
    chosen = mix.sample(names, share_of(share, names))
    return tuple(split(classes, chosen))


@right(exercises.split_by_alphabet)
def _(classes, share, generator):  # names that are no longer the ones that came in
    names = np.unique([alphabet for alphabet, _ in classes])
    mix = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    chosen = set(mix.choice(names, share_of(share, names), replace=False))
    return split(classes, chosen)


@right(exercises.split_by_alphabet)
def _(classes, share, generator):
    names = sorted({f"{alphabet}" for alphabet, _ in classes})
    order = torch.randperm(len(names), generator=generator).tolist()
    return split(classes, {names[i] for i in order[: share_of(share, names)]})


@wrong(exercises.split_by_alphabet, "another one after a new start of Python")
def _(classes, share, generator):
    names = list({alphabet for alphabet, _ in classes})
    order = torch.randperm(len(names), generator=generator).tolist()
    return split(classes, {names[i] for i in order[: share_of(share, names)]})


@wrong(exercises.split_by_alphabet, "another one after a new start of Python")
def _(classes, share, generator):
    names = set(dict(classes))
    mix = random.Random(int(torch.randint(2**31, (1,), generator=generator)))
    return split(classes, mix.sample(list(names), share_of(share, names)))


@wrong(exercises.split_by_alphabet, "the characters were split, and not the alphabets")
def _(classes, share, generator):  # sick
    order = torch.randperm(len(classes), generator=generator).tolist()
    count = round(share * len(classes))
    return [classes[i] for i in order[count:]], [classes[i] for i in order[:count]]


@wrong(exercises.split_by_alphabet, "would make each alphabet a class")
def _(classes, share, generator):  # sick
    names = names_of(classes)
    order = torch.randperm(len(names), generator=generator).tolist()
    count = share_of(share, names)
    return [names[i] for i in order[count:]], [names[i] for i in order[:count]]


@wrong(exercises.split_by_alphabet, "only one character is left")
def _(classes, share, generator):
    train, test = solutions.split_by_alphabet(classes, share, generator)
    return list({a: (a, c) for a, c in train}.values()), list({a: (a, c) for a, c in test}.values())


@wrong(exercises.split_by_alphabet, "every alphabet was split in itself")
def _(classes, share, generator):
    train, test = [], []
    for name in names_of(classes):
        own = [c for c in classes if c[0] == name]
        order = torch.randperm(len(own), generator=generator).tolist()
        count = max(1, round(share * len(own)))
        test += [own[i] for i in order[:count]]
        train += [own[i] for i in order[count:]]
    return train, test


@wrong(exercises.split_by_alphabet, "The characters' names were split")
def _(classes, share, generator):
    names = sorted({character for _, character in classes})
    order = torch.randperm(len(names), generator=generator).tolist()
    test = {names[i] for i in order[: share_of(share, names)]}
    return [c for c in classes if c[1] not in test], [c for c in classes if c[1] in test]


@wrong(exercises.split_by_alphabet, "Train and test have changed places")
def _(classes, share, generator):
    return solutions.split_by_alphabet(classes, share, generator)[::-1]


@wrong(exercises.split_by_alphabet, "whatever the generator")
def _(classes, share, generator):
    names = names_of(classes)
    return split(classes, set(names[-share_of(share, names) :]))


@wrong(exercises.split_by_alphabet, "at least part of the randomness does not come from the generator")
def _(classes, share, generator):
    names = names_of(classes)
    order = torch.randperm(len(names)).tolist()
    return split(classes, {names[i] for i in order[: share_of(share, names)]})


@wrong(exercises.split_by_alphabet, "The generator gives the same split in each call")
def _(classes, share, generator):
    anew = torch.Generator().manual_seed(generator.initial_seed())
    return solutions.split_by_alphabet(classes, share, anew)


@wrong(exercises.split_by_alphabet, "is rounded down")
def _(classes, share, generator):
    names = names_of(classes)
    order = torch.randperm(len(names), generator=generator).tolist()
    return split(classes, {names[i] for i in order[: max(1, int(share * len(names)))]})


@wrong(exercises.split_by_alphabet, "test is empty")
def _(classes, share, generator):
    names = names_of(classes)
    order = torch.randperm(len(names), generator=generator).tolist()
    return split(classes, {names[i] for i in order[: round(share * len(names))]})


@wrong(exercises.split_by_alphabet, "train is empty")
def _(classes, share, generator):
    names = names_of(classes)
    order = torch.randperm(len(names), generator=generator).tolist()
    return split(classes, {names[i] for i in order[: max(1, round(share * len(names)))]})


@wrong(exercises.split_by_alphabet, "changes from draw to draw")
def _(classes, share, generator):
    names = names_of(classes)
    drawn = torch.randint(len(names), (share_of(share, names),), generator=generator).tolist()
    return split(classes, {names[i] for i in drawn})


@wrong(exercises.split_by_alphabet, "Not every alphabet has the same chance")
def _(classes, share, generator):
    count = share_of(share, names_of(classes))
    test = []
    for i in torch.randperm(len(classes), generator=generator).tolist():
        if len(test) < count and classes[i][0] not in test:
            test.append(classes[i][0])
    return split(classes, test)


@wrong(exercises.split_by_alphabet, "It changes the list of classes")
def _(classes, share, generator):
    classes.sort()
    return solutions.split_by_alphabet(classes, share, generator)


@wrong(exercises.split_by_alphabet, "classes are lost")
def _(classes, share, generator):
    train, test = solutions.split_by_alphabet(classes, share, generator)
    return train[:-1], test


@wrong(exercises.split_by_alphabet, "Some classes come twice")
def _(classes, share, generator):
    train, test = solutions.split_by_alphabet(classes, share, generator)
    return train + train[:1], test
