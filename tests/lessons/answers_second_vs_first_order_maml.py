"""Answers to the exercises of the orders lesson."""

import torch
from answers import right, wrong

from metalab.lessons.second_vs_first_order_maml import exercises, solutions

# adapt


@right(exercises.adapt)
def _(loss, params, inner_lr):
    value = loss(params)
    return [p.sub(inner_lr * torch.autograd.grad(value, p, create_graph=True)[0]) for p in params]


@right(exercises.adapt)
def _(loss, params, inner_lr):
    return tuple(p - inner_lr * g for p, g in zip(params, torch.func.grad(loss)(params), strict=True))


@right(exercises.adapt)
def _(loss, params, inner_lr):
    start = [p.clone() for p in params]
    new = start[:]
    for i, g in enumerate(torch.autograd.grad(inner_lr * loss(start), start, create_graph=True)):
        new[i] = start[i] - g
    return new


def gradients_of(loss, params, **options):
    return torch.autograd.grad(loss(params), params, **({"create_graph": True} | options))


def stepped(params, gradients, inner_lr):
    return [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]


@wrong(exercises.adapt, "the graph is cut between `params` and the gradients")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(loss, params, create_graph=False), inner_lr)


@wrong(exercises.adapt, "the graph is cut between `params` and the gradients")
def _(loss, params, inner_lr):
    fresh = [p.detach().clone().requires_grad_() for p in params]
    return stepped(params, gradients_of(loss, fresh), inner_lr)


@wrong(exercises.adapt, "the graph is cut between `params` and the gradients")
def _(loss, params, inner_lr):
    return stepped(params, [g.detach() for g in torch.func.grad(loss)(params)], inner_lr)


@wrong(exercises.adapt, "retain_graph keeps how the loss was computed")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(loss, params, create_graph=False, retain_graph=True), inner_lr)


@wrong(exercises.adapt, "retain_graph keeps how the loss was computed")
def _(loss, params, inner_lr):
    return stepped(params, [g.detach() for g in gradients_of(loss, params)], inner_lr)


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
    fresh = [p.detach().clone().requires_grad_() for p in params]
    return stepped(fresh, gradients_of(loss, fresh), inner_lr)


@wrong(exercises.adapt, "a loss through your step, the gradient of w1[")
def _(loss, params, inner_lr):
    return stepped([p.detach() for p in params], gradients_of(loss, params), inner_lr)


@wrong(exercises.adapt, "updates the parameters in place")
def _(loss, params, inner_lr):
    gradients = gradients_of(loss, params)
    with torch.no_grad():
        for p, g in zip(params, gradients, strict=True):
            p -= inner_lr * g
    return params


@wrong(exercises.adapt, "updates the parameters in place")
def _(loss, params, inner_lr):
    for p, g in zip(params, gradients_of(loss, params), strict=True):
        p.data -= inner_lr * g.data
    return params


@wrong(exercises.adapt, "updates the parameters in place")
def _(loss, params, inner_lr):
    for i, g in enumerate(gradients_of(loss, params)):
        params[i] = params[i] - inner_lr * g
    return params


@wrong(exercises.adapt, "in-place operation., at line")
def _(loss, params, inner_lr):
    for p, g in zip(params, gradients_of(loss, params), strict=True):
        p -= inner_lr * g
    return params


@wrong(exercises.adapt, "and 'NoneType', at line")
def _(loss, params, inner_lr):
    copies = [p.clone() for p in params]
    return stepped(params, torch.autograd.grad(loss(params), copies, create_graph=True, allow_unused=True), inner_lr)


@wrong(exercises.adapt, "asks for the gradient of the wrong parameters")
def _(loss, params, inner_lr):
    copies = [p.clone() for p in params]
    return stepped(params, torch.autograd.grad(loss(params), copies, create_graph=True), inner_lr)


@wrong(exercises.adapt, "cut before the gradient was taken")
def _(loss, params, inner_lr):
    value = loss([p.detach() for p in params])
    return stepped(params, torch.autograd.grad(value, params, create_graph=True), inner_lr)


@wrong(exercises.adapt, "one tensor is moved by another one's")
def _(loss, params, inner_lr):
    w1, w2 = params
    dw2, dw1 = gradients_of(loss, params)
    return [w1 - inner_lr * dw1, w2 - inner_lr * dw2]


@wrong(exercises.adapt, "one tensor is moved by another one's")
def _(loss, params, inner_lr):
    gradient = gradients_of(loss, params)[0]
    return [p - inner_lr * gradient for p in params]


@wrong(exercises.adapt, "one tensor is moved by another one's")
def _(loss, params, inner_lr):
    for gradient in gradients_of(loss, params):
        new = [p - inner_lr * gradient for p in params]
    return new


@wrong(exercises.adapt, "Only one of the tensors moves")
def _(loss, params, inner_lr):
    *body, head = params
    (gradient,) = torch.autograd.grad(loss(params), head, create_graph=True)
    return [*body, head - inner_lr * gradient]


@wrong(exercises.adapt, "Only one of the tensors moves")
def _(loss, params, inner_lr):
    return [params[0] - inner_lr * gradients_of(loss, params)[0], *params[1:]]


@wrong(exercises.adapt, "The minus is missing")
def _(loss, params, inner_lr):
    return [p + inner_lr * g for p, g in zip(params, gradients_of(loss, params), strict=True)]


@wrong(exercises.adapt, "The learning rate is missing")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(loss, params), 1)


@wrong(exercises.adapt, "The learning rate is squared")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(lambda ps: inner_lr * loss(ps), params), inner_lr)


@wrong(exercises.adapt, "Only the sign")
def _(loss, params, inner_lr):
    return stepped(params, [torch.sign(g) for g in gradients_of(loss, params)], inner_lr)


@wrong(exercises.adapt, "no step was taken")
def _(loss, params, inner_lr):
    new = [p.clone() for p in params]
    for p, g in zip(new, gradients_of(loss, params), strict=True):
        p = p - inner_lr * g
    return new


@wrong(exercises.adapt, "returns the change alone, or the gradient")
def _(loss, params, inner_lr):
    return gradients_of(loss, params)


@wrong(exercises.adapt, "returns the change alone, or the gradient")
def _(loss, params, inner_lr):
    return [-inner_lr * g for g in gradients_of(loss, params)]


@wrong(exercises.adapt, "calls backward()")
def _(loss, params, inner_lr):
    loss(params).backward()
    return [p - inner_lr * p.grad for p in params]


@wrong(exercises.adapt, "2 tensors, one for each of `params`; yours are 1")
def _(loss, params, inner_lr):
    for p, g in zip(params, gradients_of(loss, params), strict=True):
        return [p - inner_lr * g]


@wrong(exercises.adapt, "the new parameters as a list of tensors; yours is a tensor of shape [2, 3, 3]")
def _(loss, params, inner_lr):
    return torch.stack(solutions.adapt(loss, params, inner_lr))


@wrong(exercises.adapt, "not a mistake we know")
def _(loss, params, inner_lr):
    return stepped(params, gradients_of(loss, params), 0.9 * inner_lr)


# hessian_vector


@right(exercises.hessian_vector)
def _(loss, params, vector):
    gradients = torch.autograd.grad(loss(params), params, create_graph=True)
    return torch.autograd.grad(gradients, params, grad_outputs=vector)


@right(exercises.hessian_vector)
def _(loss, params, vector):
    _, pull_back = torch.func.vjp(torch.func.grad(loss), params)  # H is symmetric
    return pull_back(list(vector))[0]


@right(exercises.hessian_vector)
def _(loss, params, vector):
    _, product = torch.autograd.functional.hvp(lambda *ps: loss(ps), tuple(params), tuple(vector))
    return list(product)


@right(exercises.hessian_vector)
def _(loss, params, vector):
    """One flat vector, on detached copies."""
    leaves = [p.detach().requires_grad_() for p in params]
    flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss(leaves), leaves, create_graph=True)])
    dot = flat @ torch.cat([v.flatten() for v in vector]).data
    return [torch.autograd.grad(dot, p, retain_graph=True)[0] for p in leaves]


def dot(a, b):
    return sum((x * y).sum() for x, y in zip(a, b, strict=True))


def constant(tensors):
    return [tensor.detach() for tensor in tensors]


@wrong(exercises.hessian_vector, "graph is cut before the second differentiation")
def _(loss, params, vector):
    return torch.autograd.grad(dot(gradients_of(loss, params, create_graph=False), vector), params)


@wrong(exercises.hessian_vector, "graph is cut before the second differentiation")
def _(loss, params, vector):
    gradients = gradients_of(loss, params, create_graph=False, retain_graph=True)
    return torch.autograd.grad(dot(gradients, vector), params)


@wrong(exercises.hessian_vector, "does not have a grad_fn, at line")
def _(loss, params, vector):
    return torch.autograd.grad(dot(gradients_of(loss, params, create_graph=False), constant(vector)), params)


@wrong(exercises.hessian_vector, "vector is differentiated as well")
def _(loss, params, vector):
    return torch.autograd.grad(dot(gradients_of(loss, params), vector), params)


@wrong(exercises.hessian_vector, "not differentiated again")
def _(loss, params, vector):
    return [g * v for g, v in zip(gradients_of(loss, params), vector, strict=True)]


@wrong(exercises.hessian_vector, "This is the gradient of the loss")
def _(loss, params, vector):
    return list(gradients_of(loss, params))


@wrong(exercises.hessian_vector, "The vector comes back as it went in")
def _(loss, params, vector):
    return vector


@wrong(exercises.hessian_vector, "H·H·v")
def _(loss, params, vector):
    once = torch.autograd.grad(gradients_of(loss, params), params, grad_outputs=vector)
    return torch.autograd.grad(gradients_of(loss, params), params, grad_outputs=once)


@wrong(exercises.hessian_vector, "g gᵀ v")
def _(loss, params, vector):
    gradients = gradients_of(loss, params)
    return [g * dot(gradients, vector) for g in gradients]


@wrong(exercises.hessian_vector, "the Hessian's row sums")
def _(loss, params, vector):
    total = sum(g.sum() for g in gradients_of(loss, params))
    return [row * v for row, v in zip(torch.autograd.grad(total, params), vector, strict=True)]


@wrong(exercises.hessian_vector, "only the blocks on the Hessian's diagonal")
def _(loss, params, vector):
    product = []
    for p, v in zip(params, vector, strict=True):
        (g,) = torch.autograd.grad(loss(params), p, create_graph=True)
        product += torch.autograd.grad(g, p, grad_outputs=v)
    return product


@wrong(exercises.hessian_vector, "Only the last tensor's part")
def _(loss, params, vector):
    for g, v in zip(gradients_of(loss, params), vector, strict=True):
        total = (g * v.detach()).sum()
    return torch.autograd.grad(total, params)


@wrong(exercises.hessian_vector, "It stops at one number")
def _(loss, params, vector):
    return dot(gradients_of(loss, params), vector)


@wrong(exercises.hessian_vector, "Close, but only approximate: the relative error is 5e-09")
def _(loss, params, vector):
    def gradients_at(step):
        return gradients_of(
            loss, [(p + step * v).detach().requires_grad_() for p, v in zip(params, vector, strict=True)]
        )

    return [(a - b) / 2e-4 for a, b in zip(gradients_at(1e-4), gradients_at(-1e-4), strict=True)]


@wrong(exercises.hessian_vector, "Close, but only approximate: the relative error is 1e-04")
def _(loss, params, vector):
    h = 1e-4
    there = [(p + h * v).detach().requires_grad_() for p, v in zip(params, vector, strict=True)]
    return [(a - b) / h for a, b in zip(gradients_of(loss, there), gradients_of(loss, params), strict=True)]


@wrong(exercises.hessian_vector, "price is that of the whole Hessian")
def _(loss, params, vector):
    flat = torch.cat([g.flatten() for g in gradients_of(loss, params)])
    v = torch.cat([v.flatten() for v in vector])
    product = sum(
        v[i] * torch.cat([row.flatten() for row in torch.autograd.grad(g, params, retain_graph=True)])
        for i, g in enumerate(flat)
    )
    return [part.view_as(p) for part, p in zip(product.split([p.numel() for p in params]), params, strict=True)]


def by_blocks(hessian, params, vector):
    """Of blocks [*p.shape, *q.shape]."""
    return [
        sum(torch.tensordot(hessian[i][j], v, dims=v.dim()) for j, v in enumerate(vector)) for i in range(len(params))
    ]


@wrong(exercises.hessian_vector, "price is that of the whole Hessian")
def _(loss, params, vector):
    hessian = torch.autograd.functional.hessian(lambda *ps: loss(ps), tuple(params))
    return by_blocks(hessian, params, vector)


@wrong(exercises.hessian_vector, "price is that of the whole Hessian")
def _(loss, params, vector):
    return by_blocks(
        torch.func.jacrev(torch.func.grad(loss))(params), params, vector
    )  # batched: one call, as many rows


@wrong(exercises.hessian_vector, "calls backward()")
def _(loss, params, vector):
    dot(gradients_of(loss, params), constant(vector)).backward()
    return [p.grad for p in params]


@wrong(exercises.hessian_vector, "changes the parameters or the vector")
def _(loss, params, vector):
    product = solutions.hessian_vector(loss, params, vector)
    for p, v in zip(params, vector, strict=True):
        p.data += 1e-3 * v
    return product


@wrong(exercises.hessian_vector, "the product as a list of tensors; yours is a tensor of shape [18]")
def _(loss, params, vector):
    return torch.cat([h.flatten() for h in solutions.hessian_vector(loss, params, vector)])


@wrong(exercises.hessian_vector, "not a mistake we know")
def _(loss, params, vector):
    return [-h for h in solutions.hessian_vector(loss, params, vector)]


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


def mean_of(adapted):
    return [torch.stack(ends).mean(dim=0) for ends in zip(*adapted, strict=True)]


@wrong(exercises.reptile_update, "moves away from where the tasks ended")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (p - m) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "added up over the tasks, not averaged")
def _(params, adapted, outer_lr):
    return [p + outer_lr * sum(task[i] - p for task in adapted) for i, p in enumerate(params)]


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


@wrong(exercises.reptile_update, "a part of the mean itself")
def _(params, adapted, outer_lr):
    return [p + outer_lr * m for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "weights are swapped")
def _(params, adapted, outer_lr):
    return [outer_lr * p + (1 - outer_lr) * m for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "returns the change alone")
def _(params, adapted, outer_lr):
    return [outer_lr * (m - p) for p, m in zip(params, mean_of(adapted), strict=True)]


@wrong(exercises.reptile_update, "no step was taken")
def _(params, adapted, outer_lr):
    for p, m in zip(params, mean_of(adapted), strict=True):
        p = p + outer_lr * (m - p)
    return params


@wrong(exercises.reptile_update, "divides by the number of tensors")
def _(params, adapted, outer_lr):
    return [p + outer_lr * sum(task[i] - p for task in adapted) / len(params) for i, p in enumerate(params)]


@wrong(exercises.reptile_update, "in place")
def _(params, adapted, outer_lr):
    for p, m in zip(params, mean_of(adapted), strict=True):
        p += outer_lr * (m - p)
    return params


@wrong(exercises.reptile_update, "in place")
def _(params, adapted, outer_lr):
    for task in adapted:
        for p, end in zip(params, task, strict=True):
            p.lerp_(end, outer_lr)
    return params


@wrong(exercises.reptile_update, "w1 has the shape [3, 2, 2]; it should be [2, 2]")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (torch.stack(ends) - p) for p, ends in zip(params, zip(*adapted, strict=True), strict=True)]


@wrong(exercises.reptile_update, "2 tensors, one for each of `params`; yours are 3")
def _(params, adapted, outer_lr):
    return [p + outer_lr * (end - p) for task in adapted for p, end in [(params[0], task[0])]]


@wrong(exercises.reptile_update, "the new parameters as a list of tensors; yours is a list of 2")
def _(params, adapted, outer_lr):
    return [new.tolist() for new in solutions.reptile_update(params, adapted, outer_lr)]


@wrong(exercises.reptile_update, "not a mistake we know")
def _(params, adapted, outer_lr):
    return solutions.reptile_update(params, adapted, 0.9 * outer_lr)
