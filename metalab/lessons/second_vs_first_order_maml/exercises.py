"""The exercises of the orders lesson: an inner step that keeps its graph, a Hessian-vector product, Reptile's update.

The learner's functions see the parameters as a list of tensors, and a loss as a function of such a list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..kit.exercise import Exercise, Misconception, Wrong, compare, describe
from . import solutions

__all__ = ["adapt", "hessian_vector", "reptile_update"]

LossOfParams = Callable[[list[Tensor]], Tensor]

NAMES = ("w1", "w2")
INNER_LR = 0.2
OUTER_LR = 0.3
TASKS = 3  # how many tasks the check of reptile_update has


# The problem of the checks. It is smooth and in double precision, and both weights have the same shape, so that a
# function that mixes them up returns numbers.


def _params(size: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(size, size, generator=generator, dtype=torch.float64) for _ in NAMES]


def _loss(size: int, seed: int) -> LossOfParams:
    """Return the mean squared error of a network tanh(x w1) w2 on four points, as a function of [w1, w2]."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, 4, size, generator=generator, dtype=torch.float64)
    return lambda params: ((torch.tanh(x @ params[0]) @ params[1] - y) ** 2).mean()


def _adapt_inputs() -> tuple[LossOfParams, list[Tensor], float]:
    return _loss(3, seed=1), [p.requires_grad_() for p in _params(3)], INNER_LR


def _hessian_vector_inputs(size: int = 3) -> tuple[LossOfParams, list[Tensor], list[Tensor]]:
    """Return a support loss, parameters, and as the vector the gradient of a query loss, which depends on them."""
    params = [p.requires_grad_() for p in _params(size)]
    vector = torch.autograd.grad(_loss(size, seed=2)(params), params, create_graph=True)
    return _loss(size, seed=1), params, list(vector)


def _reptile_update_inputs() -> tuple[list[Tensor], list[list[Tensor]], float]:
    generator = torch.Generator().manual_seed(0)
    params, *adapted = (
        [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((2, 2), (3,))]
        for _ in range(1 + TASKS)
    )
    return params, adapted, OUTER_LR


# Parts that the checks and the mistakes share


def _gradient(loss: LossOfParams, params: list[Tensor], **options: bool) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss(params), params, **options)


def _named(values: Any, of: str = "") -> dict[str, Tensor]:
    return {of + name: value.detach() for name, value in zip(NAMES, values, strict=True)}


def _explained(attempt: Callable, arguments: tuple, tips: dict[str, str]) -> Any:
    """Return attempt(*arguments). If it stops with one of the messages in `tips`, add that message's tip.

    Raises:
        Wrong: the attempt stops.
    """
    try:
        return attempt(*arguments)
    except Wrong as stopped:
        for message, tip in tips.items():
            if message in str(stopped):
                raise Wrong(f"{stopped}. {tip}") from None
        raise


def _expect_like(values: Any, params: list[Tensor], what: str) -> None:
    if not isinstance(values, tuple | list) or not all(isinstance(value, Tensor) for value in values):
        raise Wrong(f"It should return {what} as a list of tensors; yours is {describe(values)}.")
    if len(values) != len(params):
        raise Wrong(f"It should return {len(params)} tensors, one for each of `params`; yours are {len(values)}.")


def _expect_no_grad_left(params: list[Tensor]) -> None:
    if any(p.grad is not None for p in params):
        raise Wrong(
            "It calls backward(), which leaves a gradient in the .grad of the parameters. There it adds up with what "
            "comes later, and the outer optimizer would take it for the meta-gradient. Look for the function of "
            "torch.autograd that returns gradients instead."
        )


# adapt


def _moved(amount: Callable[[Tensor, float], Tensor]) -> Callable:
    """Return a wrong step that adds amount(gradient, inner_lr) to each parameter."""
    return lambda loss, params, lr: [p + amount(g, lr) for p, g in zip(params, _gradient(loss, params), strict=True)]


def _moved_by(chosen: Callable[[tuple[Tensor, ...]], Any]) -> Callable:
    """Return a wrong step that takes the parameters' gradients from chosen(gradients)."""

    def step(loss: LossOfParams, params: list[Tensor], inner_lr: float) -> list[Tensor]:
        gradients = chosen(_gradient(loss, params))
        return [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]

    return step


IN_PLACE = (
    "It updates the parameters in place, and they are the start that all tasks share: the next task would set out from "
    "this one's end, and no meta-gradient can flow. Make new tensors and leave `params` as they were."
)
OTHERS_GRADIENT = (
    "It takes the gradient of the wrong parameters: one tensor is moved by another one's. As the shapes fit, nothing "
    "complains, but the loss need not fall. Do parameters and gradients go through your loop side by side?"
)
ONE_TENSOR = (
    "Only one of the tensors moves and the others stay. That is how ANIL adapts, its last layer alone (Raghu et al. "
    "2020); MAML adapts every parameter. Does your update run over the whole list?"
)
CHANGE_ALONE = (
    "It returns the change alone, or the gradient, and not the changed parameters. The query loss would then be taken "
    "at a point near zero. What must the change be added to?"
)

ADAPT_MISTAKES: list[Misconception] = [
    (
        "The minus is missing: the step climbs, and the new parameters have a larger loss than the old ones. "
        "Meta-learning would look for a start from which going the wrong way helps. Which way does a gradient point?",
        _moved(lambda g, lr: lr * g),
    ),
    (
        "The learning rate is missing: the step is one whole gradient. With it the Hessian's term would weigh 1 "
        "instead of α, and no slider could change that. Where does inner_lr belong?",
        _moved(lambda g, lr: -g),
    ),
    (
        "The learning rate is squared: it comes in twice, so the step is too short and the second-order term, whose "
        "weight is α, all but vanishes. First order would look as good as second. Find the second place that scales "
        "by it.",
        _moved(lambda g, lr: -(lr**2) * g),
    ),
    (OTHERS_GRADIENT, _moved_by(reversed)),
    (OTHERS_GRADIENT, _moved_by(lambda gradients: [gradients[0]] * 2)),
    (OTHERS_GRADIENT, _moved_by(lambda gradients: [gradients[1]] * 2)),
    (ONE_TENSOR, _moved_by(lambda gradients: [gradients[0], 0 * gradients[1]])),
    (ONE_TENSOR, _moved_by(lambda gradients: [0 * gradients[0], gradients[1]])),
    (
        "Only the sign of the gradient is used, so every parameter moves equally far. No second derivative survives a "
        "sign, so there is nothing to tell first from second order. Use the gradient itself.",
        _moved(lambda g, lr: -lr * g.sign()),
    ),
    (
        "The parameters come back as they went in: no step was taken. First and second order are then the same, and "
        "nothing adapts. Where does the gradient enter?",
        lambda loss, params, lr: params,
    ),
    (CHANGE_ALONE, lambda loss, params, lr: _gradient(loss, params)),
    (CHANGE_ALONE, lambda loss, params, lr: [-lr * g for g in _gradient(loss, params)]),
]


def _examine_adapt(attempt: Callable) -> None:
    arguments = loss, params, inner_lr = _adapt_inputs()
    losses: list[Tensor] = []

    def recorded(params: list[Tensor]) -> Tensor:
        losses.append(loss(params))
        return losses[-1]

    wrong_parameters = (
        "It asks for the gradient of the wrong parameters: of tensors, copies perhaps, that the loss was not computed "
        "from. Hand the same list to loss and to grad."
    )
    tips = {
        "not have been used in the graph": wrong_parameters,
        "NoneType": wrong_parameters,
        "leaf Variable": IN_PLACE,
        "does not require grad": (
            "The graph was cut before the gradient was taken: the loss does not know any more that it came from "
            "`params`. Look for no_grad, detach or .data."
        ),
    }
    adapted = _explained(attempt, (recorded, params, inner_lr), tips)
    _expect_no_grad_left(params)
    _expect_like(adapted, params, "the new parameters")
    right = solutions.adapt(*arguments)
    trial = "exercises.adapt.inputs()"
    mistakes = ((message, _named(wrong(*arguments))) for message, wrong in ADAPT_MISTAKES)
    compare(_named(adapted), _named(right), mistakes=mistakes, inputs=trial)

    # The values are right, and now the graph is checked. Any loss of the new parameters can serve as the query loss.
    query_loss = _loss(3, seed=2)

    def meta_gradient(adapted: list[Tensor]) -> dict[str, Tensor]:
        outer = query_loss(adapted)
        gradients = torch.autograd.grad(outer, params, retain_graph=True, allow_unused=True, materialize_grads=True)
        return _named(gradients, of="the gradient of ")

    if not query_loss(adapted).requires_grad or not any(g.any() for g in meta_gradient(adapted).values()):
        raise Wrong(
            "The numbers are right, but the result is cut off from `params`: autograd cannot see that the step started "
            "there, so the meta-gradient is zero and the start is never learned. Look for no_grad, detach or .data."
        )
    if losses and _still_has_its_graph(losses[-1], params):
        message = (
            "The numbers are right and the loss has kept its graph, but autograd takes your gradients for constants, "
            "so this is first-order MAML. retain_graph keeps how the loss was computed, not how its gradients were; a "
            "detach after create_graph throws that away again. Which option makes the gradients differentiable?"
        )
    else:
        message = (
            "The numbers are right, but autograd takes your gradients for constants: the graph is cut between `params` "
            "and the gradients. The (I - αH) of the chain rule becomes I, which is first-order MAML, and no error "
            "tells. What must autograd be told to keep while it computes gradients, and of which parameters?"
        )
    first_order = [p - inner_lr * g for p, g in zip(params, _gradient(loss, params), strict=True)]
    mistakes = [(message, meta_gradient(first_order))]
    got, want = meta_gradient(adapted), meta_gradient(right)
    compare(got, want, mistakes=mistakes, inputs=trial + " and a loss through your step")


def _still_has_its_graph(loss: Tensor, params: list[Tensor]) -> bool:
    try:
        torch.autograd.grad(loss, params, retain_graph=True)
    except RuntimeError:  # the graph was freed when the gradients were taken
        return False
    return True


adapt = Exercise(
    answer=solutions.adapt,
    difficulty="easy",
    minutes=5,
    statement=(
        "Take one gradient step on any loss of a list of tensors and return the new list, so that an outer loss can "
        "be differentiated through the step, second derivatives and all."
    ),
    hints=(
        "Three parts: the loss at params, its gradients, and a list of new tensors, p minus something for each p.",
        "torch.autograd.grad(loss(params), params) returns the gradients in the order of params and touches nothing.",
        "As it stands, those gradients are constants. With create_graph=True autograd also remembers how they came "
        "about.",
    ),
    inputs=_adapt_inputs,
    examine=_examine_adapt,
    in_place=IN_PLACE,
)


# hessian_vector

WIDE = 4  # this gives 32 parameters, for which a whole Hessian costs some 20 products
COSTLY = 5  # times our arithmetic: any way of taking a product needs less, and a Hessian far more
EXACT = 1e-12  # the relative error that derivatives in double precision stay below, and finite differences do not


def _dot(a: Any, b: Any) -> Tensor:
    return sum((x * y).sum() for x, y in zip(a, b, strict=True))


def _of_gradients(function: Callable[[tuple[Tensor, ...], list[Tensor], list[Tensor]], Any]) -> Callable:
    """Return a wrong product: function(gradients, params, vector), where the gradients have their graph."""
    return lambda loss, params, vector: function(_gradient(loss, params, create_graph=True), params, vector)


def _derivative(of: Tensor, params: Any) -> tuple[Tensor, ...]:
    return torch.autograd.grad(of, params, retain_graph=True)


def _twice(loss: LossOfParams, params: list[Tensor], vector: list[Tensor]) -> list[Tensor]:
    return solutions.hessian_vector(loss, params, solutions.hessian_vector(loss, params, vector))


def _outer_product(gradients: tuple[Tensor, ...], params: list[Tensor], vector: list[Tensor]) -> list[Tensor]:
    dot = _dot(gradients, vector)
    return [dot * g for g in gradients]


def _row_sums(gradients: tuple[Tensor, ...], params: list[Tensor], vector: list[Tensor]) -> list[Tensor]:
    rows = _derivative(sum(g.sum() for g in gradients), params)
    return [row * v for row, v in zip(rows, vector, strict=True)]


def _blocks(gradients: tuple[Tensor, ...], params: list[Tensor], vector: list[Tensor]) -> list[Tensor]:
    triples = zip(gradients, params, vector, strict=True)
    return [_derivative((g * v.detach()).sum(), p)[0] for g, p, v in triples]


CUT_BEFORE_SECOND = (
    "The graph is cut before the second differentiation: the gradients are numbers that no longer know how they "
    "depend on `params`, and of constants there is no Hessian. What must the first torch.autograd.grad keep?"
)

HESSIAN_VECTOR_MISTAKES: list[Misconception] = [
    (
        CUT_BEFORE_SECOND,
        lambda loss, params, vector: _derivative(_dot(_gradient(loss, params), vector), params),
    ),
    (
        "The vector is differentiated as well: it was computed from `params`, so by the product rule a second term, "
        "how the vector changes, has come in. In MAML that would count the query loss's curvature too. How do you make "
        "a constant of a tensor?",
        _of_gradients(lambda gradients, params, vector: _derivative(_dot(gradients, vector), params)),
    ),
    (
        "The gradient is multiplied with the vector, but not differentiated again: there is no second derivative in "
        "it. Add the products up to one number; what is the derivative of that number?",
        _of_gradients(lambda gradients, params, vector: [g * v for g, v in zip(gradients, vector, strict=True)]),
    ),
    (
        "This is the gradient of the loss: the vector has no part in it, and nothing was differentiated twice. What is "
        "the derivative of the gradient in the direction of the vector?",
        _of_gradients(lambda gradients, params, vector: gradients),
    ),
    (
        "The vector comes back as it went in, as if the Hessian were the identity. Which function must be "
        "differentiated twice?",
        lambda loss, params, vector: vector,
    ),
    (
        "The Hessian is applied twice: H·H·v. In the meta-gradient of one inner step it appears once. Is the result "
        "put through the product a second time?",
        _twice,
    ),
    (
        "It multiplies the gradient by its own product with the vector: g gᵀ v. That is the outer product of "
        "gradients, which some use in place of a Hessian, but it has only first derivatives. Differentiate the product "
        "instead.",
        _of_gradients(_outer_product),
    ),
    (
        "The gradients are added up before the vector comes in, so it multiplies the Hessian's row sums, entry by "
        "entry. That is H·v only where the vector is the same everywhere. Multiply first, then add up, then "
        "differentiate.",
        _of_gradients(_row_sums),
    ),
    (
        "Each tensor is taken by itself: how one layer's gradient changes with another layer is left out. These are "
        "only the blocks on the Hessian's diagonal, and deep networks have much beside them. Add up one number over "
        "all tensors, and differentiate that.",
        _of_gradients(_blocks),
    ),
    (
        "Only the last tensor's part is in the number that is differentiated; the others' are overwritten. Half of "
        "the vector has no effect. Is the dot product added up over the list, or assigned?",
        _of_gradients(lambda gradients, params, vector: _derivative(_dot(gradients[1:], [vector[1].detach()]), params)),
    ),
]


def _examine_hessian_vector(attempt: Callable) -> None:
    arguments = _hessian_vector_inputs()
    params = arguments[1]
    product = _explained(attempt, arguments, {"does not require grad": CUT_BEFORE_SECOND})
    _expect_no_grad_left(params)
    if isinstance(product, Tensor) and product.numel() == 1:
        raise Wrong(
            "It stops at one number, the dot product: H·v is a list like `params`, one number for each parameter. How "
            "does that number change with each of them?"
        )
    _expect_like(product, params, "the product")
    got, want = (
        _named(product, of="the product at "),
        _named(solutions.hessian_vector(*arguments), of="the product at "),
    )
    if all(got[name].shape == want[name].shape for name in want):
        error = max((got[name] - want[name]).abs().max() / want[name].abs().max() for name in want)
        if EXACT < error < 1e-3:
            raise Wrong(
                f"Close, but only approximate: the relative error is {error:.0e}, where derivatives in double "
                "precision are right to 1e-15. So it is with differences of two gradients, and with single precision. "
                "As a test of other code they are fine; here autograd gives the exact product for the same price. What "
                "can be differentiated a second time?"
            )
    trial = "exercises.hessian_vector.inputs()"
    mistakes = (  # each gets a vector whose graph has not been used yet
        (message, _named(wrong(*_hessian_vector_inputs()), of="the product at "))
        for message, wrong in HESSIAN_VECTOR_MISTAKES
    )
    compare(got, want, mistakes=mistakes, inputs=trial, tolerance=EXACT)

    if _arithmetic(attempt) > COSTLY * _arithmetic(solutions.hessian_vector):
        raise Wrong(
            "The product is right, but its price is that of the whole Hessian: a differentiation for every single "
            "parameter, where two are enough. With 100,000 parameters the matrix alone would fill 40 GB. Let the "
            "vector in before you differentiate again, so that there is one number to differentiate."
        )


def _arithmetic(product: Callable) -> int:
    """Count the floating-point operations of all matrix products in a wide problem, including batched products."""
    arguments = _hessian_vector_inputs(WIDE)
    with FlopCounterMode(display=False) as counter:
        product(*arguments)
    return counter.get_total_flops()


hessian_vector = Exercise(
    answer=solutions.hessian_vector,
    difficulty="hard",
    minutes=15,
    statement=(
        "Compute the Hessian of a loss times a vector, without ever building the Hessian. The vector counts as a "
        "constant, also where it was computed from params."
    ),
    hints=(
        "H·v is the gradient of one number: of g·v, with g the gradient of the loss and v held constant.",
        "So there are two calls of torch.autograd.grad: the first for g, with create_graph=True, the second for the "
        "number g·v, the sum over all tensors of (g * v).sum().",
        "v may hang on params itself: v.detach() is a constant. (Or let autograd do the dot product, by "
        "torch.autograd.grad(grads, params, grad_outputs=vector).)",
    ),
    inputs=_hessian_vector_inputs,
    examine=_examine_hessian_vector,
    in_place=(
        "It changes the parameters or the vector it is given, which the lesson goes on using: the next product would "
        "be taken at another point. Make new tensors instead."
    ),
)


# reptile_update


def _each(update: Callable[[Tensor, Tensor, float], Tensor]) -> Callable:
    """Return a wrong update that turns each parameter into update(p, ends, outer_lr), with its ends [TASKS, ...]."""

    def wrong(params: list[Tensor], adapted: list[list[Tensor]], outer_lr: float) -> list[Tensor]:
        ends = [torch.stack(values) for values in zip(*adapted, strict=True)]
        return [update(p, end, outer_lr) for p, end in zip(params, ends, strict=True)]

    return wrong


def _one_after_another(rate: Callable[[float], float]) -> Callable:
    def update(p: Tensor, ends: Tensor, outer_lr: float) -> Tensor:
        for end in ends:
            p = p + rate(outer_lr) * (end - p)
        return p

    return _each(update)


IN_TURN = (
    "The tasks are applied one after another, each to where the one before it has left the start. The later tasks "
    "then count more, and the result depends on their order. Measure all differences from the same `params`, then "
    "move once."
)

REPTILE_UPDATE_MISTAKES: list[Misconception] = [
    (
        "It moves away from where the tasks ended: the sign is turned around. (θ minus the mean stands in for a "
        "gradient, and an optimizer would subtract that once more.) Which way must the start go to be nearer to them?",
        _each(lambda p, ends, lr: p - lr * (ends - p).mean(dim=0)),
    ),
    (
        "The differences are added up over the tasks, not averaged. With more tasks the step grows, and from "
        f"1 / outer_lr tasks on it overshoots. Here it is {TASKS} times too long. What turns a sum into a mean?",
        _each(lambda p, ends, lr: p + lr * (ends - p).sum(dim=0)),
    ),
    (
        "It jumps to the mean of the ends and ignores outer_lr. A batch of a few tasks then wipes out what all earlier "
        "ones have taught. Go only a part of the way.",
        _each(lambda p, ends, lr: ends.mean(dim=0)),
    ),
    (
        "Only the last task counts; the others' ends are overwritten. The start then chases one task at a time. Where "
        "are the differences of the others kept?",
        _each(lambda p, ends, lr: p + lr * (ends[-1] - p)),
    ),
    (
        "Only the first task counts. The start then chases one task at a time. Does a `return` stand inside the loop, "
        "or an index 0?",
        _each(lambda p, ends, lr: p + lr * (ends[0] - p)),
    ),
    (IN_TURN, _one_after_another(lambda lr: lr)),
    (IN_TURN, _one_after_another(lambda lr: lr / TASKS)),
    (
        "It adds a part of the mean itself, not of the way to it. Then the parameters grow step by step, even where "
        "start and ends agree already. What is the difference between the mean and `params`?",
        _each(lambda p, ends, lr: p + lr * ends.mean(dim=0)),
    ),
    (
        "The weights are swapped: outer_lr of the old start and the rest of the mean. A small outer_lr, meant to be "
        "careful, then forgets nearly everything. Which of the two should stay put when outer_lr is 0?",
        _each(lambda p, ends, lr: lr * p + (1 - lr) * ends.mean(dim=0)),
    ),
    (
        "It returns the change alone, not the changed parameters. What comes back is the next start, so it must begin "
        "with `params`. What is the change added to?",
        _each(lambda p, ends, lr: lr * (ends - p).mean(dim=0)),
    ),
    (
        "The parameters come back as they went in: no step was taken. Where do the ends of the tasks enter?",
        _each(lambda p, ends, lr: p),
    ),
    (
        "The mean divides by the number of tensors, not of tasks: with a deeper network the steps would be shorter. "
        "Over what does `adapted` run first?",
        _each(lambda p, ends, lr: p + lr * (ends - p).sum(dim=0) / len(NAMES)),
    ),
]


def _examine_reptile_update(attempt: Callable) -> None:
    arguments = params, *_ = _reptile_update_inputs()
    updated = attempt(*arguments)
    _expect_like(updated, params, "the new parameters")
    compare(
        _named(updated),
        _named(solutions.reptile_update(*arguments)),
        mistakes=((message, _named(wrong(*arguments))) for message, wrong in REPTILE_UPDATE_MISTAKES),
        inputs="exercises.reptile_update.inputs()",
    )


reptile_update = Exercise(
    answer=solutions.reptile_update,
    difficulty="easy",
    minutes=10,
    statement=(
        "Move the start a part outer_lr of the way towards the mean of where the tasks ended: Reptile's outer update."
    ),
    hints=(
        "For each parameter: where did the tasks end on average, and how far is that from the start?",
        "zip(*adapted) goes over the parameters and gives, for each, its ends in all tasks. "
        "torch.stack(ends).mean(dim=0) is their mean.",
        "The new parameter is p + outer_lr * (mean - p): at outer_lr = 0 it stays, at 1 it is the mean.",
    ),
    inputs=_reptile_update_inputs,
    examine=_examine_reptile_update,
    in_place=(
        "It changes the parameters, or the tasks' ends, in place. The start that the differences are measured from "
        "would be gone before the last task is looked at. Make new tensors and leave the arguments as they were."
    ),
)
