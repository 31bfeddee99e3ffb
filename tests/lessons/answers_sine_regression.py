"""Answers to the exercises of the sine lesson."""

import math
import random

import torch
import torch.nn.functional as F
from answers import right, wrong

from metalab.lessons.sine_regression import exercises, solutions
from metalab.lessons.sine_regression.exercises import forward

# sample_task


@right(exercises.sample_task)
def _(generator):
    u, v = torch.rand(2, generator=generator).tolist()
    return u * (5.0 - 0.1) + 0.1, v * math.pi


@right(exercises.sample_task)
def _(generator):
    amplitude = torch.empty(1).uniform_(0.1, 5.0, generator=generator)
    phase = torch.empty(1).uniform_(0, math.pi, generator=generator)
    return [amplitude, phase]


@right(exercises.sample_task)
def _(generator):
    phase = math.pi - torch.rand((), generator=generator, dtype=torch.float64) * math.pi
    return 5 - 4.9 * torch.rand((), generator=generator), phase


@right(exercises.sample_task)
def _(generator):
    low, high = torch.tensor([0.1, 0.0]), torch.tensor([5.0, math.pi])
    return torch.lerp(low, high, torch.rand(2, generator=generator))


@wrong(exercises.sample_task, "up to 2π")
def _(generator):
    u, v = torch.rand(2, generator=generator)
    return 0.1 + 4.9 * u, 2 * math.pi * v


@wrong(exercises.sample_task, "starts at 0 instead of 0.1")
def _(generator):
    return 5 * torch.rand(1, generator=generator), math.pi * torch.rand(1, generator=generator)


@wrong(exercises.sample_task, "up to 5.1")
def _(generator):
    return 0.1 + 5 * torch.rand(1, generator=generator), math.pi * torch.rand(1, generator=generator)


@wrong(exercises.sample_task, "amplitude takes only 5 different values")
def _(generator):
    return torch.randint(1, 6, (1,), generator=generator).item(), math.pi * torch.rand(1, generator=generator)


@wrong(exercises.sample_task, "from somewhere else than the generator")
def _(generator):
    return 0.1 + 4.9 * torch.rand(1), math.pi * torch.rand(1)


@wrong(exercises.sample_task, "from somewhere else than the generator")
def _(generator):
    return random.uniform(0.1, 5), random.uniform(0, math.pi)


@wrong(exercises.sample_task, "swapped")
def _(generator):
    amplitude, phase = 0.1 + 4.9 * torch.rand(1, generator=generator), math.pi * torch.rand(1, generator=generator)
    return phase, amplitude


@wrong(exercises.sample_task, "tied together")
def _(generator):
    u = torch.rand(1, generator=generator).item()
    return 0.1 + 4.9 * u, math.pi * u


@wrong(exercises.sample_task, "tied together")
def _(generator):
    u = torch.rand(1, generator=generator).item()
    return 0.1 + 4.9 * u, math.pi * (1 - u)


@wrong(exercises.sample_task, "the same task every time")
def _(generator):
    generator.manual_seed(0)
    return 0.1 + 4.9 * torch.rand(1, generator=generator), math.pi * torch.rand(1, generator=generator)


@wrong(exercises.sample_task, "amplitude has the right range, but some parts")
def _(generator):
    u, v = torch.rand(2, generator=generator).tolist()
    return 0.1 * 50**u, math.pi * v


@wrong(exercises.sample_task, "amplitude lies in -")
def _(generator):
    return 2 * torch.randn(1, generator=generator), math.pi * torch.rand(1, generator=generator)


@wrong(exercises.sample_task, "should fill 0.00 … 3.14")
def _(generator):
    return 0.1 + 4.9 * torch.rand(1, generator=generator), 180 * torch.rand(1, generator=generator)


@wrong(exercises.sample_task, "should return two numbers, amplitude and phase; yours is of the type float")
def _(generator):
    return torch.rand(1, generator=generator).item()


@wrong(exercises.sample_task, "the amplitude should be one number; yours is a tensor of shape [2]")
def _(generator):
    return 0.1 + 4.9 * torch.rand(2, generator=generator), math.pi * torch.rand(2, generator=generator)


@wrong(exercises.sample_task, "not finite")
def _(generator):
    return 0.1 + 4.9 / torch.zeros(1), math.pi * torch.rand(1, generator=generator)


# inner_step


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    w1, b1, w2, b2, w3, b3 = params
    error = torch.relu(torch.relu(x @ w1 + b1) @ w2 + b2) @ w3 + b3 - y
    loss = error.pow(2).mean()
    adapted = []
    for p in params:
        (gradient,) = torch.autograd.grad(loss, p, create_graph=True)
        adapted.append(p.sub(inner_lr * gradient))
    return adapted


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    gradients = torch.func.grad(lambda ps: F.mse_loss(forward(ps, x), y))(tuple(params))
    return tuple(p - inner_lr * g for p, g in zip(params, gradients, strict=True))


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    loss = torch.square(y - forward(params, x)).sum() / len(x)
    scaled = torch.autograd.grad(loss, params, grad_outputs=torch.tensor(-inner_lr), create_graph=True)
    return list(map(torch.add, params, scaled))


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    adapted = [p.clone() for p in params]
    loss = F.mse_loss(forward(adapted, x), y)
    for i, g in enumerate(torch.autograd.grad(loss, adapted, create_graph=True)):
        adapted[i] = adapted[i] - inner_lr * g
    return adapted


def gradients_of(params, x, y, **options):
    return torch.autograd.grad(F.mse_loss(forward(params, x), y), params, **options)


@wrong(exercises.inner_step, "takes your gradients for constants")
def _(params, x, y, inner_lr):
    return [p - inner_lr * g for p, g in zip(params, gradients_of(params, x, y), strict=True)]


@wrong(exercises.inner_step, "takes your gradients for constants")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p - inner_lr * g.detach() for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "It climbs")
def _(params, x, y, inner_lr):
    return [p + inner_lr * g for p, g in zip(params, gradients_of(params, x, y, create_graph=True), strict=True)]


@wrong(exercises.inner_step, "changes the shared parameters themselves")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y)
    with torch.no_grad():
        for p, g in zip(params, gradients, strict=True):
            p -= inner_lr * g
    return params


@wrong(exercises.inner_step, "changes the shared parameters themselves")
def _(params, x, y, inner_lr):
    for p, g in zip(params, gradients_of(params, x, y), strict=True):
        p.data = p.data - inner_lr * g


@wrong(exercises.inner_step, "changes the shared parameters themselves")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    for i, g in enumerate(gradients):
        params[i] = params[i] - inner_lr * g
    return params


@wrong(exercises.inner_step, "changes the shared parameters themselves")
def _(params, x, y, inner_lr):
    params[:] = [p.detach().requires_grad_() for p in params]  # the same numbers, but no longer the caller's start
    return adapt(params, x, y, inner_lr)


@wrong(exercises.inner_step, "sum over the points, not a mean")
def _(params, x, y, inner_lr):
    loss = ((forward(params, x) - y) ** 2).sum()
    return [p - inner_lr * g for p, g in zip(params, torch.autograd.grad(loss, params, create_graph=True), strict=True)]


@wrong(exercises.inner_step, "learning rate is missing")
def _(params, x, y, inner_lr):
    return [p - g for p, g in zip(params, gradients_of(params, x, y, create_graph=True), strict=True)]


@wrong(exercises.inner_step, "learning rate comes in twice")
def _(params, x, y, inner_lr):
    loss = inner_lr * F.mse_loss(forward(params, x), y)
    return [p - inner_lr * g for p, g in zip(params, torch.autograd.grad(loss, params, create_graph=True), strict=True)]


@wrong(exercises.inner_step, "half as long")
def _(params, x, y, inner_lr):
    loss = 0.5 * F.mse_loss(forward(params, x), y)
    return [p - inner_lr * g for p, g in zip(params, torch.autograd.grad(loss, params, create_graph=True), strict=True)]


@wrong(exercises.inner_step, "biases stay")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p if i % 2 else p - inner_lr * gradients[i] for i, p in enumerate(params)]


@wrong(exercises.inner_step, "Only the last layer moves")
def _(params, x, y, inner_lr):
    w3, b3 = params[-2:]
    loss = F.mse_loss(forward(params, x), y)
    dw3, db3 = torch.autograd.grad(loss, (w3, b3), create_graph=True)
    return [*params[:-2], w3 - inner_lr * dw3, b3 - inner_lr * db3]


@wrong(exercises.inner_step, "cut off from `params`")
def _(params, x, y, inner_lr):
    return [p.data - inner_lr * g for p, g in zip(params, gradients_of(params, x, y), strict=True)]


@wrong(exercises.inner_step, "cut off from `params`")
def _(params, x, y, inner_lr):
    fresh = [p.detach().clone().requires_grad_() for p in params]
    return [p - inner_lr * g for p, g in zip(fresh, gradients_of(fresh, x, y, create_graph=True), strict=True)]


@wrong(exercises.inner_step, "gradient is normalised")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    length = sum((g**2).sum() for g in gradients) ** 0.5
    return [p - inner_lr * g / length for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "gradient is normalised")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p - inner_lr * F.normalize(g.flatten(), dim=0).view_as(g) for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "Only the sign")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p - inner_lr * torch.sign(g) for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "no step was taken")
def _(params, x, y, inner_lr):
    adapted = [p.clone() for p in params]
    for p, g in zip(adapted, gradients_of(params, x, y), strict=True):
        p = p - inner_lr * g
    return adapted


@wrong(exercises.inner_step, "returns the change alone, or the gradient")
def _(params, x, y, inner_lr):
    return gradients_of(params, x, y, create_graph=True)


@wrong(exercises.inner_step, "returns the change alone, or the gradient")
def _(params, x, y, inner_lr):
    return [-inner_lr * g for g in gradients_of(params, x, y, create_graph=True)]


@wrong(exercises.inner_step, "calls backward()")
def _(params, x, y, inner_lr):
    F.mse_loss(forward(params, x), y).backward()
    return [p - inner_lr * p.grad for p in params]


@wrong(exercises.inner_step, "returns 2 of the 6 parameters")
def _(params, x, y, inner_lr):
    return [p - inner_lr * g for p, g in zip(params, gradients_of(params, x, y), strict=True)][:2]


@wrong(exercises.inner_step, "list of tensors; yours is a tensor of shape []")
def _(params, x, y, inner_lr):
    return F.mse_loss(forward(params, x), y)


@wrong(exercises.inner_step, "w1 has the shape [8]; it should be [1, 8]")
def _(params, x, y, inner_lr):
    return [p.flatten() for p in params]


@wrong(exercises.inner_step, "not a mistake we know. With the arguments exercises.inner_step.inputs(), w1[0, ")
def _(params, x, y, inner_lr):
    return [p - inner_lr * 0.7 * g for p, g in zip(params, gradients_of(params, x, y), strict=True)]


@wrong(exercises.inner_step, "yours is nan")
def _(params, x, y, inner_lr):
    return [p * float("nan") for p in params]


@wrong(exercises.inner_step, "and a loss through your step, the gradient of w1[0, ")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p.detach() - inner_lr * g for p, g in zip(params, gradients, strict=True)]


# meta_loss


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    total = 0.0
    for support_x, support_y, query_x, query_y in tasks:
        adapted = solutions.inner_step(params, support_x, support_y, inner_lr)
        total = total + F.mse_loss(forward(adapted, query_x), query_y)
    return total / len(tasks)


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    def error(task):
        return forward(solutions.inner_step(params, task[0], task[1], inner_lr), task[2]) - task[3]

    return torch.cat([error(task) for task in tasks]).square().mean().reshape(1)


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    def loss(ps, x, y):
        return F.mse_loss(forward(ps, x), y)

    def task_loss(sx, sy, qx, qy):
        gradients = torch.func.grad(loss)(params, sx, sy)
        return loss([p - inner_lr * g for p, g in zip(params, gradients, strict=True)], qx, qy)

    return torch.vmap(task_loss)(*(torch.stack(part) for part in zip(*tasks, strict=True))).mean()


def mean_over_tasks(losses):
    return sum(losses) / len(losses)


def adapt(params, x, y, inner_lr, **options):
    gradients = gradients_of(params, x, y, **{"create_graph": True, **options})
    return [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.meta_loss, "outer loss is taken on the support set")
def _(params, tasks, inner_lr):
    return mean_over_tasks([F.mse_loss(forward(adapt(params, sx, sy, inner_lr), sx), sy) for sx, sy, _, _ in tasks])


@wrong(exercises.meta_loss, "unadapted parameters")
def _(params, tasks, inner_lr):
    losses = []
    for support_x, support_y, query_x, query_y in tasks:
        adapt(params, support_x, support_y, inner_lr)
        losses.append(F.mse_loss(forward(params, query_x), query_y))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "adapts on the query set, then judges on the same points")
def _(params, tasks, inner_lr):
    return mean_over_tasks([F.mse_loss(forward(adapt(params, qx, qy, inner_lr), qx), qy) for _, _, qx, qy in tasks])


@wrong(exercises.meta_loss, "Support and query are swapped")
def _(params, tasks, inner_lr):
    return mean_over_tasks([F.mse_loss(forward(adapt(params, qx, qy, inner_lr), sx), sy) for sx, sy, qx, qy in tasks])


@wrong(exercises.meta_loss, "reuses one task's weights for the next task")
def _(params, tasks, inner_lr):
    total = 0
    for support_x, support_y, query_x, query_y in tasks:
        params = adapt(params, support_x, support_y, inner_lr)
        total += F.mse_loss(forward(params, query_x), query_y)
    return total / len(tasks)


@wrong(exercises.meta_loss, "added up, not averaged")
def _(params, tasks, inner_lr):
    return sum(F.mse_loss(forward(adapt(params, sx, sy, inner_lr), qx), qy) for sx, sy, qx, qy in tasks)


@wrong(exercises.meta_loss, "Only the last task counts")
def _(params, tasks, inner_lr):
    for support_x, support_y, query_x, query_y in tasks:
        loss = F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y)
    return loss


@wrong(exercises.meta_loss, "Only the first task counts")
def _(params, tasks, inner_lr):
    for support_x, support_y, query_x, query_y in tasks:
        return F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y)


@wrong(exercises.meta_loss, "only one task's loss is in the sum")
def _(params, tasks, inner_lr):
    for support_x, support_y, query_x, query_y in tasks:
        total = F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y)
    return total / len(tasks)


@wrong(exercises.meta_loss, "only one task's loss is in the sum")
def _(params, tasks, inner_lr):
    total = 0
    for support_x, support_y, query_x, query_y in tasks:
        total += F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y)
        return total / len(tasks)


@wrong(exercises.meta_loss, "meta-gradient is the first-order one")
def _(params, tasks, inner_lr):
    return mean_over_tasks(
        [F.mse_loss(forward(adapt(params, sx, sy, inner_lr, create_graph=False), qx), qy) for sx, sy, qx, qy in tasks]
    )


@wrong(exercises.meta_loss, "the meta-gradient is zero")
def _(params, tasks, inner_lr):
    losses = []
    for support_x, support_y, query_x, query_y in tasks:
        adapted = [p.detach() for p in adapt(params, support_x, support_y, inner_lr)]
        losses.append(F.mse_loss(forward(adapted, query_x), query_y))
    return torch.stack(losses).mean()


@wrong(exercises.meta_loss, "the meta-gradient is zero")
def _(params, tasks, inner_lr):
    adapted = [[p.detach().requires_grad_() for p in adapt(params, *task[:2], inner_lr)] for task in tasks]
    return mean_over_tasks([F.mse_loss(forward(a, qx), qy) for a, (_, _, qx, qy) in zip(adapted, tasks, strict=True)])


@wrong(exercises.meta_loss, "plain Python number")
def _(params, tasks, inner_lr):
    return mean_over_tasks(
        [F.mse_loss(forward(adapt(params, sx, sy, inner_lr), qx), qy).item() for sx, sy, qx, qy in tasks]
    )


@wrong(exercises.meta_loss, "calls backward()")
def _(params, tasks, inner_lr):
    loss = solutions.meta_loss(params, tasks, inner_lr)
    loss.backward()
    return loss


@wrong(exercises.meta_loss, "changes the parameters or the tasks")
def _(params, tasks, inner_lr):
    for support_x, support_y, _, _ in tasks:
        for p, new in zip(params, adapt(params, support_x, support_y, inner_lr), strict=True):
            p.data = new.data
    return mean_over_tasks([F.mse_loss(forward(params, qx), qy) for _, _, qx, qy in tasks])


@wrong(exercises.meta_loss, "changes the parameters or the tasks")
def _(params, tasks, inner_lr):
    losses = []
    while tasks:
        support_x, support_y, query_x, query_y = tasks.pop()
        losses.append(F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "the meta-loss should be one number; yours is a tensor of shape [3]")
def _(params, tasks, inner_lr):
    return torch.stack([F.mse_loss(forward(adapt(params, sx, sy, inner_lr), qx), qy) for sx, sy, qx, qy in tasks])


@wrong(
    exercises.meta_loss,
    "not a mistake we know. With the arguments exercises.meta_loss.inputs(), the meta-loss should be",
)
def _(params, tasks, inner_lr):
    return 0.9 * solutions.meta_loss(params, tasks, inner_lr)
