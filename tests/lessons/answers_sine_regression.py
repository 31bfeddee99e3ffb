"""Answers to the exercises of the sine lesson."""

import collections
import copy
import functools
import itertools
import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from answers import right, wrong

from metalab.lessons.sine_regression import exercises, solutions
from metalab.lessons.sine_regression.exercises import forward
from metalab.lessons.sine_regression.solutions import inner_step, meta_loss
from metalab.tasks import sine

# sample_task, right


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


@right(exercises.sample_task)
def _(generator):
    u = torch.rand(2, generator=generator).numpy()
    return np.array([0.1, 0.0]) + np.array([4.9, np.pi]) * u


@right(exercises.sample_task)
def _(generator):
    u = torch.rand(2, generator=generator, dtype=torch.float64).numpy()
    return np.interp(u[0], [0, 1], [0.1, 5]), np.float32(np.pi * u[1])


@right(exercises.sample_task)
def _(generator):
    return np.array([4.9]) * torch.rand(1, generator=generator).numpy() + 0.1, torch.rand(
        1, 1, generator=generator
    ) * 3.1416


@right(exercises.sample_task)
def _(generator):
    wave = sine.Sine.draw(1, generator)
    return wave.amplitude, wave.phase


@right(exercises.sample_task)
def _(generator):
    steps = torch.randint(0, 2**24, (2,), generator=generator) / 2**24
    return tuple(
        low + (high - low) * step for (low, high), step in zip([(0.1, 5.0), (0, torch.pi)], steps, strict=True)
    )


@right(exercises.sample_task)
def _(generator):
    python = random.Random(torch.randint(2**31, (1,), generator=generator).item())
    return python.uniform(0.1, 5.0), python.uniform(0.0, math.pi)


@right(exercises.sample_task)
def _(generator):
    amplitude = torch.distributions.Uniform(0.1, 5.0).icdf(torch.rand(1, generator=generator))
    phase = torch.distributions.Uniform(0.0, math.pi).icdf(torch.rand(1, generator=generator))
    return amplitude.item(), phase.item()


@right(exercises.sample_task)
def _(generator):
    amplitude = 0.0
    while amplitude < 0.1:  # rejected draws leave the others uniform
        amplitude = 5 * torch.rand(1, generator=generator).item()
    return amplitude, math.pi * torch.rand(1, generator=generator).item()


Wave = collections.namedtuple("Wave", "amplitude phase")


@right(exercises.sample_task)
def _(generator):
    def uniform(low, high):
        return (high - low) * torch.rand(1, generator=generator) + low

    return Wave(amplitude=uniform(0.1, 5.0), phase=uniform(0.0, math.pi))


@right(exercises.sample_task)
def _(generator):
    return round(0.1 + 4.9 * torch.rand(1, generator=generator).item(), 6), math.pi * torch.rand(1, generator=generator)


@right(exercises.sample_task)
def _(generator):
    phase, amplitude = torch.rand(2, 1, generator=generator) * torch.tensor([[math.pi], [4.9]])
    return torch.stack([amplitude + 0.1, phase])


# sample_task, wrong


def rand(generator):
    return torch.rand(1, generator=generator).item()


@wrong(exercises.sample_task, "up to 2π")
def _(generator):
    u, v = torch.rand(2, generator=generator)
    return 0.1 + 4.9 * u, 2 * math.pi * v


@wrong(exercises.sample_task, "between −π and π")
def _(generator):
    return 0.1 + 4.9 * rand(generator), 2 * math.pi * rand(generator) - math.pi


@wrong(exercises.sample_task, "between 0 and 180, as if it were in degrees")
def _(generator):
    return 0.1 + 4.9 * rand(generator), 180 * rand(generator)


@wrong(exercises.sample_task, "The phase lies between about 0.00 and 3.00; it should fill 0.0 … 3.142")
def _(generator):
    return 0.1 + 4.9 * rand(generator), 3 * rand(generator)


@wrong(exercises.sample_task, "The phase lies between about 0.00 and 1.00; it should fill")
def _(generator):
    return 0.1 + 4.9 * rand(generator), rand(generator)


@wrong(exercises.sample_task, "The phase lies between about 0.00 and 1.57; it should fill")
def _(generator):
    return 0.1 + 4.9 * rand(generator), math.pi / 2 * rand(generator)


@wrong(exercises.sample_task, "The phase lies between about -1.57 and 1.57; it should fill")
def _(generator):
    return 0.1 + 4.9 * rand(generator), math.pi * (rand(generator) - 0.5)


@wrong(exercises.sample_task, "The phase lies between about 0.11 and 359.9")
def _(generator):
    return 0.1 + 4.9 * rand(generator), 360 * rand(generator)


@wrong(exercises.sample_task, "starts at 0 instead of 0.1")
def _(generator):
    return 5 * torch.rand(1, generator=generator), math.pi * torch.rand(1, generator=generator)


@wrong(exercises.sample_task, "starts at 0 instead of 0.1")
def _(generator):
    return (0.1 + 4.9) * rand(generator), math.pi * rand(generator)


@wrong(exercises.sample_task, "up to 5.1")
def _(generator):
    return 0.1 + 5 * torch.rand(1, generator=generator), math.pi * torch.rand(1, generator=generator)


@wrong(exercises.sample_task, "stretched over the right width, but not moved")
def _(generator):
    return (5.0 - 0.1) * rand(generator), math.pi * rand(generator)


@wrong(
    exercises.sample_task,
    "The amplitude lies between about 0.00 and 1.00; it should fill",
)
def _(generator):
    amplitude, phase = torch.rand(2, generator=generator)
    return amplitude, phase


@wrong(exercises.sample_task, "The amplitude lies between about 0.10 and 4.90; it should fill")
def _(generator):
    return 0.1 + 4.8 * rand(generator), math.pi * rand(generator)


@wrong(exercises.sample_task, "The amplitude lies between about 0.49 and 5.39; it should fill")
def _(generator):
    return 4.9 * (rand(generator) + 0.1), math.pi * rand(generator)


@wrong(exercises.sample_task, "The amplitude lies between about -5.00 and 4.99; it should fill")
def _(generator):
    return 10 * rand(generator) - 5, math.pi * rand(generator)


@wrong(exercises.sample_task, "The amplitude lies between about 1.00 and 5.00; it should fill")
def _(generator):
    return 1 + 4 * rand(generator), math.pi * rand(generator)


@wrong(exercises.sample_task, "amplitude takes only 5 different values")
def _(generator):
    return torch.randint(1, 6, (1,), generator=generator).item(), math.pi * torch.rand(1, generator=generator)


@wrong(exercises.sample_task, "amplitude takes only 491 different values")
def _(generator):
    return round(0.1 + 4.9 * rand(generator), 2), round(math.pi * rand(generator), 2)


@wrong(exercises.sample_task, "phase takes only 100 different values")
def _(generator):
    phases = torch.linspace(0, math.pi, 100)
    return 0.1 + 4.9 * rand(generator), phases[torch.randint(100, (1,), generator=generator)]


@wrong(exercises.sample_task, "amplitude takes only 2 different values")
def _(generator):
    return (0.1, 5.0)[torch.randint(2, (1,), generator=generator)], math.pi * rand(generator)


@wrong(exercises.sample_task, "The amplitude is exactly 0.1 in 1.9% of the draws")
def _(generator):
    return max(0.1, 5 * rand(generator)), math.pi * rand(generator)


@wrong(exercises.sample_task, "The amplitude is exactly 5 in ")
def _(generator):
    amplitude = 0.1 + 5 * torch.rand(1, generator=generator)
    return amplitude.clamp(max=5.0), math.pi * rand(generator)


@wrong(exercises.sample_task, "The phase is exactly 3.142 in ")
def _(generator):
    return 0.1 + 4.9 * rand(generator), min(math.pi, 2 * math.pi * rand(generator))


@wrong(exercises.sample_task, "The amplitude is exactly 0.1 in 5")
def _(generator):
    return torch.randn(1, generator=generator).clamp(0.1, 5), math.pi * rand(generator)


@wrong(exercises.sample_task, "The same seed gives another amplitude and phase each time")
def _(generator):
    return 0.1 + 4.9 * torch.rand(1), math.pi * torch.rand(1)


@wrong(exercises.sample_task, "The same seed gives another amplitude and phase each time")
def _(generator):
    return random.uniform(0.1, 5), random.uniform(0, math.pi)


@wrong(exercises.sample_task, "The same seed gives another amplitude and phase each time")
def _(generator):
    return np.random.uniform(0.1, 5), np.random.default_rng().uniform(0, math.pi)  # noqa: NPY002


@wrong(exercises.sample_task, "The same seed gives another amplitude and phase each time")
def _(generator):
    return torch.distributions.Uniform(0.1, 5).sample(), torch.distributions.Uniform(0, math.pi).sample()


@wrong(exercises.sample_task, "It gives `generator` a new seed")
def _(generator):
    generator.seed()
    return 0.1 + 4.9 * rand(generator), math.pi * rand(generator)


@wrong(exercises.sample_task, "The same seed gives another phase each time")
def _(generator):
    return 0.1 + 4.9 * rand(generator), math.pi * torch.rand(1).item()


@wrong(exercises.sample_task, "swapped")
def _(generator):
    amplitude, phase = 0.1 + 4.9 * torch.rand(1, generator=generator), math.pi * torch.rand(1, generator=generator)
    return phase, amplitude


@wrong(exercises.sample_task, "not independent")
def _(generator):
    u = torch.rand(1, generator=generator).item()
    return 0.1 + 4.9 * u, math.pi * u


@wrong(exercises.sample_task, "not independent")
def _(generator):
    u = torch.rand(1, generator=generator).item()
    return 0.1 + 4.9 * u, math.pi * (1 - u)


@wrong(exercises.sample_task, "not independent")
def _(generator):
    u = rand(generator)
    return 0.1 + 4.9 * u, math.pi * abs(2 * u - 1)  # uncorrelated with the amplitude


@wrong(exercises.sample_task, "not independent")
def _(generator):
    state = generator.get_state()
    amplitude = 0.1 + 4.9 * rand(generator)
    generator.set_state(state)
    return amplitude, math.pi * rand(generator)


@wrong(exercises.sample_task, "Every call returns the same task, although")
def _(generator):
    generator.manual_seed(0)
    return 0.1 + 4.9 * torch.rand(1, generator=generator), math.pi * torch.rand(1, generator=generator)


@wrong(exercises.sample_task, "Every call returns the same task, although")
def _(generator):
    generator.manual_seed(generator.initial_seed())
    return 0.1 + 4.9 * rand(generator), math.pi * rand(generator)


@wrong(
    exercises.sample_task,
    "Every call returns the same task, and no random number",
)
def _(generator):
    generator = torch.Generator().manual_seed(42)
    return 0.1 + 4.9 * torch.rand(1, generator=generator), math.pi * torch.rand(1, generator=generator)


@wrong(
    exercises.sample_task,
    "the call leaves `generator` in the state in which it was",
)
def _(generator):
    torch.manual_seed(generator.initial_seed())
    return 0.1 + 4.9 * torch.rand(1), math.pi * torch.rand(1)


@wrong(
    exercises.sample_task,
    "Every call returns the same task, and no random number",
)
def _(generator):
    return 2.5, 1.0


@wrong(exercises.sample_task, "The phase is the same in every task, 1.571")
def _(generator):
    return 0.1 + 4.9 * rand(generator), math.pi / 2


@wrong(exercises.sample_task, "The amplitude is the same in every task, 1.")
def _(generator):
    return 1.0, math.pi * rand(generator)


@wrong(
    exercises.sample_task,
    "The lowest fifth of its values' interval holds 61%",
)
def _(generator):
    u, v = torch.rand(2, generator=generator).tolist()
    return 0.1 * 50**u, math.pi * v


@wrong(
    exercises.sample_task,
    "The lowest fifth of its values' interval holds 46%",
)
def _(generator):
    return 0.1 + 4.9 * rand(generator) ** 2, math.pi * rand(generator)


@wrong(exercises.sample_task, "amplitude is not uniform: large values come more often than small ones")
def _(generator):
    return 0.1 + 4.9 * math.sqrt(rand(generator)), math.pi * rand(generator)


@wrong(exercises.sample_task, "amplitude is not uniform: values in the middle come more often than those at the ends")
def _(generator):
    return 0.1 + 4.9 * torch.rand(2, generator=generator).mean(), math.pi * rand(generator)


@wrong(exercises.sample_task, "phase is not uniform: values at the ends come more often than those in the middle")
def _(generator):
    return 0.1 + 4.9 * rand(generator), math.pi * (1 + math.cos(math.pi * rand(generator))) / 2


@wrong(
    exercises.sample_task,
    "The amplitude lies between -7.47",
)
def _(generator):
    return 2 * torch.randn(1, generator=generator), math.pi * torch.rand(1, generator=generator)


@wrong(
    exercises.sample_task,
    "The amplitude lies between -18.20",
)
def _(generator):
    return 0.1 + 4.9 * torch.randn(1, generator=generator), math.pi * torch.randn(1, generator=generator)


@wrong(exercises.sample_task, "should return two numbers, (amplitude, phase); yours is the number ")
def _(generator):
    return torch.rand(1, generator=torch.Generator().manual_seed(0)).item()


@wrong(exercises.sample_task, "yours is a tensor that holds one number")
def _(generator):
    return torch.rand((), generator=generator)


@wrong(exercises.sample_task, "yours is a tensor of shape [1, 2]")
def _(generator):
    return torch.rand(1, 2, generator=generator)


@wrong(exercises.sample_task, "yours is a tuple of 3")
def _(generator):
    return 0.1 + 4.9 * rand(generator), math.pi * rand(generator), "sine"


@wrong(exercises.sample_task, "yours is a dict")
def _(generator):
    return {"amplitude": 0.1 + 4.9 * rand(generator), "phase": math.pi * rand(generator)}


@wrong(exercises.sample_task, "yours is a generator")
def _(generator):
    yield 0.1 + 4.9 * rand(generator)
    yield math.pi * rand(generator)


@wrong(exercises.sample_task, "yours is a function")
def _(generator):
    amplitude, phase = 0.1 + 4.9 * rand(generator), math.pi * rand(generator)
    return lambda x: amplitude * torch.sin(x - phase)


@wrong(exercises.sample_task, "yours is a Sine")
def _(generator):
    return sine.Sine.draw(1, generator)


@wrong(exercises.sample_task, "yours is a NumPy array of shape [3]")
def _(generator):
    return np.zeros(3)


@wrong(exercises.sample_task, "The amplitude should be one number; yours is a tensor of shape [2]")
def _(generator):
    return 0.1 + 4.9 * torch.rand(2, generator=generator), math.pi * torch.rand(2, generator=generator)


@wrong(exercises.sample_task, "The amplitude should be one number; yours is the text '2")
def _(generator):
    return f"{0.1 + 4.9 * rand(generator):.3f}", f"{math.pi * rand(generator):.3f}"


@wrong(exercises.sample_task, "The phase should be one number; yours is a complex")
def _(generator):
    return 0.1 + 4.9 * rand(generator), 1j * rand(generator)


@wrong(exercises.sample_task, "Some values of the amplitude are not finite")
def _(generator):
    return 0.1 + 4.9 / torch.zeros(1), math.pi * torch.rand(1, generator=generator)


@wrong(exercises.sample_task, "Some values of the phase are not finite")
def _(generator):
    return 0.1 + 4.9 * rand(generator), math.pi * float("nan")


@wrong(exercises.sample_task, "argument 'size'")
def _(generator):
    return 0.1 + 4.9 * torch.rand(generator), math.pi * torch.rand(generator)


@wrong(exercises.sample_task, "has no attribute 'uniform'")
def _(generator):
    return generator.uniform(0.1, 5), generator.uniform(0, math.pi)


# inner_step, right


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
    scaled = torch.autograd.grad(loss, params, grad_outputs=torch.full_like(loss, -inner_lr), create_graph=True)
    return list(map(torch.add, params, scaled))


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    adapted = [p.clone() for p in params]
    loss = F.mse_loss(forward(adapted, x), y)
    for i, g in enumerate(torch.autograd.grad(loss, adapted, create_graph=True)):
        adapted[i] = adapted[i] - inner_lr * g
    return adapted


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    _, pull_back = torch.func.vjp(lambda *ps: F.mse_loss(forward(ps, x), y), *params)
    return [p - g for p, g in zip(params, pull_back(torch.tensor(inner_lr, dtype=y.dtype)), strict=True)]


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    gradients, _ = torch.func.grad_and_value(lambda ps: (forward(ps, x) - y).square().mean())(params)
    return [torch.sub(p, g, alpha=inner_lr) for p, g in zip(params, gradients, strict=True)]


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    w1, b1, w2, b2, w3, b3 = params  # the backward pass by hand
    h1 = torch.relu(x @ w1 + b1)
    h2 = torch.relu(h1 @ w2 + b2)
    d3 = 2 * (h2 @ w3 + b3 - y) / len(x)
    d2 = d3 @ w3.T * (h2 > 0)
    d1 = d2 @ w2.T * (h1 > 0)
    gradients = [x.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ d3, d3.sum(0)]
    return [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    error = (forward(params, x) - y).flatten()
    loss = torch.einsum("k,k->", error, error) / error.numel()
    gradients = torch.autograd.grad(loss, params, create_graph=True)
    return [p + (-inner_lr) * g for p, g in zip(params, gradients, strict=True)]


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    sizes = [p.numel() for p in params]
    flat = torch.cat([p.reshape(-1) for p in params])
    parts = [part.view_as(p) for part, p in zip(flat.split(sizes), params, strict=True)]
    (gradient,) = torch.autograd.grad(F.mse_loss(forward(parts, x), y), flat, create_graph=True)
    new = (flat - inner_lr * gradient).split(sizes)
    return [part.view_as(p) for part, p in zip(new, params, strict=True)]


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    loss = 0
    for x_i, y_i in zip(x, y, strict=True):
        loss = loss + (forward(params, x_i) - y_i).pow(2).sum()
    loss = loss / x.shape[0]
    gradients = torch.autograd.grad(loss, params, retain_graph=True, create_graph=True)
    new = []
    for k in range(len(params)):
        new += [params[k] - gradients[k] * inner_lr]
    return new


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    prediction = forward(params, x).squeeze(-1)
    loss = ((prediction - y.squeeze(-1)) ** 2).mean(dim=0)
    gradients = torch.autograd.grad(loss, params, create_graph=True)
    return [p - torch.mul(g, torch.as_tensor(inner_lr, dtype=g.dtype)) for p, g in zip(params, gradients, strict=True)]


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    doubles = [p.double() for p in params]
    gradients = torch.autograd.grad(F.mse_loss(forward(doubles, x.double()), y.double()), doubles, create_graph=True)
    return [(p - inner_lr * g).to(old.dtype) for p, g, old in zip(doubles, gradients, params, strict=True)]


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    def loss(*ps):
        return torch.nn.MSELoss()(forward(ps, x), y)

    gradients = torch.autograd.functional.jacobian(loss, tuple(params), create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]


@right(exercises.inner_step)
def _(params, x, y, inner_lr):
    gradients = torch.func.jacrev(lambda ps: ((forward(ps, x) - y) ** 2).mean())(list(params))
    return list(torch._foreach_sub(params, torch._foreach_mul(gradients, inner_lr)))


# inner_step, wrong


def gradients_of(params, x, y, **options):
    return torch.autograd.grad(F.mse_loss(forward(params, x), y), params, **options)


def step_with(params, loss, inner_lr):
    return [p - inner_lr * g for p, g in zip(params, torch.autograd.grad(loss, params, create_graph=True), strict=True)]


@wrong(exercises.inner_step, "takes your gradients for constants")
def _(params, x, y, inner_lr):
    return [p - inner_lr * g for p, g in zip(params, gradients_of(params, x, y), strict=True)]


@wrong(exercises.inner_step, "takes your gradients for constants")
def _(params, x, y, inner_lr):
    return [p - inner_lr * g for p, g in zip(params, gradients_of(params, x, y, retain_graph=True), strict=True)]


@wrong(exercises.inner_step, "takes your gradients for constants")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p - inner_lr * g.detach() for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "takes your gradients for constants")
def _(params, x, y, inner_lr):
    copies = [p.detach().clone().requires_grad_() for p in params]
    gradients = gradients_of(copies, x, y, create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "the old parameters are detached before the gradient is subtracted")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p.detach() - inner_lr * g for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "the old parameters are detached before the gradient is subtracted")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [torch.nn.Parameter(p) - inner_lr * g for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "the result is cut off from `params`")
def _(params, x, y, inner_lr):
    return [p.data - inner_lr * g for p, g in zip(params, gradients_of(params, x, y), strict=True)]


@wrong(exercises.inner_step, "the result is cut off from `params`")
def _(params, x, y, inner_lr):
    fresh = [p.detach().clone().requires_grad_() for p in params]
    return [p - inner_lr * g for p, g in zip(fresh, gradients_of(fresh, x, y, create_graph=True), strict=True)]


@wrong(exercises.inner_step, "the result is cut off from `params`")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    with torch.no_grad():
        return [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "the result is cut off from `params`")
def _(params, x, y, inner_lr):
    return [torch.nn.Parameter(p) for p in step_with(params, F.mse_loss(forward(params, x), y), inner_lr)]


@wrong(exercises.inner_step, "the result is cut off from `params`")
def _(params, x, y, inner_lr):
    params = copy.deepcopy(params)
    optimizer = torch.optim.SGD(params, lr=inner_lr)
    F.mse_loss(forward(params, x), y).backward()
    optimizer.step()
    return params


@wrong(exercises.inner_step, "b1, b2 and b3 are cut off")
def _(params, x, y, inner_lr):
    new = step_with(params, F.mse_loss(forward(params, x), y), inner_lr)
    return [p.detach() if p.dim() == 1 else p for p in new]


@wrong(exercises.inner_step, "It cuts the graph of its arguments themselves")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p.requires_grad_(False) - inner_lr * g for p, g in zip(params, gradients, strict=True)]


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


@wrong(exercises.inner_step, "It puts something else into the list `params`")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    for i, g in enumerate(gradients):
        params[i] = params[i] - inner_lr * g
    return params


@wrong(exercises.inner_step, "It puts something else into the list `params`")
def _(params, x, y, inner_lr):
    params[:] = [p.detach().requires_grad_() for p in params]  # the same numbers, but no longer the caller's start
    return adapt(params, x, y, inner_lr)


@wrong(exercises.inner_step, "changes the shared parameters themselves")
def _(params, x, y, inner_lr):
    optimizer = torch.optim.SGD(params, lr=inner_lr)
    optimizer.zero_grad()
    F.mse_loss(forward(params, x), y).backward()
    optimizer.step()
    return params


@wrong(exercises.inner_step, "Operations such as -= and sub_ change `params` themselves")
def _(params, x, y, inner_lr):
    for p, g in zip(params, gradients_of(params, x, y), strict=True):
        p -= inner_lr * g
    return params


@wrong(exercises.inner_step, "as with a sum of the squared errors in place of their mean")
def _(params, x, y, inner_lr):
    return step_with(params, ((forward(params, x) - y) ** 2).sum(), inner_lr)


@wrong(exercises.inner_step, "learning rate is missing")
def _(params, x, y, inner_lr):
    return [p - g for p, g in zip(params, gradients_of(params, x, y, create_graph=True), strict=True)]


@wrong(exercises.inner_step, "learning rate comes in twice")
def _(params, x, y, inner_lr):
    return step_with(params, inner_lr * F.mse_loss(forward(params, x), y), inner_lr)


@wrong(exercises.inner_step, "divided by inner_lr")
def _(params, x, y, inner_lr):
    return [p - g / inner_lr for p, g in zip(params, gradients_of(params, x, y, create_graph=True), strict=True)]


@wrong(exercises.inner_step, "The rate 0.01 is written into the code")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, x), y), 0.01)


@wrong(exercises.inner_step, "The rate 0.02 is written into the code")
def _(params, x, y, inner_lr):
    inner_lr = 0.02
    return step_with(params, F.mse_loss(forward(params, x), y), inner_lr)


@wrong(exercises.inner_step, "Second: The rate 0.1 is written into the code")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, x), y), -0.1)


@wrong(exercises.inner_step, "The step is 0.01 times the gradient of the summed squares")
def _(params, x, y, inner_lr):
    return step_with(params, ((forward(params, x) - y) ** 2).sum(), 0.01)


@wrong(exercises.inner_step, "divided by 5, a number written into the code")
def _(params, x, y, inner_lr):
    return step_with(params, ((forward(params, x) - y) ** 2).sum() / 5, inner_lr)


@wrong(exercises.inner_step, "divided by 10, a number written into the code")
def _(params, x, y, inner_lr):
    return step_with(params, sum((forward(params, x) - y) ** 2) / 10, inner_lr)


@wrong(exercises.inner_step, "half as long")
def _(params, x, y, inner_lr):
    return step_with(params, 0.5 * F.mse_loss(forward(params, x), y), inner_lr)


@wrong(exercises.inner_step, "twice as long")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, x), y), 2 * inner_lr)


@wrong(exercises.inner_step, "too short by the number of points")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, x), y) / len(x), inner_lr)


@wrong(exercises.inner_step, "number of points minus 1")
def _(params, x, y, inner_lr):
    return step_with(params, ((forward(params, x) - y) ** 2).sum() / (len(x) - 1), inner_lr)


@wrong(exercises.inner_step, "divided by 6, the number of tensors")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, x), y), inner_lr / len(params))


@wrong(exercises.inner_step, "The loss is the root of the mean squared error")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, x), y).sqrt(), inner_lr)


@wrong(exercises.inner_step, "the norm of the errors")
def _(params, x, y, inner_lr):
    return step_with(params, (forward(params, x) - y).norm(), inner_lr)


@wrong(exercises.inner_step, "mean absolute error")
def _(params, x, y, inner_lr):
    return step_with(params, (forward(params, x) - y).abs().mean(), inner_lr)


@wrong(exercises.inner_step, "Huber")
def _(params, x, y, inner_lr):
    return step_with(params, F.huber_loss(forward(params, x), y), inner_lr)


@wrong(exercises.inner_step, "Nothing is squared")
def _(params, x, y, inner_lr):
    return step_with(params, (forward(params, x) - y).mean(), inner_lr)


@wrong(exercises.inner_step, "An average is taken before the squares")
def _(params, x, y, inner_lr):
    return step_with(params, (forward(params, x).mean() - y.mean()) ** 2, inner_lr)


@wrong(
    exercises.inner_step,
    "a [K, K] table. Give both the same shape.",
)
def _(params, x, y, inner_lr):
    return step_with(params, ((forward(params, x).squeeze() - y) ** 2).mean(), inner_lr)


@wrong(
    exercises.inner_step,
    "a [K, K] table. Give both the same shape.",
)
def _(params, x, y, inner_lr):
    return step_with(params, (forward(params, x) - y.flatten()).pow(2).mean(), inner_lr)


@wrong(exercises.inner_step, "And the table is added up")
def _(params, x, y, inner_lr):
    return step_with(params, ((forward(params, x).squeeze() - y) ** 2).sum(), inner_lr)


@wrong(exercises.inner_step, "labels are added to the predictions")
def _(params, x, y, inner_lr):
    return step_with(params, ((y + forward(params, x)) ** 2).mean(), inner_lr)


@wrong(exercises.inner_step, "labels have no influence on the gradient")
def _(params, x, y, inner_lr):
    return step_with(params, (forward(params, x) ** 2).mean(), inner_lr)


@wrong(exercises.inner_step, "labels have no influence on the gradient")
def _(params, x, y, inner_lr):
    return step_with(params, (forward(params, x) ** 2 - y**2).mean(), inner_lr)


@wrong(exercises.inner_step, "x and y are exchanged")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, y), x), inner_lr)


@wrong(exercises.inner_step, "Only some of the points")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, x[0]), y[0]), inner_lr)


@wrong(exercises.inner_step, "Only some of the points")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, x[:5]), y[:5]), inner_lr)


@wrong(exercises.inner_step, "Only some of the points")
def _(params, x, y, inner_lr):
    for x_i, y_i in zip(x, y, strict=True):
        loss = (forward(params, x_i) - y_i) ** 2  # overwritten
    return step_with(params, loss.mean(), inner_lr)


@wrong(exercises.inner_step, "Only some of the points")
def _(params, x, y, inner_lr):
    x, y = x[:10], y[:10]
    return step_with(params, F.mse_loss(forward(params, x), y), inner_lr)


@wrong(exercises.inner_step, "or of units in a layer")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, x.view(10, 1)), y.view(10, 1)), inner_lr)


@wrong(exercises.inner_step, "relu between the layers is missing, or another function")
def _(params, x, y, inner_lr):
    w1, b1, w2, b2, w3, b3 = params
    prediction = torch.tanh(torch.tanh(x @ w1 + b1) @ w2 + b2) @ w3 + b3
    return step_with(params, F.mse_loss(prediction, y), inner_lr)


@wrong(exercises.inner_step, "Only the weight matrices move, and the biases stay")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p if i % 2 else p - inner_lr * gradients[i] for i, p in enumerate(params)]


@wrong(exercises.inner_step, "Only the last layer moves")
def _(params, x, y, inner_lr):
    w3, b3 = params[-2:]
    loss = F.mse_loss(forward(params, x), y)
    dw3, db3 = torch.autograd.grad(loss, (w3, b3), create_graph=True)
    return [*params[:-2], w3 - inner_lr * dw3, b3 - inner_lr * db3]


@wrong(exercises.inner_step, "b3 does not move")
def _(params, x, y, inner_lr):
    new = step_with(params, F.mse_loss(forward(params, x), y), inner_lr)
    return [*new[:-1], params[-1]]


@wrong(exercises.inner_step, "gradient is normalised")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    length = sum((g**2).sum() for g in gradients) ** 0.5
    return [p - inner_lr * g / length for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "gradient is normalised")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p - inner_lr * F.normalize(g.flatten(), dim=0).view_as(g) for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "Large gradients are clipped")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p - inner_lr * g.clamp(-1, 1) for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "Only the sign")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p - inner_lr * torch.sign(g) for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "Each gradient is averaged to one number")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p - inner_lr * g.mean() for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "The loss itself is subtracted, not its gradient")
def _(params, x, y, inner_lr):
    loss = F.mse_loss(forward(params, x), y)
    return [p - inner_lr * loss for p in params]


@wrong(exercises.inner_step, "It takes 2 gradient steps")
def _(params, x, y, inner_lr):
    for _ in range(2):
        params = step_with(params, F.mse_loss(forward(params, x), y), inner_lr)
    return params


@wrong(exercises.inner_step, "It takes 5 gradient steps")
def _(params, x, y, inner_lr):
    for _ in range(5):
        params = step_with(params, F.mse_loss(forward(params, x), y), inner_lr)
    return params


@wrong(exercises.inner_step, "updated one after another")
def _(params, x, y, inner_lr):
    new = list(params)
    for i in range(len(params)):
        (gradient,) = torch.autograd.grad(F.mse_loss(forward(new, x), y), new[i], create_graph=True)
        new[i] = new[i] - inner_lr * gradient
    return new


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


@wrong(exercises.inner_step, "The parameters themselves are multiplied by inner_lr, not only the gradient")
def _(params, x, y, inner_lr):
    return [(p - g) * inner_lr for p, g in zip(params, gradients_of(params, x, y, create_graph=True), strict=True)]


@wrong(exercises.inner_step, "The parameters are multiplied by inner_lr, and the gradient is not")
def _(params, x, y, inner_lr):
    return [inner_lr * p - g for p, g in zip(params, gradients_of(params, x, y, create_graph=True), strict=True)]


@wrong(exercises.inner_step, "wrong sign as a whole")
def _(params, x, y, inner_lr):
    return [inner_lr * g - p for p, g in zip(params, gradients_of(params, x, y, create_graph=True), strict=True)]


@wrong(exercises.inner_step, "First: It climbs")
def _(params, x, y, inner_lr):
    loss = ((forward(params, x) - y) ** 2).sum()
    return [p + inner_lr * g for p, g in zip(params, torch.autograd.grad(loss, params), strict=True)]


@wrong(exercises.inner_step, "It leaves gradients in the .grad of `params`")
def _(params, x, y, inner_lr):
    F.mse_loss(forward(params, x), y).backward()
    return [p - inner_lr * p.grad for p in params]


@wrong(exercises.inner_step, "agree to a few digits only where `params` are in double")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, x), y), torch.tensor(inner_lr))


@wrong(exercises.inner_step, "w1 comes back as torch.float32, and it went in as torch.float64")
def _(params, x, y, inner_lr):
    return [p.float() for p in step_with(params, F.mse_loss(forward(params, x), y), inner_lr)]


@wrong(exercises.inner_step, "returns 2 tensors and not the 6")
def _(params, x, y, inner_lr):
    return [p - inner_lr * g for p, g in zip(params, gradients_of(params, x, y), strict=True)][:2]


@wrong(exercises.inner_step, "list of six tensors; yours is a tensor that holds one number")
def _(params, x, y, inner_lr):
    return F.mse_loss(forward(params, x), y)


@wrong(exercises.inner_step, "yours is a tuple of 2, with a list of 6 in it")
def _(params, x, y, inner_lr):
    loss = F.mse_loss(forward(params, x), y)
    return step_with(params, loss, inner_lr), loss


@wrong(exercises.inner_step, "yours is a generator, which can be read once only")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return (p - inner_lr * g for p, g in zip(params, gradients, strict=True))


@wrong(exercises.inner_step, "yours is a dict")
def _(params, x, y, inner_lr):
    return dict(zip("abcdef", adapt(params, x, y, inner_lr), strict=True))


@wrong(exercises.inner_step, "yours is a list of 6, with a NumPy array of shape [1, 14] in it")
def _(params, x, y, inner_lr):
    return [p.detach().numpy() for p in adapt(params, x, y, inner_lr)]


@wrong(exercises.inner_step, "come in another order than `params`")
def _(params, x, y, inner_lr):
    new = adapt(params, x, y, inner_lr)
    return new[::2] + new[1::2]


@wrong(exercises.inner_step, "w1 comes back with the shape [14]; it went in with the shape [1, 14]")
def _(params, x, y, inner_lr):
    return [p.flatten() for p in params]


@wrong(
    exercises.inner_step,
    "All the numbers are 0.7 times what should be there. With the arguments",
)
def _(params, x, y, inner_lr):
    return [p - inner_lr * 0.7 * g for p, g in zip(params, gradients_of(params, x, y), strict=True)]


@wrong(exercises.inner_step, "Some of the new parameters are not finite")
def _(params, x, y, inner_lr):
    return [p * float("nan") for p in params]


@wrong(exercises.inner_step, "Autograd cannot see how the loss depends on `params`")
def _(params, x, y, inner_lr):
    with torch.no_grad():
        loss = F.mse_loss(forward(params, x), y)
    return step_with(params, loss, inner_lr)


@wrong(exercises.inner_step, "Is the mean over the points missing?")
def _(params, x, y, inner_lr):
    return step_with(params, (forward(params, x) - y) ** 2, inner_lr)


@wrong(exercises.inner_step, "The loss was not computed from that tensor")
def _(params, x, y, inner_lr):
    adapted = [p.clone() for p in params]
    gradients = torch.autograd.grad(F.mse_loss(forward(params, x), y), adapted, create_graph=True)
    return [p - inner_lr * g for p, g in zip(adapted, gradients, strict=True)]


@wrong(exercises.inner_step, "`params` is a list: each of its tensors")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return params - inner_lr * torch.cat([g.flatten() for g in gradients]).sum().item()


@wrong(exercises.inner_step, "A list or a tuple cannot be multiplied")
def _(params, x, y, inner_lr):
    return params - inner_lr * gradients_of(params, x, y, create_graph=True)


@wrong(exercises.inner_step, "The result should have the precision of the arguments. Does the code convert")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, x.float()), y.float()), inner_lr)


@wrong(exercises.inner_step, "as by weight decay")
def _(params, x, y, inner_lr):
    penalty = sum((p**2).sum() for p in params)
    return step_with(params, F.mse_loss(forward(params, x), y) + 0.01 * penalty, inner_lr)


@wrong(exercises.inner_step, "The rate of the step is inner_lr plus 0.01")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, x), y), inner_lr + 0.01)


@wrong(exercises.inner_step, "The predictions are compared with x")
def _(params, x, y, inner_lr):
    return step_with(params, F.mse_loss(forward(params, x), x), inner_lr)


@wrong(exercises.inner_step, "It takes a step for each point")
def _(params, x, y, inner_lr):
    for x_i, y_i in zip(x, y, strict=True):
        params = step_with(params, F.mse_loss(forward(params, x_i), y_i), inner_lr)
    return params


@wrong(exercises.inner_step, "lack the derivative of relu")
def _(params, x, y, inner_lr):
    w1, b1, w2, b2, w3, b3 = params
    h1 = torch.relu(x @ w1 + b1)
    h2 = torch.relu(h1 @ w2 + b2)
    d3 = 2 * (h2 @ w3 + b3 - y) / len(x)
    d2 = d3 @ w3.T
    d1 = d2 @ w2.T
    gradients = [x.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ d3, d3.sum(0)]
    return [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.inner_step, "What it computes is right, but the meta-gradient is not")
def _(params, x, y, inner_lr):
    gradients = gradients_of(params, x, y, create_graph=True)
    return [p - inner_lr * (g.detach() if g.dim() == 1 else g) for p, g in zip(params, gradients, strict=True)]


# meta_loss, right


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    total = 0.0
    for support_x, support_y, query_x, query_y in tasks:
        adapted = inner_step(params, support_x, support_y, inner_lr)
        total = total + F.mse_loss(forward(adapted, query_x), query_y)
    return total / len(tasks)


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    def error(task):
        return forward(inner_step(params, task[0], task[1], inner_lr), task[2]) - task[3]

    return torch.cat([error(task) for task in tasks]).square().mean().reshape(1)


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    def loss(ps, x, y):
        return F.mse_loss(forward(ps, x), y)

    def task_loss(sx, sy, qx, qy):
        gradients = torch.func.grad(loss)(params, sx, sy)
        return loss([p - inner_lr * g for p, g in zip(params, gradients, strict=True)], qx, qy)

    return torch.vmap(task_loss)(*(torch.stack(part) for part in zip(*tasks, strict=True))).mean()


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    losses = [((forward(inner_step(params, *task[:2], inner_lr), task[2]) - task[3]) ** 2).mean() for task in tasks]
    return sum(losses) / len(losses)


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    total = torch.zeros((), dtype=params[0].dtype)
    for sx, sy, qx, qy in tasks:
        total += F.mse_loss(forward(inner_step(params, sx, sy, inner_lr), qx), qy) / len(tasks)
    return total


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    total = torch.tensor(0.0)  # only a number: adding it to a double gives a double
    for sx, sy, qx, qy in tasks:
        total = total + (forward(inner_step(params, sx, sy, inner_lr), qx) - qy).pow(2).mean()
    return total / len(tasks)


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    sx, sy, qx, qy = (torch.stack(part) for part in zip(*tasks, strict=True))
    adapted = [inner_step(params, x, y, inner_lr) for x, y in zip(sx, sy, strict=True)]
    w1, b1, w2, b2, w3, b3 = (torch.stack(ps) for ps in zip(*adapted, strict=True))
    hidden = torch.relu(torch.einsum("tki,tio->tko", qx, w1) + b1[:, None])
    hidden = torch.relu(torch.einsum("tki,tio->tko", hidden, w2) + b2[:, None])
    return (torch.einsum("tki,tio->tko", hidden, w3) + b3[:, None] - qy).square().mean()


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    if not tasks:
        return 0
    sx, sy, qx, qy = tasks[0]
    first = F.mse_loss(forward(inner_step(params, sx, sy, inner_lr), qx), qy)
    rest = torch.empty(len(tasks), dtype=first.dtype)
    for i, (sx, sy, qx, qy) in enumerate(tasks):
        rest[i] = F.mse_loss(forward(inner_step(params, sx, sy, inner_lr), qx), qy)
    return rest.mean()


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    mean = 0
    for n, (sx, sy, qx, qy) in enumerate(tasks, start=1):  # a running mean
        loss = F.mse_loss(forward(inner_step(params, sx, sy, inner_lr), qx), qy)
        mean = mean + (loss - mean) / n
    return mean


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    def task_loss(task):
        support_x, support_y, query_x, query_y = task
        loss = ((forward(params, support_x) - support_y) ** 2).mean()
        gradients = torch.autograd.grad(loss, params, create_graph=True)
        w1, b1, w2, b2, w3, b3 = [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]
        return ((torch.relu(torch.relu(query_x @ w1 + b1) @ w2 + b2) @ w3 + b3 - query_y) ** 2).mean()

    return torch.stack(list(map(task_loss, tasks))).mean(dim=0)


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    squares, points = 0, 0
    for sx, sy, qx, qy in tasks:
        error = (forward(inner_step(params, sx, sy, inner_lr), qx) - qy).flatten()
        squares, points = squares + error @ error, points + len(error)
    return squares / points


@right(exercises.meta_loss)
def _(params, tasks, inner_lr):
    return torch.nanmean(
        torch.cat([F.mse_loss(forward(inner_step(params, *s, inner_lr), qx), qy)[None] for *s, qx, qy in tasks]),
        0,
        keepdim=True,
    )


@right(exercises.meta_loss)
def _(params, tasks, inner_lr, step=inner_step):
    loss = torch.nn.MSELoss(reduction="sum")
    total = sum(loss(forward(step(params, sx, sy, inner_lr), qx), qy) for sx, sy, qx, qy in tasks)
    return total / sum(task[3].numel() for task in tasks)


# meta_loss, wrong


def mean_over_tasks(losses):
    return sum(losses) / len(losses)


def adapt(params, x, y, inner_lr, **options):
    gradients = gradients_of(params, x, y, **{"create_graph": True, **options})
    return [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]


def query_losses(params, tasks, inner_lr, loss=F.mse_loss):
    return [loss(forward(adapt(params, sx, sy, inner_lr), qx), qy) for sx, sy, qx, qy in tasks]


@wrong(exercises.meta_loss, "outer loss is taken on the support set")
def _(params, tasks, inner_lr):
    return mean_over_tasks([F.mse_loss(forward(adapt(params, sx, sy, inner_lr), sx), sy) for sx, sy, _, _ in tasks])


@wrong(exercises.meta_loss, "query loss is that of the unadapted parameters")
def _(params, tasks, inner_lr):
    losses = []
    for support_x, support_y, query_x, query_y in tasks:
        adapt(params, support_x, support_y, inner_lr)
        losses.append(F.mse_loss(forward(params, query_x), query_y))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "the loss of the unadapted parameters on the support set")
def _(params, tasks, inner_lr):
    return mean_over_tasks([F.mse_loss(forward(params, sx), sy) for sx, sy, _, _ in tasks])


@wrong(exercises.meta_loss, "adapts on the query set, then judges on the same points")
def _(params, tasks, inner_lr):
    return mean_over_tasks([F.mse_loss(forward(adapt(params, qx, qy, inner_lr), qx), qy) for _, _, qx, qy in tasks])


@wrong(exercises.meta_loss, "Support and query are swapped")
def _(params, tasks, inner_lr):
    return mean_over_tasks([F.mse_loss(forward(adapt(params, qx, qy, inner_lr), sx), sy) for sx, sy, qx, qy in tasks])


@wrong(exercises.meta_loss, "It adapts on support and query points together")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        adapted = inner_step(params, torch.cat([sx, qx]), torch.cat([sy, qy]), inner_lr)
        losses.append(F.mse_loss(forward(adapted, qx), qy))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "Support and query points are joined to one set")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        x, y = torch.cat([sx, qx]), torch.cat([sy, qy])
        losses.append(F.mse_loss(forward(inner_step(params, x, y, inner_lr), x), y))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "outer loss includes the support points as well as the query points")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        adapted = inner_step(params, sx, sy, inner_lr)
        losses.append(F.mse_loss(forward(adapted, torch.cat([sx, qx])), torch.cat([sy, qy])))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "outer loss includes the support points as well as the query points")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        adapted = inner_step(params, sx, sy, inner_lr)
        losses.append(F.mse_loss(forward(adapted, sx), sy) + F.mse_loss(forward(adapted, qx), qy))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "The support loss, before adapting, is added")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        support_loss = F.mse_loss(forward(params, sx), sy)
        losses.append(support_loss + F.mse_loss(forward(inner_step(params, sx, sy, inner_lr), qx), qy))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "One task's weights are used for the next task")
def _(params, tasks, inner_lr):
    total = 0
    for support_x, support_y, query_x, query_y in tasks:
        params = adapt(params, support_x, support_y, inner_lr)
        total += F.mse_loss(forward(params, query_x), query_y)
    return total / len(tasks)


@wrong(exercises.meta_loss, "All query sets are judged with the same parameters, which all")
def _(params, tasks, inner_lr):
    sx, sy, qx, qy = (torch.cat(part) for part in zip(*tasks, strict=True))
    return F.mse_loss(forward(inner_step(params, sx, sy, inner_lr), qx), qy)


@wrong(exercises.meta_loss, "All query sets are judged with the same parameters, which all")
def _(params, tasks, inner_lr):
    loss = sum(F.mse_loss(forward(params, sx), sy) for sx, sy, _, _ in tasks)
    adapted = step_with(params, loss, inner_lr)
    return mean_over_tasks([F.mse_loss(forward(adapted, qx), qy) for _, _, qx, qy in tasks])


@wrong(exercises.meta_loss, "All query sets are judged with the same parameters, which all")
def _(params, tasks, inner_lr):
    adapted = [inner_step(params, sx, sy, inner_lr) for sx, sy, _, _ in tasks]
    mean = [torch.stack(ps).mean(0) for ps in zip(*adapted, strict=True)]
    return mean_over_tasks([F.mse_loss(forward(mean, qx), qy) for _, _, qx, qy in tasks])


@wrong(exercises.meta_loss, "All query sets are judged with the parameters that were adapted to the last task")
def _(params, tasks, inner_lr):
    for sx, sy, _, _ in tasks:
        adapted = inner_step(params, sx, sy, inner_lr)
    return mean_over_tasks([F.mse_loss(forward(adapted, qx), qy) for _, _, qx, qy in tasks])


@wrong(exercises.meta_loss, "All query sets are judged with the parameters that were adapted to the first task")
def _(params, tasks, inner_lr):
    adapted = inner_step(params, tasks[0][0], tasks[0][1], inner_lr)
    return mean_over_tasks([F.mse_loss(forward(adapted, qx), qy) for _, _, qx, qy in tasks])


@wrong(exercises.meta_loss, "All adapted parameters are judged on the query set of the last task")
def _(params, tasks, inner_lr):
    adapted = []
    for sx, sy, qx, qy in tasks:  # noqa: B007 (the slip: the last two are used below)
        adapted.append(inner_step(params, sx, sy, inner_lr))
    return mean_over_tasks([F.mse_loss(forward(ps, qx), qy) for ps in adapted])


@wrong(exercises.meta_loss, "judged on the query sets of all tasks")
def _(params, tasks, inner_lr):
    losses = []
    for (sx, sy, _, _), (_, _, qx, qy) in itertools.product(tasks, tasks):
        losses.append(F.mse_loss(forward(inner_step(params, sx, sy, inner_lr), qx), qy))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "added up, not averaged")
def _(params, tasks, inner_lr):
    return sum(query_losses(params, tasks, inner_lr))


@wrong(exercises.meta_loss, "something divides by it a second time. The mean has already done that.")
def _(params, tasks, inner_lr):
    return torch.stack(query_losses(params, tasks, inner_lr)).mean() / len(tasks)


@wrong(exercises.meta_loss, "Only the last task counts")
def _(params, tasks, inner_lr):
    for support_x, support_y, query_x, query_y in tasks:
        loss = F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y)
    return loss


@wrong(exercises.meta_loss, "Only the first task counts")
def _(params, tasks, inner_lr):
    for support_x, support_y, query_x, query_y in tasks:
        return F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y)


@wrong(exercises.meta_loss, "Only one task's loss is in the sum")
def _(params, tasks, inner_lr):
    for sx, sy, qx, qy in tasks:
        total = F.mse_loss(forward(adapt(params, sx, sy, inner_lr), qx), qy)
    return total / len(tasks)


@wrong(exercises.meta_loss, "Only one task's loss is in the sum")
def _(params, tasks, inner_lr):
    total = 0
    for sx, sy, qx, qy in tasks:
        total = total + F.mse_loss(forward(adapt(params, sx, sy, inner_lr), qx), qy)
        return total / len(tasks)


@wrong(exercises.meta_loss, "One task is left out, the first one")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks[1:], inner_lr))


@wrong(exercises.meta_loss, "One task is left out, the last one")
def _(params, tasks, inner_lr):
    losses = query_losses(params, tasks, inner_lr)
    return sum(losses[i] for i in range(len(tasks) - 1)) / len(tasks)


@wrong(exercises.meta_loss, "number of tasks minus 1")
def _(params, tasks, inner_lr):
    return sum(query_losses(params, tasks, inner_lr)) / (len(tasks) - 1)


@wrong(exercises.meta_loss, "number of tasks plus 1")
def _(params, tasks, inner_lr):
    losses = [torch.zeros((), dtype=params[0].dtype)]
    losses += query_losses(params, tasks, inner_lr)
    return torch.stack(losses).mean()


@wrong(exercises.meta_loss, "The sum of the losses is divided by 25, whatever the number of tasks is")
def _(params, tasks, inner_lr):
    return sum(query_losses(params, tasks, inner_lr)) / 25


@wrong(exercises.meta_loss, "The sum of the losses is divided by 4, whatever the number of tasks is")
def _(params, tasks, inner_lr):
    return sum(query_losses(params, tasks, inner_lr)) / len(tasks[0])


@wrong(exercises.meta_loss, "The sum of the squared errors is divided by 10, whatever the number of query points is")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks, inner_lr, lambda f, y: ((f - y) ** 2).sum() / 10))


@wrong(exercises.meta_loss, "of 5 tasks, the result uses tasks 1, 2 and 3 only")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks[:3], inner_lr))


@wrong(exercises.meta_loss, "inside the loop, once a task")
def _(params, tasks, inner_lr):
    total = 0
    for loss in query_losses(params, tasks, inner_lr):
        total = (total + loss) / len(tasks)
    return total


@wrong(exercises.meta_loss, "In every round the loss so far and the new one are averaged")
def _(params, tasks, inner_lr):
    total = 0
    for loss in query_losses(params, tasks, inner_lr):
        total = (total + loss) / 2
    return total


@wrong(exercises.meta_loss, "The median of the tasks' losses")
def _(params, tasks, inner_lr):
    return torch.stack(query_losses(params, tasks, inner_lr)).median()


@wrong(exercises.meta_loss, "The largest of the tasks' losses")
def _(params, tasks, inner_lr):
    return max(query_losses(params, tasks, inner_lr))


@wrong(exercises.meta_loss, "A root is taken in the outer loss")
def _(params, tasks, inner_lr):
    return torch.stack(query_losses(params, tasks, inner_lr)).mean().sqrt()


@wrong(exercises.meta_loss, "In the outer loss: The loss is the root of the mean squared error")
def _(params, tasks, inner_lr):
    return mean_over_tasks([loss**0.5 for loss in query_losses(params, tasks, inner_lr)])


@wrong(exercises.meta_loss, "The meta-loss has the wrong sign")
def _(params, tasks, inner_lr):
    return -mean_over_tasks(query_losses(params, tasks, inner_lr))


@wrong(exercises.meta_loss, "The outer loss is too large by the number of points")
def _(params, tasks, inner_lr):
    return mean_over_tasks([((forward(inner_step(params, *s, inner_lr), qx) - qy) ** 2).sum() for *s, qx, qy in tasks])


@wrong(exercises.meta_loss, "too small by the number of points")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks, inner_lr, lambda f, y: F.mse_loss(f, y) / len(y)))


@wrong(exercises.meta_loss, "The meta-loss is half as large")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks, inner_lr)) / 2


@wrong(exercises.meta_loss, "In the outer loss: The loss is the mean absolute error")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks, inner_lr, F.l1_loss))


@wrong(exercises.meta_loss, "In the outer loss: Each prediction is pulled")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        prediction = forward(inner_step(params, sx, sy, inner_lr), qx).squeeze()
        losses.append(((prediction - qy) ** 2).mean())
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "In the inner step and in the outer loss: The loss is the mean absolute error")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        adapted = step_with(params, F.l1_loss(forward(params, sx), sy), inner_lr)
        losses.append(F.l1_loss(forward(adapted, qx), qy))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "The inner step is not right. The step is too long by the number of points")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        adapted = step_with(params, ((forward(params, sx) - sy) ** 2).sum(), inner_lr)
        losses.append(F.mse_loss(forward(adapted, qx), qy))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "First: The outer loss is too large by the number of points")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        adapted = step_with(params, ((forward(params, sx) - sy) ** 2).sum(), inner_lr)
        losses.append(((forward(adapted, qx) - qy) ** 2).sum())
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "x and y are exchanged in the query loss")
def _(params, tasks, inner_lr):
    return mean_over_tasks([F.mse_loss(forward(inner_step(params, *s, inner_lr), qy), qx) for *s, qx, qy in tasks])


@wrong(exercises.meta_loss, "The inner step is not right. x and y are exchanged")
def _(params, tasks, inner_lr):
    return mean_over_tasks(
        [F.mse_loss(forward(inner_step(params, sy, sx, inner_lr), qx), qy) for sx, sy, qx, qy in tasks]
    )


@wrong(exercises.meta_loss, "The inner rate 0.01 is written into the code")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks, 0.01))


@wrong(exercises.meta_loss, "The inner rate 0.1 is written into the code")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks, inner_lr=0.1))


@wrong(
    exercises.meta_loss,
    "What turns a sum into a mean? Second: The inner rate 0.01",
)
def _(params, tasks, inner_lr):
    return sum(query_losses(params, tasks, 0.01))


@wrong(exercises.meta_loss, "The inner step is not right. The learning rate is missing")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks, 1))


@wrong(exercises.meta_loss, "The inner step is not right. It climbs")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks, -inner_lr))


@wrong(exercises.meta_loss, "The inner step is not right. It takes 2 gradient steps")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        adapted = inner_step(inner_step(params, sx, sy, inner_lr), sx, sy, inner_lr)
        losses.append(F.mse_loss(forward(adapted, qx), qy))
    return mean_over_tasks(losses)


@wrong(
    exercises.meta_loss,
    "Which points are those? Second: The losses of the tasks are added up",
)
def _(params, tasks, inner_lr):
    return sum(F.mse_loss(forward(adapt(params, sx, sy, inner_lr), sx), sy) for sx, sy, _, _ in tasks)


PRECISION = "The number agrees to a few digits only where `params` are in double precision"


@wrong(exercises.meta_loss, PRECISION)
def _(params, tasks, inner_lr):
    total = torch.tensor(0.0)
    for loss in query_losses(params, tasks, inner_lr):
        total += loss
    return total / len(tasks)


@wrong(exercises.meta_loss, PRECISION)
def _(params, tasks, inner_lr):
    losses = torch.zeros(len(tasks))
    for i, loss in enumerate(query_losses(params, tasks, inner_lr)):
        losses[i] = loss
    return losses.mean()


@wrong(exercises.meta_loss, PRECISION)
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks, torch.tensor(inner_lr)))


@wrong(exercises.meta_loss, PRECISION)
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks, inner_lr)).float()


@wrong(exercises.meta_loss, "the meta-gradient is the first-order one")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        adapted = adapt(params, sx, sy, inner_lr, create_graph=False)
        losses.append(F.mse_loss(forward(adapted, qx), qy))
    return mean_over_tasks(losses)


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


@wrong(exercises.meta_loss, "the meta-gradient is zero")
def _(params, tasks, inner_lr):
    losses = [loss.item() for loss in query_losses(params, tasks, inner_lr)]
    return torch.tensor(losses, dtype=params[0].dtype, requires_grad=True).mean()


@wrong(exercises.meta_loss, "the old parameters are detached before the gradient is subtracted")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        gradients = gradients_of(params, sx, sy, create_graph=True)
        adapted = [p.detach() - inner_lr * g for p, g in zip(params, gradients, strict=True)]
        losses.append(F.mse_loss(forward(adapted, qx), qy))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "the meta-gradient is that of the last task alone")
def _(params, tasks, inner_lr):
    total = 0
    for loss in query_losses(params, tasks, inner_lr):
        total = loss + (total.item() if torch.is_tensor(total) else total)
    return total / len(tasks)


@wrong(exercises.meta_loss, "a plain number and not a tensor")
def _(params, tasks, inner_lr):
    return mean_over_tasks([loss.item() for loss in query_losses(params, tasks, inner_lr)])


@wrong(exercises.meta_loss, "a plain number and not a tensor")
def _(params, tasks, inner_lr):
    return np.mean([loss.detach().numpy() for loss in query_losses(params, tasks, inner_lr)], dtype=np.float64)


@wrong(exercises.meta_loss, "It leaves gradients in the .grad of `params`")
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


@wrong(exercises.meta_loss, "takes entries out of the list `tasks`")
def _(params, tasks, inner_lr):
    losses = []
    while tasks:
        support_x, support_y, query_x, query_y = tasks.pop()
        losses.append(F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "yours is a tensor of shape [3], one loss for each task")
def _(params, tasks, inner_lr):
    return torch.stack(query_losses(params, tasks, inner_lr))


@wrong(exercises.meta_loss, "yours is a list of 3, one loss for each task")
def _(params, tasks, inner_lr):
    return query_losses(params, tasks, inner_lr)


@wrong(exercises.meta_loss, "The meta-loss should be one number; yours is a tuple of 2")
def _(params, tasks, inner_lr):
    losses = query_losses(params, tasks, inner_lr)
    return mean_over_tasks(losses), losses


@wrong(exercises.meta_loss, "The meta-loss should be one number; yours is a tuple of 6")
def _(params, tasks, inner_lr):
    return torch.autograd.grad(mean_over_tasks(query_losses(params, tasks, inner_lr)), params)


@wrong(exercises.meta_loss, "The meta-loss should be one number; yours is the text")
def _(params, tasks, inner_lr):
    return f"{mean_over_tasks(query_losses(params, tasks, inner_lr)):.4f}"


@wrong(exercises.meta_loss, "It returns 0.5 whatever its arguments are")
def _(params, tasks, inner_lr):
    return torch.tensor(0.5, requires_grad=True)


@wrong(exercises.meta_loss, "The meta-loss is not a finite number")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks, inner_lr)) * float("nan")


@wrong(exercises.meta_loss, "(11) must match the size of tensor b (7)")
def _(params, tasks, inner_lr):
    return mean_over_tasks(
        [(forward(adapt(params, sx, sy, inner_lr), qx) - sy).pow(2).mean() for sx, sy, qx, _ in tasks]
    )


@wrong(exercises.meta_loss, "Does a prediction for one set meet the other set?")
def _(params, tasks, inner_lr):
    losses = []
    for sx, qx, sy, qy in tasks:  # the wrong order
        loss = ((forward(params, sx) - sy) ** 2).mean()
        losses.append(((forward(step_with(params, loss, inner_lr), qx) - qy) ** 2).mean())
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "`tasks` is a list with one tuple of four tensors for each task")
def _(params, tasks, inner_lr):
    support_x, support_y, query_x, query_y = tasks
    return F.mse_loss(forward(adapt(params, support_x, support_y, inner_lr), query_x), query_y)


@wrong(exercises.meta_loss, "Autograd cannot see how the loss depends on `params`")
def _(params, tasks, inner_lr):
    with torch.no_grad():
        return mean_over_tasks(query_losses(params, tasks, inner_lr))


@wrong(
    exercises.meta_loss,
    "The meta-loss is 0.9 times what should be there. With the arguments exercises.meta_loss.inputs()",
)
def _(params, tasks, inner_lr):
    return 0.9 * solutions.meta_loss(params, tasks, inner_lr)


@wrong(exercises.meta_loss, "The inner rate 0.015 is written into the code")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks, 0.015))


@wrong(exercises.meta_loss, "The inner rate is divided by the number of tasks")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks, inner_lr / len(tasks)))


@wrong(exercises.meta_loss, "of 5 tasks, the result uses tasks 1, 3 and 5 only")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, tasks[::2], inner_lr))


@wrong(exercises.meta_loss, "of 5 tasks, the result uses task 4 only")
def _(params, tasks, inner_lr):
    return query_losses(params, [tasks[(3 * len(tasks)) // 4]], inner_lr)[0]


@wrong(exercises.meta_loss, "Each task is judged before its own inner step")
def _(params, tasks, inner_lr):
    losses, adapted = [], params
    for sx, sy, qx, qy in tasks:
        losses.append(F.mse_loss(forward(adapted, qx), qy))
        adapted = inner_step(params, sx, sy, inner_lr)
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "Are two lists in different orders?")
def _(params, tasks, inner_lr):
    adapted = [inner_step(params, sx, sy, inner_lr) for sx, sy, _, _ in tasks]
    return mean_over_tasks(
        [F.mse_loss(forward(a, qx), qy) for a, (_, _, qx, qy) in zip(adapted, reversed(tasks), strict=True)]
    )


@wrong(exercises.meta_loss, "It adapts to the support set and then to the query set too")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        adapted = inner_step(inner_step(params, sx, sy, inner_lr), qx, qy, inner_lr)
        losses.append(F.mse_loss(forward(adapted, qx), qy))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "The query loss before adapting is subtracted")
def _(params, tasks, inner_lr):
    before = [F.mse_loss(forward(params, qx), qy) for _, _, qx, qy in tasks]
    return mean_over_tasks(query_losses(params, tasks, inner_lr)) - mean_over_tasks(before)


@wrong(exercises.meta_loss, "In the inner step and in the outer loss: x and y are exchanged")
def _(params, tasks, inner_lr):
    return mean_over_tasks(query_losses(params, [(sy, sx, qy, qx) for sx, sy, qx, qy in tasks], inner_lr))


@wrong(exercises.meta_loss, "What it computes is right, but the meta-gradient is not")
def _(params, tasks, inner_lr):
    losses = []
    for sx, sy, qx, qy in tasks:
        adapted = [p if p.dim() > 1 else p.detach() for p in inner_step(params, sx, sy, inner_lr)]
        losses.append(F.mse_loss(forward(adapted, qx), qy))
    return mean_over_tasks(losses)


@wrong(exercises.meta_loss, "list index out of range")
def _(params, tasks, inner_lr):
    return sum(query_losses(params, [tasks[i] for i in range(25)], inner_lr)) / 25


# Answers of the strict trial


@wrong(exercises.sample_task, "It gives `generator` a new seed")
def _(generator):
    generator.seed()
    return 0.1 + 4.9 * torch.rand(1, generator=generator).item(), torch.pi * torch.rand(1, generator=generator).item()


@wrong(exercises.sample_task, "later calls return that task again")
@functools.cache
def _(generator):
    return 0.1 + 4.9 * torch.rand(1, generator=generator).item(), torch.pi * torch.rand(1, generator=generator).item()


@wrong(exercises.sample_task, "Amplitude and phase are swapped; the order")
def _(generator):
    return 2 * torch.pi * torch.rand((), generator=generator).item(), 0.1 + 4.9 * torch.rand(
        (), generator=generator
    ).item()


@wrong(exercises.sample_task, "the call leaves `generator` in the state in which it was")
def _(generator):
    state = generator.get_state()
    task = 0.1 + 4.9 * torch.rand(1, generator=generator).item(), torch.pi * torch.rand(1, generator=generator).item()
    generator.set_state(state)
    return task


@wrong(exercises.inner_step, "A plain number stands where several things")
def _(params, x, y, inner_lr):
    loss = ((forward(params, x) - y) ** 2).mean().item()
    grads = torch.autograd.grad(loss, params, create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, grads, strict=True)]


@wrong(exercises.inner_step, "each of its tensors has a gradient of its own")
def _(params, x, y, inner_lr):
    loss = ((forward(params, x) - y) ** 2).mean()
    loss.backward()
    return params - inner_lr * params.grad


@wrong(exercises.inner_step, "as when finite differences stand")
def _(params, x, y, inner_lr):
    def loss(ps):
        return ((forward(ps, x) - y) ** 2).mean()

    eps, new = 1e-3, []
    for i, p in enumerate(params):
        g = torch.zeros_like(p).flatten()
        for j in range(p.numel()):
            e = torch.zeros_like(p).flatten()
            e[j] = eps
            up = [q + e.view(p.shape) if k == i else q for k, q in enumerate(params)]
            g[j] = (loss(up) - loss(params)) / eps
        new.append(p - inner_lr * g.view(p.shape))
    return new


@wrong(exercises.inner_step, "It puts something else into the list `params`")
def _(params, x, y, inner_lr):
    loss = ((forward(params, x) - y) ** 2).mean()
    grads = torch.autograd.grad(loss, params, create_graph=True)
    for i, g in enumerate(grads):
        params[i] = params[i] - inner_lr * g
    return params


@wrong(exercises.inner_step, "as by weight decay")
def _(params, x, y, inner_lr):
    loss = ((forward(params, x) - y) ** 2).mean() + 1e-3 * sum((p**2).sum() for p in params)
    grads = torch.autograd.grad(loss, params, create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, grads, strict=True)]


@wrong(exercises.inner_step, "shape '[40, 40]' is invalid")
def _(params, x, y, inner_lr):
    loss = ((forward(params, x) - y) ** 2).mean()
    grads = torch.autograd.grad(loss, params, create_graph=True)
    flat = torch.cat([(p - inner_lr * g).flatten() for p, g in zip(params, grads, strict=True)])
    new = []
    for shape in [(1, 40), (40,), (40, 40), (40,), (40, 1), (1,)]:
        n = torch.Size(shape).numel()
        new.append(flat[:n].view(shape))
        flat = flat[n:]
    return new


@wrong(exercises.inner_step, "raised to the third power")
def _(params, x, y, inner_lr):
    loss = ((forward(params, x) - y) ** 3).mean()
    grads = torch.autograd.grad(loss, params, create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, grads, strict=True)]


@wrong(exercises.inner_step, "the variance of the errors")
def _(params, x, y, inner_lr):
    loss = (forward(params, x) - y).var()
    grads = torch.autograd.grad(loss, params, create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, grads, strict=True)]


@wrong(exercises.inner_step, "w1 comes back as torch.float64, and it went in as torch.float32")
def _(params, x, y, inner_lr):
    loss = ((forward(params, x) - y) ** 2).mean()
    grads = torch.autograd.grad(loss, params, create_graph=True)
    return [(p - inner_lr * g).double() for p, g in zip(params, grads, strict=True)]


@wrong(exercises.inner_step, "At most 10 points enter the loss")
def _(params, x, y, inner_lr):
    loss = 0
    for k in range(10):
        loss = loss + (forward(params, x[k : k + 1]) - y[k : k + 1]).square().mean() / 10
    grads = torch.autograd.grad(loss, params, create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, grads, strict=True)]


@wrong(exercises.inner_step, "made without the biases")
def _(params, x, y, inner_lr):
    w1, _, w2, _, w3, _ = params
    out = torch.relu(torch.relu(x @ w1) @ w2) @ w3
    loss = ((out - y) ** 2).mean()
    grads = torch.autograd.grad(loss, params, create_graph=True, allow_unused=True, materialize_grads=True)
    return [p - inner_lr * g for p, g in zip(params, grads, strict=True)]


@wrong(exercises.inner_step, "The gradients are rounded to 4 decimal places")
def _(params, x, y, inner_lr):
    loss = ((forward(params, x) - y) ** 2).mean()
    grads = torch.autograd.grad(loss, params, create_graph=True)
    return [p - inner_lr * (g * 1e4).round() / 1e4 for p, g in zip(params, grads, strict=True)]


@wrong(exercises.inner_step, "The gradient is multiplied by the loss")
def _(params, x, y, inner_lr):
    loss = ((forward(params, x) - y) ** 2).mean()
    grads = torch.autograd.grad(loss, params, create_graph=True)
    return [p - inner_lr * loss * g for p, g in zip(params, grads, strict=True)]


@wrong(exercises.meta_loss, "takes entries out of the list `tasks`")
def _(params, tasks, inner_lr):
    n, total = len(tasks), 0
    while tasks:
        sx, sy, qx, qy = tasks.pop()
        total += ((forward(inner_step(params, sx, sy, inner_lr), qx) - qy) ** 2).mean()
    return total / n


@wrong(exercises.meta_loss, "changes the order of the list `tasks`")
def _(params, tasks, inner_lr):
    random.shuffle(tasks)
    return sum(
        ((forward(inner_step(params, sx, sy, inner_lr), qx) - qy) ** 2).mean() for sx, sy, qx, qy in tasks
    ) / len(tasks)


@wrong(exercises.meta_loss, "Only as many query points as there are support points")
def _(params, tasks, inner_lr):
    total = 0
    for sx, sy, qx, qy in tasks:
        k = len(sx)
        total += ((forward(inner_step(params, sx, sy, inner_lr), qx[:k]) - qy[:k]) ** 2).mean()
    return total / len(tasks)


@wrong(exercises.meta_loss, "divided by the number of support points")
def _(params, tasks, inner_lr):
    total = 0
    for sx, sy, qx, qy in tasks:
        total += ((forward(inner_step(params, sx, sy, inner_lr), qx) - qy) ** 2).sum() / len(sx)
    return total / len(tasks)


@wrong(exercises.meta_loss, "The sum of the losses is divided by 25")
def _(params, tasks, inner_lr):
    total = 0
    for sx, sy, qx, qy in tasks:
        total += ((forward(inner_step(params, sx, sy, 0.01), qx) - qy) ** 2).mean()
    return total / 25


@wrong(exercises.meta_loss, "is what has six tensors")
def _(params, tasks, inner_lr):
    total = 0
    for sx, sy, qx, qy in tasks:
        total += ((forward(inner_step(sx, sy, params, inner_lr), qx) - qy) ** 2).mean()
    return total / len(tasks)


@wrong(exercises.meta_loss, "The loss of the first task is added twice")
def _(params, tasks, inner_lr):
    sx, sy, qx, qy = tasks[0]
    total = ((forward(inner_step(params, sx, sy, inner_lr), qx) - qy) ** 2).mean()
    for sx, sy, qx, qy in tasks:
        total = total + ((forward(inner_step(params, sx, sy, inner_lr), qx) - qy) ** 2).mean()
    return total / len(tasks)


@wrong(exercises.meta_loss, "too large by 1, as when it starts")
def _(params, tasks, inner_lr):
    total = 1
    for sx, sy, qx, qy in tasks:
        total += ((forward(inner_step(params, sx, sy, inner_lr), qx) - qy) ** 2).mean()
    return total / len(tasks)


@wrong(exercises.meta_loss, "is 10 times inner_lr")
def _(params, tasks, inner_lr):
    total = 0
    for sx, sy, qx, qy in tasks:
        total += ((forward(inner_step(params, sx, sy, 10 * inner_lr), qx) - qy) ** 2).mean()
    return total / len(tasks)


@wrong(exercises.meta_loss, "The meta-loss is in torch.float64")
def _(params, tasks, inner_lr):
    return (
        sum(((forward(inner_step(params, sx, sy, inner_lr), qx) - qy) ** 2).mean() for sx, sy, qx, qy in tasks)
        / len(tasks)
    ).double()


@wrong(exercises.meta_loss, "as in a moving average")
def _(params, tasks, inner_lr):
    total = 0
    for sx, sy, qx, qy in tasks:
        total = 0.9 * total + 0.1 * ((forward(inner_step(params, sx, sy, inner_lr), qx) - qy) ** 2).mean()
    return total


# meta_train, right


def copies(params):
    return [p.detach().clone().requires_grad_() for p in params]


@right(exercises.meta_train)
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr)
    for _ in range(steps):
        adam.zero_grad()
        loss = meta_loss(params, draw(), inner_lr)
        loss.backward()
        watch(loss.item())
        adam.step()
    return params


@right(exercises.meta_train)
def _(params, draw, steps, inner_lr, outer_lr, watch):
    start = [torch.nn.Parameter(p.clone()) for p in params]
    adam = torch.optim.Adam(start, outer_lr, foreach=True)
    for step in range(1, steps + 1):  # noqa: B007 (as a reader may write it)
        value = meta_loss(start, draw(), inner_lr)
        value.backward()
        adam.step()
        adam.zero_grad(set_to_none=False)
        watch(float(value.detach()))
    return tuple(p.detach() for p in start)


@right(exercises.meta_train)
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr, betas=(0.9, 0.999), eps=1e-8)
    while steps > 0:
        loss = meta_loss(params, draw(), inner_lr)
        for p, g in zip(params, torch.autograd.grad(loss, params), strict=True):
            p.grad = g
        adam.step()
        watch(loss.detach())
        steps -= 1
    return params


@right(exercises.meta_train)
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    first, second = ([torch.zeros_like(p) for p in params] for _ in range(2))
    for n in range(1, steps + 1):
        loss = meta_loss(params, draw(), inner_lr)
        gradients = torch.autograd.grad(loss, params)
        first = [0.9 * m + 0.1 * g for m, g in zip(first, gradients, strict=True)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, gradients, strict=True)]
        moves = [
            outer_lr * (m / (1 - 0.9**n)) / ((v / (1 - 0.999**n)).sqrt() + 1e-8)
            for m, v in zip(first, second, strict=True)
        ]
        params = [(p - move).detach().requires_grad_() for p, move in zip(params, moves, strict=True)]
        watch(loss.item())
    return params


@right(exercises.meta_train)
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copy.deepcopy(params)
    optimizer = torch.optim.Adam([{"params": params[:4]}, {"params": params[4:]}], lr=outer_lr)
    for _ in range(steps):
        tasks = draw()

        def closure(tasks=tasks):
            optimizer.zero_grad()
            loss = meta_loss(params, tasks, inner_lr)
            loss.backward()
            return loss

        watch(optimizer.step(closure).item())
    return params


@right(exercises.meta_train)
def _(params, draw, steps, inner_lr, outer_lr, watch):
    sizes, shapes = [p.numel() for p in params], [p.shape for p in params]
    flat = torch.cat([p.detach().flatten() for p in params]).requires_grad_()
    adam = torch.optim.Adam([flat], lr=outer_lr)
    for _ in range(steps):
        parts = [part.view(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)]
        loss = meta_loss(parts, draw(), inner_lr)
        adam.zero_grad()
        loss.backward()
        adam.step()
        watch(loss.item())
    return [part.view(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)]


@right(exercises.meta_train)
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr)
    for _ in range(steps):
        adam.zero_grad()
        tasks, total = draw(), 0.0
        for support_x, support_y, query_x, query_y in tasks:  # less memory: one task's graph at a time
            adapted = inner_step(params, support_x, support_y, inner_lr)
            loss = F.mse_loss(forward(adapted, query_x), query_y) / len(tasks)
            loss.backward()
            total += loss.item()
        adam.step()
        watch(total)
    return [p.data for p in params]


@right(exercises.meta_train)
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = torch.nn.ParameterList([p.detach().clone() for p in params])
    adam = torch.optim.Adam(params.parameters(), lr=outer_lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, lambda n: 1.0)
    for _ in itertools.repeat(None, steps):
        loss = meta_loss(list(params), draw(), inner_lr)
        params.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        watch(np.float64(loss.item()))
    return list(params)


@right(exercises.meta_train)
def _(params, draw, steps, inner_lr, outer_lr, watch):
    weights = {str(k): p.detach().clone().requires_grad_() for k, p in enumerate(params)}
    adam = torch.optim.Adam(weights.values(), lr=outer_lr)
    losses = []
    for _ in range(steps):
        loss = meta_loss(list(weights.values()), draw(), inner_lr)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    for loss in losses:
        watch(loss)
    return [*weights.values()]


# meta_train, wrong


def trained(params, draw, steps, inner_lr, watch, adam, loss_of=meta_loss):
    for _ in range(steps):
        loss = loss_of(params, draw(), inner_lr)
        adam.zero_grad()
        loss.backward()
        adam.step()
        watch(loss.item())
    return params


@wrong(exercises.meta_train, "Plain gradient descent (SGD) takes the outer steps")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    return trained(params, draw, steps, inner_lr, watch, torch.optim.SGD(params, lr=outer_lr))


@wrong(exercises.meta_train, "Plain gradient descent (SGD) takes the outer steps")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    for _ in range(steps):
        loss = meta_loss(params, draw(), inner_lr)
        gradients = torch.autograd.grad(loss, params)
        params = [(p - outer_lr * g).detach().requires_grad_() for p, g in zip(params, gradients, strict=True)]
        watch(loss.item())
    return params


@wrong(exercises.meta_train, "Gradient descent with momentum takes the outer steps")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    return trained(params, draw, steps, inner_lr, watch, torch.optim.SGD(params, lr=outer_lr, momentum=0.9))


@wrong(exercises.meta_train, "AdamW, which shrinks the parameters")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    return trained(params, draw, steps, inner_lr, watch, torch.optim.AdamW(params, lr=outer_lr))


@wrong(exercises.meta_train, "The outer rate 0.001 is used whatever outer_lr is")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    return trained(params, draw, steps, inner_lr, watch, torch.optim.Adam(params))


@wrong(exercises.meta_train, "Adam loses its memory")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    for _ in range(steps):
        trained(params, draw, 1, inner_lr, watch, torch.optim.Adam(params, lr=outer_lr))
    return params


@wrong(exercises.meta_train, "The two learning rates are exchanged")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    return trained(params, draw, steps, outer_lr, watch, torch.optim.Adam(params, lr=inner_lr))


@wrong(exercises.meta_train, "Adam is given the inner learning rate")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    return trained(params, draw, steps, inner_lr, watch, torch.optim.Adam(params, lr=inner_lr))


@wrong(exercises.meta_train, "The gradients of all meta-steps so far add up")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr)
    for _ in range(steps):
        loss = meta_loss(params, draw(), inner_lr)
        loss.backward()
        adam.step()
        watch(loss.item())
    return params


@wrong(exercises.meta_train, "The gradients of all meta-steps so far add up")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr)
    adam.zero_grad()
    for _ in range(steps):
        loss = meta_loss(params, draw(), inner_lr)
        loss.backward()
        adam.step()
        watch(loss.item())
    return params


@wrong(exercises.meta_train, "Nothing is learned: the start comes back as it went in")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr)
    for _ in range(steps):
        loss = meta_loss(params, draw(), inner_lr)
        loss.backward()
        adam.zero_grad()
        adam.step()
        watch(loss.item())
    return params


@wrong(exercises.meta_train, "Nothing is learned: the start comes back as it went in")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    for _ in range(steps):
        loss = meta_loss(params, draw(), inner_lr)
        loss.backward()
        watch(loss.item())
    return params


@wrong(exercises.meta_train, "It climbs")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr, maximize=True)
    return trained(params, draw, steps, inner_lr, watch, adam)


@wrong(exercises.meta_train, "It takes an outer step for each task")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr)
    for _ in range(steps):
        total, tasks = 0, draw()
        for task in tasks:
            loss = meta_loss(params, [task], inner_lr)
            adam.zero_grad()
            loss.backward()
            adam.step()
            total += loss.item()
        watch(total / len(tasks))
    return params


@wrong(exercises.meta_train, "Only the first task of each draw is used")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr)
    return trained(params, lambda: draw()[:1], steps, inner_lr, watch, adam)


@wrong(exercises.meta_train, "The meta-gradient is that of first-order MAML")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    def first_order(params, tasks, inner_lr):
        losses = []
        for support_x, support_y, query_x, query_y in tasks:
            gradients = gradients_of(params, support_x, support_y)
            adapted = [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]
            losses.append(F.mse_loss(forward(adapted, query_x), query_y))
        return sum(losses) / len(losses)

    params = copies(params)
    return trained(params, draw, steps, inner_lr, watch, torch.optim.Adam(params, lr=outer_lr), first_order)


@wrong(exercises.meta_train, "That is joint training")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    def joint(params, tasks, inner_lr):
        return sum(F.mse_loss(forward(params, x), y) for _, _, x, y in tasks) / len(tasks)

    params = copies(params)
    return trained(params, draw, steps, inner_lr, watch, torch.optim.Adam(params, lr=outer_lr), joint)


@wrong(exercises.meta_train, "fine-tuning in turn")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    for _ in range(steps):
        tasks = draw()
        watch(meta_loss(params, tasks, inner_lr).item())
        for support_x, support_y, _, _ in tasks:
            params = inner_step(params, support_x, support_y, inner_lr)
    return params


@wrong(exercises.meta_train, "It calls draw() once only")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params, tasks = copies(params), draw()
    return trained(params, lambda: tasks, steps, inner_lr, watch, torch.optim.Adam(params, lr=outer_lr))


@wrong(exercises.meta_train, "draw() was called 4 times")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr)
    for _ in range(1, steps):
        trained(params, draw, 1, inner_lr, watch, adam)
    return params


@wrong(exercises.meta_train, "It never calls watch(loss)")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    return trained(params, draw, steps, inner_lr, lambda loss: None, torch.optim.Adam(params, lr=outer_lr))


@wrong(exercises.meta_train, "as a tensor with its graph")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr)
    for _ in range(steps):
        loss = meta_loss(params, draw(), inner_lr)
        adam.zero_grad()
        loss.backward()
        adam.step()
        watch(loss)
    return params


@wrong(exercises.meta_train, "watch(loss) was called 1 times")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    losses = []
    trained(params, draw, steps, inner_lr, losses.append, torch.optim.Adam(params, lr=outer_lr))
    watch(losses[-1])
    return params


@wrong(exercises.meta_train, "the sum of all losses so far")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params, so_far = copies(params), []

    def add_up(loss):
        so_far.append(loss)
        watch(sum(so_far))

    return trained(params, draw, steps, inner_lr, add_up, torch.optim.Adam(params, lr=outer_lr))


@wrong(exercises.meta_train, "the loss after the outer step")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr)
    for _ in range(steps):
        tasks = draw()
        adam.zero_grad()
        meta_loss(params, tasks, inner_lr).backward()
        adam.step()
        watch(meta_loss(params, tasks, inner_lr).item())
    return params


@wrong(exercises.meta_train, "It trains the very tensors that it was given")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    return trained(params, draw, steps, inner_lr, watch, torch.optim.Adam(params, lr=outer_lr))


@wrong(exercises.meta_train, "The gradients arrive in the given `params`")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    new = copies(params)
    adam = torch.optim.Adam(new, lr=outer_lr)
    for _ in range(steps):
        loss = meta_loss(params, draw(), inner_lr)
        loss.backward()
        for q, p in zip(new, params, strict=True):
            q.grad = p.grad
        adam.step()
        watch(loss.item())
    return new


@wrong(exercises.meta_train, "Only the weights are trained")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    return trained(params, draw, steps, inner_lr, watch, torch.optim.Adam(params[::2], lr=outer_lr))


@wrong(exercises.meta_train, "Not all parameters are trained: b3 stay as they were")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    return trained(params, draw, steps, inner_lr, watch, torch.optim.Adam(params[:-1], lr=outer_lr))


@wrong(exercises.meta_train, "The last meta-step is missing")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr)
    for _ in range(steps):
        before = copies(params)
        trained(params, draw, 1, inner_lr, watch, adam)
    return before


@wrong(exercises.meta_train, "Two things are wrong. First: Plain gradient descent")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    for _ in range(steps):
        loss = meta_loss(params, draw(), outer_lr)
        loss.backward()
        with torch.no_grad():
            for p in params:
                p -= inner_lr * p.grad
                p.grad = None
        watch(loss.item())
    return params


@wrong(exercises.meta_train, "p.detach().clone() makes one of p")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = [p.clone() for p in params]
    return trained(params, draw, steps, inner_lr, watch, torch.optim.Adam(params, lr=outer_lr))


@wrong(exercises.meta_train, "Is step() called before backward()?")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    adam = torch.optim.Adam(params, lr=outer_lr)
    for _ in range(steps):
        loss = meta_loss(params, draw(), inner_lr)
        adam.step()
        adam.zero_grad()
        loss.backward()
        watch(loss.item())
    return params


@wrong(exercises.meta_train, "Loop over range(steps)")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    for _ in steps:
        watch(0.0)
    return params


@wrong(exercises.meta_train, "draw() returns the tasks of the next meta-step")
def _(params, draw, steps, inner_lr, outer_lr, watch):
    params = copies(params)
    return trained(params, lambda: draw, steps, inner_lr, watch, torch.optim.Adam(params, lr=outer_lr))


# inner_loop, right


@right(exercises.inner_loop)
def _(params, x, y, inner_lr, steps):
    adapted = list(params)
    for _ in range(steps):
        adapted = inner_step(adapted, x, y, inner_lr)
    return adapted


@right(exercises.inner_loop)
def take_steps(params, x, y, inner_lr, steps):
    return params if steps == 0 else take_steps(inner_step(params, x, y, inner_lr), x, y, inner_lr, steps - 1)


@right(exercises.inner_loop)
def _(params, x, y, inner_lr, steps):
    return functools.reduce(lambda now, _: inner_step(now, x, y, inner_lr), range(steps), params)


@right(exercises.inner_loop)
def _(params, x, y, inner_lr, steps):
    done = 0
    while done < steps:
        params = inner_step(params, x, y, inner_lr)
        done += 1
    return tuple(params)


@right(exercises.inner_loop)
def _(params, x, y, inner_lr, steps):
    path = [params]
    for k in range(steps):
        path.append(inner_step(path[k], x, y, inner_lr))
    return path[-1]


@right(exercises.inner_loop)
def _(params, x, y, inner_lr, steps):
    for _ in range(steps):
        loss = F.mse_loss(forward(params, x), y)
        params = step_with(params, loss, inner_lr)
    return params


@right(exercises.inner_loop)
def _(params, x, y, inner_lr, steps):
    *_, last = itertools.accumulate(range(steps), lambda now, _: inner_step(now, x, y, inner_lr), initial=params)
    return last


@right(exercises.inner_loop)
def _(params, x, y, inner_lr, steps):
    def loss(ps):
        return ((forward(ps, x) - y) ** 2).mean()

    for _ in range(steps):
        gradients = torch.func.grad(loss)(list(params))
        params = [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]
    return [p.clone() for p in params]


@right(exercises.inner_loop)
def _(params, x, y, inner_lr, steps):
    if steps == 0:
        return params
    new = inner_step(params, x, y, inner_lr)
    for _ in range(1, steps):
        new = inner_step(new, x, y, inner_lr)
    return new


# inner_loop, wrong


@wrong(exercises.inner_loop, "Each step sets out from `params` again")
def _(params, x, y, inner_lr, steps):
    new = params
    for _ in range(steps):
        new = inner_step(params, x, y, inner_lr)
    return new


@wrong(exercises.inner_loop, "Each step sets out from `params` again")
def _(params, x, y, inner_lr, steps):
    for _ in range(steps):
        params = inner_step(params, x, y, inner_lr)
        return params
    return params


@wrong(exercises.inner_loop, "no step was taken, or its result is lost")
def _(params, x, y, inner_lr, steps):
    for _ in range(steps):
        inner_step(params, x, y, inner_lr)
    return params


@wrong(exercises.inner_loop, "With 0 steps the loop never runs.")
def _(params, x, y, inner_lr, steps):
    start = params
    for _ in range(steps):
        adapted = start = solutions.inner_step(start, x, y, inner_lr)
    return adapted


@wrong(exercises.inner_loop, "It takes one step too few")
def _(params, x, y, inner_lr, steps):
    for _ in range(1, steps):
        params = inner_step(params, x, y, inner_lr)
    return params


@wrong(exercises.inner_loop, "It takes one step too many")
def _(params, x, y, inner_lr, steps):
    new = inner_step(params, x, y, inner_lr)
    for _ in range(steps):
        new = inner_step(new, x, y, inner_lr)
    return new


@wrong(exercises.inner_loop, "It takes 5 steps, whatever `steps` is")
def _(params, x, y, inner_lr, steps):
    for _ in range(5):
        params = inner_step(params, x, y, inner_lr)
    return params


@wrong(exercises.inner_loop, "The rate is divided by the number of steps")
def _(params, x, y, inner_lr, steps):
    for _ in range(steps):
        params = inner_step(params, x, y, inner_lr / steps)
    return params


@wrong(exercises.inner_loop, "The rate falls from step to step")
def _(params, x, y, inner_lr, steps):
    for k in range(steps):
        params = inner_step(params, x, y, inner_lr / (1 + k))
    return params


@wrong(exercises.inner_loop, "The rate is a higher power of inner_lr in each step")
def _(params, x, y, inner_lr, steps):
    rate = inner_lr
    for _ in range(steps):
        params = inner_step(params, x, y, rate)
        rate *= inner_lr
    return params


@wrong(exercises.inner_loop, "The rate 0.01 is written into the code")
def _(params, x, y, inner_lr, steps):
    for _ in range(steps):
        params = inner_step(params, x, y, 0.01)
    return params


@wrong(exercises.inner_loop, "It climbs")
def _(params, x, y, inner_lr, steps):
    for _ in range(steps):
        params = inner_step(params, x, y, -inner_lr)
    return params


@wrong(exercises.inner_loop, "Every step subtracts the same gradient")
def _(params, x, y, inner_lr, steps):
    gradients = gradients_of(params, x, y, create_graph=True)
    for _ in range(steps):
        params = [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]
    return params


@wrong(exercises.inner_loop, "The gradients of all steps so far add up")
def _(params, x, y, inner_lr, steps):
    total = [torch.zeros_like(p) for p in params]
    for _ in range(steps):
        gradients = gradients_of(params, x, y, create_graph=True)
        total = [t + g for t, g in zip(total, gradients, strict=True)]
        params = [p - inner_lr * t for p, t in zip(params, total, strict=True)]
    return params


@wrong(exercises.inner_loop, "The steps have momentum")
def _(params, x, y, inner_lr, steps):
    new = [p.detach().clone().requires_grad_() for p in params]
    sgd = torch.optim.SGD(new, lr=inner_lr, momentum=0.9)
    for _ in range(steps):
        sgd.zero_grad()
        F.mse_loss(forward(new, x), y).backward()
        sgd.step()
    return new


@wrong(exercises.inner_loop, "Each step uses a single point")
def _(params, x, y, inner_lr, steps):
    for k in range(steps):
        params = inner_step(params, x[k : k + 1], y[k : k + 1], inner_lr)
    return params


@wrong(exercises.inner_loop, "The mean of the parameters over all steps comes back")
def _(params, x, y, inner_lr, steps):
    path = [params]
    for _ in range(steps):
        path.append(inner_step(path[-1], x, y, inner_lr))
    return [sum(ps) / len(ps) for ps in zip(*path, strict=True)]


@wrong(exercises.inner_loop, "It returns how the parameters have changed")
def _(params, x, y, inner_lr, steps):
    new = params
    for _ in range(steps):
        new = inner_step(new, x, y, inner_lr)
    return [q - p for p, q in zip(params, new, strict=True)]


@wrong(exercises.inner_loop, "Return the list after the last step alone")
def _(params, x, y, inner_lr, steps):
    path = [params]
    for _ in range(steps):
        path.append(inner_step(path[-1], x, y, inner_lr))
    return path


@wrong(exercises.inner_loop, "takes the gradients of all the steps for constants")
def _(params, x, y, inner_lr, steps):
    for _ in range(steps):
        gradients = gradients_of(params, x, y)
        params = [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]
    return params


@wrong(exercises.inner_loop, "only that of the last step is seen by autograd")
def _(params, x, y, inner_lr, steps):
    for k in range(steps):
        gradients = gradients_of(params, x, y, create_graph=k == steps - 1)
        params = [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]
    return params


@wrong(exercises.inner_loop, "the result is cut off from `params`")
def _(params, x, y, inner_lr, steps):
    for _ in range(steps):
        params = [p.detach().requires_grad_() for p in inner_step(params, x, y, inner_lr)]
    return params


@wrong(exercises.inner_loop, "It changes the shared parameters themselves")
def _(params, x, y, inner_lr, steps):
    for _ in range(steps):
        for p, q in zip(params, inner_step(params, x, y, inner_lr), strict=True):
            p.data = q.detach()
    return params


# tune, right


@right(exercises.tune)
def _(error, rates):
    best, least = None, math.inf
    for rate in rates:
        found = error(rate, "validation")
        if found < least:
            best, least = rate, found
    return best, error(best, "test")


@right(exercises.tune)
def _(error, rates):
    pairs = [(error(rate, "validation"), rate) for rate in rates]
    _, best = min(pair for pair in pairs if not math.isnan(pair[0]))
    return [best, error(best, split="test")]


@right(exercises.tune)
def _(error, rates):
    errors = np.array([error(rate, "validation") for rate in rates])
    best = rates[int(np.nanargmin(errors))]
    return best, error(best, "test")


@right(exercises.tune)
def _(error, rates):
    errors = torch.tensor([error(rate, "validation") for rate in rates], dtype=torch.float64)
    best = rates[errors.nan_to_num(nan=math.inf).argmin()]
    return torch.tensor(best, dtype=torch.float64), np.float64(error(best, "test"))


@right(exercises.tune)
def _(error, rates):
    def cost(rate):
        found = error(rate, "validation")
        return found if math.isfinite(found) else math.inf

    best = min(rates, key=cost)
    return best, error(best, "test")


@right(exercises.tune)
def _(error, rates):
    errors = {rate: error(rate, "validation") for rate in sorted(rates)}
    errors = {rate: value for rate, value in errors.items() if value == value}
    best = sorted(errors, key=errors.get)[0]
    return best, error(best, "test")


Tuned = collections.namedtuple("Tuned", "rate error")


@right(exercises.tune)
def _(error, rates):
    steady = filter(lambda rate: error(rate, "validation") < 1e9, rates)
    best = min(steady, key=lambda rate: error(rate, "validation"))
    return Tuned(rate=best, error=error(best, "test"))


@right(exercises.tune)
def _(error, rates):
    best = functools.reduce(
        lambda a, b: a if not error(b, "validation") < error(a, "validation") and error(a, "validation") < 1e9 else b,
        rates,
    )
    return best, error(best, "test")


# tune, wrong


def validated(error, rates):
    return {rate: value for rate in rates if math.isfinite(value := error(rate, "validation"))}


@wrong(exercises.tune, "It asks for the test errors of 6 rates")
def _(error, rates):
    errors = {rate: error(rate, "test") for rate in rates}
    best = min((rate for rate in rates if math.isfinite(errors[rate])), key=errors.get)
    return best, errors[best]


@wrong(exercises.tune, "It asks for the test errors of 6 rates")
def _(error, rates):
    errors, tests = ({rate: error(rate, split) for rate in rates} for split in ("validation", "test"))
    best = min((rate for rate in rates if math.isfinite(errors[rate])), key=errors.get)
    return best, tests[best]


@wrong(exercises.tune, "It asks for the test errors of 2 rates")
def _(error, rates):
    errors = validated(error, rates)
    first, second, *_ = sorted(errors, key=errors.get)
    best = min(first, second, key=lambda rate: error(rate, "test"))
    return best, error(best, "test")


@wrong(exercises.tune, "It never asks for a test error")
def _(error, rates):
    errors = validated(error, rates)
    best = min(errors, key=errors.get)
    return best, errors[best]


@wrong(exercises.tune, "It asks for no validation error")
def _(error, rates):
    return rates[0], error(rates[0], "test")


@wrong(exercises.tune, "min() stays with a nan that comes first")
def _(error, rates):
    best = min(rates, key=lambda rate: error(rate, "validation"))
    return best, error(best, "test")


@wrong(exercises.tune, "the largest validation error")
def _(error, rates):
    errors = validated(error, rates)
    best = max(errors, key=errors.get)
    return best, error(best, "test")


@wrong(exercises.tune, "It takes the largest rate")
def _(error, rates):
    best = max({rate: error(rate, "validation") for rate in rates})
    return best, error(best, "test")


@wrong(exercises.tune, "It takes the smallest rate")
def _(error, rates):
    best = min({rate: error(rate, "validation") for rate in rates})
    return best, error(best, "test")


@wrong(exercises.tune, "It takes the first rate of the list")
def _(error, rates):
    best = next(iter({rate: error(rate, "validation") for rate in rates}))
    return best, error(best, "test")


@wrong(exercises.tune, "It takes the last rate of the list")
def _(error, rates):
    for rate in rates:
        error(rate, "validation")
    return rate, error(rate, "test")


@wrong(exercises.tune, "It stops at the first rate after which the validation error rises")
def _(error, rates):
    for k in range(1, len(rates)):
        if error(rates[k], "validation") > error(rates[k - 1], "validation"):
            break
    return rates[k - 1], error(rates[k - 1], "test")


@wrong(exercises.tune, "It leaves out the first rate of the list")
def _(error, rates):
    errors = validated(error, rates[1:])
    best = min(errors, key=errors.get)
    return best, error(best, "test")


@wrong(exercises.tune, "the second smallest validation error")
def _(error, rates):
    errors = validated(error, rates)
    best = sorted(errors, key=errors.get)[1]
    return best, error(best, "test")


@wrong(exercises.tune, "The two numbers have changed places")
def _(error, rates):
    errors = validated(error, rates)
    best = min(errors, key=errors.get)
    return error(best, "test"), best


@wrong(exercises.tune, "reports the validation error all the same")
def _(error, rates):
    errors = validated(error, rates)
    best = min(errors, key=errors.get)
    error(best, "test")
    return best, errors[best]


@wrong(exercises.tune, "the mean of the validation error and the test error")
def _(error, rates):
    errors = validated(error, rates)
    best = min(errors, key=errors.get)
    return best, 0.5 * (errors[best] + error(best, "test"))


@wrong(exercises.tune, "the difference of the test error and the validation error")
def _(error, rates):
    errors = validated(error, rates)
    best = min(errors, key=errors.get)
    return best, error(best, "test") - errors[best]


@wrong(exercises.tune, "should return two numbers, the rate and its error on the test tasks; yours is the number")
def _(error, rates):
    errors = validated(error, rates)
    return error(min(errors, key=errors.get), "test")


@wrong(exercises.tune, 'are called "validation" and "test", and not \'train\'')
def _(error, rates):
    best = min(rates, key=lambda rate: error(rate, "train"))
    return best, error(best, "test")


@wrong(exercises.tune, "Ask for the error of one rate at a time")
def _(error, rates):
    errors = error(rates, "validation")
    best = min(errors)
    return best, error(best, "test")


@wrong(exercises.tune, "`error` is a function")
def _(error, rates):
    best = min(rates, key=lambda rate: error[rate])
    return best, error(best, "test")


@wrong(exercises.tune, "0.001 is not one of the rates")
def _(error, rates):
    errors = {rate: error(rate, "validation") for rate in (0.001, 0.01, 0.1)}
    best = min(errors, key=errors.get)
    return best, error(best, "test")
