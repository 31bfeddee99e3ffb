"""Answers to the exercises of the orders lesson."""

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


# hessian_vector

OF_SHAPES = {}  # what the answers keep by the shapes from call to call


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


# meta_gradient


def forward_way(support_loss, params, inner_lr, steps):
    points = [params]
    for _ in range(steps):
        moved = stepped(points[-1], gradients_of(support_loss, points[-1], create_graph=False), inner_lr)
        points.append(leaves(moved))
    return points


def there_and_back(hessian=solutions.hessian_vector, at=lambda points: points[:-1], combine=None):
    """The recursion with parts that can be exchanged."""
    combine = combine or (lambda v, h, lr: [a - lr * b for a, b in zip(v, h, strict=True)])

    def answer(support_loss, query_loss, params, inner_lr, steps):
        points = forward_way(support_loss, params, inner_lr, steps)
        v = list(gradients_of(query_loss, points[-1], create_graph=False))
        for theta in reversed(at(points)):
            v = combine(v, hessian(support_loss, theta, v), inner_lr)
        return v

    return answer


right(exercises.meta_gradient)(there_and_back())


@right(exercises.meta_gradient)
def _(support_loss, query_loss, params, inner_lr, steps):
    theta = params
    for _ in range(steps):  # the graph of all steps is kept
        theta = stepped(theta, gradients_of(support_loss, theta), inner_lr)
    return torch.autograd.grad(query_loss(theta), params)


@right(exercises.meta_gradient)
def _(support_loss, query_loss, params, inner_lr, steps):
    """Each step's own vector-Jacobian product."""
    links, theta = [], params
    for _ in range(steps):
        start = theta if theta is params else leaves(theta)
        moved = stepped(start, gradients_of(support_loss, start), inner_lr)
        links.append((start, moved))
        theta = moved
    end = leaves(theta)
    v = gradients_of(query_loss, end, create_graph=False)
    for start, moved in links[::-1]:
        v = torch.autograd.grad(moved, start, v)
    return v


@right(exercises.meta_gradient)
def _(support_loss, query_loss, params, inner_lr, steps):
    if steps == 0:
        return torch.autograd.grad(query_loss(params), params)
    after = leaves(stepped(params, gradients_of(support_loss, params, create_graph=False), inner_lr))
    # what comes after the first step, by the function itself
    points = forward_way(support_loss, after, inner_lr, steps - 1)
    v = list(gradients_of(query_loss, points[-1], create_graph=False))
    for theta in [*reversed(points[:-1]), params]:
        v = [a - inner_lr * h for a, h in zip(v, solutions.hessian_vector(support_loss, theta, v), strict=True)]
    return tuple(v)


@wrong(exercises.meta_gradient, "it costs as much as a whole Hessian in each step")
def _(support_loss, query_loss, params, inner_lr, steps):
    """With the whole Hessian as a matrix, which is dear and right."""
    points = forward_way(support_loss, params, inner_lr, steps)
    v = joined(gradients_of(query_loss, points[-1], create_graph=False))
    for theta in points[-2::-1]:
        entries = joined(gradients_of(support_loss, theta))
        hessian = torch.stack([joined(torch.autograd.grad(entry, theta, retain_graph=True)) for entry in entries])
        v = v - inner_lr * hessian @ v
    return split(v, params)


@wrong(exercises.meta_gradient, "first-order meta-gradient")
def _(support_loss, query_loss, params, inner_lr, steps):
    theta = params
    for _ in range(steps):
        theta = stepped(theta, gradients_of(support_loss, theta, create_graph=False), inner_lr)
    return torch.autograd.grad(query_loss(theta), params)


@wrong(exercises.meta_gradient, "first-order meta-gradient")
def _(support_loss, query_loss, params, inner_lr, steps):
    end = forward_way(support_loss, params, inner_lr, steps)[-1]
    return gradients_of(query_loss, end, create_graph=False)


wrong(exercises.meta_gradient, "at `params` in every step")(
    there_and_back(at=lambda points: points[:1] * (len(points) - 1))
)
wrong(exercises.meta_gradient, "at the adapted parameters, θ_K, in every step")(
    there_and_back(at=lambda points: points[-1:] * (len(points) - 1))
)
wrong(exercises.meta_gradient, "one point too late")(there_and_back(at=lambda points: points[1:]))
wrong(exercises.meta_gradient, "There is one factor too many")(there_and_back(at=lambda points: points))
wrong(exercises.meta_gradient, "stand in the opposite order")(there_and_back(at=lambda points: points[-2::-1]))
wrong(exercises.meta_gradient, "Only the last inner step is walked back")(
    there_and_back(at=lambda points: points[-2:-1])
)
wrong(exercises.meta_gradient, "Only the first inner step is walked back")(there_and_back(at=lambda points: points[:1]))
wrong(exercises.meta_gradient, "factors I + αH")(
    there_and_back(combine=lambda v, h, lr: [a + lr * b for a, b in zip(v, h, strict=True)])
)
wrong(exercises.meta_gradient, "not multiplied by inner_lr")(
    there_and_back(combine=lambda v, h, lr: [a - b for a, b in zip(v, h, strict=True)])
)
wrong(exercises.meta_gradient, "multiplied by inner_lr twice")(
    there_and_back(combine=lambda v, h, lr: [a - lr * (lr * b) for a, b in zip(v, h, strict=True)])
)
wrong(exercises.meta_gradient, "The I of I - αH is missing")(
    there_and_back(combine=lambda v, h, lr: [-lr * b for b in h])
)


@wrong(exercises.meta_gradient, "multiplied with the query gradient, v_K")
def _(support_loss, query_loss, params, inner_lr, steps):
    points = forward_way(support_loss, params, inner_lr, steps)
    begin = list(gradients_of(query_loss, points[-1], create_graph=False))
    total = begin
    for theta in points[:-1]:
        total = stepped(total, solutions.hessian_vector(support_loss, theta, begin), inner_lr)
    return total


@wrong(exercises.meta_gradient, "The vector that travels back is the query gradient at `params`")
def _(support_loss, query_loss, params, inner_lr, steps):
    v = list(torch.autograd.grad(query_loss(params), params))
    for theta in forward_way(support_loss, params, inner_lr, steps)[-2::-1]:
        v = stepped(v, solutions.hessian_vector(support_loss, theta, v), inner_lr)
    return v


@wrong(exercises.meta_gradient, "The query gradient is missing")
def _(support_loss, query_loss, params, inner_lr, steps):
    return there_and_back()(support_loss, support_loss, params, inner_lr, steps)


@wrong(exercises.meta_gradient, "The Hessian is that of the query loss")
def _(support_loss, query_loss, params, inner_lr, steps):
    return there_and_back(hessian=lambda _loss, theta, v: solutions.hessian_vector(query_loss, theta, v))(
        support_loss, query_loss, params, inner_lr, steps
    )


@wrong(exercises.meta_gradient, "Every inner step sets out from `params`")
def _(support_loss, query_loss, params, inner_lr, steps):
    moved = stepped(params, gradients_of(support_loss, params, create_graph=False), inner_lr)
    points = [params, *(leaves(moved) for _ in range(steps))]
    v = list(gradients_of(query_loss, points[-1], create_graph=False))
    for theta in points[-2::-1]:
        v = stepped(v, solutions.hessian_vector(support_loss, theta, v), inner_lr)
    return v


def exchanged(support_loss, query_loss, params, inner_lr, steps):
    return there_and_back()(query_loss, support_loss, params, inner_lr, steps)


wrong(exercises.meta_gradient, "The two losses are exchanged")(exchanged)
wrong(exercises.meta_gradient, "one inner step too many")(lambda s, q, p, lr, k: there_and_back()(s, q, p, lr, k + 1))
wrong(exercises.meta_gradient, "one inner step too few")(lambda s, q, p, lr, k: there_and_back()(s, q, p, lr, k - 1))
wrong(exercises.meta_gradient, "The inner steps climb")(
    # a negative rate would turn the Hessian's sign too
    lambda s, q, p, lr, k: there_and_back(combine=lambda v, h, r: stepped(v, h, -r))(s, q, p, -lr, k)
)
wrong(exercises.meta_gradient, "this is minus the meta-gradient")(
    lambda *arguments: [-v for v in there_and_back()(*arguments)]
)
wrong(exercises.meta_gradient, "no adaptation and no Hessian")(lambda s, q, p, lr, k: torch.autograd.grad(q(p), p))
wrong(exercises.meta_gradient, "The query loss plays no part")(lambda s, q, p, lr, k: torch.autograd.grad(s(p), p))
wrong(exercises.meta_gradient, "It returns the adapted parameters")(lambda s, q, p, lr, k: forward_way(s, p, lr, k)[-1])
wrong(exercises.meta_gradient, "Reptile uses that")(
    lambda s, q, p, lr, k: [a - b for a, b in zip(p, forward_way(s, p, lr, k)[-1], strict=True)]
)
wrong(exercises.meta_gradient, "It returns one number")(lambda s, q, p, lr, k: q(forward_way(s, p, lr, k)[-1]))
wrong(exercises.meta_gradient, "2 times the first-order part, the query gradient at θ_K, and 1 times")(
    lambda *a: [v + w for v, w in zip(there_and_back()(*a), there_and_back(at=lambda points: [])(*a), strict=True)]
)
wrong(exercises.meta_gradient, "does not depend on a tensor that autograd follows")(
    lambda s, q, p, lr, k: torch.autograd.grad(q(constant(forward_way(s, p, lr, k)[-1])), p)
)


@wrong(exercises.meta_gradient, "only approximately")
def _(support_loss, query_loss, params, inner_lr, steps):
    def end_loss(start):
        return query_loss(forward_way(support_loss, start, inner_lr, steps)[-1]).item()

    found = []
    for i, p in enumerate(params):
        slopes = torch.zeros_like(p).detach()
        for place in range(p.numel()):
            h = torch.zeros_like(slopes)
            h.view(-1)[place] = 1e-5
            there, back = ([q + sign * h if j == i else q for j, q in enumerate(params)] for sign in (1, -1))
            slopes.view(-1)[place] = (end_loss(leaves(there)) - end_loss(leaves(back))) / 2e-5
        found.append(slopes)
    return found


@wrong(exercises.meta_gradient, "leaves a gradient in the .grad")
def _(support_loss, query_loss, params, inner_lr, steps):
    theta = params
    for _ in range(steps):
        theta = stepped(theta, gradients_of(support_loss, theta), inner_lr)
    query_loss(theta).backward()
    return [p.grad.clone() for p in params]


@wrong(exercises.meta_gradient, "Two things are wrong")
def _(support_loss, query_loss, params, inner_lr, steps):
    combine = lambda v, h, lr: [a + lr * b for a, b in zip(v, h, strict=True)]  # noqa: E731
    at = lambda points: points[1:]  # noqa: E731
    return there_and_back(combine=combine, at=at)(support_loss, query_loss, params, inner_lr, steps)


# two_terms


def pair_means(a, b):
    return [(x + y) / 2 for x, y in zip(a, b, strict=True)]


@right(exercises.two_terms)
def _(first_loss, second_loss, params):
    g1, g2 = (gradients_of(loss, params) for loss in (first_loss, second_loss))
    inner = torch.autograd.grad(dot(g1, g2), params)  # the gradient of the product, of which both depend on params
    return pair_means(constant(g1), constant(g2)), [g / 2 for g in inner]


@right(exercises.two_terms)
def _(first_loss, second_loss, params):
    average = torch.autograd.grad((first_loss(params) + second_loss(params)) / 2, params)
    products = [
        solutions.hessian_vector(one, params, list(gradients_of(other, params)))
        for one, other in ((first_loss, second_loss), (second_loss, first_loss))
    ]
    return average, tuple(torch.stack(each).mean(0) for each in zip(*products, strict=True))


@right(exercises.two_terms)
def _(first_loss, second_loss, params):
    g1, g2 = (gradients_of(loss, params) for loss in (first_loss, second_loss))
    h1 = torch.autograd.grad(g1, params, constant(g2), retain_graph=True)
    h2 = torch.autograd.grad(g2, params, constant(g1))
    return [pair_means(constant(g1), constant(g2)), pair_means(h1, h2)]


def terms(average=pair_means, inner=pair_means, vectors=lambda g1, g2: (g2, g1)):
    def answer(first_loss, second_loss, params):
        g1, g2 = (list(gradients_of(loss, params, create_graph=False)) for loss in (first_loss, second_loss))
        v1, v2 = vectors(g1, g2)
        products = solutions.hessian_vector(first_loss, params, v1), solutions.hessian_vector(second_loss, params, v2)
        return average(g1, g2), inner(*products)

    return answer


def pair_sums(a, b):
    return [x + y for x, y in zip(a, b, strict=True)]


right(exercises.two_terms)(terms())
wrong(exercises.two_terms, "the gradient of the first loss alone")(terms(average=lambda a, b: a))
wrong(exercises.two_terms, "the gradient of the second loss alone")(terms(average=lambda a, b: b))
wrong(exercises.two_terms, "AvgGrad is the sum of the two gradients")(terms(average=pair_sums))
wrong(exercises.two_terms, "only one of the two products is there, H₁g₂")(terms(inner=lambda a, b: a))
wrong(exercises.two_terms, "only one of the two products is there, H₂g₁")(terms(inner=lambda a, b: b))
wrong(exercises.two_terms, "which is the gradient of g₁·g₂")(terms(inner=pair_sums))
wrong(exercises.two_terms, "AvgGradInner has the wrong sign")(terms(inner=lambda a, b: [-m for m in pair_means(a, b)]))
wrong(exercises.two_terms, "the gradient of its own loss")(terms(vectors=lambda g1, g2: (g1, g2)))
wrong(exercises.two_terms, "the mean of the two gradients is taken before the products")(
    terms(vectors=lambda g1, g2: (pair_means(g1, g2),) * 2)
)
wrong(exercises.two_terms, "The two terms are exchanged")(lambda *arguments: terms()(*arguments)[::-1])
wrong(exercises.two_terms, "no Hessian is in it")(
    lambda one, other, params: (
        terms()(one, other, params)[0],
        [a * b for a, b in zip(gradients_of(one, params), gradients_of(other, params), strict=True)],
    )
)
wrong(exercises.two_terms, "It should return two lists")(lambda *arguments: terms()(*arguments)[0])
wrong(exercises.two_terms, "First: AvgGrad is the sum of the two gradients, which is twice their mean. Second:")(
    terms(average=pair_sums, inner=pair_sums)
)


@wrong(exercises.two_terms, "A whole tuple of tensors meets something else there")
def _(first_loss, second_loss, params):
    g1, g2 = (torch.autograd.grad(loss(params), params) for loss in (first_loss, second_loss))
    return (g1 + g2) / 2, g1
