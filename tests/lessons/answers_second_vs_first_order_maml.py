"""Answers to the exercises of the orders lesson."""

import copy
import functools
import itertools

import numpy as np
import torch
from answers import right, wrong
from torch.autograd import forward_ad

from metalab.lessons.second_vs_first_order_maml import exercises, solutions

# Parts that a learner would write out


def gradients_of(loss, params, **options):
    return torch.autograd.grad(loss(params), params, **({"create_graph": True} | options))


def stepped(params, gradients, inner_lr):
    return [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]


def dot(a, b):
    return sum((x * y).sum() for x, y in zip(a, b, strict=True))


def constant(tensors):
    return [tensor.detach() for tensor in tensors]


def leaves(tensors):
    return [tensor.detach().clone().requires_grad_() for tensor in tensors]


def joined(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def split(flat, params):
    return [part.view_as(p) for part, p in zip(flat.split([p.numel() for p in params]), params, strict=True)]


def mean_of(adapted):
    return [torch.stack(ends).mean(dim=0) for ends in zip(*adapted, strict=True)]


# adapt


@right(exercises.adapt)
def _(loss, params, inner_lr):
    value = loss(params)
    return [p.sub(inner_lr * torch.autograd.grad(value, p, create_graph=True)[0]) for p in params]


@right(exercises.adapt)
def _(loss, params, inner_lr):
    new = []
    for i, p in enumerate(params):  # a loss for each tensor
        (g,) = torch.autograd.grad(loss(params), params[i], create_graph=True)
        new.append(p - g * inner_lr)
    return new


@right(exercises.adapt)
def _(loss, params, inner_lr):
    return tuple(p - inner_lr * g for p, g in zip(params, torch.func.grad(loss)(params), strict=True))


@right(exercises.adapt)
def _(loss, params, inner_lr):
    gradients, _value = torch.func.grad_and_value(loss)(params)
    return list(map(lambda p, g: torch.sub(p, g, alpha=inner_lr), params, gradients))


@right(exercises.adapt)
def _(loss, params, inner_lr):
    value, pull_back = torch.func.vjp(loss, params)
    (gradients,) = pull_back(torch.ones_like(value))
    return stepped(params, gradients, inner_lr)


@right(exercises.adapt)
def _(loss, params, inner_lr):
    return stepped(params, torch.func.jacrev(loss)(params), inner_lr)


@right(exercises.adapt)
def _(loss, params, inner_lr):
    return stepped(params, torch.func.jacfwd(loss)(params), inner_lr)


@right(exercises.adapt)
def _(loss, params, inner_lr):
    gradients = torch.autograd.functional.jacobian(lambda *ps: loss(ps), tuple(params), create_graph=True)
    return stepped(params, gradients, inner_lr)


@right(exercises.adapt)
def _(loss, params, inner_lr):
    start = [p.clone() for p in params]
    new = start[:]
    for i, g in enumerate(torch.autograd.grad(inner_lr * loss(start), start, create_graph=True)):
        new[i] = start[i] - g
    return new


@right(exercises.adapt)
def _(loss, params, inner_lr):
    gradients = torch.autograd.grad(loss(params), params, retain_graph=True, create_graph=True)
    new = [p.clone() for p in params]
    for p, g in zip(new, gradients, strict=True):
        p -= inner_lr * g  # a copy, which is no leaf
    return new


@right(exercises.adapt)
def _(loss, params, inner_lr):
    """All in one flat vector."""
    theta = joined(params)
    (g,) = torch.autograd.grad(loss(split(theta, params)), theta, create_graph=True)
    return split(theta - inner_lr * g, params)


@right(exercises.adapt)
def _(loss, params, inner_lr):
    gradients = torch.autograd.grad(loss(params), params, create_graph=True)
    return list(torch._foreach_sub(params, torch._foreach_mul(gradients, inner_lr)))


@right(exercises.adapt)
def _(loss, params, inner_lr):
    """By backward(), with each .grad put back."""
    before = [p.grad for p in params]
    for p in params:
        p.grad = None
    loss(params).backward(create_graph=True)
    new = [p - inner_lr * p.grad for p in params]
    for p, grad in zip(params, before, strict=True):
        p.grad = grad
    return new


@wrong(exercises.adapt, "`params` came with gradients in their .grad")
def _(loss, params, inner_lr):
    """By backward(), cleaned up."""
    for p in params:
        p.grad = None
    loss(params).backward(create_graph=True)
    new = [p - inner_lr * p.grad for p in params]
    for p in params:
        p.grad = None
    return new


@right(exercises.adapt)
def _(loss, params, inner_lr):
    rate = torch.tensor(inner_lr, dtype=torch.float64)
    value = loss(tuple(params))
    loss(params)  # called again, to no end
    gradients = torch.autograd.grad([value], params, grad_outputs=[torch.ones_like(value)], create_graph=True)
    return [torch.addcmul(p, -rate, g) for p, g in zip(params, gradients, strict=True)]


def new_list(params, gradients, inner_lr):
    return [p.add(g, alpha=-inner_lr) for p, g in zip(params, gradients, strict=True)]


@right(exercises.adapt)
def adapt_with_helper(loss, params, inner_lr):
    with torch.enable_grad():
        return new_list(params, gradients_of(loss, params), inner_lr)


right(exercises.adapt)(functools.partial(adapt_with_helper))


@wrong(exercises.adapt, "the graph is cut between `params` and the gradients")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(loss, params, create_graph=False), inner_lr)


@wrong(exercises.adapt, "the graph is cut between `params` and the gradients")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(loss, leaves(params)), inner_lr)


@wrong(exercises.adapt, "the graph is cut between `params` and the gradients")
def _(loss, params, inner_lr):
    return stepped(params, torch.func.grad(loss)(constant(params)), inner_lr)


@wrong(exercises.adapt, "the graph is cut between `params` and the gradients")
def _(loss, params, inner_lr):
    return stepped(params, [g.detach() for g in torch.func.grad(loss)(params)], inner_lr)


@wrong(exercises.adapt, "the graph is cut between `params` and the gradients")
def _(loss, params, inner_lr):
    return stepped(params, torch.autograd.functional.jacobian(lambda *ps: loss(ps), tuple(params)), inner_lr)


@wrong(exercises.adapt, "retain_graph keeps how the loss was computed")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(loss, params, create_graph=False, retain_graph=True), inner_lr)


@wrong(exercises.adapt, "retain_graph keeps how the loss was computed")
def _(loss, params, inner_lr):
    return stepped(params, [g.detach() for g in gradients_of(loss, params)], inner_lr)


@wrong(exercises.adapt, "retain_graph keeps how the loss was computed")
def _(loss, params, inner_lr):
    return [p - inner_lr * g.data for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "cut off from `params`")
def _(loss, params, inner_lr):
    gradients = gradients_of(loss, params)
    with torch.no_grad():
        return stepped(params, gradients, inner_lr)


@wrong(exercises.adapt, "cut off from `params`")
def _(loss, params, inner_lr):
    return [p.detach().requires_grad_() for p in solutions.adapt(loss, params, inner_lr)]


@wrong(exercises.adapt, "cut off from `params`")
def _(loss, params, inner_lr):
    return [torch.tensor(p.tolist(), dtype=torch.float64) for p in solutions.adapt(loss, params, inner_lr)]


@wrong(exercises.adapt, "cut off from `params`")
def _(loss, params, inner_lr):
    fresh = leaves(params)
    return stepped(fresh, gradients_of(loss, fresh), inner_lr)


@wrong(exercises.adapt, "cut off from `params`")
def _(loss, params, inner_lr):
    fresh = copy.deepcopy(params)
    optimizer = torch.optim.SGD(fresh, lr=inner_lr)
    loss(fresh).backward()
    optimizer.step()
    return fresh


@wrong(exercises.adapt, "the p that the gradient is subtracted from counts as a constant")
def _(loss, params, inner_lr):
    return stepped(constant(params), gradients_of(loss, params), inner_lr)


@wrong(exercises.adapt, "the p that the gradient is subtracted from counts as a constant")
def _(loss, params, inner_lr):
    return [p.data - inner_lr * g for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "diagonal blocks are left in the meta-gradient")
def _(loss, params, inner_lr):
    new = []
    for i, p in enumerate(params):
        alone = [*constant(params[:i]), p, *constant(params[i + 1 :])]
        new.append(p - inner_lr * torch.autograd.grad(loss(alone), p, create_graph=True)[0])
    return new


@wrong(exercises.adapt, "result[1] is of first order, with a constant gradient")
def _(loss, params, inner_lr):
    first, *others = gradients_of(loss, params)
    return stepped(params, [first, *constant(others)], inner_lr)


@wrong(exercises.adapt, "result[1] is cut off from `params`")
def _(loss, params, inner_lr):
    new = solutions.adapt(loss, params, inner_lr)
    return [*new[:-1], new[-1].detach()]


@wrong(exercises.adapt, "the meta-gradient is 2 · I - 1 · αH instead")
def _(loss, params, inner_lr):
    return [2 * p - p.detach() - inner_lr * g for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "It changes `params`")
def _(loss, params, inner_lr):
    gradients = gradients_of(loss, params)
    with torch.no_grad():
        for p, g in zip(params, gradients, strict=True):
            p -= inner_lr * g
    return params


@wrong(exercises.adapt, "It changes `params`")
def _(loss, params, inner_lr):
    for p, g in zip(params, gradients_of(loss, params), strict=True):
        p.data -= inner_lr * g.data
    return params


@wrong(exercises.adapt, "It changes `params`")
def _(loss, params, inner_lr):
    for i, g in enumerate(gradients_of(loss, params)):
        params[i] = params[i] - inner_lr * g
    return params


@wrong(exercises.adapt, "It changes `params`")
def _(loss, params, inner_lr):
    optimizer = torch.optim.SGD(params, lr=inner_lr)
    loss(params).backward(create_graph=True)
    optimizer.step()
    return params


@wrong(exercises.adapt, "A function is there, where its value is meant")
def _(loss, params, inner_lr):
    return stepped(params, torch.autograd.grad(loss, params, create_graph=True), inner_lr)


@wrong(exercises.adapt, "in-place operation., at line")
def _(loss, params, inner_lr):
    for p, g in zip(params, gradients_of(loss, params), strict=True):
        p -= inner_lr * g
    return params


@wrong(exercises.adapt, "and 'NoneType', at line")
def _(loss, params, inner_lr):
    copies = [p.clone() for p in params]
    return stepped(params, torch.autograd.grad(loss(params), copies, create_graph=True, allow_unused=True), inner_lr)


@wrong(exercises.adapt, "until backward() has filled it")
def _(loss, params, inner_lr):
    loss(params)
    return [p - inner_lr * p.grad for p in params]


@wrong(exercises.adapt, "One function that returns nothing is backward()")
def _(loss, params, inner_lr):
    gradients = loss(params).backward(create_graph=True)
    return [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.adapt, "tensors that play no part in what is differentiated")
def _(loss, params, inner_lr):
    copies = [p.clone() for p in params]
    return stepped(params, torch.autograd.grad(loss(params), copies, create_graph=True), inner_lr)


@wrong(exercises.adapt, "tensors that autograd does not follow")
def _(loss, params, inner_lr):
    return stepped(params, torch.autograd.grad(loss(params), constant(params), create_graph=True), inner_lr)


@wrong(exercises.adapt, "The graph was cut before the gradient was taken")
def _(loss, params, inner_lr):
    value = loss([p.detach() for p in params])
    return stepped(params, torch.autograd.grad(value, params, create_graph=True), inner_lr)


@wrong(exercises.adapt, "a later one needs it")
def _(loss, params, inner_lr):
    value = loss(params)
    return [p - inner_lr * torch.autograd.grad(value, p)[0] for p in params]


@wrong(exercises.adapt, "loss takes one argument, a list of tensors like `params`; it got a tensor of shape [3, 3]")
def _(loss, params, inner_lr):
    return [p - inner_lr * torch.autograd.grad(loss(p), p, create_graph=True)[0] for p in params]


@wrong(exercises.adapt, "loss takes the whole list of 2 tensors; it got 1")
def _(loss, params, inner_lr):
    return [p - inner_lr * torch.autograd.grad(loss([p]), p, create_graph=True)[0] for p in params]


@wrong(exercises.adapt, "loss() takes 1 positional argument but 2 were given")
def _(loss, params, inner_lr):
    return stepped(params, torch.autograd.grad(loss(*params), params, create_graph=True), inner_lr)


@wrong(exercises.adapt, "TypeError: unsupported operand type(s) for -: 'list' and")
def _(loss, params, inner_lr):
    return params - inner_lr * torch.tensor(1.0)


@wrong(exercises.adapt, "moved by a gradient that belongs to another one")
def _(loss, params, inner_lr):
    gradients = gradients_of(loss, params)
    return stepped(params, reversed(gradients), inner_lr)


@wrong(exercises.adapt, "moved by a gradient that belongs to another one")
def _(loss, params, inner_lr):
    gradient = gradients_of(loss, params)[0]
    return [p - inner_lr * gradient for p in params]


@wrong(exercises.adapt, "moved by a gradient that belongs to another one")
def _(loss, params, inner_lr):
    for gradient in gradients_of(loss, params):
        new = [p - inner_lr * gradient for p in params]
    return new


@wrong(exercises.adapt, "sum or the mean of all tensors' gradients")
def _(loss, params, inner_lr):
    total = sum(gradients_of(loss, params))
    return [p - inner_lr * total for p in params]


@wrong(exercises.adapt, "sum or the mean of all tensors' gradients")
def _(loss, params, inner_lr):
    mean = torch.stack(gradients_of(loss, params)).mean(0)
    return [p - inner_lr * mean for p in params]


@wrong(exercises.adapt, "Each gradient is reduced by a sum or a mean")
def _(loss, params, inner_lr):
    return [p - inner_lr * g.mean() for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "Each gradient is reduced by a sum or a mean")
def _(loss, params, inner_lr):
    return [p - inner_lr * g.sum() for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "every tensor is moved by one row of it")
def _(loss, params, inner_lr):
    gradients = torch.autograd.grad(loss(params), params, create_graph=True)[0]
    return [p - inner_lr * g for p, g in zip(params, gradients, strict=False)]


@wrong(exercises.adapt, "Each gradient is reduced by a sum or a mean")
def _(loss, params, inner_lr):
    return [p - inner_lr * g.mean(0) for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "The gradient is transposed")
def _(loss, params, inner_lr):
    return [p - inner_lr * g.T for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "The loss itself is subtracted")
def _(loss, params, inner_lr):
    return [p - inner_lr * loss(params) for p in params]


@wrong(exercises.adapt, "The tensors are moved one after another")
def _(loss, params, inner_lr):
    new = list(params)
    for i in range(len(new)):
        (g,) = torch.autograd.grad(loss(new), new[i], create_graph=True)
        new[i] = new[i] - inner_lr * g
    return new


@wrong(exercises.adapt, "each result is its gradient minus 0.06 times p")
def _(loss, params, inner_lr):
    return [p - inner_lr * g for g, p in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "each result is p minus 332.9 times its gradient")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(lambda ps: loss(ps) ** 2, params), inner_lr)


@wrong(exercises.adapt, "A list of tensors cannot be multiplied as a whole")
def _(loss, params, inner_lr):
    return params - inner_lr * gradients_of(loss, params)


@wrong(exercises.adapt, "All the numbers are zero")
def _(loss, params, inner_lr):
    return [torch.zeros_like(p) for p in params]


@wrong(exercises.adapt, "two tensors of one shape, result[0] did not")
def _(loss, params, inner_lr):
    *body, head = params
    (gradient,) = torch.autograd.grad(loss(params), head, create_graph=True)
    return [*body, head - inner_lr * gradient]


@wrong(exercises.adapt, "two tensors of one shape, result[1] did not")
def _(loss, params, inner_lr):
    return [params[0] - inner_lr * gradients_of(loss, params)[0], *params[1:]]


@wrong(exercises.adapt, "five tensors of different shapes, result[1] and result[3] did not")
def _(loss, params, inner_lr):
    pairs = zip(params, gradients_of(loss, params), strict=True)
    return [p - inner_lr * g if p.dim() > 1 else p for p, g in pairs]


@wrong(exercises.adapt, "The step climbs")
def _(loss, params, inner_lr):
    return [p + inner_lr * g for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "The step climbs")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(lambda ps: -loss(ps), params), inner_lr)


@wrong(exercises.adapt, "The learning rate is missing")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(loss, params), 1)


@wrong(exercises.adapt, "each result is p plus its gradient")
def _(loss, params, inner_lr):
    return [p + g for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "each result is 0.06 times p minus 0.06 times its gradient")
def _(loss, params, inner_lr):
    return [inner_lr * (p - g) for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "each result is 0.06 times p minus its gradient")
def _(loss, params, inner_lr):
    return [p * inner_lr - g for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "each result is 0.94 times p minus 0.06 times its gradient")
def _(loss, params, inner_lr):
    return [(1 - inner_lr) * p - inner_lr * g for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "The learning rate comes in twice")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(lambda ps: inner_lr * loss(ps), params), inner_lr)


@wrong(exercises.adapt, "The gradient is divided by inner_lr")
def _(loss, params, inner_lr):
    return [p - g / inner_lr for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "The step is 0.01 times the gradient, whatever inner_lr is")
def _(loss, params, inner_lr=0.01):
    return stepped(params, gradients_of(loss, params), 0.01)


@wrong(exercises.adapt, "The step is 0.06 times the gradient, whatever inner_lr is")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(loss, params), 0.06)


@wrong(exercises.adapt, "The step is 0.5 times as long as it should be")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(lambda ps: loss(ps) / 2, params), inner_lr)


@wrong(exercises.adapt, "The step is 0.9 times as long as it should be")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(loss, params), 0.9 * inner_lr)


@wrong(exercises.adapt, "The step is divided by the number of tensors")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(loss, params), inner_lr / len(params))


@wrong(exercises.adapt, "Only the sign")
def _(loss, params, inner_lr):
    return stepped(params, [torch.sign(g) for g in gradients_of(loss, params)], inner_lr)


@wrong(exercises.adapt, "The gradient is scaled to length 1")
def _(loss, params, inner_lr):
    return [p - inner_lr * g / g.norm() for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "The gradient is scaled to length 1")
def _(loss, params, inner_lr):
    gradients = gradients_of(loss, params)
    return stepped(params, [g / joined(gradients).norm() for g in gradients], inner_lr)


@wrong(exercises.adapt, "Large gradients are cut down to a limit")
def _(loss, params, inner_lr):
    return stepped(params, [g.clamp(-10, 10) for g in gradients_of(loss, params)], inner_lr)


@wrong(exercises.adapt, "Large gradients are cut down to a limit")
def _(loss, params, inner_lr):
    gradients = gradients_of(loss, params)
    length = torch.cat([g.flatten() for g in gradients]).norm()
    return stepped(params, [g * min(1, 5 / length) for g in gradients], inner_lr)


@wrong(exercises.adapt, "It takes more than one step")
def _(loss, params, inner_lr):
    for _ in range(2):
        params = stepped(params, gradients_of(loss, params), inner_lr)
    return params


@wrong(exercises.adapt, "The change is multiplied with the parameter itself")
def _(loss, params, inner_lr):
    return [p * (1 - inner_lr * g) for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "no step was taken")
def _(loss, params, inner_lr):
    new = [p.clone() for p in params]
    for p, g in zip(new, gradients_of(loss, params), strict=True):
        p = p - inner_lr * g
    return new


@wrong(exercises.adapt, "It returns the gradients, or a multiple of them")
def _(loss, params, inner_lr):
    return gradients_of(loss, params)


@wrong(exercises.adapt, "It returns the gradients, or a multiple of them")
def _(loss, params, inner_lr):
    return [-inner_lr * g for g in gradients_of(loss, params)]


@wrong(exercises.adapt, "It leaves a gradient in the .grad")
def _(loss, params, inner_lr):
    loss(params).backward()
    return [p - inner_lr * p.grad for p in params]


@wrong(exercises.adapt, "It leaves a gradient in the .grad")
def _(loss, params, inner_lr):
    loss(params).backward(create_graph=True)
    return [p - inner_lr * p.grad for p in params]


@wrong(exercises.adapt, "and the loss is called many times")
def _(loss, params, inner_lr):
    """Gradients by differences."""
    new = []
    for i, p in enumerate(params):
        g = torch.zeros_like(p)
        for index in itertools.product(*map(range, p.shape)):
            moved = [q.detach().clone() for q in params]
            moved[i][index] += 1e-5
            up = loss(moved)
            moved[i][index] -= 2e-5
            g[index] = (up - loss(moved)) / 2e-5
        new.append(p - inner_lr * g)
    return new


@wrong(exercises.adapt, "should have the precision of the arguments")
def _(loss, params, inner_lr):
    return [p.float() for p in solutions.adapt(loss, params, inner_lr)]


@wrong(exercises.adapt, "should have the precision of the arguments")
def _(loss, params, inner_lr):
    new = []
    for p, g in zip(params, gradients_of(loss, params), strict=True):
        target = torch.zeros(p.shape)
        target += p - inner_lr * g
        new.append(target)
    return new


@wrong(exercises.adapt, "is in single precision unless it is given")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(loss, params), torch.tensor(inner_lr))


@wrong(exercises.adapt, "too many values to unpack (expected 2), at line")
def _(loss, params, inner_lr):
    w1, w2 = params
    dw1, dw2 = gradients_of(loss, params)
    return [w1 - inner_lr * dw1, w2 - inner_lr * dw2]


@wrong(exercises.adapt, "not enough values to unpack (expected 6, got 2)")
def _(loss, params, inner_lr):
    w1, b1, w2, b2, w3, b3 = params
    return stepped([w1, b1, w2, b2, w3, b3], gradients_of(loss, params), inner_lr)


@wrong(exercises.adapt, "as one list of 3 tensors, like `params`; yours has 2")
def _(loss, params, inner_lr):
    gradients = gradients_of(loss, params)
    return [params[i] - inner_lr * gradients[i] for i in range(2)]


@wrong(exercises.adapt, "yours has 1")
def _(loss, params, inner_lr):
    for p, g in zip(params, gradients_of(loss, params), strict=True):
        return [p - inner_lr * g]


@wrong(exercises.adapt, "shape '[3, 3]' is invalid")
def _(loss, params, inner_lr):
    return [(p - inner_lr * g).view(3, 3) for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "they cannot be stacked")
def _(loss, params, inner_lr):
    return list(torch.stack(params) - inner_lr * torch.stack(gradients_of(loss, params)))


@wrong(exercises.adapt, "yours is a tensor of shape [2, 3, 3]")
def _(loss, params, inner_lr):
    return torch.stack(solutions.adapt(loss, params, inner_lr))


@wrong(exercises.adapt, "yours is a tensor of shape [18]")
def _(loss, params, inner_lr):
    return joined(solutions.adapt(loss, params, inner_lr))


@wrong(exercises.adapt, "yours is a generator, which is empty after one loop over it")
def _(loss, params, inner_lr):
    return (p - inner_lr * g for p, g in zip(params, gradients_of(loss, params), strict=True))


@wrong(exercises.adapt, "yours is a dict")
def _(loss, params, inner_lr):
    return dict(enumerate(solutions.adapt(loss, params, inner_lr)))


@wrong(exercises.adapt, "yours is a tuple of 2 that has a list in it")
def _(loss, params, inner_lr):
    gradients = gradients_of(loss, params)
    return stepped(params, gradients, inner_lr), gradients


@wrong(exercises.adapt, "in yours there is a list of 3")
def _(loss, params, inner_lr):
    return [p.tolist() for p in solutions.adapt(loss, params, inner_lr)]


@wrong(exercises.adapt, "in yours there is a NumPy array of shape")
def _(loss, params, inner_lr):
    return [p.detach().numpy() for p in solutions.adapt(loss, params, inner_lr)]


@wrong(exercises.adapt, "in yours there is the text")
def _(loss, params, inner_lr):
    return [f"{p.sum().item():.4f}" for p in solutions.adapt(loss, params, inner_lr)]


@wrong(exercises.adapt, "yours is a tensor that holds one number")
def _(loss, params, inner_lr):
    return loss(solutions.adapt(loss, params, inner_lr))


@wrong(exercises.adapt, "result[0] has the shape [1, 3, 3]")
def _(loss, params, inner_lr):
    return [p[None] for p in solutions.adapt(loss, params, inner_lr)]


@wrong(exercises.adapt, "not finite")
def _(loss, params, inner_lr):
    return [p * float("nan") for p in solutions.adapt(loss, params, inner_lr)]


@wrong(exercises.adapt, "1 · I - 0.5 · αH instead")
def _(loss, params, inner_lr):
    return stepped(params, [(g + g.detach()) / 2 for g in gradients_of(loss, params)], inner_lr)


@wrong(exercises.adapt, "has a tensor in float64. It should have the precision of `params`")
def _(loss, params, inner_lr):
    doubles = [p.double() for p in params]
    return stepped(doubles, gradients_of(loss, doubles), inner_lr)


@wrong(exercises.adapt, "should have the precision of the arguments")
def _(loss, params, inner_lr):
    singles = [p.float() for p in params]
    return stepped(singles, gradients_of(loss, singles), inner_lr)


@wrong(exercises.adapt, "hardly more than its sign is left")
def _(loss, params, inner_lr):
    return stepped(params, [g / (g.abs() + 1e-8) for g in gradients_of(loss, params)], inner_lr)


@wrong(exercises.adapt, "inputs(1), where inner_lr is 0.025, each result is p minus 0.03 times its gradient")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(loss, params), round(inner_lr, 2))


@wrong(exercises.adapt, "the gradient of the loss's logarithm")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(lambda ps: torch.log(loss(ps)), params), inner_lr)


@wrong(exercises.adapt, "The step goes along H·g")
def _(loss, params, inner_lr):
    gradients = gradients_of(loss, params)
    return stepped(params, torch.autograd.grad(gradients, params, gradients, create_graph=True), inner_lr)


@wrong(exercises.adapt, "divided by the number of entries of its tensor")
def _(loss, params, inner_lr):
    return stepped(params, [g / g.numel() for g in gradients_of(loss, params)], inner_lr)


@wrong(exercises.adapt, "rounded to 5 decimal places")
def _(loss, params, inner_lr):
    return [p.round(decimals=5) for p in solutions.adapt(loss, params, inner_lr)]


@wrong(exercises.adapt, "Are your function's arguments in the right order?")
def _(params, loss, inner_lr):
    return stepped(params, gradients_of(loss, params), inner_lr)


@wrong(exercises.adapt, "A number does not know what it came from")
def _(loss, params, inner_lr):
    value = torch.tensor(loss(params).item(), requires_grad=True)
    return stepped(params, torch.autograd.grad(value, params, create_graph=True), inner_lr)


OF_SHAPES = {}  # what the answers keep by the shapes from call to call


@wrong(exercises.adapt, "It returns the result of an earlier call")
def _(loss, params, inner_lr):
    shapes = ("adapt", *(p.shape for p in params))
    if shapes not in OF_SHAPES:
        OF_SHAPES[shapes] = solutions.adapt(loss, params, inner_lr)
    return OF_SHAPES[shapes]


@wrong(exercises.adapt, "been chosen by the shapes: kept from an earlier call")
def _(loss, params, inner_lr):
    shapes = ("gradients", *(p.shape for p in params))
    if shapes not in OF_SHAPES:
        OF_SHAPES[shapes] = gradients_of(loss, params)
    return stepped(params, OF_SHAPES[shapes], inner_lr)


# hessian_vector


@right(exercises.hessian_vector)
def _(loss, params, vector):
    gradients = torch.autograd.grad(loss(params), params, create_graph=True)
    return torch.autograd.grad(gradients, params, grad_outputs=vector)


@right(exercises.hessian_vector)
def _(loss, params, vector):
    gradients = torch.autograd.grad(loss(params), params, create_graph=True)
    total = torch.zeros((), dtype=params[0].dtype)
    for g, v in zip(gradients, vector, strict=True):
        total = total + torch.einsum("i,i->", g.flatten(), v.detach().flatten())
    return torch.autograd.grad(total, params, create_graph=True)


@right(exercises.hessian_vector)
def _(loss, params, vector):
    """A differentiation for each tensor."""
    total = dot(gradients_of(loss, params), constant(vector))
    return [torch.autograd.grad(total, p, retain_graph=True)[0] for p in params]


@right(exercises.hessian_vector)
def _(loss, params, vector):
    """Everything again for each tensor."""
    return [torch.autograd.grad(dot(gradients_of(loss, params), constant(vector)), p)[0] for p in params]


@right(exercises.hessian_vector)
def _(loss, params, vector):
    """Block by block, each with two differentiations."""
    product = []
    for p in params:
        (g,) = torch.autograd.grad(loss(params), p, create_graph=True)
        push = torch.zeros_like(g, requires_grad=True)  # the trick of two backward passes
        back = torch.autograd.grad(g, params, grad_outputs=push, create_graph=True)
        product += torch.autograd.grad(back, push, grad_outputs=constant(vector))
    return product


@right(exercises.hessian_vector)
def _(loss, params, vector):
    gradients = gradients_of(loss, params)
    push = [torch.zeros_like(g, requires_grad=True) for g in gradients]
    back = torch.autograd.grad(gradients, params, grad_outputs=push, create_graph=True)
    return torch.autograd.grad(back, push, grad_outputs=constant(vector))


@right(exercises.hessian_vector)
def _(loss, params, vector):
    return torch.func.jvp(torch.func.grad(loss), (params,), (vector,))[1]


@right(exercises.hessian_vector)
def _(loss, params, vector):
    _, push = torch.func.linearize(torch.func.grad(loss), constant(params))
    return push(constant(vector))


@right(exercises.hessian_vector)
def _(loss, params, vector):
    _, pull_back = torch.func.vjp(torch.func.grad(loss), params)  # H is symmetric
    return pull_back(list(vector))[0]


@right(exercises.hessian_vector)
def _(loss, params, vector):
    return torch.func.grad(lambda ps: dot(torch.func.grad(loss)(ps), constant(vector)))(params)


@right(exercises.hessian_vector)
def _(loss, params, vector):
    return torch.func.jacrev(lambda ps: torch.func.jvp(loss, (ps,), (constant(vector),))[1])(params)


@right(exercises.hessian_vector)
def _(loss, params, vector):
    """The derivative along the line, forwards."""

    def along(t):
        return torch.func.grad(loss)([p + t * v for p, v in zip(params, constant(vector), strict=True)])

    return torch.func.jacfwd(along)(torch.zeros((), dtype=params[0].dtype))


@right(exercises.hessian_vector)
def _(loss, params, vector):
    """The derivative along the line, backwards."""
    t = torch.zeros((), dtype=params[0].dtype, requires_grad=True)
    value = loss([p + t * v for p, v in zip(params, constant(vector), strict=True)])
    (slope,) = torch.autograd.grad(value, t, create_graph=True)
    return list(torch.autograd.grad(slope, params))


@right(exercises.hessian_vector)
def _(loss, params, vector):
    _, product = torch.autograd.functional.hvp(lambda *ps: loss(ps), tuple(params), tuple(vector))
    return list(product)


@right(exercises.hessian_vector)
def _(loss, params, vector):
    return torch.autograd.functional.vhp(lambda *ps: loss(ps), tuple(params), tuple(vector))[1]


@right(exercises.hessian_vector)
def _(loss, params, vector):
    def gradients(*ps):
        return torch.autograd.grad(loss(ps), ps, create_graph=True)

    return torch.autograd.functional.jvp(gradients, tuple(params), tuple(vector))[1]


@right(exercises.hessian_vector)
def _(loss, params, vector):
    """Dual numbers."""
    with forward_ad.dual_level():
        duals = [forward_ad.make_dual(p, v) for p, v in zip(params, constant(vector), strict=True)]
        return [forward_ad.unpack_dual(g).tangent for g in torch.autograd.grad(loss(duals), duals)]


@right(exercises.hessian_vector)
def _(loss, params, vector):
    """One flat vector, on detached copies."""
    own = leaves(params)
    flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss(own), own, create_graph=True)])
    total = flat @ torch.cat([v.flatten() for v in vector]).data
    return [torch.autograd.grad(total, p, retain_graph=True)[0] for p in own]


@right(exercises.hessian_vector)
def _(loss, params, vector):
    """By backward(), on copies."""
    own = leaves(params)
    dot(gradients_of(loss, own), constant(vector)).backward()
    return [p.grad for p in own]


@right(exercises.hessian_vector)
def _(loss, params, vector):
    """H·v through a step: H·v is what the step's derivative lacks."""
    own = leaves(params)
    moved = [p - g for p, g in zip(own, gradients_of(loss, own), strict=True)]
    through = torch.autograd.grad(moved, own, grad_outputs=constant(vector))  # (I - H) v
    return [v - t for v, t in zip(constant(vector), through, strict=True)]


@wrong(exercises.hessian_vector, "The graph is cut before the second differentiation")
def _(loss, params, vector):
    return torch.autograd.grad(dot(gradients_of(loss, params, create_graph=False), vector), params)


@wrong(exercises.hessian_vector, "The graph is cut before the second differentiation")
def _(loss, params, vector):
    gradients = gradients_of(loss, params, create_graph=False, retain_graph=True)
    return torch.autograd.grad(dot(gradients, vector), params)


@wrong(exercises.hessian_vector, "The graph is cut before the second differentiation")
def _(loss, params, vector):
    return torch.autograd.grad(dot(constant(gradients_of(loss, params)), vector), params)


@wrong(
    exercises.hessian_vector,
    "gradients are numbers that no longer know how they depend on `params`, and the derivative of constants is zero",
)
def _(loss, params, vector):
    return torch.autograd.grad(dot(gradients_of(loss, params, create_graph=False), constant(vector)), params)


@wrong(exercises.hessian_vector, "does not have a grad_fn, at line")
def _(loss, params, vector):
    gradients = torch.autograd.grad(loss(params), params)
    return torch.autograd.grad(gradients, params, grad_outputs=vector)


@wrong(exercises.hessian_vector, "The graph is cut before the first differentiation")
def _(loss, params, vector):
    gradients = torch.autograd.grad(loss(constant(params)), params, create_graph=True)
    return torch.autograd.grad(dot(gradients, constant(vector)), params)


@wrong(exercises.hessian_vector, "or under no_grad. Hand `params` themselves to loss")
def _(loss, params, vector):
    with torch.no_grad():
        value = loss(params)
    return torch.autograd.grad(dot(torch.autograd.grad(value, params), constant(vector)), params)


@wrong(exercises.hessian_vector, "tensors that play no part in what is differentiated")
def _(loss, params, vector):
    return torch.autograd.grad(dot(gradients_of(loss, leaves(params)), constant(vector)), params)


@wrong(exercises.hessian_vector, "tensors that autograd does not follow")
def _(loss, params, vector):
    return torch.autograd.grad(dot(gradients_of(loss, params), constant(vector)), constant(vector))


@wrong(exercises.hessian_vector, "Only one number can be differentiated like that")
def _(loss, params, vector):
    products = [g * v.detach() for g, v in zip(gradients_of(loss, params), vector, strict=True)]
    return torch.autograd.grad(products, params)


@wrong(exercises.hessian_vector, "vector is differentiated as well")
def _(loss, params, vector):
    return torch.autograd.grad(dot(gradients_of(loss, params), vector), params)


@wrong(exercises.hessian_vector, "this is H·v plus the gradient g plus the term from differentiating v")
def _(loss, params, vector):
    return torch.autograd.grad(dot(gradients_of(loss, params), vector) + loss(params), params)


@wrong(exercises.hessian_vector, "not differentiated again")
def _(loss, params, vector):
    return [g * v for g, v in zip(gradients_of(loss, params), vector, strict=True)]


@wrong(exercises.hessian_vector, "This is the gradient of the loss")
def _(loss, params, vector):
    return list(gradients_of(loss, params))


@wrong(exercises.hessian_vector, "This is the gradient of the loss")
def _(loss, params, vector):
    own = leaves(vector)
    return torch.autograd.grad(dot(gradients_of(loss, params), own), own)


@wrong(exercises.hessian_vector, "The vector comes back as it went in")
def _(loss, params, vector):
    return vector


@wrong(exercises.hessian_vector, "H·H·v. In the meta-gradient")
def _(loss, params, vector):
    once = torch.autograd.grad(gradients_of(loss, params), params, grad_outputs=vector)
    return torch.autograd.grad(gradients_of(loss, params), params, grad_outputs=once)


@wrong(exercises.hessian_vector, "g gᵀ v")
def _(loss, params, vector):
    gradients = gradients_of(loss, params)
    return [g * dot(gradients, vector) for g in gradients]


@wrong(exercises.hessian_vector, "multiplied with the gradient, not with the vector")
def _(loss, params, vector):
    gradients = gradients_of(loss, params)
    return torch.autograd.grad(dot(gradients, gradients) / 2, params)


@wrong(exercises.hessian_vector, "this is 2 times H·g")
def _(loss, params, vector):
    gradients = gradients_of(loss, params)
    return torch.autograd.grad(dot(gradients, gradients), params)


@wrong(exercises.hessian_vector, "this is 2 times H·g")
def _(loss, params, vector):
    return torch.autograd.grad(sum((g**2).sum() for g in gradients_of(loss, params)), params)


@wrong(exercises.hessian_vector, "multiplied with `params`, not with the vector")
def _(loss, params, vector):
    return torch.autograd.grad(dot(gradients_of(loss, params), constant(params)), params)


@wrong(exercises.hessian_vector, "this is the gradient g plus H·`params`")
def _(loss, params, vector):
    return torch.autograd.grad(dot(gradients_of(loss, params), params), params)


@wrong(exercises.hessian_vector, "so it multiplies the Hessian's row sums")
def _(loss, params, vector):
    total = sum(g.sum() for g in gradients_of(loss, params))
    return [row * v for row, v in zip(torch.autograd.grad(total, params), vector, strict=True)]


@wrong(exercises.hessian_vector, "these are the Hessian's row sums")
def _(loss, params, vector):
    return torch.autograd.grad(sum(g.sum() for g in gradients_of(loss, params)), params)


@wrong(exercises.hessian_vector, "these are the Hessian's row sums")
def _(loss, params, vector):
    gradients = gradients_of(loss, params)
    return torch.autograd.grad(gradients, params, grad_outputs=[torch.ones_like(g) for g in gradients])


@wrong(exercises.hessian_vector, "so all entries of the gradient get one weight")
def _(loss, params, vector):
    total = sum(g.sum() * v.detach().sum() for g, v in zip(gradients_of(loss, params), vector, strict=True))
    return torch.autograd.grad(total, params)


@wrong(exercises.hessian_vector, "multiplied as matrices, by @")
def _(loss, params, vector):
    total = sum((g @ v.detach()).sum() for g, v in zip(gradients_of(loss, params), vector, strict=True))
    return torch.autograd.grad(total, params)


@wrong(exercises.hessian_vector, "multiplied as matrices, by @")
def _(loss, params, vector):
    total = sum((g @ v.detach().T).sum() for g, v in zip(gradients_of(loss, params), vector, strict=True))
    return torch.autograd.grad(total, params)


@wrong(exercises.hessian_vector, "multiplied as matrices, by @")
def _(loss, params, vector):
    total = sum((g.T @ v.detach()).sum() for g, v in zip(gradients_of(loss, params), vector, strict=True))
    return torch.autograd.grad(total, params)


@wrong(exercises.hessian_vector, "The vector is transposed before it meets the gradient")
def _(loss, params, vector):
    total = sum((g @ v.detach()).trace() for g, v in zip(gradients_of(loss, params), vector, strict=True))
    return torch.autograd.grad(total, params)


@wrong(exercises.hessian_vector, "Are there two loops, one inside the other")
def _(loss, params, vector):
    total = 0
    for g in gradients_of(loss, params):
        for v in constant(vector):
            total = total + (g * v).sum()
    return torch.autograd.grad(total, params)


@wrong(exercises.hessian_vector, "0.05556 times H·v with two tensors of one shape and 0.02083 times")
def _(loss, params, vector):
    flat = torch.cat([g.flatten() for g in gradients_of(loss, params)])
    return torch.autograd.grad((flat * joined(constant(vector))).mean(), params)


@wrong(exercises.hessian_vector, "This is 0.01 times H·v, and right otherwise")
def _(loss, params, vector):
    return [0.01 * h for h in solutions.hessian_vector(loss, params, vector)]


@wrong(exercises.hessian_vector, "this is minus H·v minus the term from differentiating v")
def _(loss, params, vector):
    return torch.autograd.grad(-dot(gradients_of(loss, params), vector), params)


@wrong(exercises.hessian_vector, "this is H·v plus the gradient g, where it should be")
def _(loss, params, vector):
    """The gradient at params + vector, to first order."""
    product = solutions.hessian_vector(loss, params, vector)
    return [g + h for g, h in zip(gradients_of(loss, params), product, strict=True)]


@wrong(exercises.hessian_vector, "multiplied with the vector once more")
def _(loss, params, vector):
    return [h * v for h, v in zip(solutions.hessian_vector(loss, params, vector), vector, strict=True)]


@wrong(exercises.hessian_vector, "`params` and the vector are exchanged")
def _(loss, params, vector):
    return solutions.hessian_vector(loss, leaves(vector), params)


@wrong(exercises.hessian_vector, "not multiplied with their own tensors of the vector")
def _(loss, params, vector):
    rolled = [*vector[1:], vector[0]]
    return torch.autograd.grad(dot(gradients_of(loss, params), constant(rolled)), params)


@wrong(exercises.hessian_vector, "they count 1 and 0.5 times in the result")
def _(loss, params, vector):
    total = sum((g * v.detach()).sum() / (i + 1) for i, (g, v) in enumerate(zip(gradients_of(loss, params), vector)))  # noqa: B905
    return torch.autograd.grad(total, params)


@wrong(exercises.hessian_vector, "is in single precision unless it is given")
def _(loss, params, vector):
    """In single precision inside, and double outside."""
    own = [p.detach().float().requires_grad_() for p in params]
    gradients = torch.autograd.grad(loss([p.double() for p in own]), own, create_graph=True)
    return [h.double() for h in torch.autograd.grad(dot(gradients, [v.detach().float() for v in vector]), own)]


@wrong(exercises.hessian_vector, "result[0] has the shape [9]; it should be [3, 3]")
def _(loss, params, vector):
    return [h.flatten() for h in solutions.hessian_vector(loss, params, vector)]


@wrong(exercises.hessian_vector, "this is 2774 times v, where it should be H·v alone")
def _(loss, params, vector):
    return [loss(params) * v for v in vector]


@wrong(exercises.hessian_vector, "averaged within each tensor")
def _(loss, params, vector):
    total = sum((g * v.detach()).mean() for g, v in zip(gradients_of(loss, params), vector, strict=True))
    return torch.autograd.grad(total, params)


@wrong(exercises.hessian_vector, "The vector is divided by its length first")
def _(loss, params, vector):
    length = joined(vector).norm().detach()
    return torch.autograd.grad(dot(gradients_of(loss, params), [v.detach() / length for v in vector]), params)


@wrong(exercises.hessian_vector, "Only the Hessian's diagonal is used")
def _(loss, params, vector):
    product = []
    for g, p, v in zip(gradients_of(loss, params), params, vector, strict=True):
        second = [torch.autograd.grad(g.flatten()[i], p, retain_graph=True)[0].flatten()[i] for i in range(p.numel())]
        product.append(torch.stack(second).view_as(p) * v)
    return product


@wrong(exercises.hessian_vector, "only the blocks on the Hessian's diagonal")
def _(loss, params, vector):
    product = []
    for p, v in zip(params, vector, strict=True):
        (g,) = torch.autograd.grad(loss(params), p, create_graph=True)
        product += torch.autograd.grad(g, p, grad_outputs=v)
    return product


@wrong(exercises.hessian_vector, "the result depends on vector[1] alone")
def _(loss, params, vector):
    for g, v in zip(gradients_of(loss, params), vector, strict=True):
        total = (g * v.detach()).sum()
    return torch.autograd.grad(total, params)


@wrong(exercises.hessian_vector, "the result depends on vector[0] alone")
def _(loss, params, vector):
    g, v = gradients_of(loss, params)[0], vector[0].detach()
    return torch.autograd.grad((g * v).sum(), params)


@wrong(exercises.hessian_vector, "not multiplied with their own tensors of the vector")
def _(loss, params, vector):
    return torch.autograd.grad(gradients_of(loss, params), params, grad_outputs=vector[::-1])


@wrong(exercises.hessian_vector, "its tensors stand in the opposite order")
def _(loss, params, vector):
    product = []
    for h in solutions.hessian_vector(loss, params, vector):
        product.insert(0, h)
    return product


@wrong(exercises.hessian_vector, "It returns one number")
def _(loss, params, vector):
    return dot(gradients_of(loss, params), vector)


@wrong(exercises.hessian_vector, "It returns one number")
def _(loss, params, vector):
    return dot(solutions.hessian_vector(loss, params, vector), vector)


@wrong(exercises.hessian_vector, "this is minus H·v")
def _(loss, params, vector):
    return [-h for h in solutions.hessian_vector(loss, params, vector)]


@wrong(exercises.hessian_vector, "twice as large as it should be")
def _(loss, params, vector):
    return [2 * h for h in solutions.hessian_vector(loss, params, vector)]


@wrong(exercises.hessian_vector, "This is 0.5 times H·v, and right otherwise")
def _(loss, params, vector):
    return [h / 2 for h in solutions.hessian_vector(loss, params, vector)]


@wrong(exercises.hessian_vector, "The product is divided by the number of tensors")
def _(loss, params, vector):
    total = torch.stack([(g * v.detach()).sum() for g, v in zip(gradients_of(loss, params), vector, strict=True)])
    return torch.autograd.grad(total.mean(), params)


@wrong(exercises.hessian_vector, "this is v minus 0.01 times H·v, a whole step of the recursion")
def _(loss, params, vector):
    return [v - 0.01 * h for v, h in zip(vector, solutions.hessian_vector(loss, params, vector), strict=True)]


@wrong(exercises.hessian_vector, "this is v minus H·v, a whole step of the recursion")
def _(loss, params, vector):
    return [v - h for v, h in zip(vector, solutions.hessian_vector(loss, params, vector), strict=True)]


@wrong(exercises.hessian_vector, "this is H·v minus the gradient g, where it should be")
def _(loss, params, vector):
    product = solutions.hessian_vector(loss, params, vector)
    return [h - g for h, g in zip(product, gradients_of(loss, params), strict=True)]


def gradients_at(loss, params, vector, step):
    return gradients_of(loss, leaves([p + step * v for p, v in zip(params, vector, strict=True)]))


def differences(loss, params, vector, up, down):
    pairs = zip(gradients_at(loss, params, vector, up), gradients_at(loss, params, vector, down), strict=True)
    return [a - b for a, b in pairs]


@wrong(exercises.hessian_vector, "only approximately: the relative error is 5e-07, as with the difference")
def _(loss, params, vector):
    return [d / 2e-4 for d in differences(loss, params, vector, 1e-4, -1e-4)]


@wrong(exercises.hessian_vector, "only approximately: the relative error is 8e-04, as with the difference")
def _(loss, params, vector):
    return [d / 1e-4 for d in differences(loss, params, vector, 1e-4, 0)]


@wrong(exercises.hessian_vector, "only approximately: the relative error is 8e-04, as with the difference")
def _(loss, params, vector):
    ahead = torch.func.grad(loss)([p + 1e-4 * v for p, v in zip(params, vector, strict=True)])
    return [(a - b) / 1e-4 for a, b in zip(ahead, torch.func.grad(loss)(params), strict=True)]


@wrong(exercises.hessian_vector, "H·v only if the loss is quadratic")
def _(loss, params, vector):
    return differences(loss, params, vector, 1, 0)


@wrong(exercises.hessian_vector, "It is the gradient at another point")
def _(loss, params, vector):
    return gradients_at(loss, params, vector, 1)


@wrong(exercises.hessian_vector, "1e-05 times H·v, and not exactly")
def _(loss, params, vector):
    return differences(loss, params, vector, 1e-5, 0)


@wrong(exercises.hessian_vector, "2 times H·v, and not exactly")
def _(loss, params, vector):
    return [d / 1e-4 for d in differences(loss, params, vector, 1e-4, -1e-4)]


@wrong(exercises.hessian_vector, "It returns one number")
def _(loss, params, vector):
    up = loss([p + 1e-3 * v for p, v in zip(params, vector, strict=True)])
    return (up - loss(params)) / 1e-3


@wrong(exercises.hessian_vector, "should have the precision of the arguments")
def _(loss, params, vector):
    return [h.float() for h in solutions.hessian_vector(loss, params, vector)]


@wrong(exercises.hessian_vector, "it costs as much as the whole Hessian")
def _(loss, params, vector):
    flat = torch.cat([g.flatten() for g in gradients_of(loss, params)])
    v = torch.cat([v.flatten() for v in vector])
    product = sum(
        v[i] * torch.cat([row.flatten() for row in torch.autograd.grad(g, params, retain_graph=True)])
        for i, g in enumerate(flat)
    )
    return split(product, params)


def by_blocks(hessian, params, vector):
    """Of blocks [*p.shape, *q.shape]."""
    return [
        sum(torch.tensordot(hessian[i][j], v, dims=v.dim()) for j, v in enumerate(vector)) for i in range(len(params))
    ]


@wrong(exercises.hessian_vector, "it costs as much as the whole Hessian")
def _(loss, params, vector):
    hessian = torch.autograd.functional.hessian(lambda *ps: loss(ps), tuple(params))
    return by_blocks(hessian, params, vector)


@wrong(exercises.hessian_vector, "it costs as much as the whole Hessian")
def _(loss, params, vector):
    hessian = torch.func.jacrev(torch.func.grad(loss))(params)  # batched: one call, as many rows
    return by_blocks(hessian, params, vector)


@wrong(exercises.hessian_vector, "it costs as much as the whole Hessian")
def _(loss, params, vector):
    return by_blocks(torch.func.hessian(loss)(params), params, vector)


@wrong(exercises.hessian_vector, "it costs as much as the whole Hessian")
def _(loss, params, vector):
    theta = joined(params).detach()
    hessian = torch.func.hessian(lambda t: loss(split(t, params)))(theta)
    return split(torch.einsum("ij,j->i", hessian, joined(vector)), params)


@wrong(exercises.hessian_vector, "It leaves a gradient in the .grad")
def _(loss, params, vector):
    dot(gradients_of(loss, params), constant(vector)).backward()
    return [p.grad for p in params]


@wrong(exercises.hessian_vector, "It changes `params` or the vector")
def _(loss, params, vector):
    product = solutions.hessian_vector(loss, params, vector)
    for p, v in zip(params, vector, strict=True):
        p.data += 1e-3 * v
    return product


@wrong(exercises.hessian_vector, "It changes `params` or the vector")
def _(loss, params, vector):
    for i, h in enumerate(solutions.hessian_vector(loss, params, vector)):
        vector[i] = h
    return vector


@wrong(exercises.hessian_vector, "too many values to unpack (expected 2), at line")
def _(loss, params, vector):
    g1, g2 = gradients_of(loss, params)
    v1, v2 = constant(vector)
    return torch.autograd.grad((g1 * v1).sum() + (g2 * v2).sum(), params)


@wrong(exercises.hessian_vector, "With 3 tensors, the result depends on vector[0] and vector[1] alone")
def _(loss, params, vector):
    g, v = gradients_of(loss, params), constant(vector)
    return torch.autograd.grad((g[0] * v[0]).sum() + (g[1] * v[1]).sum(), params)


@wrong(exercises.hessian_vector, "as one list of 3 tensors, like `params`; yours has 2")
def _(loss, params, vector):
    total = dot(gradients_of(loss, params), constant(vector))
    return torch.autograd.grad(total, params[:2])


@wrong(exercises.hessian_vector, "'Tensor' object has no attribute")
def _(loss, params, vector):
    return torch.autograd.grad(dot(gradients_of(loss, params), constant(vector)).value, params)


@wrong(exercises.hessian_vector, "1D tensors expected")
def _(loss, params, vector):
    total = sum(torch.dot(g, v) for g, v in zip(gradients_of(loss, params), vector, strict=True))
    return torch.autograd.grad(total, params)


@wrong(exercises.hessian_vector, "item() and float() make one of a tensor")
def _(loss, params, vector):
    total = dot(gradients_of(loss, params), vector).item()
    return torch.autograd.grad(total, params)


@wrong(exercises.hessian_vector, "loss() takes 1 positional argument but 2 were given")
def _(loss, params, vector):
    return torch.autograd.functional.hvp(loss, tuple(params), tuple(vector))[1]


@wrong(exercises.hessian_vector, "yours is a tuple of 2 that has a list in it")
def _(loss, params, vector):
    return torch.func.jvp(torch.func.grad(loss), (params,), (vector,))


@wrong(exercises.hessian_vector, "yours is a tuple of 1 that has a list in it")
def _(loss, params, vector):
    return torch.func.vjp(torch.func.grad(loss), params)[1](list(vector))


@wrong(exercises.hessian_vector, "yours is a tensor of shape [18]")
def _(loss, params, vector):
    return torch.cat([h.flatten() for h in solutions.hessian_vector(loss, params, vector)])


@wrong(exercises.hessian_vector, "yours is a map, which is empty after one loop")
def _(loss, params, vector):
    return map(torch.clone, solutions.hessian_vector(loss, params, vector))


@wrong(exercises.hessian_vector, "in yours there is a NumPy array of shape")
def _(loss, params, vector):
    return [h.numpy() for h in solutions.hessian_vector(loss, params, vector)]


@wrong(exercises.hessian_vector, "All the numbers are zero")
def _(loss, params, vector):
    return [torch.zeros_like(p) for p in params]


@wrong(exercises.hessian_vector, "not finite")
def _(loss, params, vector):
    return [h / 0 for h in solutions.hessian_vector(loss, params, vector)]


@wrong(exercises.hessian_vector, "`params` came with gradients in their .grad")
def _(loss, params, vector):
    gradients = gradients_of(loss, params)
    for p in params:
        p.grad = None
    dot(gradients, constant(vector)).backward()
    product = [p.grad.clone() for p in params]
    for p in params:
        p.grad = None
    return product


@wrong(exercises.hessian_vector, "has a tensor in float64. It should have the precision of `params`")
def _(loss, params, vector):
    return [h.double() for h in solutions.hessian_vector(loss, params, vector)]


@wrong(exercises.hessian_vector, "It returns the result of an earlier call")
def _(loss, params, vector):
    shapes = ("product", *(p.shape for p in params))
    if shapes not in OF_SHAPES:
        OF_SHAPES[shapes] = solutions.hessian_vector(loss, params, vector)
    return OF_SHAPES[shapes]


@wrong(exercises.hessian_vector, "been chosen by the shapes: kept from an earlier call")
def _(loss, params, vector):
    vector = OF_SHAPES.setdefault(("vector", *(p.shape for p in params)), constant(vector))
    return solutions.hessian_vector(loss, params, vector)


@wrong(exercises.hessian_vector, "It differentiates once too often")
def _(loss, params, vector):
    product = torch.autograd.grad(gradients_of(loss, params), params, vector, create_graph=True)
    return torch.autograd.grad(dot(product, constant(vector)), params)


@wrong(exercises.hessian_vector, "This is the Hessian at another point")
def _(loss, params, vector):
    there = leaves([p + v for p, v in zip(params, vector, strict=True)])
    return solutions.hessian_vector(loss, there, vector)


@wrong(exercises.hessian_vector, "The square of the loss is differentiated")
def _(loss, params, vector):
    return solutions.hessian_vector(lambda ps: loss(ps) ** 2, params, vector)


@wrong(exercises.hessian_vector, "The logarithm of the loss is differentiated")
def _(loss, params, vector):
    return solutions.hessian_vector(lambda ps: loss(ps).log(), params, vector)


@wrong(exercises.hessian_vector, "The signs are lost")
def _(loss, params, vector):
    return [h.abs() for h in solutions.hessian_vector(loss, params, vector)]


@wrong(exercises.hessian_vector, "as for damping")
def _(loss, params, vector):
    return [h + 0.01 * v for h, v in zip(solutions.hessian_vector(loss, params, vector), vector, strict=True)]


@wrong(exercises.hessian_vector, "It solves H·x = v")
def _(loss, params, vector):
    hessian = torch.func.hessian(lambda theta: loss(split(theta, params)))(joined(constant(params)))
    return split(torch.linalg.solve(hessian, joined(constant(vector))), params)


@wrong(exercises.hessian_vector, "rounded to 4 decimal places")
def _(loss, params, vector):
    return [h.round(decimals=4) for h in solutions.hessian_vector(loss, params, vector)]


@wrong(exercises.hessian_vector, "Are your function's arguments in the right order?")
def _(params, loss, vector):
    return solutions.hessian_vector(loss, params, vector)


@wrong(exercises.hessian_vector, "In which of the two differentiations does the vector belong?")
def _(loss, params, vector):
    return torch.autograd.grad(gradients_of(loss, params, grad_outputs=vector), params)


# reptile_update


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    new = []
    for i, p in enumerate(params):
        change = sum(task[i] - p for task in adapted) / len(adapted)
        new.append(p + outer_lr * change)
    return new


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    new = [p.clone() for p in params]
    for task in adapted:
        for p, start, end in zip(new, params, task, strict=True):
            p += outer_lr / len(adapted) * (end - start)
    return tuple(new)


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    return [torch.lerp(p, torch.stack([task[i] for task in adapted]).mean(0), outer_lr) for i, p in enumerate(params)]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    return [(1 - outer_lr) * p + outer_lr * m for p, m in zip(params, mean_of(adapted), strict=True)]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """Descent along the pseudo-gradient."""
    pseudo = [p - m for p, m in zip(params, mean_of(adapted), strict=True)]
    return [p - outer_lr * g for p, g in zip(params, pseudo, strict=True)]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """With numpy."""
    means = [np.mean([end.numpy() for end in ends], axis=0) for ends in zip(*adapted, strict=True)]
    return [torch.from_numpy(p.numpy() + outer_lr * (m - p.numpy())) for p, m in zip(params, means, strict=True)]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """In double precision, whatever the arguments have."""
    new = []
    for p, *ends in zip(params, *adapted, strict=True):
        total = torch.zeros(p.shape, dtype=torch.float64)
        for end in ends:
            total += end
        new.append(p + outer_lr * (total / len(ends) - p))
    return new


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """All in one flat vector."""
    theta = joined(params)
    ends = torch.stack([joined(task) for task in adapted])
    weights = torch.full((len(adapted),), outer_lr / len(adapted), dtype=theta.dtype)
    return split(theta + torch.einsum("t,tn->n", weights, ends - theta), params)


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    totals = functools.reduce(lambda a, b: [x + y for x, y in zip(a, b, strict=True)], adapted)
    return [p.add(total / len(adapted) - p, alpha=outer_lr) for p, total in zip(params, totals, strict=True)]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """The mean of the tasks' own new starts."""
    starts = [[p + outer_lr * (end - p) for p, end in zip(params, task, strict=True)] for task in adapted]
    return mean_of(starts)


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    with torch.no_grad():
        return list(map(lambda p, *ends: p + outer_lr * (sum(ends) / len(ends) - p), params, *adapted))


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """A running mean."""
    means = [torch.zeros_like(p) for p in params]
    for count, task in enumerate(adapted, start=1):
        means = [m + (end - m) / count for m, end in zip(means, task, strict=True)]
    return [torch.nn.Parameter(p + outer_lr * (m - p)) for p, m in zip(params, means, strict=True)]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    """An optimizer on copies."""
    own = [torch.nn.Parameter(p.clone()) for p in params]
    for p, m in zip(own, mean_of(adapted), strict=True):
        p.grad = p.detach() - m
    torch.optim.SGD(own, lr=outer_lr).step()
    return [p.detach() for p in own]


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    new = []
    for p, *ends in zip(params, *adapted, strict=True):
        differences = torch.stack([end - p for end in ends], dim=-1)
        new += [p + torch.tensor(outer_lr) * differences.mean(-1)]
    return new


@right(exercises.reptile_update)
def _(params, adapted, outer_lr):
    rate = torch.tensor(outer_lr)  # a 0-d tensor of single precision does not change the result's dtype
    tasks = range(len(adapted))
    return [p + outer_lr * (sum(adapted[t][i] for t in tasks) / len(tasks) - p) for i, p in enumerate(params) if rate]


@wrong(exercises.reptile_update, "moves away from where the tasks ended")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (p - m) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "The differences are added up over the tasks, not averaged")
def _(params, adapted, outer_lr):
    return [p + outer_lr * sum(task[i] - p for task in adapted) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "The differences are added up over the tasks, not averaged")
def _(params, adapted, outer_lr):
    new = [p.clone() for p in params]
    for task in adapted:
        for i, end in enumerate(task):
            new[i] = new[i] + outer_lr * (end - params[i])
    return new


@wrong(exercises.reptile_update, "The ends are added up over the tasks, and the sum takes the place of their mean")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (sum(task[i] for task in adapted) - p) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "jumps to the mean of the ends")
def _(params, adapted, outer_lr):
    return mean_of(adapted)


@wrong(exercises.reptile_update, "Only the last task counts")
def _(params, adapted, outer_lr):
    for task in adapted:
        new = [p + outer_lr * (end - p) for p, end in zip(params, task, strict=True)]
    return new


@wrong(exercises.reptile_update, "Only the first task counts")
def _(params, adapted, outer_lr):
    for task in adapted:
        return [p + outer_lr * (end - p) for p, end in zip(params, task, strict=True)]


@wrong(exercises.reptile_update, "Only the first task counts")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (end - p) for p, end in zip(params, adapted[0], strict=True)]


@wrong(exercises.reptile_update, "one after another")
def _(params, adapted, outer_lr):
    for task in adapted:
        params = [p + outer_lr * (end - p) for p, end in zip(params, task, strict=True)]
    return params


@wrong(exercises.reptile_update, "one after another")
def _(params, adapted, outer_lr):
    for task in adapted:
        params = [p + outer_lr / len(adapted) * (end - p) for p, end in zip(params, task, strict=True)]
    return params


@wrong(exercises.reptile_update, "the weights 0.0312, 0.0312, 0.0625, 0.125 in")
def _(params, adapted, outer_lr):
    means = adapted[0]
    for task in adapted[1:]:
        means = [(m + end) / 2 for m, end in zip(means, task, strict=True)]
    return [p + outer_lr * (m - p) for p, m in zip(params, means, strict=True)]


@wrong(exercises.reptile_update, "the weights 0, 0.0625, 0.0625, 0.0625 in the result")
def _(params, adapted, outer_lr):
    total = [torch.zeros_like(p) for p in params]
    for task in adapted[1:]:
        total = [t + end - p for t, end, p in zip(total, task, params, strict=True)]
    return [p + outer_lr * t / len(adapted) for p, t in zip(params, total, strict=True)]


@wrong(exercises.reptile_update, "the weights 0.0833, 0.0833, 0.0833, 0 in the result")
def _(params, adapted, outer_lr):
    return solutions.reptile_update(params, adapted[:-1], outer_lr)


@wrong(exercises.reptile_update, "the weights 0.125, 0, 0, 0.125 in the result")
def _(params, adapted, outer_lr):
    return [p + outer_lr * ((a + b) / 2 - p) for p, a, b in zip(params, adapted[0], adapted[-1], strict=True)]


@wrong(exercises.reptile_update, "a part of the mean itself")
def _(params, adapted, outer_lr):
    return [p + outer_lr * m for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "Is a pair of parentheses missing?")
def _(params, adapted, outer_lr):
    return [p + outer_lr * m - p for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "weights are swapped")
def _(params, adapted, outer_lr):
    return [outer_lr * p + (1 - outer_lr) * m for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "weights are swapped")
def _(params, adapted, outer_lr):
    return [torch.lerp(m, p, outer_lr) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "returns the change alone")
def _(params, adapted, outer_lr):
    return [outer_lr * (m - p) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "It returns `params` minus the mean of the ends")
def _(params, adapted, outer_lr):
    return [p - m for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "which is the whole way")
def _(params, adapted, outer_lr):
    return [m - p for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "the result is 0.25 times `params` minus 0.25 times the mean of the ends")
def _(params, adapted, outer_lr):
    return [outer_lr * (p - m) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "the result is 0.75 times `params` plus the mean of the ends")
def _(params, adapted, outer_lr):
    return [(1 - outer_lr) * p + m for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "the result is `params` minus 0.25 times the mean of the ends")
def _(params, adapted, outer_lr):
    return [p - outer_lr * m for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "added up over the tasks, not averaged, and they are subtracted")
def _(params, adapted, outer_lr):
    """Summed, and away from the ends."""
    return [p - outer_lr * sum(task[i] - p for task in adapted) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "outer_lr comes in twice")
def _(params, adapted, outer_lr):
    changes = [outer_lr * (m - p) for p, m in zip(params, mean_of(adapted), strict=True)]
    return [p + outer_lr * change for p, change in zip(params, changes, strict=True)]


@wrong(exercises.reptile_update, "It divides by the number of tasks twice")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (m - p) / len(adapted) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "The mean of the ends is divided by the number of tasks once more")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (m / len(adapted) - p) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "divided by the number of tasks minus 1")
def _(params, adapted, outer_lr):
    return [p + outer_lr * sum(task[i] - p for task in adapted) / (len(adapted) - 1) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "The start is counted as if it were one more end")
def _(params, adapted, outer_lr):
    means = mean_of([params, *adapted])
    return [p + outer_lr * (m - p) for p, m in zip(params, means, strict=True)]


@wrong(exercises.reptile_update, "divides by the number of tensors")
def _(params, adapted, outer_lr):
    return [p + outer_lr * sum(task[i] - p for task in adapted) / len(params) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "is divided by 5, however many tasks there are")
def _(params, adapted, outer_lr):
    return [p + outer_lr * sum(task[i] - p for task in adapted) / 5 for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "is divided by 3, however many tasks there are")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (sum(task[i] for task in adapted) / 3 - p) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "the weights 0.0833, 0.0833, 0.0833, 0 in the result")
def _(params, adapted, outer_lr):
    return solutions.reptile_update(params, adapted[:3], outer_lr)


@wrong(exercises.reptile_update, "The start moves 0.3 of the way to the mean, whatever outer_lr is")
def _(params, adapted, outer_lr):
    return solutions.reptile_update(params, adapted, 0.3)


@wrong(exercises.reptile_update, "The start moves 0.25 of the way to the mean, whatever outer_lr is")
def _(params, adapted, outer_lr):
    return solutions.reptile_update(params, adapted, 0.25)


@wrong(exercises.reptile_update, "The start moves 0.9 times as far as it should")
def _(params, adapted, outer_lr):
    return solutions.reptile_update(params, adapted, 0.9 * outer_lr)


@wrong(exercises.reptile_update, "no step was taken")
def _(params, adapted, outer_lr):
    for p, m in zip(params, mean_of(adapted), strict=True):
        p = p + outer_lr * (m - p)
    return params


@wrong(exercises.reptile_update, "towards the median of the ends")
def _(params, adapted, outer_lr):
    return [
        p + outer_lr * (torch.stack(ends).median(dim=0).values - p)
        for p, ends in zip(params, zip(*adapted, strict=True), strict=True)
    ]


@wrong(exercises.reptile_update, "towards the median of the ends")
def _(params, adapted, outer_lr):
    medians = [torch.from_numpy(np.median(torch.stack(ends), axis=0)) for ends in zip(*adapted, strict=True)]
    return [p + outer_lr * (m - p) for p, m in zip(params, medians, strict=True)]


@wrong(exercises.reptile_update, "The mean is taken over entries of a tensor too")
def _(params, adapted, outer_lr):
    return [
        p + outer_lr * (torch.stack(ends).mean() - p)
        for p, ends in zip(params, zip(*adapted, strict=True), strict=True)
    ]


@wrong(exercises.reptile_update, "The mean is taken over entries of a tensor too")
def _(params, adapted, outer_lr):
    ends = [torch.stack(of_p) for of_p in zip(*adapted, strict=True)]
    return [p + outer_lr * (e.mean(dim=(0, 1)) - p) for p, e in zip(params, ends, strict=True)]


@wrong(exercises.reptile_update, "A tensor moves towards the ends of another one")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (sum(task[0] for task in adapted) / len(adapted) - p) for p in params]


@wrong(exercises.reptile_update, "A tensor moves towards the ends of another one")
def _(params, adapted, outer_lr):
    for mean in mean_of(adapted):
        new = [p + outer_lr * (mean - p) for p in params]
    return new


@wrong(exercises.reptile_update, "The mean is taken over the tensors of one task")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (sum(adapted[i]) / len(params) - p) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "The mean is taken over all tensors of all tasks")
def _(params, adapted, outer_lr):
    everything = [end for task in adapted for end in task]
    mean = sum(everything) / len(everything)
    return [p + outer_lr * (mean - p) for p in params]


@wrong(exercises.reptile_update, "Only some of the tensors move: result[1] did not")
def _(params, adapted, outer_lr):
    new = list(params)
    for i in range(len(params) - 1):
        new[i] = params[i] + outer_lr * (sum(task[i] for task in adapted) / len(adapted) - params[i])
    return new


@wrong(exercises.reptile_update, "their ends have the weights 0, 0.25, 0, 0 in the result")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (end - p) for p, end in zip(params, adapted[1], strict=True)]


@wrong(exercises.reptile_update, "the result is 0.75 times `params`. It should be")
def _(params, adapted, outer_lr):
    return [(1 - outer_lr) * p for p in params]


@wrong(exercises.reptile_update, "plus 0.3333 times the mean of the ends")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (sum(task[i] for task in adapted) / len(p) - p) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "yours is a list of 4 that has a list in it")
def _(params, adapted, outer_lr):
    return [[p + outer_lr * (end - p) for p, end in zip(params, task, strict=True)] for task in adapted]


@wrong(exercises.reptile_update, "It changes `params`, or the tasks' ends, in place")
def _(params, adapted, outer_lr):
    adapted.append(params)
    return solutions.reptile_update(params, adapted, outer_lr)


@wrong(exercises.reptile_update, "It changes `params`, or the tasks' ends, in place")
def _(params, adapted, outer_lr):
    for p, m in zip(params, mean_of(adapted), strict=True):
        p += outer_lr * (m - p)
    return params


@wrong(exercises.reptile_update, "It changes `params`, or the tasks' ends, in place")
def _(params, adapted, outer_lr):
    for task in adapted:
        for p, end in zip(params, task, strict=True):
            p.lerp_(end, outer_lr)
    return params


@wrong(exercises.reptile_update, "It changes `params`, or the tasks' ends, in place")
def _(params, adapted, outer_lr):
    totals = adapted[0]
    for task in adapted[1:]:
        for total, end in zip(totals, task, strict=True):
            total += end
    return [p + outer_lr * (total / len(adapted) - p) for p, total in zip(params, totals, strict=True)]


@wrong(exercises.reptile_update, "should have the precision of the arguments")
def _(params, adapted, outer_lr):
    new = []
    for i, p in enumerate(params):
        mean = torch.zeros(p.shape)
        for task in adapted:
            mean += task[i] / len(adapted)
        new.append(p + outer_lr * (mean - p))
    return new


@wrong(exercises.reptile_update, "result[0] has the shape [4, 3, 3]; it should be [3, 3]")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (torch.stack(ends) - p) for p, ends in zip(params, zip(*adapted, strict=True), strict=True)]


@wrong(exercises.reptile_update, "yours has 4, which is too many")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (end - p) for task in adapted for p, end in [(params[0], task[0])]]


@wrong(exercises.reptile_update, "as one list of 3 tensors, like `params`; yours has 2")
def _(params, adapted, outer_lr):
    means = mean_of(adapted)
    return [params[i] + outer_lr * (means[i] - params[i]) for i in range(2)]


@wrong(exercises.reptile_update, "unsupported operand type(s) for -: 'list' and 'Tensor'")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (end - p) for p, end in zip(params, adapted, strict=False)]


@wrong(exercises.reptile_update, "list index out of range, at line")
def _(params, adapted, outer_lr):
    tasks = range(len(adapted))
    return [p + outer_lr * (sum(adapted[i][t] for t in tasks) / len(tasks) - p) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "but got list")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (m - p) for p, m in zip(params, torch.stack(adapted).mean(0), strict=True)]


@wrong(exercises.reptile_update, "they cannot be stacked")
def _(params, adapted, outer_lr):
    start = torch.stack(params)
    ends = torch.stack([torch.stack(task) for task in adapted])
    return list(start + outer_lr * (ends.mean(0) - start))


@wrong(exercises.reptile_update, "is each sum or mean taken over the right axis?")
def _(params, adapted, outer_lr):
    ends = zip(*adapted, strict=True)
    return [p + outer_lr * (torch.stack(of_p).mean(dim=1) - p) for p, of_p in zip(params, ends, strict=True)]


@wrong(exercises.reptile_update, "in yours there is a list of 3")
def _(params, adapted, outer_lr):
    return [new.tolist() for new in solutions.reptile_update(params, adapted, outer_lr)]


@wrong(exercises.reptile_update, "in yours there is a NumPy array of shape")
def _(params, adapted, outer_lr):
    return [new.numpy() for new in solutions.reptile_update(params, adapted, outer_lr)]


@wrong(exercises.reptile_update, "in yours there is the number")
def _(params, adapted, outer_lr):
    return [new.mean().item() for new in solutions.reptile_update(params, adapted, outer_lr)]


@wrong(exercises.reptile_update, "yours is a generator, which is empty after one loop over it")
def _(params, adapted, outer_lr):
    return (p + outer_lr * (m - p) for p, m in zip(params, mean_of(adapted), strict=True))


@wrong(exercises.reptile_update, "yours is a dict")
def _(params, adapted, outer_lr):
    return {f"w{i}": new for i, new in enumerate(solutions.reptile_update(params, adapted, outer_lr))}


@wrong(exercises.reptile_update, "yours is a tensor of shape [18]")
def _(params, adapted, outer_lr):
    return joined(solutions.reptile_update(params, adapted, outer_lr))


@wrong(exercises.reptile_update, "not finite")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (m - p) / 0 for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "It returns the result of an earlier call")
def _(params, adapted, outer_lr):
    shapes = ("update", *(p.shape for p in params))
    if shapes not in OF_SHAPES:
        OF_SHAPES[shapes] = solutions.reptile_update(params, adapted, outer_lr)
    return OF_SHAPES[shapes]


@wrong(exercises.reptile_update, "divided by the number of tasks minus 1")
def _(params, adapted, outer_lr):
    tasks = len(adapted)
    return [p + outer_lr * (m * tasks / (tasks - 1) - p) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "The way to the mean is divided by its length")
def _(params, adapted, outer_lr):
    ways = [m - p for p, m in zip(params, mean_of(adapted), strict=True)]
    return [p + outer_lr * way / joined(ways).norm() for p, way in zip(params, ways, strict=True)]


@wrong(exercises.reptile_update, "Only the sign of the difference is used")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (m - p).sign() for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "Large differences are cut down to 1")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (m - p).clamp(-1, 1) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "towards the largest of the ends")
def _(params, adapted, outer_lr):
    ends = zip(*adapted, strict=True)
    return [p + outer_lr * (torch.stack(of_p).amax(0) - p) for p, of_p in zip(params, ends, strict=True)]


@wrong(exercises.reptile_update, "divided with //")
def _(params, adapted, outer_lr):
    tasks = len(adapted)
    return [p + outer_lr * (sum(task[i] for task in adapted) // tasks - p) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "The lengths of the differences are averaged")
def _(params, adapted, outer_lr):
    return [p + outer_lr * sum((t[i] - p).norm() for t in adapted) / len(adapted) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "The sum over the tasks is not set back to zero for each tensor")
def _(params, adapted, outer_lr):
    new, total = [], 0
    for i, p in enumerate(params):
        for task in adapted:
            total = total + task[i]
        new.append(p + outer_lr * (total / len(adapted) - p))
    return new


@wrong(exercises.reptile_update, "moves towards the same number, a mean over everything")
def _(params, adapted, outer_lr):
    means = [sum(end.mean() for end in task) / len(task) for task in adapted]
    return [p + outer_lr * (sum(means) / len(means) - p) for p in params]


@wrong(exercises.reptile_update, "rounded to 3 decimal places")
def _(params, adapted, outer_lr):
    return [p.round(decimals=3) for p in solutions.reptile_update(params, adapted, outer_lr)]


@wrong(exercises.reptile_update, "It returns 8 tensors, as many as all 4 tasks have together")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (end - p) for task in adapted for p, end in zip(params, task, strict=True)]


@wrong(exercises.reptile_update, "so they do not fit into one array")
def _(params, adapted, outer_lr):
    means = np.mean(adapted, axis=0)
    return [p + outer_lr * (torch.tensor(m) - p) for p, m in zip(params, means, strict=True)]


@wrong(exercises.reptile_update, "The arguments come in the order params, adapted, outer_lr")
def _(adapted, params, outer_lr):
    return solutions.reptile_update(params, adapted, outer_lr)
