"""Our solutions, which `solution()` prints as they are. They are notebook code, so they have no type hints."""

import torch


def forward(params, x):
    """The sine network: x [K, 1] -> [K, 1], with params = [w1, b1, w2, b2, w3, b3] and each w [inputs, outputs]."""
    w1, b1, w2, b2, w3, b3 = params
    hidden = torch.relu(x @ w1 + b1)
    hidden = torch.relu(hidden @ w2 + b2)
    return hidden @ w3 + b3


def sample_task(generator):
    """Draw a sine task: the pair (amplitude, phase), uniform in 0.1 … 5.0 and in 0 … π."""
    amplitude = 0.1 + 4.9 * torch.rand(1, generator=generator).item()
    phase = torch.pi * torch.rand(1, generator=generator).item()
    return amplitude, phase


def inner_step(params, x, y, inner_lr):
    """One gradient step on the mean squared error of (x, y): the new params, ready to be differentiated through."""
    loss = ((forward(params, x) - y) ** 2).mean()
    grads = torch.autograd.grad(loss, params, create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, grads, strict=True)]


def meta_loss(params, tasks, inner_lr):
    """The mean query loss of the tasks (support_x, support_y, query_x, query_y), each after one inner step."""
    losses = []
    for support_x, support_y, query_x, query_y in tasks:
        adapted = inner_step(params, support_x, support_y, inner_lr)
        losses.append(((forward(adapted, query_x) - query_y) ** 2).mean())
    return torch.stack(losses).mean()


def meta_train(params, draw, steps, inner_lr, outer_lr, watch):
    """Train a start with MAML: Adam takes `steps` outer steps, each on fresh tasks. Return the new start."""
    params = [p.detach().clone().requires_grad_() for p in params]
    optimizer = torch.optim.Adam(params, lr=outer_lr)
    for _ in range(steps):
        loss = meta_loss(params, draw(), inner_lr)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch(loss.item())
    return params


def inner_loop(params, x, y, inner_lr, steps):
    """The inner loop: `steps` gradient steps on (x, y), each from where the one before it ended."""
    for _ in range(steps):
        params = inner_step(params, x, y, inner_lr)
    return params


def tune(error, rates):
    """Choose the rate with the least validation error. Return it, and its error on the test tasks."""
    errors = {rate: error(rate, "validation") for rate in rates}
    steady = [rate for rate in rates if errors[rate] < float("inf")]  # nan is not less than anything
    best = min(steady, key=errors.get)
    return best, error(best, "test")
