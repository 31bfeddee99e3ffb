"""Each check accepts right answers however they are spelt, and names what a wrong one does.

The wrong answers are written here as a learner would write them, not with the tables that the checks compare with.
"""

import contextlib
import functools
import io
import math
import random
import statistics

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from metalab.lessons.exercises import characters, sine, solutions
from metalab.lessons.exercises.sine import forward

ALL = [
    sine.sample_task,
    sine.inner_step,
    sine.meta_loss,
    characters.deal_episode,
    characters.prototype_logits,
    characters.confidence_interval,
]
RIGHT = {exercise.name: [] for exercise in ALL}
WRONG = {exercise.name: [] for exercise in ALL}  # pairs of a wrong answer and a piece of its diagnosis
every_exercise = pytest.mark.parametrize("exercise", ALL, ids=lambda exercise: exercise.name)


def right(exercise):
    def register(function):
        RIGHT[exercise.name].append(function)
        return function

    return register


def wrong(exercise, says):
    def register(function):
        WRONG[exercise.name].append((function, says))
        return function

    return register


def printed(action, *arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        action(*arguments)
    return out.getvalue()


@functools.cache
def diagnosis(exercise, function):
    return exercise.diagnose(function)


def cases(table):
    """A pytest case for each entry, with the entry's exercise in front."""
    return [
        pytest.param(exercise, *(entry if isinstance(entry, tuple) else (entry,)), id=f"{exercise.name}-{number}")
        for exercise in ALL
        for number, entry in enumerate(table[exercise.name])
    ]


# sample_task


@right(sine.sample_task)
def _(generator):
    u, v = torch.rand(2, generator=generator).tolist()
    return u * (5.0 - 0.1) + 0.1, v * math.pi


@right(sine.sample_task)
def _(generator):
    amplitude = torch.empty(1).uniform_(0.1, 5.0, generator=generator)
    phase = torch.empty(1).uniform_(0, math.pi, generator=generator)
    return [amplitude, phase]


@right(sine.sample_task)
def _(generator):
    phase = math.pi - torch.rand((), generator=generator, dtype=torch.float64) * math.pi
    return 5 - 4.9 * torch.rand((), generator=generator), phase


@right(sine.sample_task)
def _(generator):
    low, high = torch.tensor([0.1, 0.0]), torch.tensor([5.0, math.pi])
    return torch.lerp(low, high, torch.rand(2, generator=generator))


@wrong(sine.sample_task, "up to 2π")
def _(generator):
    u, v = torch.rand(2, generator=generator)
    return 0.1 + 4.9 * u, 2 * math.pi * v


@wrong(sine.sample_task, "starts at 0 instead of 0.1")
def _(generator):
    return 5 * torch.rand(1, generator=generator), math.pi * torch.rand(1, generator=generator)


@wrong(sine.sample_task, "up to 5.1")
def _(generator):
    return 0.1 + 5 * torch.rand(1, generator=generator), math.pi * torch.rand(1, generator=generator)


@wrong(sine.sample_task, "amplitude takes only 5 different values")
def _(generator):
    return torch.randint(1, 6, (1,), generator=generator).item(), math.pi * torch.rand(1, generator=generator)


@wrong(sine.sample_task, "from somewhere else than the generator")
def _(generator):
    return 0.1 + 4.9 * torch.rand(1), math.pi * torch.rand(1)


@wrong(sine.sample_task, "from somewhere else than the generator")
def _(generator):
    return random.uniform(0.1, 5), random.uniform(0, math.pi)


@wrong(sine.sample_task, "swapped")
def _(generator):
    amplitude, phase = 0.1 + 4.9 * torch.rand(1, generator=generator), math.pi * torch.rand(1, generator=generator)
    return phase, amplitude


@wrong(sine.sample_task, "tied together")
def _(generator):
    u = torch.rand(1, generator=generator).item()
    return 0.1 + 4.9 * u, math.pi * u


@wrong(sine.sample_task, "tied together")
def _(generator):
    u = torch.rand(1, generator=generator).item()
    return 0.1 + 4.9 * u, math.pi * (1 - u)


@wrong(sine.sample_task, "the same task every time")
def _(generator):
    generator.manual_seed(0)
    return 0.1 + 4.9 * torch.rand(1, generator=generator), math.pi * torch.rand(1, generator=generator)


@wrong(sine.sample_task, "amplitude has the right range, but some parts")
def _(generator):
    u, v = torch.rand(2, generator=generator).tolist()
    return 0.1 * 50**u, math.pi * v


@wrong(sine.sample_task, "amplitude lies in -")
def _(generator):
    return 2 * torch.randn(1, generator=generator), math.pi * torch.rand(1, generator=generator)


@wrong(sine.sample_task, "should fill 0.00 … 3.14")
def _(generator):
    return 0.1 + 4.9 * torch.rand(1, generator=generator), 180 * torch.rand(1, generator=generator)


@wrong(sine.sample_task, "should return two numbers, amplitude and phase; yours is of the type float")
def _(generator):
    return torch.rand(1, generator=generator).item()


@wrong(sine.sample_task, "the amplitude should be one number; yours is a tensor of shape [2]")
def _(generator):
    return 0.1 + 4.9 * torch.rand(2, generator=generator), math.pi * torch.rand(2, generator=generator)


@wrong(sine.sample_task, "not finite")
def _(generator):
    return 0.1 + 4.9 / torch.zeros(1), math.pi * torch.rand(1, generator=generator)


# inner_step


@right(sine.inner_step)
def _(params, x, y, inner_lr):
    w1, b1, w2, b2, w3, b3 = params
    error = torch.relu(torch.relu(x @ w1 + b1) @ w2 + b2) @ w3 + b3 - y
    loss = error.pow(2).mean()
    adapted = []
    for p in params:
        (gradient,) = torch.autograd.grad(loss, p, create_graph=True)
        adapted.append(p.sub(inner_lr * gradient))
    return adapted


@right(sine.inner_step)
def _(params, x, y, inner_lr):
    gradients = torch.func.grad(lambda ps: F.mse_loss(forward(ps, x), y))(tuple(params))
    return tuple(p - inner_lr * g for p, g in zip(params, gradients, strict=True))


@right(sine.inner_step)
def _(params, x, y, inner_lr):
    loss = torch.square(y - forward(params, x)).sum() / len(x)
    scaled = torch.autograd.grad(loss, params, grad_outputs=torch.tensor(-inner_lr), create_graph=True)
    return list(map(torch.add, params, scaled))


@right(sine.inner_step)
def _(params, x, y, inner_lr):
    adapted = [p.clone() for p in params]
    loss = F.mse_loss(forward(adapted, x), y)
    for i, g in enumerate(torch.autograd.grad(loss, adapted, create_graph=True)):
        adapted[i] = adapted[i] - inner_lr * g
    return adapted


def gradients_of(params, x, y, **options):
    return torch.autograd.grad(F.mse_loss(forward(params, x), y), params, **options)


@wrong(sine.inner_step, "takes your gradients for constants")
def _(params, x, y, inner_lr):
    return [p - inner_lr * g for p, g in zip(params, gradients_of(params, x, y), strict=True)]


@wrong(sine.inner_step, "takes your gradients for constants")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p - inner_lr * g.detach() for p, g in zip(params, gradients, strict=True)]


@wrong(sine.inner_step, "It climbs")
def _(params, x, y, inner_lr):
    return [p + inner_lr * g for p, g in zip(params, gradients_of(params, x, y, create_graph=True), strict=True)]


@wrong(sine.inner_step, "changes the shared parameters themselves")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y)
    with torch.no_grad():
        for p, g in zip(params, gradients, strict=True):
            p -= inner_lr * g
    return params


@wrong(sine.inner_step, "changes the shared parameters themselves")
def _(params, x, y, inner_lr):
    for p, g in zip(params, gradients_of(params, x, y), strict=True):
        p.data = p.data - inner_lr * g


@wrong(sine.inner_step, "changes the shared parameters themselves")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    for i, g in enumerate(gradients):
        params[i] = params[i] - inner_lr * g
    return params


@wrong(sine.inner_step, "changes the shared parameters themselves")
def _(params, x, y, inner_lr):
    params[:] = [p.detach().requires_grad_() for p in params]  # the same numbers, but no longer the caller's start
    return adapt(params, x, y, inner_lr)


@wrong(sine.inner_step, "sum over the points, not a mean")
def _(params, x, y, inner_lr):
    loss = ((forward(params, x) - y) ** 2).sum()
    return [p - inner_lr * g for p, g in zip(params, torch.autograd.grad(loss, params, create_graph=True), strict=True)]


@wrong(sine.inner_step, "learning rate is missing")
def _(params, x, y, inner_lr):
    return [p - g for p, g in zip(params, gradients_of(params, x, y, create_graph=True), strict=True)]


@wrong(sine.inner_step, "learning rate comes in twice")
def _(params, x, y, inner_lr):
    loss = inner_lr * F.mse_loss(forward(params, x), y)
    return [p - inner_lr * g for p, g in zip(params, torch.autograd.grad(loss, params, create_graph=True), strict=True)]


@wrong(sine.inner_step, "half as long")
def _(params, x, y, inner_lr):
    loss = 0.5 * F.mse_loss(forward(params, x), y)
    return [p - inner_lr * g for p, g in zip(params, torch.autograd.grad(loss, params, create_graph=True), strict=True)]


@wrong(sine.inner_step, "biases stay")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p if i % 2 else p - inner_lr * gradients[i] for i, p in enumerate(params)]


@wrong(sine.inner_step, "Only the last layer moves")
def _(params, x, y, inner_lr):
    w3, b3 = params[-2:]
    loss = F.mse_loss(forward(params, x), y)
    dw3, db3 = torch.autograd.grad(loss, (w3, b3), create_graph=True)
    return [*params[:-2], w3 - inner_lr * dw3, b3 - inner_lr * db3]


@wrong(sine.inner_step, "cut off from `params`")
def _(params, x, y, inner_lr):
    return [p.data - inner_lr * g for p, g in zip(params, gradients_of(params, x, y), strict=True)]


@wrong(sine.inner_step, "cut off from `params`")
def _(params, x, y, inner_lr):
    fresh = [p.detach().clone().requires_grad_() for p in params]
    return [p - inner_lr * g for p, g in zip(fresh, gradients_of(fresh, x, y, create_graph=True), strict=True)]


@wrong(sine.inner_step, "gradient is normalised")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    length = sum((g**2).sum() for g in gradients) ** 0.5
    return [p - inner_lr * g / length for p, g in zip(params, gradients, strict=True)]


@wrong(sine.inner_step, "gradient is normalised")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p - inner_lr * F.normalize(g.flatten(), dim=0).view_as(g) for p, g in zip(params, gradients, strict=True)]


@wrong(sine.inner_step, "Only the sign")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p - inner_lr * torch.sign(g) for p, g in zip(params, gradients, strict=True)]


@wrong(sine.inner_step, "no step was taken")
def _(params, x, y, inner_lr):
    adapted = [p.clone() for p in params]
    for p, g in zip(adapted, gradients_of(params, x, y), strict=True):
        p = p - inner_lr * g
    return adapted


@wrong(sine.inner_step, "returns the change alone, or the gradient")
def _(params, x, y, inner_lr):
    return gradients_of(params, x, y, create_graph=True)


@wrong(sine.inner_step, "returns the change alone, or the gradient")
def _(params, x, y, inner_lr):
    return [-inner_lr * g for g in gradients_of(params, x, y, create_graph=True)]


@wrong(sine.inner_step, "calls backward()")
def _(params, x, y, inner_lr):
    F.mse_loss(forward(params, x), y).backward()
    return [p - inner_lr * p.grad for p in params]


@wrong(sine.inner_step, "returns 2 of the 6 parameters")
def _(params, x, y, inner_lr):
    return [p - inner_lr * g for p, g in zip(params, gradients_of(params, x, y), strict=True)][:2]


@wrong(sine.inner_step, "list of tensors; yours is a tensor of shape []")
def _(params, x, y, inner_lr):
    return F.mse_loss(forward(params, x), y)


@wrong(sine.inner_step, "w1 has the shape [8]; it should be [1, 8]")
def _(params, x, y, inner_lr):
    return [p.flatten() for p in params]


@wrong(sine.inner_step, "not a mistake we know. With the arguments exercises.inner_step.inputs(), w1[0, ")
def _(params, x, y, inner_lr):
    return [p - inner_lr * 0.7 * g for p, g in zip(params, gradients_of(params, x, y), strict=True)]


@wrong(sine.inner_step, "yours is nan")
def _(params, x, y, inner_lr):
    return [p * float("nan") for p in params]


@wrong(sine.inner_step, "and a loss through your step, the gradient of w1[0, ")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p.detach() - inner_lr * g for p, g in zip(params, gradients, strict=True)]


# meta_loss


@right(sine.meta_loss)
def _(params, tasks, inner_lr):
    total = 0.0
    for support_x, support_y, query_x, query_y in tasks:
        adapted = solutions.inner_step(params, support_x, support_y, inner_lr)
        total = total + F.mse_loss(forward(adapted, query_x), query_y)
    return total / len(tasks)


@right(sine.meta_loss)
def _(params, tasks, inner_lr):
    def error(task):
        return forward(solutions.inner_step(params, task[0], task[1], inner_lr), task[2]) - task[3]

    return torch.cat([error(task) for task in tasks]).square().mean().reshape(1)


@right(sine.meta_loss)
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


@wrong(sine.meta_loss, "outer loss is taken on the support set")
def _(params, tasks, inner_lr):
    return mean_over_tasks([F.mse_loss(forward(adapt(params, sx, sy, inner_lr), sx), sy) for sx, sy, _, _ in tasks])


@wrong(sine.meta_loss, "unadapted parameters")
def _(params, tasks, inner_lr):
    losses = []
    for support_x, support_y, query_x, query_y in tasks:
        adapt(params, support_x, support_y, inner_lr)
        losses.append(F.mse_loss(forward(params, query_x), query_y))
    return mean_over_tasks(losses)


@wrong(sine.meta_loss, "adapts on the query set, then judges on the same points")
def _(params, tasks, inner_lr):
    return mean_over_tasks([F.mse_loss(forward(adapt(params, qx, qy, inner_lr), qx), qy) for _, _, qx, qy in tasks])


@wrong(sine.meta_loss, "Support and query are swapped")
def _(params, tasks, inner_lr):
    return mean_over_tasks([F.mse_loss(forward(adapt(params, qx, qy, inner_lr), sx), sy) for sx, sy, qx, qy in tasks])


@wrong(sine.meta_loss, "reuses one task's weights for the next task")
def _(params, tasks, inner_lr):
    total = 0
    for support_x, support_y, query_x, query_y in tasks:
        params = adapt(params, support_x, support_y, inner_lr)
        total += F.mse_loss(forward(params, query_x), query_y)
    return total / len(tasks)


@wrong(sine.meta_loss, "added up, not averaged")
def _(params, tasks, inner_lr):
    return sum(F.mse_loss(forward(adapt(params, sx, sy, inner_lr), qx), qy) for sx, sy, qx, qy in tasks)


@wrong(sine.meta_loss, "Only the last task counts")
def _(params, tasks, inner_lr):
    for support_x, support_y, query_x, query_y in tasks:
        loss = F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y)
    return loss


@wrong(sine.meta_loss, "Only the first task counts")
def _(params, tasks, inner_lr):
    for support_x, support_y, query_x, query_y in tasks:
        return F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y)


@wrong(sine.meta_loss, "only one task's loss is in the sum")
def _(params, tasks, inner_lr):
    for support_x, support_y, query_x, query_y in tasks:
        total = F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y)
    return total / len(tasks)


@wrong(sine.meta_loss, "only one task's loss is in the sum")
def _(params, tasks, inner_lr):
    total = 0
    for support_x, support_y, query_x, query_y in tasks:
        total += F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y)
        return total / len(tasks)


@wrong(sine.meta_loss, "meta-gradient is the first-order one")
def _(params, tasks, inner_lr):
    return mean_over_tasks(
        [F.mse_loss(forward(adapt(params, sx, sy, inner_lr, create_graph=False), qx), qy) for sx, sy, qx, qy in tasks]
    )


@wrong(sine.meta_loss, "the meta-gradient is zero")
def _(params, tasks, inner_lr):
    losses = []
    for support_x, support_y, query_x, query_y in tasks:
        adapted = [p.detach() for p in adapt(params, support_x, support_y, inner_lr)]
        losses.append(F.mse_loss(forward(adapted, query_x), query_y))
    return torch.stack(losses).mean()


@wrong(sine.meta_loss, "the meta-gradient is zero")
def _(params, tasks, inner_lr):
    adapted = [[p.detach().requires_grad_() for p in adapt(params, *task[:2], inner_lr)] for task in tasks]
    return mean_over_tasks([F.mse_loss(forward(a, qx), qy) for a, (_, _, qx, qy) in zip(adapted, tasks, strict=True)])


@wrong(sine.meta_loss, "plain Python number")
def _(params, tasks, inner_lr):
    return mean_over_tasks(
        [F.mse_loss(forward(adapt(params, sx, sy, inner_lr), qx), qy).item() for sx, sy, qx, qy in tasks]
    )


@wrong(sine.meta_loss, "calls backward()")
def _(params, tasks, inner_lr):
    loss = solutions.meta_loss(params, tasks, inner_lr)
    loss.backward()
    return loss


@wrong(sine.meta_loss, "changes the parameters or the tasks")
def _(params, tasks, inner_lr):
    for support_x, support_y, _, _ in tasks:
        for p, new in zip(params, adapt(params, support_x, support_y, inner_lr), strict=True):
            p.data = new.data
    return mean_over_tasks([F.mse_loss(forward(params, qx), qy) for _, _, qx, qy in tasks])


@wrong(sine.meta_loss, "changes the parameters or the tasks")
def _(params, tasks, inner_lr):
    losses = []
    while tasks:
        support_x, support_y, query_x, query_y = tasks.pop()
        losses.append(F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y))
    return mean_over_tasks(losses)


@wrong(sine.meta_loss, "the meta-loss should be one number; yours is a tensor of shape [3]")
def _(params, tasks, inner_lr):
    return torch.stack([F.mse_loss(forward(adapt(params, sx, sy, inner_lr), qx), qy) for sx, sy, qx, qy in tasks])


@wrong(
    sine.meta_loss, "not a mistake we know. With the arguments exercises.meta_loss.inputs(), the meta-loss should be"
)
def _(params, tasks, inner_lr):
    return 0.9 * solutions.meta_loss(params, tasks, inner_lr)


# deal_episode


@right(characters.deal_episode)
def _(images, ways, shots, queries, generator):
    """All at once, with the classes' drawings kept apart in the shapes."""
    chosen = torch.rand(len(images), generator=generator).topk(ways).indices
    drawing = torch.rand(ways, images.shape[1], generator=generator).argsort(dim=1)[:, : shots + queries]
    dealt = images[chosen[:, None], drawing]
    label = torch.arange(ways)[:, None].expand(ways, shots + queries)
    return dealt[:, :shots], label[:, :shots], dealt[:, shots:], label[:, shots:]


@right(characters.deal_episode)
def _(images, ways, shots, queries, generator):
    """Python's random module, seeded from the generator; rows shuffled; pixels scaled."""
    dice = random.Random(torch.randint(2**31, (), generator=generator).item())
    support, query = [], []
    for label, character in enumerate(dice.sample(range(len(images)), ways)):
        drawings = dice.sample(range(images.shape[1]), shots + queries)
        support += [(images[character, d] / 255, label) for d in drawings[:shots]]
        query += [(images[character, d] / 255, label) for d in drawings[shots:]]
    dice.shuffle(support)
    dice.shuffle(query)
    sets = [torch.stack([x for x, _ in support]), torch.tensor([y for _, y in support])]
    return [*sets, torch.stack([x for x, _ in query]), torch.tensor([y for _, y in query])]


@right(characters.deal_episode)
def _(images, ways, shots, queries, generator):
    """Sorted characters with labels dealt apart, and channels as a network wants them."""
    chosen = torch.randperm(len(images), generator=generator)[:ways].sort().values
    labels = torch.randperm(ways, generator=generator)
    sx, sy, qx, qy = [], [], [], []
    for character, label in zip(chosen.tolist(), labels.tolist(), strict=True):
        order = torch.randperm(images.shape[1], generator=generator).tolist()
        sx += [images[character, order.pop()][None] for _ in range(shots)]
        qx += [images[character, order.pop()][None] for _ in range(queries)]
        sy += [label] * shots
        qy += [label] * queries
    return torch.stack(sx), torch.tensor(sy), torch.stack(qx), torch.tensor(qy)


def deal(images, ways, shots, queries, generator, chosen=None, drawings=None, labels=None):
    """A right answer, of which the wrong ones below bend one part."""
    if chosen is None:
        chosen = torch.randperm(len(images), generator=generator)[:ways]
    if drawings is None:
        drawings = torch.stack([torch.randperm(images.shape[1], generator=generator) for _ in range(ways)])
    labels = torch.arange(ways) if labels is None else labels
    support, query = drawings[:, :shots], drawings[:, shots : shots + queries]
    return (
        images[chosen[:, None], support].flatten(0, 1),
        labels.repeat_interleave(shots),
        images[chosen[:, None], query].flatten(0, 1),
        labels.repeat_interleave(queries),
    )


@wrong(characters.deal_episode, "The same character can come twice")
def _(images, ways, shots, queries, generator):
    chosen = torch.randint(len(images), (ways,), generator=generator)
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(characters.deal_episode, "The same drawing can be support and query")
def _(images, ways, shots, queries, generator):
    support, query = [], []
    for character in torch.randperm(len(images), generator=generator)[:ways]:
        support.append(images[character, torch.randperm(images.shape[1], generator=generator)[:shots]])
        query.append(images[character, torch.randperm(images.shape[1], generator=generator)[:queries]])
    label = torch.arange(ways)
    return torch.cat(support), label.repeat_interleave(shots), torch.cat(query), label.repeat_interleave(queries)


@wrong(characters.deal_episode, "A drawing can come twice in the same set")
def _(images, ways, shots, queries, generator):
    half = images.shape[1] // 2  # support from one half, query from the other, both with replacement
    support = torch.randint(half, (ways, shots), generator=generator)
    query = half + torch.randint(half, (ways, queries), generator=generator)
    return deal(images, ways, shots, queries, generator, drawings=torch.cat([support, query], dim=1))


@wrong(characters.deal_episode, "labels are the numbers of the characters")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways]
    return deal(images, ways, shots, queries, generator, chosen=chosen, labels=chosen)


@wrong(characters.deal_episode, "labels run from 1 to 5")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, generator, labels=torch.arange(1, ways + 1))


@wrong(characters.deal_episode, "out of step")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx[torch.randperm(len(sx), generator=generator)], sy, qx, qy


@wrong(characters.deal_episode, "out of step")
def _(images, ways, shots, queries, generator):
    sx, _, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, torch.arange(ways).repeat(shots), qx, qy


@wrong(characters.deal_episode, "characters that the support set does not show")
def _(images, ways, shots, queries, generator):
    sx, sy, _, _ = deal(images, ways, shots, queries, generator)
    return sx, sy, *deal(images, ways, shots, queries, generator)[2:]


@wrong(characters.deal_episode, "one label in the support set and another in the query set")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, _ = deal(images, ways, shots, queries, generator)
    return sx, sy, qx, torch.randperm(ways, generator=generator).repeat_interleave(queries)


@wrong(characters.deal_episode, "In support_y some labels come more often")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    x, y = torch.cat([sx, qx]), torch.cat([sy, qy])
    while True:  # shuffle and split, as in supervised learning; again until the support set shows every character
        order = torch.randperm(len(x), generator=generator)
        support, query = order[: len(sx)], order[len(sx) :]
        if len(y[support].unique()) == ways:
            return x[support], y[support], x[query], y[query]


@wrong(characters.deal_episode, "from somewhere else than the generator")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, None)


@wrong(characters.deal_episode, "Every episode is the same one")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, torch.Generator().manual_seed(0))


@wrong(characters.deal_episode, "Every episode uses the same 5 characters")
def _(images, ways, shots, queries, generator):
    return deal(images[:ways], ways, shots, queries, generator)


@wrong(characters.deal_episode, "Only 11 of the 12 characters")
def _(images, ways, shots, queries, generator):
    return deal(images[:-1], ways, shots, queries, generator)


@wrong(characters.deal_episode, "labels follow the order of the characters")
def _(images, ways, shots, queries, generator):
    chosen = torch.randperm(len(images), generator=generator)[:ways].sort().values
    return deal(images, ways, shots, queries, generator, chosen=chosen)


@wrong(characters.deal_episode, "always shows the same 2 drawings")
def _(images, ways, shots, queries, generator):
    drawings = torch.arange(images.shape[1]).expand(ways, -1)
    return deal(images, ways, shots, queries, generator, drawings=drawings)


@wrong(characters.deal_episode, "Some of the 20 drawings")
def _(images, ways, shots, queries, generator):
    return deal(images[:, :10], ways, shots, queries, generator)


@wrong(characters.deal_episode, "their pixels are mixed up")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx.permute(1, 2, 0).reshape(sx.shape), sy, qx, qy


@wrong(characters.deal_episode, "support_x should hold 10 drawings of 28 × 28; yours is a tensor of shape [5, 28, 28]")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, 1, queries, generator)


@wrong(characters.deal_episode, "query_y should hold 15 labels; yours is a tensor of shape [15, 5]")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy, qx, F.one_hot(qy, ways)


@wrong(characters.deal_episode, "support_y has the dtype torch.float32")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy.float(), qx, qy


@wrong(characters.deal_episode, "support_y should be one tensor, as a network wants it; yours is a list of 10")
def _(images, ways, shots, queries, generator):
    sx, sy, qx, qy = deal(images, ways, shots, queries, generator)
    return sx, sy.tolist(), qx, qy


@wrong(characters.deal_episode, "should return support_x, support_y, query_x, query_y; yours is a tuple of 2")
def _(images, ways, shots, queries, generator):
    return deal(images, ways, shots, queries, generator)[:2]


@wrong(characters.deal_episode, "changes `images` in place")
def _(images, ways, shots, queries, generator):
    images /= 255
    return deal(images, ways, shots, queries, generator)


# prototype_logits


@right(characters.prototype_logits)
def _(support_z, support_y, query_z, ways):
    prototypes = [support_z[support_y == way].mean(0) for way in range(ways)]
    return torch.stack([-((query_z - p) ** 2).sum(1) for p in prototypes], dim=1)


@right(characters.prototype_logits)
def _(support_z, support_y, query_z, ways):
    belongs = F.one_hot(support_y, ways).float()  # float32, as in a notebook
    prototypes = belongs.T @ support_z / belongs.sum(dim=0)[:, None]
    return -(torch.cdist(query_z, prototypes) ** 2)


@right(characters.prototype_logits)
def _(support_z, support_y, query_z, ways):
    sums = torch.zeros(ways, support_z.shape[1]).index_add(0, support_y, support_z)
    prototypes = sums / torch.bincount(support_y)[:, None]
    return 2 * query_z @ prototypes.T - (prototypes**2).sum(1) - (query_z**2).sum(1, keepdim=True)


@right(characters.prototype_logits)
def _(support_z, support_y, query_z, ways):
    shots = len(support_y) // ways
    prototypes = support_z[support_y.argsort()].view(ways, shots, -1).mean(dim=1)
    logits = torch.zeros(len(query_z), ways)
    for i, z in enumerate(query_z):
        for way in range(ways):
            logits[i, way] = -torch.dot(z - prototypes[way], z - prototypes[way])
    return logits


def prototypes_of(support_z, support_y, ways):
    return torch.stack([support_z[support_y == way].mean(0) for way in range(ways)])


@wrong(characters.prototype_logits, "farthest away wins")
def _(support_z, support_y, query_z, ways):
    return torch.cdist(query_z, prototypes_of(support_z, support_y, ways)) ** 2


@wrong(characters.prototype_logits, "not squared")
def _(support_z, support_y, query_z, ways):
    return -torch.cdist(query_z, prototypes_of(support_z, support_y, ways))


@wrong(characters.prototype_logits, "sums of the support embeddings")
def _(support_z, support_y, query_z, ways):
    sums = torch.stack([support_z[support_y == way].sum(0) for way in range(ways)])
    return -(torch.cdist(query_z, sums) ** 2)


@wrong(characters.prototype_logits, "sorted by class")
def _(support_z, support_y, query_z, ways):
    prototypes = support_z.view(ways, -1, support_z.shape[1]).mean(dim=1)
    return -(torch.cdist(query_z, prototypes) ** 2)


@wrong(characters.prototype_logits, "class after class in turn")
def _(support_z, support_y, query_z, ways):
    prototypes = support_z.view(-1, ways, support_z.shape[1]).mean(dim=0)
    return -(torch.cdist(query_z, prototypes) ** 2)


@wrong(characters.prototype_logits, "cosine similarities")
def _(support_z, support_y, query_z, ways):
    return F.normalize(query_z, dim=1) @ F.normalize(prototypes_of(support_z, support_y, ways), dim=1).T


@wrong(characters.prototype_logits, "dot products")
def _(support_z, support_y, query_z, ways):
    return query_z @ prototypes_of(support_z, support_y, ways).T


@wrong(characters.prototype_logits, "probabilities: a softmax")
def _(support_z, support_y, query_z, ways):
    return F.softmax(-(torch.cdist(query_z, prototypes_of(support_z, support_y, ways)) ** 2), dim=-1)


@wrong(characters.prototype_logits, "log-probabilities")
def _(support_z, support_y, query_z, ways):
    return F.log_softmax(-(torch.cdist(query_z, prototypes_of(support_z, support_y, ways)) ** 2), dim=-1)


@wrong(characters.prototype_logits, "averaged over the embedding")
def _(support_z, support_y, query_z, ways):
    return -((query_z[:, None] - prototypes_of(support_z, support_y, ways)) ** 2).mean(dim=-1)


@wrong(characters.prototype_logits, "logits are halved")
def _(support_z, support_y, query_z, ways):
    return -0.5 * ((query_z[:, None] - prototypes_of(support_z, support_y, ways)) ** 2).sum(dim=-1)


@wrong(characters.prototype_logits, "averages the distances to the support drawings")
def _(support_z, support_y, query_z, ways):
    squared = torch.cdist(query_z, support_z) ** 2
    return -torch.stack([squared[:, support_y == way].mean(dim=1) for way in range(ways)], dim=1)


@wrong(characters.prototype_logits, "nearest support drawing")
def _(support_z, support_y, query_z, ways):
    squared = torch.cdist(query_z, support_z) ** 2
    return -torch.stack([squared[:, support_y == way].amin(dim=1) for way in range(ways)], dim=1)


@wrong(characters.prototype_logits, "squared length of the query is left out")
def _(support_z, support_y, query_z, ways):
    prototypes = prototypes_of(support_z, support_y, ways)
    return 2 * query_z @ prototypes.T - (prototypes * prototypes).sum(dim=1)


@wrong(characters.prototype_logits, "transposed")
def _(support_z, support_y, query_z, ways):
    return -(torch.cdist(prototypes_of(support_z, support_y, ways), query_z) ** 2)


@wrong(characters.prototype_logits, "cut off from the support embeddings")
def _(support_z, support_y, query_z, ways):
    prototypes = torch.tensor(prototypes_of(support_z, support_y, ways).tolist())
    return -(torch.cdist(query_z, prototypes) ** 2)


@wrong(characters.prototype_logits, "cut off from the query embeddings")
def _(support_z, support_y, query_z, ways):
    return -(torch.cdist(query_z.detach(), prototypes_of(support_z, support_y, ways)) ** 2)


@wrong(characters.prototype_logits, "one tensor of logits [Q, ways]; yours is a list of 6")
def _(support_z, support_y, query_z, ways):
    return list(solutions.prototype_logits(support_z, support_y, query_z, ways))


@wrong(characters.prototype_logits, "the logit has the shape [6]; it should be [6, 4]")
def _(support_z, support_y, query_z, ways):
    return solutions.prototype_logits(support_z, support_y, query_z, ways).argmax(dim=1)


@wrong(characters.prototype_logits, "changes its arguments")
def _(support_z, support_y, query_z, ways):
    support_z.data -= support_z.data.mean(dim=0)
    return solutions.prototype_logits(support_z, support_y, query_z, ways)


# confidence_interval


@right(characters.confidence_interval)
def _(accuracies):
    return accuracies.mean().item(), 1.96 * (accuracies.var() / accuracies.numel()).sqrt().item()


@right(characters.confidence_interval)
def _(accuracies):
    a = accuracies.numpy()
    return [a.mean(), 1.96 * np.std(a) / np.sqrt(len(a))]  # divides by E, where torch divides by E - 1


@right(characters.confidence_interval)
def _(accuracies):
    values = accuracies.tolist()
    return statistics.fmean(values), statistics.NormalDist().inv_cdf(0.975) * statistics.stdev(values) / 600**0.5


@right(characters.confidence_interval)
def _(accuracies):
    student = 1.9639  # for 599 degrees of freedom
    return torch.stack([accuracies.mean(), student * accuracies.std() / accuracies.shape[0] ** 0.5])


@wrong(characters.confidence_interval, "spread of single episodes")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std()


@wrong(characters.confidence_interval, "standard deviation itself")
def _(accuracies):
    return np.mean(accuracies.numpy()), np.std(accuracies.numpy())


@wrong(characters.confidence_interval, "variance in place of the standard deviation")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.var() / math.sqrt(len(accuracies))


@wrong(characters.confidence_interval, "68 % interval")
def _(accuracies):
    return accuracies.mean(), (accuracies.var() / len(accuracies)) ** 0.5


@wrong(characters.confidence_interval, "not by its root")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.std() / accuracies.numel()


@wrong(characters.confidence_interval, "full width")
def _(accuracies):
    return accuracies.mean(), 3.92 * accuracies.std() / len(accuracies) ** 0.5


@wrong(characters.confidence_interval, "one coin flip")
def _(accuracies):
    p = accuracies.mean().item()
    return p, 1.96 * math.sqrt(p * (1 - p) / len(accuracies))


@wrong(characters.confidence_interval, "2 in place of 1.96")
def _(accuracies):
    return accuracies.mean(), 2 * accuracies.std() / len(accuracies) ** 0.5


@wrong(characters.confidence_interval, "two ends of the interval")
def _(accuracies):
    half = 1.96 * accuracies.std() / len(accuracies) ** 0.5
    return accuracies.mean() - half, accuracies.mean() + half


@wrong(characters.confidence_interval, "a hundred times as large")
def _(accuracies):
    percent = 100 * accuracies
    return percent.mean(), 1.96 * percent.std() / len(percent) ** 0.5


@wrong(characters.confidence_interval, "swapped")
def _(accuracies):
    return 1.96 * accuracies.std() / len(accuracies) ** 0.5, accuracies.mean()


@wrong(characters.confidence_interval, "the mean should be 0.85")
def _(accuracies):
    return accuracies.max(), 1.96 * accuracies.std() / len(accuracies) ** 0.5


@wrong(characters.confidence_interval, "should return two numbers, the mean and the half width; yours is a tuple of 3")
def _(accuracies):
    return accuracies.mean(), 0.0, 1.0


@wrong(characters.confidence_interval, "changes its arguments")
def _(accuracies):
    return accuracies.mean(), 1.96 * accuracies.sub_(accuracies.mean()).square_().mean() ** 0.5 / 600**0.5


# The checks


@pytest.mark.parametrize(("exercise", "function"), cases(RIGHT))
def test_right_answers_of_any_spelling_pass(exercise, function):
    assert printed(exercise.check, function) == f"✓ {exercise.name}: right\n"
    assert exercise.or_solution(function) is function


@pytest.mark.parametrize(("exercise", "function", "says"), cases(WRONG))
def test_wrong_answers_are_diagnosed(exercise, function, says):
    verdict = diagnosis(exercise, function)
    assert verdict.state == "wrong"
    assert says in verdict.says
    text = printed(exercise.check, function)
    assert text.startswith(f"✗ {exercise.name}: ")
    assert " ".join(text.split()) == f"✗ {exercise.name}: {verdict.says}"  # examined again: the same words
    assert max(map(len, text.splitlines())) <= 100


@every_exercise
def test_there_are_enough_spellings_and_each_mistake_has_its_own_words(exercise):
    assert len(RIGHT[exercise.name]) >= 3
    words = {}
    for function, says in WRONG[exercise.name]:
        words.setdefault(says, set()).add(diagnosis(exercise, function).says)
    assert len(words) >= 10
    assert all(len(texts) == 1 for texts in words.values())
    assert len(set.union(*words.values())) == len(words)


@pytest.mark.parametrize(
    ("exercise", "mistakes"),
    [
        (sine.inner_step, sine.INNER_STEP_MISTAKES),
        (sine.meta_loss, sine.META_LOSS_MISTAKES),
        (characters.prototype_logits, characters.PROTOTYPE_LOGITS_MISTAKES),
        (characters.confidence_interval, characters.CONFIDENCE_INTERVAL_MISTAKES),
    ],
)
def test_no_two_known_mistakes_give_the_same_numbers(exercise, mistakes):
    for says, function in mistakes:
        assert exercise.diagnose(function).says == says


# What every exercise does


def stub_with_dots(*arguments):
    """Written by you."""
    ...


def stub_returning_dots(*arguments):
    return ...


def stub_with_names(*arguments):
    first = second = ...
    return first, second


def stub_that_raises(*arguments):
    raise NotImplementedError("your code")


def stub_that_uses_its_dots(*arguments):
    gradients = ...
    return [g for g in gradients]


@every_exercise
@pytest.mark.parametrize(
    "stub",
    [stub_with_dots, stub_returning_dots, stub_with_names, stub_that_raises, stub_that_uses_its_dots, lambda *_: None],
)
def test_stubs_are_skipped(exercise, stub):
    assert printed(exercise.check, stub) == f"{exercise.name}: not written yet — skip it or try hint()\n"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert exercise.or_solution(stub) is exercise.answer
    assert out.getvalue() == f"{exercise.name}: the lesson goes on with ours (yours is not written yet)\n"


@every_exercise
def test_a_forgotten_return_is_told(exercise):
    def no_return(*arguments):
        result = exercise.answer(*arguments)  # noqa: F841

    verdict = exercise.diagnose(no_return)
    assert verdict.state == "not written"
    assert "does it end with `return`?" in verdict.says


def test_or_solution_says_whose_function_the_lesson_goes_on_with():
    exercise = characters.confidence_interval
    assert printed(exercise.or_solution, RIGHT[exercise.name][0]) == (
        "confidence_interval: the lesson goes on with yours\n"
    )
    mistaken = WRONG[exercise.name][0][0]
    assert printed(exercise.or_solution, mistaken) == (
        "confidence_interval: the lesson goes on with ours (yours is not right yet, check() says why)\n"
    )
    with contextlib.redirect_stdout(io.StringIO()):
        assert exercise.or_solution(mistaken) is solutions.confidence_interval


@every_exercise
def test_an_exception_is_told_with_its_line(exercise):
    def helper(value):
        return value + "text"  # the deepest line of the learner's own file

    def broken(*arguments):
        return helper(len(arguments))

    line = helper.__code__.co_firstlineno + 1
    assert exercise.diagnose(broken).says == (
        "It stopped with TypeError: unsupported operand type(s) for +: 'int' and 'str', "
        f'at line {line}: `return value + "text"  # the deepest line of the learner\'s own file`'
    )


def test_an_exception_in_a_library_is_told_with_the_line_that_called_it():
    def broken(accuracies):
        return accuracies.mean(), statistics.stdev([])

    line = broken.__code__.co_firstlineno + 1
    says = characters.confidence_interval.diagnose(broken).says
    assert says.startswith("It stopped with StatisticsError: ")
    assert says.endswith(f"at line {line}: `return accuracies.mean(), statistics.stdev([])`")


def test_of_a_long_message_the_first_line_is_told():
    def broken(accuracies):
        raise ValueError("what went wrong\nand a page of C++")

    assert characters.confidence_interval.diagnose(broken).says.startswith(
        "It stopped with ValueError: what went wrong, at line "
    )


def test_wrong_arguments_are_told():
    says = sine.sample_task.diagnose(lambda: (1.0, 1.0)).says
    assert says.startswith("It stopped with TypeError: ")
    assert "takes 0 positional arguments but 1 was given" in says


def test_an_error_that_only_looks_like_a_stub_is_told():
    def unsupported(accuracies):
        return torch.distributions.Distribution(validate_args=False).sample()

    verdict = characters.confidence_interval.diagnose(unsupported)
    assert verdict.state == "wrong"
    assert verdict.says.startswith("It stopped with NotImplementedError, at line ")


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@every_exercise
def test_interrupts_pass_through(exercise, interrupt):
    def stopped(*arguments):
        raise interrupt

    for action in (exercise.check, exercise.or_solution):
        with pytest.raises(interrupt):
            action(stopped)


@every_exercise
@pytest.mark.parametrize("returned", [0, "text", {}, (), [[]], torch.zeros(0), torch.zeros(2, 2), object(), 1j])
def test_whatever_comes_back_is_told_in_words(exercise, returned):
    assert exercise.diagnose(lambda *arguments: returned).state == "wrong"


def test_a_result_that_cannot_be_compared_is_told():
    says = characters.prototype_logits.diagnose(lambda *arguments: torch.empty(6, 4, device="meta")).says
    assert says.startswith("What it returns cannot be compared with ours: ")


@pytest.mark.parametrize("draw", [lambda: torch.rand(1), random.random, np.random.rand])
def test_a_verdict_on_a_random_function_is_the_same_each_time(draw):
    first = characters.confidence_interval.diagnose(lambda accuracies: (draw(), 0.0))
    draw()
    assert characters.confidence_interval.diagnose(lambda accuracies: (draw(), 0.0)) == first


@every_exercise
def test_a_result_instead_of_a_function_is_told(exercise):
    verdict = exercise.diagnose(0.5)
    assert verdict.state == "wrong"
    assert verdict.says == f"This is 0.5, not a function. Hand over {exercise.name} itself, uncalled."


@every_exercise
def test_global_randomness_prints_and_grad_mode_stay_as_they_were(exercise):
    def noisy(*arguments):
        print("noise")
        torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002
        return exercise.answer(*arguments)

    def states():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    before = states()
    with torch.no_grad():
        text = printed(exercise.check, noisy)
        assert not torch.is_grad_enabled()
    assert text == f"✓ {exercise.name}: right (What it printed while it was checked is left out.)\n"
    assert states() == before


@every_exercise
def test_hints_come_in_steps_and_the_last_one_stays(exercise):
    assert len(set(exercise.hints)) == 3
    exercise._hints_given = 0
    for number, hint in [*enumerate(exercise.hints, start=1), (3, exercise.hints[-1])]:
        assert " ".join(printed(exercise.hint).split()) == f"Hint {number} of 3: {hint}"


@every_exercise
def test_the_solution_shown_passes_its_own_check(exercise):
    source = printed(exercise.solution)
    cell = {"torch": torch, "forward": forward, "inner_step": solutions.inner_step}
    exec(source, cell)
    assert len(source.splitlines()) <= 16
    assert exercise.diagnose(cell[exercise.name]).state == "right"


@every_exercise
def test_an_exercise_says_how_hard_it_is(exercise):
    assert exercise.difficulty in ("easy", "medium", "hard")
    text = " ".join(printed(exercise.show).split())
    assert text == (
        f"Exercise {exercise.name} ({exercise.difficulty}, about {exercise.minutes} minutes): {exercise.statement}"
    )


@every_exercise
def test_inputs_can_be_tried_by_hand(exercise):
    assert exercise.diagnose(lambda *_: exercise.answer(*exercise.inputs())).state != "not written"
