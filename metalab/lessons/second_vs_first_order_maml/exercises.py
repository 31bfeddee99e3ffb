"""The exercises of the orders lesson: an inner step that keeps its graph, a Hessian-vector product, Reptile's update.

The learner's functions see the parameters as a list of tensors, and a loss as a function of such a list.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..kit.comparing import Case, Misconception, Numbers, Wrong, agree, describe
from ..kit.exercise import Exercise
from . import solutions

__all__ = ["adapt", "hessian_vector", "reptile_update"]

LossOfParams = Callable[[Sequence[Tensor]], Tensor]
Shapes = tuple[tuple[int, ...], ...]

# The shapes of the cases' tensors. Where they are all the same, a function that mixes tensors up returns numbers, which
# tell what it does. So these two cases are compared first.
TWO, THREE = ((3, 3),) * 2, ((4, 4),) * 3
FOUR = ((3, 4), (4,), (4, 2), (2,))
FIVE = ((2, 5), (5,), (5, 3), (3,), (3, 4))
WORDS = {
    TWO: "two tensors of one shape",
    THREE: "three tensors of one shape",
    FOUR: "four tensors of different shapes",
    FIVE: "five tensors of different shapes",
}

EXACT = 1e-12  # the relative error that derivatives in double precision stay below, and finite differences do not
AND_OTHERS = " and other values"  # for the case with the shapes of the first one, which tells what is kept by shapes
CLOSE = 1e-5  # the relative error up to which a result counts as a sum of known parts, rounding apart


# The problems of the checks


def _draw(shapes: Iterable[tuple[int, ...]], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _params(shapes: Shapes, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [p.to(dtype).requires_grad_() for p in _draw(shapes, seed)]


def _loss(shapes: Shapes, seed: int) -> LossOfParams:
    """Return the mean squared error of a smooth network on six points, as a function of a list of tensors.

    It computes in the precision of the list.
    """
    x, y = _draw([(6, shapes[0][0]), (6, shapes[-1][-1])], seed)

    def loss(params: Sequence[Tensor]) -> Tensor:
        if not isinstance(params, tuple | list) or not all(isinstance(p, Tensor) for p in params):
            raise TypeError(f"loss takes one argument, a list of tensors like `params`; it got {describe(params)}")
        if len(params) != len(shapes):
            raise TypeError(f"loss takes the whole list of {len(shapes)} tensors; it got {len(params)}")
        answers, wanted = (values.to(params[0].dtype) for values in (x, y))
        for p in params:
            answers = torch.tanh(answers) @ p if p.dim() > 1 else answers + p
        return ((answers - 50 * wanted) ** 2).mean()  # its gradients are longer than people's limits for them

    loss.__qualname__ = "loss"  # what Python's messages call it
    return loss


def _gradient(loss: LossOfParams, params: Sequence[Tensor], **options: bool) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss(params), params, **options)


# Lists of tensors, and what they are made of


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])


def _like(values: Tensor, params: Sequence[Tensor]) -> list[Tensor]:
    """Return a long vector in pieces that are shaped like params."""
    pieces = values.split([p.numel() for p in params])
    return [piece.view_as(p) for piece, p in zip(pieces, params, strict=True)]


def _of_one_shape(tensors: Iterable[Tensor]) -> bool:
    return len({tensor.shape for tensor in tensors}) == 1


def _weights(target: Iterable[Tensor], *parts: Iterable[Tensor], error: float = CLOSE) -> list[float] | None:
    """Return what each part must be multiplied by, so that they add up to the target. None: they cannot."""
    wanted, columns = _flat(target), torch.stack([_flat(part) for part in parts], dim=1)
    sizes = columns.norm(dim=0)
    sizes[sizes == 0] = 1
    shares = torch.linalg.lstsq(columns / sizes, wanted[:, None], driver="gelsd").solution[:, 0]
    if (columns / sizes @ shares - wanted).norm() > error * wanted.norm():
        return None
    shares[shares.abs() <= CLOSE * wanted.norm()] = 0
    return (shares / sizes).tolist()


def _same(*values: float) -> bool:
    return all(abs(value - values[0]) <= 1e-4 * abs(values[0]) for value in values)


def _sum_in_words(weights: Mapping[str, float]) -> str:
    """Return a sum of named parts in words, such as "v minus 0.2 times H·v"."""
    words = ""
    for name, weight in sorted(weights.items(), key=lambda item: item[1] < 0):
        if weight:
            sign = "minus " if weight < 0 else "plus " if words else ""
            times = "" if _same(1, abs(weight)) else f"{abs(weight):.4g} times "
            words += f"{' ' if words else ''}{sign}{times}{name}"
    return words or "zero"


# How a function is tried


@dataclass
class _Call:
    """One call of the reader's function, with the values of its loss that were computed meanwhile."""

    arguments: tuple
    result: Any = None
    losses: list[Tensor] = field(default_factory=list)

    def watching(self, loss: LossOfParams) -> LossOfParams:
        @functools.wraps(loss)
        def watched(params: Sequence[Tensor]) -> Tensor:
            self.losses.append(loss(params))
            return self.losses[-1]

        return watched

    def can_be_explained(self) -> bool:
        """Tell whether the result has the right shapes, and finite numbers."""
        expected = next(part for part in self.arguments if isinstance(part, list))
        shapes = all(tensor.shape == p.shape for tensor, p in zip(self.result, expected, strict=True))
        return shapes and all(t.isfinite().all() for t in self.result)


def _code(name: str, number: int) -> str:
    """Return the code that makes the arguments of a case, for messages."""
    return f"exercises.{name}.inputs({number or ''})"


def _agree(
    attempt: Callable,
    *,
    answer: Callable,
    cases: Sequence[Case],
    numbers: Callable[[Any, tuple], Numbers],
    explain: Callable[[list[_Call]], Iterator[Misconception]],
    tip: Callable[[str, _Call], str | None],
    tolerance: float | None = None,
) -> None:
    """Compare the reader's function with our answer, as the kit does. An error that stops it gets a tip.

    `explain` yields known mistakes, and raises `Wrong` if the calls themselves tell more than the known mistakes.
    """
    calls: list[_Call] = []

    def tried(first: Any, *others: Any) -> Any:
        call = _Call((first, *others))
        before = _grads(call.arguments)
        try:
            call.result = attempt(call.watching(first) if callable(first) else first, *others)
        except Wrong as stopped:
            says = str(stopped)
            if says.startswith("It stopped with"):
                words = tip(says, call)
                if 0 < len(calls) < len(cases):
                    says = f"With {cases[len(calls)].what}, i{says[1:]}"
                    words = f"{words or ''} With {cases[0].what} it does not stop.".strip()
                says += f". {words}" if words else ""
            raise Wrong(says) from None
        if not _equal(before, _grads(call.arguments)):
            raise Wrong(GRAD_LOST if any(grad is not None for grad in before) else GRAD_LEFT)
        if len(calls) < len(cases):  # later calls repeat these
            calls.append(call)
        return call.result

    agree(
        tried,
        name=answer.__name__,
        cases=cases,
        right=answer,
        numbers=numbers,
        mistakes=_explained(calls, answer, cases, explain),
        tolerance=tolerance,
    )


def _numbers(result: Any, params: Sequence[Tensor], what: str) -> Numbers:
    """Return the tensors of a result, which is to be a list like params. Messages call it `what`."""
    wanted = f"It should return {what} as one list of {len(params)} tensors, like `params`"
    if isinstance(result, Iterator):
        raise Wrong(f"{wanted}; yours is {describe(result)}, which is empty after one loop over it. Use list(…).")
    if not isinstance(result, tuple | list):
        raise Wrong(f"{wanted}; yours is {describe(result)}.")
    strange = [part for part in result if not isinstance(part, Tensor)]
    if any(isinstance(part, tuple | list) and any(isinstance(p, Tensor) for p in part) for part in strange):
        raise Wrong(
            f"{wanted}; yours is {describe(result)} that has a list in it. Is there one list too many, or does a "
            "function that you call return more than you need?"
        )
    if strange:
        raise Wrong(f"{wanted}; in yours there is {describe(strange[0])}.")
    if len(result) < len(params):
        raise Wrong(f"{wanted}; yours has {len(result)}. Does your code go over all of them, however many there are?")
    if len(result) > len(params):
        raise Wrong(f"{wanted}; yours has {len(result)}, which is too many. What adds the others to your list?")
    return {f"result[{i}]": tensor.detach() for i, tensor in enumerate(result)}


def _expect_precision(result: Any, params: Sequence[Tensor], what: str) -> None:
    """Expect tensors in the precision of params, where that is single."""
    for tensor in result if isinstance(result, tuple | list) else []:
        if isinstance(tensor, Tensor) and params[0].dtype == torch.float32 != tensor.dtype:
            raise Wrong(
                f"The numbers are right in double precision. But where `params` are in single precision (float32), "
                f"{what} has a tensor in {str(tensor.dtype).removeprefix('torch.')}. It should have the precision of "
                "`params`. Is a precision written into the code?"
            )


GRAD_LEFT = (
    "It leaves a gradient in the .grad of `params`, as backward() does. Later gradients are added to it, and an outer "
    "optimizer would take it for the meta-gradient. Look for the function of torch.autograd that returns gradients "
    "instead."
)
GRAD_LOST = (
    "`params` came with gradients in their .grad, and it has changed them, as backward() and clearing .grad do. An "
    "outer optimizer may still need them. torch.autograd.grad returns gradients and leaves .grad alone."
)


def _grads(arguments: tuple) -> list[Tensor | None]:
    """Return copies of what is in the .grad of the parameters."""
    params = next((part for part in arguments if isinstance(part, list)), [])
    return [None if p.grad is None else p.grad.detach().clone() for p in params]


def _equal(before: list[Tensor | None], after: list[Tensor | None]) -> bool:
    return all(
        (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b))
        for a, b in zip(before, after, strict=True)
    )


KEPT = (
    "It returns the result of an earlier call, in which the tensors had the same shapes, but other values. The shapes "
    "do not say what the values are. Compute the result anew in each call."
)
BY_SHAPES = (
    "It is right with {}, but wrong with {}. The shapes are the same, so a part that belongs to the values may have "
    "been chosen by the shapes: kept from an earlier call, or written into the code."
)


def _explained(
    calls: list[_Call], answer: Callable, cases: Sequence[Case], explain: Callable[[list[_Call]], Iterator]
) -> Iterator[Misconception]:
    """Yield known mistakes. Raise `Wrong` for what can go wrong in the same way in each exercise."""
    yield from _unlike_the_first(calls, answer, cases)
    yield from explain(calls)


def _unlike_the_first(calls: list[_Call], answer: Callable, cases: Sequence[Case]) -> Iterator[Misconception]:
    rights = [_flat(answer(*case.make())) for case in cases]
    results = [_flat(call.result) for call in calls]
    pairs = list(zip(results, rights, strict=True))
    off = [
        case.what
        for case, call, (got, right) in zip(cases, calls, pairs, strict=True)
        if not call.can_be_explained() or (got - right).norm() > CLOSE * right.norm()
    ]
    if off == [cases[0].what + AND_OTHERS]:
        if results[-1].shape == rights[0].shape and (results[-1] - rights[0]).norm() <= CLOSE * rights[0].norm():
            raise Wrong(KEPT)
        raise Wrong(BY_SHAPES.format(cases[0].what, *off))
    for decimals in range(1, 8):
        if all(torch.equal(got, right.round(decimals=decimals)) for got, right in pairs):
            raise Wrong(
                f"The numbers are right, but rounded to {decimals} decimal places. The lesson goes on computing with "
                "them, and the errors would add up. Return the numbers as they are."
            )
    yield from ()


# What to say about errors whose message contains one of these pieces; the first one counts
OF_LISTS = {
    "unpack": (
        "There are more values than names for them, or fewer. `params` may hold any number of tensors: a loop goes "
        "over all of them, and zip over two lists side by side."
    ),
    "index out of range": "How many tensors there are is len(params).",
    "The size of tensor": (
        "Tensors meet there whose shapes do not fit. Is each one paired with its own partner, and is each sum or mean "
        "taken over the right axis?"
    ),
    "stack expects each tensor": "The tensors in `params` may differ in shape, so they cannot be stacked.",
    "an't multiply sequence": "A list of tensors cannot be multiplied as a whole. Go through its tensors one by one.",
    "'list' object is not callable": (
        "A list is called there as if it were a function. Are your function's arguments in the right order? loss comes "
        "first, then params."
    ),
    "'list'": "A whole list meets something else there. Go through the lists tensor by tensor.",
    "same dtype": "Tensors of different precisions meet there. Keep to the precision of `params`.",
    "inhomogeneous": "The tensors may differ in shape, so they do not fit into one array. Go through them one by one.",
}
OF_GRADIENTS = {
    "'NoneType' object": (
        "Something is None there. One function that returns nothing is backward(); torch.autograd.grad returns the "
        "gradients."
    ),
    "NoneType": (
        "Something is None there. A gradient is, if it is asked for a tensor that the loss was not computed from, and "
        ".grad is, until backward() has filled it."
    ),
    "leaf Variable": (
        "A tensor that autograd follows is changed in place there, and that cannot be differentiated. Make a new "
        "tensor, as p - … does."
    ),
    "One of the differentiated Tensors does not require grad": (
        "The derivative is asked for with respect to tensors that autograd does not follow, such as detached copies "
        "or constants. Ask for it with respect to `params`."
    ),
    "not have been used in the graph": (
        "The derivative is asked for with respect to tensors that play no part in what is differentiated. Is one of "
        "the two a copy, or made anew from a number, as with item()? A number does not know what it came from."
    ),
    "a second time": (
        "The first differentiation has freed the graph, and a later one needs it. Ask for all gradients in one call, "
        "or keep the graph."
    ),
    "'function' object": "A function is there, where its value is meant, such as loss(params).",
    "'float' object": "A plain number is there. item() and float() make one of a tensor, and numbers have no graph.",
    "1D tensors expected": "torch.dot is for tensors with one axis; (g * v).sum() is for those of any shape.",
    "loss() takes 1 positional": "loss takes the whole list as its one argument, as in loss(params).",
    "only for scalar outputs": "Only one number can be differentiated like that, and this is more than one.",
}


def _tip(says: str, tips: Mapping[str, str]) -> str | None:
    error = says.partition(", at line ")[0]
    return next((tip for piece, tip in tips.items() if piece in error), None)


# adapt


def _adapt_case(shapes: Shapes, inner_lr: float) -> Case:
    return Case(what=WORDS[shapes], make=lambda: (_loss(shapes, seed=1), _params(shapes), inner_lr))


def _single() -> list[Tensor]:
    """Return parameters in single precision, with gradients from before."""
    params = _params(FOUR, dtype=torch.float32)
    for p in params:
        p.grad = torch.ones_like(p)
    return params


SINGLE_WORDS = f"{WORDS[FOUR]} and single precision"
ADAPT_CASES = [
    _adapt_case(TWO, 0.06),
    _adapt_case(THREE, 0.025),
    _adapt_case(FIVE, 0.013),
    Case(what=SINGLE_WORDS, make=lambda: (_loss(FOUR, seed=1), _single(), 0.035)),
]
OTHER_ADAPT_CASE = Case(what=WORDS[TWO] + AND_OTHERS, make=lambda: (_loss(TWO, seed=4), _params(TWO, seed=3), 0.045))


def _step(changes: Callable[[Sequence[Tensor], float], Iterable[Tensor]]) -> Callable:
    """Return a step that adds changes(gradients, inner_lr) to the parameters, one change to each."""

    def step(loss: LossOfParams, params: list[Tensor], inner_lr: float) -> list[Tensor]:
        gradients = _gradient(loss, params, create_graph=True)
        return [p + c for p, c in zip(params, changes(gradients, inner_lr), strict=True)]

    return step


def _mixed(chosen: Callable[[Sequence[Tensor]], Sequence[Tensor]]) -> Callable:
    """Return a step along chosen(gradients), which can be taken only where all shapes are the same."""

    def changes(gradients: Sequence[Tensor], inner_lr: float) -> list[Tensor]:
        return [-inner_lr * g for g in (chosen(gradients) if _of_one_shape(gradients) else gradients)]

    return _step(changes)


def _each(new: Callable[[Tensor, Tensor, float], Tensor], **options: bool) -> Callable:
    """Return a step to new(p, gradient, inner_lr) for each parameter, with gradients that are taken with options."""
    return lambda loss, params, lr: [
        new(p, g, lr) for p, g in zip(params, _gradient(loss, params, **options), strict=True)
    ]


def _clipped(most: float) -> Callable:
    return _each(lambda p, g, lr: p - lr * g.clamp(-most, most))


def _shortened(most: float) -> Callable:
    """Return a step along the gradients, which are scaled down if all together they are longer than that."""
    return _step(lambda gradients, lr: [-lr * g * min(1, most / _flat(gradients).norm().item()) for g in gradients])


def _several(steps: int) -> Callable:
    def step(loss: LossOfParams, params: list[Tensor], inner_lr: float) -> list[Tensor]:
        for _ in range(steps):
            params = solutions.adapt(loss, params, inner_lr)
        return params

    return step


def _along_hg(loss: LossOfParams, params: list[Tensor], inner_lr: float) -> list[Tensor]:
    """Take a step along the Hessian times the gradient."""
    gradients = _gradient(loss, params, create_graph=True)
    products = torch.autograd.grad(gradients, params, [g.detach() for g in gradients])
    return [p - inner_lr * h for p, h in zip(params, products, strict=True)]


def _one_by_one(loss: LossOfParams, params: list[Tensor], inner_lr: float) -> list[Tensor]:
    """Take a step for each tensor, where the tensors before it have moved already."""
    moved = list(params)
    for i, p in enumerate(params):
        moved[i] = p - inner_lr * torch.autograd.grad(loss(moved), moved[i], create_graph=True)[0]
    return moved


def _blockwise(loss: LossOfParams, params: list[Tensor], inner_lr: float) -> list[Tensor]:
    """Take a step that is right, except that each gradient depends on its own tensor alone."""
    adapted = []
    for i, p in enumerate(params):
        inputs = [q if j == i else q.detach() for j, q in enumerate(params)]
        adapted.append(p - inner_lr * torch.autograd.grad(loss(inputs), p, create_graph=True)[0])
    return adapted


CHANGE_ALONE = (
    "It returns the gradients, or a multiple of them, and not the changed parameters. The query loss would then be "
    "taken at a point near zero. What must the change be added to?"
)
OTHERS_GRADIENT = (
    "A tensor is moved by a gradient that belongs to another one. Where the shapes fit, PyTorch does not complain, but "
    "the loss need not fall. Do parameters and gradients go through your loop side by side?"
)
SUM_OF_ALL = (
    "Every tensor is moved by the sum or the mean of all tensors' gradients. Each tensor has a gradient of its own, "
    "which alone says how the loss changes with it. Are they added up anywhere?"
)
REDUCED = (
    "Each gradient is reduced by a sum or a mean, so that several entries of a tensor move equally far. A gradient has "
    "one number for each entry of its tensor. Use it as it is."
)
NORMALISED = (
    "The gradient is scaled to length 1, by a division or by clipping, so the step is equally long however steep the "
    "loss is. MAML uses the gradient as it is, and its Hessian is that of the loss."
)
CLIPPED = (
    "Large gradients are cut down to a limit. Where that happens the step is shorter than inner_lr says, and the "
    "Hessian's term changes too. Use the gradient as it is."
)
SEVERAL_STEPS = (
    "It takes more than one step. One step is asked for; the lesson calls the function again for each further step, "
    "and needs the points in between. Is there a loop over steps?"
)
GRAPH_LOST = (
    "The numbers are right, but autograd takes your gradients for constants: the graph is cut between `params` and the "
    "gradients. The factor I - αH becomes I, which is first-order MAML. What must autograd keep while it computes "
    "gradients, and of which tensors?"
)
GRAPH_THROWN_AWAY = (
    "The numbers are right and the loss has kept its graph, but autograd takes your gradients for constants, so this "
    "is first-order MAML. retain_graph keeps how the loss was computed. create_graph keeps how its gradients were, and "
    "detach or .data cuts that again."
)
ONLY_SIGNS = (
    "Each entry of the gradient is divided by its own size, so that hardly more than its sign is left, and every entry "
    "moves about equally far. Use the gradient as it is."
)
GRAPH_WRONG = (
    "The numbers are right, but autograd's record of how they depend on `params` is not, so the meta-gradient is "
    "wrong. A part of the graph is cut off, or counts twice. Look for detach, .data and copies."
)
ROUNDED = (
    "The numbers are right to a few digits only, and the loss is called many times. It is like that where a gradient "
    "is measured by differences of the loss. torch.autograd.grad gives it exactly, and for less."
)

WRONG_STEPS: list[Misconception] = [
    (
        "The step climbs: a gradient points uphill, and here it is added. The new parameters have a larger loss than "
        "the old ones. Which sign leads downhill?",
        _each(lambda p, g, lr: p + lr * g),
    ),
    (
        "The learning rate is missing: the step is one whole gradient, whatever inner_lr is. The Hessian's term would "
        "then weigh 1 instead of α. Where does inner_lr belong?",
        _each(lambda p, g, lr: p - g),
    ),
    (
        "The learning rate comes in twice, so the step is inner_lr squared times the gradient, which is too short. "
        "First and second order would hardly differ. Find the second place that multiplies by it.",
        _each(lambda p, g, lr: p - lr**2 * g),
    ),
    (
        "The gradient is divided by inner_lr, not multiplied with it, so a smaller rate makes a longer step. What "
        "should the step be when the rate is zero?",
        _each(lambda p, g, lr: p - g / lr),
    ),
    (
        "The step is divided by the number of tensors, so it is shorter for a deeper network. inner_lr alone says how "
        "long a step is. Is a mean taken over the list?",
        _step(lambda gradients, lr: [-lr * g / len(gradients) for g in gradients]),
    ),
    (
        "The gradient is divided by the number of entries of its tensor, so larger tensors move less far. The gradient "
        "says for each entry how the loss changes with it. Use it as it is.",
        _each(lambda p, g, lr: p - lr * g / g.numel()),
    ),
    (
        "The gradient is divided by the loss, and that is the gradient of the loss's logarithm. Differentiate "
        "loss(params) itself.",
        lambda loss, params, lr: [
            p - lr * g / loss(params) for p, g in zip(params, _gradient(loss, params), strict=True)
        ],
    ),
    (
        "The step goes along H·g, the Hessian times the gradient, and not along the gradient. The Hessian comes in by "
        "itself, when an outer loss is differentiated through the step.",
        _along_hg,
    ),
    (
        "The change is multiplied with the parameter itself: p · (1 - inner_lr · g), not p - inner_lr · g. A parameter "
        "that is zero could then never move. What is subtracted from p?",
        _each(lambda p, g, lr: p - lr * g * p),
    ),
    (OTHERS_GRADIENT, _mixed(lambda gradients: gradients[::-1])),
    (OTHERS_GRADIENT, _mixed(lambda gradients: gradients[:1] * len(gradients))),
    (OTHERS_GRADIENT, _mixed(lambda gradients: gradients[-1:] * len(gradients))),
    (OTHERS_GRADIENT, _mixed(lambda gradients: gradients[1:] + gradients[:1])),
    (SUM_OF_ALL, _mixed(lambda gradients: [sum(gradients)] * len(gradients))),
    (SUM_OF_ALL, _mixed(lambda gradients: [sum(gradients) / len(gradients)] * len(gradients))),
    (
        "Only the first tensor's gradient is used, and every tensor is moved by one row of it. torch.autograd.grad "
        "returns a tuple with a gradient for each tensor. Has an index taken one of them out?",
        _mixed(lambda gradients: list(gradients[0])[: len(gradients)]),
    ),
    (
        "The gradient is transposed before it is subtracted. A gradient has the shape of its tensor, and its entries "
        "belong to the same places. Use it as it is.",
        _each(lambda p, g, lr: p - lr * (g.mT if g.shape == g.mT.shape else g)),
    ),
    (
        "The loss itself is subtracted, and not its gradient. The loss is one number; how it changes with each entry "
        "of the parameters is what torch.autograd.grad returns.",
        lambda loss, params, lr: [p - lr * loss(params) for p in params],
    ),
    (
        "The tensors are moved one after another, and the later gradients are taken where the earlier tensors have "
        "moved already. In one gradient step all gradients are those at `params`.",
        _one_by_one,
    ),
    *((REDUCED, _each(lambda p, g, lr, reduce=reduce: p - lr * reduce(g))) for reduce in (torch.sum, torch.mean)),
    *((REDUCED, _each(lambda p, g, lr, reduce=reduce: p - lr * reduce(g, 0))) for reduce in (torch.sum, torch.mean)),
    *(
        (REDUCED, _each(lambda p, g, lr, reduce=reduce: p - lr * reduce(g, -1, keepdim=True)))
        for reduce in (torch.sum, torch.mean)
    ),
    (
        "Only the sign of the gradient is used, so every entry moves equally far. A sign has no derivative, so first "
        "and second order would be the same. Use the gradient itself.",
        _each(lambda p, g, lr: p - lr * g.sign()),
    ),
    (NORMALISED, _each(lambda p, g, lr: p - lr * g / g.norm())),
    (NORMALISED, _step(lambda gradients, lr: [-lr * g / _flat(gradients).norm() for g in gradients])),
    *((CLIPPED, _clipped(most)) for most in (1, 5, 10)),
    *((CLIPPED, _shortened(most)) for most in (5, 10)),
    *((SEVERAL_STEPS, _several(steps)) for steps in (2, 3, 5)),
    (
        "The parameters come back as they went in: no step was taken. Where do the gradients enter? (A loop that gives "
        "its own variable a new value changes no list.)",
        lambda loss, params, lr: params,
    ),
    (CHANGE_ALONE, lambda loss, params, lr: _gradient(loss, params)),
]

WRONG_GRAPHS: list[Misconception] = [  # the numbers are right, and only the meta-gradient through them is not
    (
        "The numbers are right, but the result is cut off from `params`: autograd does not know that the step started "
        "there. The meta-gradient is zero, and the start is never learned. Look for no_grad, detach or .data.",
        _each(lambda p, g, lr: (p - lr * g).detach()),
    ),
    (GRAPH_LOST, _each(lambda p, g, lr: p - lr * g)),
    (GRAPH_THROWN_AWAY, _each(lambda p, g, lr: p - lr * g, retain_graph=True)),
    (
        "The numbers are right, but the p that the gradient is subtracted from counts as a constant. In the "
        "meta-gradient the I of I - αH is lost, and only the Hessian's term is left. Subtract from `params` "
        "themselves, not from a copy without a graph.",
        _each(lambda p, g, lr: p.detach() - lr * g, create_graph=True),
    ),
    (
        "The numbers are right, but how each gradient changes with the other tensors is cut off: only the Hessian's "
        "diagonal blocks are left in the meta-gradient. Take all gradients of one loss, with no tensor detached.",
        _blockwise,
    ),
]

ADAPT_MISTAKES = WRONG_STEPS + WRONG_GRAPHS


def _adapt_tip(says: str, call: _Call) -> str | None:
    if "element 0 of tensors does not require grad" in says:
        return (
            "The graph was cut before the gradient was taken: what is differentiated does not know that it came from "
            "`params`. Look for no_grad, detach or .data."
        )
    return _tip(says, OF_LISTS | OF_GRADIENTS)


def _new_parameters(result: Any, arguments: tuple) -> Numbers:
    _expect_precision(result, arguments[1], "the result")
    return _numbers(result, arguments[1], "the new parameters")


def _meta_gradient(adapted: Sequence[Tensor], arguments: tuple) -> Numbers:
    """Return the gradient of an outer loss of the new parameters with respect to the old ones."""
    params = arguments[1]
    outer = _loss(tuple(tuple(p.shape) for p in params), seed=2)(adapted)
    gradients = [torch.zeros_like(p) for p in params]
    if outer.requires_grad:
        gradients = torch.autograd.grad(outer, params, retain_graph=True, allow_unused=True, materialize_grads=True)
    return {f"the meta-gradient at params[{i}]": g.detach() for i, g in enumerate(gradients)}


def _facts_of_step(calls: list[_Call]) -> str | None:
    """Say what the new parameters are, if they are sums of the old ones and of the gradients."""
    starts, steps, rates = [], [], []  # for each call: the weights of p and of -g, for each tensor, and the rate
    for call in calls:
        loss, params, inner_lr = call.arguments
        triples = zip(call.result, params, _gradient(loss, params), strict=True)
        weights = [_weights([new], [p], [-g]) for new, p, g in triples]
        if None in weights:
            return ONLY_SIGNS if all(map(_nearly_signs, calls)) else None
        starts.append([p for p, _g in weights])
        steps.append([g for _p, g in weights])
        rates.append(inner_lr)
    if not any(map(any, starts)):
        return CHANGE_ALONE if any(map(any, steps)) else None
    keeps_start = all(_same(1, *of_call) for of_call in starts)
    some = next((number for number, of_call in enumerate(steps) if 0 in of_call), None)
    right_if_any = all(_same(rate, *filter(None, of_call)) for rate, of_call in zip(rates, steps, strict=True))
    if keeps_start and some is not None and right_if_any:
        still = [f"result[{i}]" for i, step in enumerate(steps[some]) if step == 0]
        return (
            f"Only some of the tensors move. With {ADAPT_CASES[some].what}, {' and '.join(still)} did not. ANIL adapts "
            "one layer alone, but MAML adapts every parameter. Does your update run over the whole list?"
        )
    if not all(_same(*of_call) for of_call in starts + steps):
        return None
    found = [of_call[0] for of_call in steps]
    factors = [step / rate for step, rate in zip(found, rates, strict=True)]
    if keeps_start and _same(1, *factors):
        return None
    if keeps_start and _same(*found) and found[0] > 0:
        return (
            f"The step is {found[0]:.4g} times the gradient, whatever inner_lr is. Is a rate written into the code? "
            "The lesson calls the function with rates of its own, so use the argument."
        )
    if keeps_start and _same(*factors) and factors[0] > 0:
        return (
            f"The step is {factors[0]:.4g} times as long as it should be, and right otherwise. What else, apart from "
            "inner_lr, multiplies or divides the gradient?"
        )
    off = (i for i, rate in enumerate(rates) if not (_same(1, *starts[i]) and _same(rate, found[i])))
    shown = next(off, 0)
    return (
        f"With the arguments {_code('adapt', shown)}, where inner_lr is {rates[shown]:g}, each result is "
        f"{_sum_in_words({'p': starts[shown][0], 'its gradient': -found[shown]})}. It should be p minus "
        f"{rates[shown]:g} times its gradient."
    )


def _nearly_signs(call: _Call) -> bool:
    loss, params, inner_lr = call.arguments
    signs = torch.sign(_flat(_gradient(loss, params)))
    return bool(((_flat(params) - _flat(call.result)) / inner_lr - signs).abs().max() < 0.01)


def _explain_step(calls: list[_Call]) -> Iterator[Misconception]:
    yield from WRONG_STEPS
    if not all(call.can_be_explained() for call in calls):
        return
    if says := _facts_of_step(calls):
        raise Wrong(says)
    if all(_nearly_right(call) and len(call.losses) > len(call.result) for call in calls):
        raise Wrong(ROUNDED)


def _nearly_right(call: _Call) -> bool:
    right = _flat(solutions.adapt(*call.arguments))
    return bool((_flat(call.result) - right).norm() < 1e-3 * right.norm())


def _explain_graph(calls: list[_Call]) -> Iterator[Misconception]:
    """Yield the known mistakes. Of two with the same meta-gradient, the loss tells which one it is."""
    other = GRAPH_LOST if _still_has_its_graph(calls[0]) else GRAPH_THROWN_AWAY
    yield from (mistake for mistake in WRONG_GRAPHS if mistake[0] != other)
    raise Wrong(next(filter(None, map(_facts_of_graph, calls)), GRAPH_WRONG))


def _facts_of_graph(call: _Call) -> str | None:
    """Say what is left of I - αH, if each tensor of the result has some multiple of I and some multiple of αH."""
    params = call.arguments[1]
    found = []
    for i, (got, right) in enumerate(zip(call.result, solutions.adapt(*call.arguments), strict=True)):
        (along,) = _draw([got.shape], seed=5)
        whole = _pulled_back(right, along, params)
        identity = [along if j == i else torch.zeros_like(p) for j, p in enumerate(params)]
        hessian = [a - b for a, b in zip(whole, identity, strict=True)]
        weights = _weights(_pulled_back(got, along, params), identity, hessian)
        if weights is None:
            return None
        found.append(tuple(round(weight, 4) for weight in weights))
    if set(found) == {(1, 1)}:
        return None
    if len(set(found)) == 1:
        return (
            f"The numbers are right, but the factor I - αH of the meta-gradient is {found[0][0]:g} · I - "
            f"{found[0][1]:g} · αH instead. The first number is how often p counts, the second how often the gradient "
            "does. Look for detach, .data and copies."
        )
    words = {(1, 1): "right", (1, 0): "of first order, with a constant gradient", (0, 0): "cut off from `params`"}
    if not set(found) <= words.keys():
        return None
    each = ", ".join(f"result[{i}] is {words[weights]}" for i, weights in enumerate(found))
    return (
        f"The numbers are right, but autograd does not treat the tensors alike: {each}. In the meta-gradient, each one "
        "should have the factor I - αH. Does everything that keeps the graph hold for all of them?"
    )


def _pulled_back(tensor: Tensor, along: Tensor, params: Sequence[Tensor]) -> Sequence[Tensor]:
    """Return the derivative of a tensor's dot product with `along`."""
    if not tensor.requires_grad:
        return [torch.zeros_like(p) for p in params]
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    return torch.autograd.grad(tensor, params, along, **options)


def _still_has_its_graph(call: _Call) -> bool:
    try:
        torch.autograd.grad(call.losses[-1], call.arguments[1], retain_graph=True)
    except (IndexError, RuntimeError):  # no loss was computed, or its graph was freed when the gradients were taken
        return False
    return True


def _examine_adapt(attempt: Callable) -> None:
    check = functools.partial(_agree, attempt, answer=solutions.adapt, tip=_adapt_tip)
    check(cases=ADAPT_CASES[:2], numbers=_new_parameters, explain=_explain_step, tolerance=EXACT)
    check(cases=[*ADAPT_CASES[:3], OTHER_ADAPT_CASE], numbers=_new_parameters, explain=_explain_step, tolerance=EXACT)
    check(cases=ADAPT_CASES[:3], numbers=_meta_gradient, explain=_explain_graph, tolerance=EXACT)
    check(cases=ADAPT_CASES, numbers=_new_parameters, explain=_explain_step)


adapt = Exercise(
    answer=solutions.adapt,
    difficulty="easy",
    minutes=5,
    statement=(
        "Take one gradient step on any loss of a list of tensors and return the new list, so that an outer loss can "
        "be differentiated through the step, with second derivatives."
    ),
    hints=(
        "There are three parts: the loss at params, its gradients, and a list of new tensors, p minus something for "
        "each p.",
        "torch.autograd.grad(loss(params), params) returns the gradients in the order of params and changes nothing.",
        "Without more, those gradients are constants. With create_graph=True autograd also remembers how they were "
        "computed.",
    ),
    cases=ADAPT_CASES,
    examine=_examine_adapt,
    in_place=(
        "It changes `params`, and they are the start that all tasks share: the next task would set out from where this "
        "one ended. Make new tensors in a new list, and leave `params` as they were."
    ),
)


# hessian_vector

WIDE: Shapes = ((6, 6), (6, 6))  # 72 parameters, for which a whole Hessian costs some 70 products
COSTLY = 12  # times our arithmetic: any way of taking a product needs less, and a Hessian far more


def _hessian_vector_case(shapes: Shapes, of_params: bool) -> Case:
    """Return a case whose vector is computed from the parameters, as the gradient of another loss, or is a constant."""

    def make() -> tuple[LossOfParams, list[Tensor], list[Tensor]]:
        params = _params(shapes)
        vector = list(_gradient(_loss(shapes, seed=2), params, create_graph=True))
        return _loss(shapes, seed=1), params, vector if of_params else [v.detach() for v in vector]

    return Case(what=WORDS.get(shapes, "wide tensors"), make=make)


def _with_a_constant(loss: LossOfParams, params: list[Tensor]) -> tuple[LossOfParams, list[Tensor], list[Tensor]]:
    shapes = tuple(tuple(p.shape) for p in params)
    return loss, params, [g.detach() for g in _gradient(_loss(shapes, seed=2), params)]


HESSIAN_VECTOR_CASES = [
    _hessian_vector_case(TWO, of_params=True),
    _hessian_vector_case(THREE, of_params=True),
    _hessian_vector_case(FIVE, of_params=False),
    Case(what=SINGLE_WORDS, make=lambda: _with_a_constant(_loss(FOUR, seed=1), _single())),
]
OTHER_HESSIAN_VECTOR_CASE = Case(
    what=WORDS[TWO] + AND_OTHERS, make=lambda: _with_a_constant(_loss(TWO, seed=4), _params(TWO, seed=3))
)


class _Second:
    """The arguments and the derivatives of a case as long vectors, and the Hessian as a matrix."""

    def __init__(self, loss: LossOfParams, params: list[Tensor], vector: list[Tensor]) -> None:
        gradients = _gradient(loss, params, create_graph=True)
        entries = torch.cat([g.flatten() for g in gradients])
        self.params = params
        self.value = loss(params).item()
        self.hessian = torch.stack([_flat(self._derivative(entry)) for entry in entries])
        self.g, self.p, self.v = _flat(gradients), _flat(params), _flat(vector)
        dot = sum((g.detach() * v).sum() for g, v in zip(gradients, vector, strict=True))
        self.from_vector = _flat(self._derivative(dot) if dot.requires_grad else [torch.zeros_like(p) for p in params])

    def _derivative(self, of: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad(of, self.params, retain_graph=True, allow_unused=True, materialize_grads=True)

    def each(self, values: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the values, where each tensor's have been changed. A result of one number fills the tensor."""
        return _flat(change(piece).expand_as(piece) for piece in _like(values, self.params))

    def by_tensor(self) -> list[Tensor]:
        """Return for each tensor of the vector what it contributes to the product."""
        columns = self.hessian.split([p.numel() for p in self.params], dim=1)
        return [c @ v.flatten() for c, v in zip(columns, _like(self.v, self.params), strict=True)]

    def reordered(self, values: Tensor, order: Callable[[list[Tensor]], list[Tensor]]) -> Tensor:
        """Return the values with order(the values of each tensor), where they are all of one shape."""
        return _flat(order(_like(values, self.params))) if _of_one_shape(self.params) else values

    def blocks(self) -> Tensor:
        """Return the Hessian's diagonal blocks, in a matrix that is zero elsewhere."""
        return torch.block_diag(
            *(self.hessian[rows][:, rows] for rows in torch.arange(len(self.p)).split([p.numel() for p in self.params]))
        )


def _product(of: Callable[[_Second], Tensor]) -> Callable:
    """Return a product that is wrong: of(the case's derivatives), a long vector."""
    return lambda loss, params, vector: _like(of(_Second(loss, params, vector)).to(params[0].dtype), params)


def _third(first: bool, second: bool) -> Callable:
    """Return the gradient of v·H·v. Where the two are true, the vector is differentiated in that place."""

    def wrong(loss: LossOfParams, params: list[Tensor], vector: list[Tensor]) -> Sequence[Tensor]:
        inner, outer = ([v if kept else v.detach() for v in vector] for kept in (first, second))
        product = torch.autograd.grad(_gradient(loss, params, create_graph=True), params, inner, create_graph=True)
        dot = sum((h * v).sum() for h, v in zip(product, outer, strict=True))
        return torch.autograd.grad(dot, params)

    return wrong


def _gradients_along(loss: LossOfParams, params: list[Tensor], vector: list[Tensor]) -> list[tuple[Tensor, ...]]:
    """Return the gradients at params plus the vector, and at params."""
    ends = [[p + v for p, v in zip(params, vector, strict=True)], params]
    return [_gradient(loss, [p.detach().requires_grad_() for p in end]) for end in ends]


def _matrix_product(second: _Second, axis: int, column: bool) -> Tensor:
    """Return the product that comes out where g @ v is summed, or g.T @ v, g @ v.T or g.T @ v.T, and not g * v."""

    def effective(v: Tensor) -> Tensor:
        return v.sum(dim=axis).unsqueeze(1 if column else 0) if v.shape == v.mT.shape else v

    return second.hessian @ second.each(second.v, effective)


CUT_BEFORE_FIRST = (
    "The graph is cut before the first differentiation: the loss was computed from tensors that autograd does not "
    "follow, such as detached copies, or under no_grad. Hand `params` themselves to loss."
)
CUT_BEFORE_SECOND = (
    "The graph is cut before the second differentiation: the gradients are numbers that no longer know how they depend "
    "on `params`, and the derivative of constants is zero. What must the first torch.autograd.grad keep?"
)
CUT_SOMEWHERE = (
    "What is differentiated there no longer depends on `params`: the graph has been cut before. A first "
    "differentiation that does not keep its graph does that to the gradients, and so do detach, .data and no_grad."
)
MATRIX_PRODUCT = (
    "Gradient and vector are multiplied as matrices, by @, and then all entries are added up. The dot product "
    "multiplies entry by entry: (g * v).sum(). Only for tensors with one axis are the two the same."
)
OTHERS_PART = (
    "The gradients are not multiplied with their own tensors of the vector, but with those of another one. Do the two "
    "lists go through your loop side by side?"
)
DOUBLED = (
    "The product is twice as large as it should be, and right otherwise. Is something added up twice, or is it the "
    "derivative of a square?"
)

HESSIAN_VECTOR_MISTAKES: list[Misconception] = [
    (
        "The sign is wrong: this is minus H·v. The minus of the recursion is the lesson's own: it subtracts α times "
        "the product. Is something subtracted that should be added?",
        _product(lambda s: -(s.hessian @ s.v)),
    ),
    (DOUBLED, _product(lambda s: 2 * (s.hessian @ s.v))),
    (CUT_BEFORE_SECOND, _product(lambda s: s.from_vector)),
    (
        "The vector is differentiated as well: it was computed from `params`, so by the product rule a second term, "
        "how the vector changes, has come in. In MAML that would count the query loss's curvature too. How do you make "
        "a constant of a tensor?",
        _product(lambda s: s.hessian @ s.v + s.from_vector),
    ),
    (
        "The gradient is multiplied with the vector, but not differentiated again: there is no second derivative in "
        "it. Add the products up to one number. What is the derivative of that number?",
        _product(lambda s: s.g * s.v),
    ),
    (
        "This is the gradient of the loss. The vector plays no part in it, and no second derivative does. (The "
        "derivative of g·v with respect to v is g too.) With respect to what must g·v be differentiated?",
        _product(lambda s: s.g),
    ),
    (
        "The vector comes back as it went in, as if the Hessian were the identity. Which function must be "
        "differentiated twice?",
        _product(lambda s: s.v),
    ),
    (
        "The Hessian is applied twice: this is H·H·v. In the meta-gradient of one inner step it appears once. Is the "
        "result put through the product a second time?",
        _product(lambda s: s.hessian @ s.hessian @ s.v),
    ),
    *(
        (
            "It differentiates once too often: this is the gradient of v·H·v, with third derivatives. What the second "
            "differentiation returns is H·v already.",
            _third(*kept),
        )
        for kept in ((False, False), (True, False), (True, True))
    ),
    (
        "The square of the loss is differentiated, and not the loss. Its second derivatives are others: a term with "
        "g gᵀ comes in. Differentiate loss(params) itself.",
        _product(lambda s: 2 * s.value * (s.hessian @ s.v) + 2 * s.g * (s.g @ s.v)),
    ),
    (
        "The logarithm of the loss is differentiated, and not the loss. Its second derivatives are others: a term with "
        "g gᵀ comes in. Differentiate loss(params) itself.",
        _product(lambda s: s.hessian @ s.v / s.value - s.g * (s.g @ s.v) / s.value**2),
    ),
    (
        "The signs are lost: these are the absolute values of the entries of H·v. The gradient can change in both "
        "directions along the vector, so keep the signs.",
        _product(lambda s: (s.hessian @ s.v).abs()),
    ),
    (
        "This is the Hessian at another point, at `params` plus the vector, times the vector. The loss is to be "
        "differentiated at `params`.",
        lambda loss, params, vector: solutions.hessian_vector(
            loss, [(p + v).detach().requires_grad_() for p, v in zip(params, vector, strict=True)], vector
        ),
    ),
    (
        "It multiplies the gradient by its own product with the vector: g gᵀ v. That is the outer product of "
        "gradients, which some use in place of a Hessian, but it has only first derivatives. Differentiate the product "
        "instead.",
        _product(lambda s: s.g * (s.g @ s.v)),
    ),
    (
        "The Hessian is multiplied with the gradient, not with the vector. The vector plays no part in this result. "
        "With what must the gradient be multiplied before it is differentiated again?",
        _product(lambda s: s.hessian @ s.g),
    ),
    (
        "The Hessian is multiplied with `params`, not with the vector. Which two lists go through your loop side by "
        "side?",
        _product(lambda s: s.hessian @ s.p),
    ),
    (
        "The gradients are added up before the vector comes in, so it multiplies the Hessian's row sums, entry by "
        "entry. That is H·v only where the vector is the same everywhere. Multiply first, then add up, then "
        "differentiate.",
        _product(lambda s: s.hessian.sum(dim=1) * s.v),
    ),
    (
        "The gradients' entries are added up and then differentiated, without the vector: these are the Hessian's row "
        "sums. Multiply each entry by the vector's before you add up.",
        _product(lambda s: s.hessian.sum(dim=1)),
    ),
    (
        "Within a tensor the vector's entries are added up, or averaged, before they meet the gradient's, so all "
        "entries of the gradient get one weight. Multiply entry by entry, then add up.",
        _product(lambda s: s.hessian @ s.each(s.v, torch.sum)),
    ),
    (
        "Within a tensor the vector's entries are added up, or averaged, before they meet the gradient's, so all "
        "entries of the gradient get one weight. Multiply entry by entry, then add up.",
        _product(lambda s: s.hessian @ s.each(s.v, torch.mean)),
    ),
    *(
        (MATRIX_PRODUCT, _product(functools.partial(_matrix_product, axis=axis, column=column)))
        for axis in (0, 1)
        for column in (False, True)
    ),
    (
        "The vector is transposed before it meets the gradient, as in the trace of g @ v. The dot product multiplies "
        "entry by entry: (g * v).sum().",
        _product(lambda s: s.hessian @ s.each(s.v, lambda v: v.mT if v.shape == v.mT.shape else v)),
    ),
    (
        "The products of gradient and vector are averaged within each tensor, where they should be added up: each part "
        "of the vector is divided by the number of its entries. A dot product is a sum.",
        _product(lambda s: s.hessian @ s.each(s.v, lambda v: v / v.numel())),
    ),
    (
        "The product is divided by the number of tensors. Is a mean taken over the list, where a sum belongs? A dot "
        "product is a sum, over the entries and over the tensors.",
        _product(lambda s: s.hessian @ s.v / len(s.params)),
    ),
    (
        "Each gradient is multiplied with every tensor of the vector, and not only with its own. Are there two loops, "
        "one inside the other, where the two lists should be gone through side by side?",
        _product(lambda s: s.hessian @ s.reordered(s.v, lambda pieces: [sum(pieces)] * len(pieces))),
    ),
    (
        "The product is multiplied with the vector once more, entry by entry. What the second differentiation returns "
        "is H·v already.",
        _product(lambda s: (s.hessian @ s.v) * s.v),
    ),
    (
        "It is the difference of the gradients at `params` plus the vector and at `params`. That is H·v only if the "
        "loss is quadratic, because the Hessian changes on the way. Differentiate the gradient at `params` instead.",
        lambda loss, params, vector: [a - b for a, b in zip(*_gradients_along(loss, params, vector), strict=True)],
    ),
    (
        "It is the gradient at another point, at `params` plus the vector, and not a derivative of the gradient. How "
        "does the gradient change at `params`, in the direction of the vector?",
        lambda loss, params, vector: _gradients_along(loss, params, vector)[0],
    ),
    (
        "The vector is divided by its length first. H·v grows with v, and the lesson needs it for the vector as it "
        "is. Leave the length alone.",
        _product(lambda s: s.hessian @ s.v / s.v.norm()),
    ),
    (
        "Only the Hessian's diagonal is used: each entry of the vector is multiplied by its own second derivative. How "
        "one parameter's gradient changes with another parameter is left out. Add up one number over all entries, and "
        "differentiate that.",
        _product(lambda s: s.hessian.diag() * s.v),
    ),
    (
        "Each tensor is taken by itself: how one layer's gradient changes with another layer is left out. These are "
        "only the blocks on the Hessian's diagonal. Add up one number over all tensors, and differentiate that.",
        _product(lambda s: s.blocks() @ s.v),
    ),
    (OTHERS_PART, _product(lambda s: s.hessian @ s.reordered(s.v, lambda pieces: pieces[::-1]))),
    (OTHERS_PART, _product(lambda s: s.hessian @ s.reordered(s.v, lambda pieces: pieces[1:] + pieces[:1]))),
    (OTHERS_PART, _product(lambda s: s.hessian @ s.reordered(s.v, lambda pieces: pieces[:1] * len(pieces)))),
    (
        "The product is right, but its tensors stand in the opposite order. The result should be in the order of "
        "`params`.",
        _product(lambda s: s.reordered(s.hessian @ s.v, lambda pieces: pieces[::-1])),
    ),
    (
        "`params` and the vector are exchanged: this is the Hessian at the vector, times `params`. The loss is to be "
        "differentiated at `params`.",
        lambda loss, params, vector: solutions.hessian_vector(
            loss, [v.detach().requires_grad_() for v in vector], params
        ),
    ),
]

# The parts that a result may be a sum of, in the words of the messages
PARTS: dict[str, Callable[[_Second], Tensor]] = {
    "H·v": lambda s: s.hessian @ s.v,
    "v": lambda s: s.v,
    "the gradient g": lambda s: s.g,
    "`params`": lambda s: s.p,
    "H·g": lambda s: s.hessian @ s.g,
    "H·`params`": lambda s: s.hessian @ s.p,
    "H·H·v": lambda s: s.hessian @ s.hessian @ s.v,
    "the term from differentiating v": lambda s: s.from_vector,
}


def _hessian_vector_tip(says: str, call: _Call) -> str | None:
    if "element 0 of tensors does not require grad" in says:
        if not all(loss.requires_grad for loss in call.losses):
            return CUT_BEFORE_FIRST
        return CUT_SOMEWHERE if _still_has_its_graph(call) else CUT_BEFORE_SECOND
    if "Mismatch in shape: grad_output" in says:
        return (
            "grad_outputs needs the shapes of what is differentiated. The loss is one number; the gradients have the "
            "shapes of the vector. In which of the two differentiations does the vector belong?"
        )
    return _tip(says, OF_LISTS | OF_GRADIENTS)


def _the_product(result: Any, arguments: tuple) -> Numbers:
    _expect_precision(result, arguments[1], "the result")
    if isinstance(result, Tensor) and result.numel() == 1:
        raise Wrong(
            "It returns one number, such as the dot product g·v. H·v is a list of tensors like `params`, with one "
            "number for each parameter. How does g·v change with each of them?"
        )
    return _numbers(result, arguments[1], "the product")


def _facts_of_product(cases: Sequence[Case], calls: list[_Call]) -> str | None:
    """Say what the product is, if it is a sum of known parts."""
    exact = 100 * EXACT if all(t.dtype == torch.float64 for call in calls for t in call.result) else CLOSE
    seconds = [_Second(*case.make()) for case in cases]  # fresh ones, whose graphs nobody has freed
    solved = [s.hessian @ _flat(call.result) - s.v for call, s in zip(calls, seconds, strict=True)]
    if all(rest.norm() <= 1e-6 * s.v.norm() for rest, s in zip(solved, seconds, strict=True)):
        return (
            "It solves H·x = v: multiplied with the Hessian, this result gives the vector back. What is asked for is "
            "H·v itself, with no inverse."
        )
    by_tensor = [
        _weights(call.result, *([part] for part in second.by_tensor()), error=exact)
        for call, second in zip(calls, seconds, strict=True)
    ]
    if None not in by_tensor and all(w == 0 or _same(1, w) for weights in by_tensor for w in weights):
        parts = next((weights for weights in by_tensor if 0 in weights), [])
        used = [f"vector[{i}]" for i, weight in enumerate(parts) if weight]
        if not used:  # it is exactly right, or zero
            return None
        return (
            f"With {len(parts)} tensors, the result depends on {' and '.join(used)} alone; the rest of the vector has "
            "no effect. Is the dot product added up over the whole list, or is it overwritten?"
        )
    fitted = []
    for call, second in zip(calls, seconds, strict=True):
        weights = _weights(call.result, *([part(second)] for part in PARTS.values()), error=exact)
        if weights is None:
            return None if None in by_tensor else _unequal(by_tensor)
        fitted.append(dict(zip(PARTS, weights, strict=True)))
    others = {name for of_call in fitted for name, weight in of_call.items() if weight} - {"H·v"}
    wrong = (
        i for i, of_call in enumerate(fitted) if not _same(1, of_call["H·v"]) or sum(map(bool, of_call.values())) > 1
    )
    shown = next(wrong, 0)
    what = f"With the arguments {_code('hessian_vector', shown)} this is {_sum_in_words(fitted[shown])}"
    if others == {"v"} and all(_same(1, of_call["v"]) and of_call["H·v"] < 0 for of_call in fitted):
        return (
            f"{what}, a whole step of the recursion that comes next in the lesson. The lesson takes that step itself. "
            "Return H·v alone."
        )
    if others == {"v"} and all(_same(1, of_call["H·v"]) for of_call in fitted):
        return f"{what}, so a multiple of the vector is added to the product, as for damping. Return H·v alone."
    if others:
        return f"{what}, where it should be H·v alone."
    factors = [of_call["H·v"] for of_call in fitted]
    if not _same(*factors):
        times = [f"{factor:.4g} times H·v with {case.what}" for factor, case in zip(factors, cases, strict=True)]
        return f"This is {' and '.join(times)}. By what is the product multiplied or divided?"
    return (
        f"This is {factors[0]:.4g} times H·v, and right otherwise. Where does the factor come from? (A learning rate "
        "has no place here; the lesson multiplies by it later.)"
    )


def _unequal(by_tensor: list[list[float]]) -> str:
    shown, weights = next((i, each) for i, each in enumerate(by_tensor) if not _same(1, *each))
    return (
        f"The tensors of the vector do not count equally. With the arguments {_code('hessian_vector', shown)} they "
        f"count {' and '.join(f'{weight:.4g}' for weight in weights)} times in the result, and each should count once."
    )


UNDIVIDED = (
    "The difference of two gradients is like that if it is not divided by the step between them. Even divided it would "
    "be approximate. Differentiate the gradient instead, which is exact."
)


def _nearness(calls: list[_Call]) -> str | None:
    """Say so if the product is nearly right, apart from one factor."""
    factors, errors = [], []
    for call in calls:
        got, want = _flat(call.result), _flat(solutions.hessian_vector(*call.arguments))
        factors.append((got @ want / (want @ want)).item())
        errors.append(((got - factors[-1] * want).norm() / got.norm()).item())
    if not max(errors) < 0.1:  # not a number for a result that is zero
        return None
    if all(abs(factor - 1) < 0.1 for factor in factors):
        error = max(errors + [abs(factor - 1) for factor in factors])
        return (
            f"This is H·v, but only approximately: the relative error is {error:.0e}, as with the difference "
            "of two gradients. The exact product, right to 15 digits, costs no more. What can be differentiated a "
            "second time?"
        )
    if all(abs(factor / factors[0] - 1) < 0.2 for factor in factors):
        return f"This is about {factors[0]:.1g} times H·v, and not exactly. {UNDIVIDED}"
    return None


def _explain_product(cases: Sequence[Case], calls: list[_Call]) -> Iterator[Misconception]:
    yield from HESSIAN_VECTOR_MISTAKES
    if not all(call.can_be_explained() for call in calls):
        return
    if says := _facts_of_product(cases, calls):
        raise Wrong(says)
    if all(len(call.losses) > 1 for call in calls) and (says := _nearness(calls)):
        raise Wrong(says)


def _examine_hessian_vector(attempt: Callable) -> None:
    first, others = HESSIAN_VECTOR_CASES[:2], [*HESSIAN_VECTOR_CASES[:3], OTHER_HESSIAN_VECTOR_CASE]
    for cases, tolerance in ((first, EXACT), (others, EXACT), (HESSIAN_VECTOR_CASES, None)):
        _agree(
            attempt,
            answer=solutions.hessian_vector,
            cases=cases,
            numbers=_the_product,
            explain=functools.partial(_explain_product, cases),
            tip=_hessian_vector_tip,
            tolerance=tolerance,
        )
    ours = _arithmetic(solutions.hessian_vector)  # first, because the first count loads modules, which takes seconds
    if _arithmetic(attempt) > COSTLY * ours:
        raise Wrong(
            "The product is right, but it costs as much as the whole Hessian, which is a differentiation for every "
            "parameter, where two are enough. With 100,000 parameters the matrix would fill 40 GB. Let the vector in "
            "before you differentiate again."
        )


def _arithmetic(product: Callable) -> int:
    """Count the floating-point operations of all matrix products in a wide problem, including batched products."""
    arguments = _hessian_vector_case(WIDE, of_params=False).make()
    with FlopCounterMode(display=False) as counter:
        product(*arguments)
    return counter.get_total_flops()


hessian_vector = Exercise(
    answer=solutions.hessian_vector,
    difficulty="hard",
    minutes=15,
    statement=(
        "Compute the Hessian of a loss times a vector, exactly, and without ever building the Hessian. The vector "
        "counts as a constant, even where it was computed from params."
    ),
    hints=(
        "H·v is the gradient of one number: of g·v, with g the gradient of the loss and v held constant.",
        "So there are two calls of torch.autograd.grad: the first for g, with create_graph=True, the second for the "
        "number g·v, the sum over all tensors of (g * v).sum().",
        "v may depend on params: v.detach() is a constant. (Or let autograd take the dot product, by "
        "torch.autograd.grad(grads, params, grad_outputs=vector).)",
    ),
    cases=HESSIAN_VECTOR_CASES,
    seconds=20.0,
    examine=_examine_hessian_vector,
    in_place=(
        "It changes `params` or the vector, which the lesson goes on using: the next product would be taken at another "
        "point. Make new tensors instead."
    ),
)


# reptile_update


def _reptile_case(shapes: Shapes, tasks: int, outer_lr: float, dtype: torch.dtype, others: bool = False) -> Case:
    def make() -> tuple[list[Tensor], list[list[Tensor]], float]:
        params, *adapted = (
            [t.to(dtype) for t in _draw(shapes, seed)] for seed in range(50 * others, 50 * others + 1 + tasks)
        )
        return params, adapted, outer_lr

    what = f"{tasks} tasks, {WORDS[shapes]}" + (" and single precision" if dtype == torch.float32 else "")
    what += AND_OTHERS if others else ""
    return Case(what=what, make=make)


REPTILE_UPDATE_CASES = [
    _reptile_case(TWO, tasks=4, outer_lr=0.25, dtype=torch.float64),
    _reptile_case(THREE, tasks=7, outer_lr=0.625, dtype=torch.float64),
    _reptile_case(FIVE, tasks=6, outer_lr=0.375, dtype=torch.float32),  # the lesson's own precision
]
OTHER_REPTILE_CASE = _reptile_case(TWO, tasks=4, outer_lr=0.125, dtype=torch.float64, others=True)


def _update(new: Callable[[Tensor, Tensor, float, int], Tensor]) -> Callable:
    """Return an update to new(p, ends, outer_lr, number of tensors) of each parameter, with its ends [tasks, …]."""

    def update(params: list[Tensor], adapted: list[list[Tensor]], outer_lr: float) -> list[Tensor]:
        each = zip(params, map(torch.stack, zip(*adapted, strict=True)), strict=True)
        return [new(p, ends, outer_lr, len(params)) for p, ends in each]

    return update


def _towards(goals: Callable[[list[Tensor], list[list[Tensor]]], list[Tensor]]) -> Callable:
    """Return an update towards goals(means of the ends, adapted), which exist only where all shapes are the same."""

    def update(params: list[Tensor], adapted: list[list[Tensor]], outer_lr: float) -> list[Tensor]:
        means = _means(zip(*adapted, strict=True))
        towards = goals(means, adapted) if _of_one_shape(params) else means
        return [p + outer_lr * (goal - p) for p, goal in zip(params, towards, strict=True)]

    return update


def _means(lists: Iterable[Iterable[Tensor]]) -> list[Tensor]:
    return [torch.stack(list(tensors)).mean(dim=0) for tensors in lists]


def _shortened_way(params: list[Tensor], adapted: list[list[Tensor]], outer_lr: float) -> list[Tensor]:
    ways = [mean - p for mean, p in zip(_means(zip(*adapted, strict=True)), params, strict=True)]
    length = _flat(ways).norm().item()
    return [p + outer_lr * way / length for p, way in zip(params, ways, strict=True)]


def _running_differences(params: list[Tensor], adapted: list[list[Tensor]], outer_lr: float) -> list[Tensor]:
    """Return the update with differences that are added up over the tensors too, where they are of one shape."""
    ways = [mean - p for mean, p in zip(_means(zip(*adapted, strict=True)), params, strict=True)]
    if _of_one_shape(params):
        ways = itertools.accumulate(ways)
    return [p + outer_lr * way for p, way in zip(params, ways, strict=True)]


def _in_turn(p: Tensor, ends: Tensor, rate: float) -> Tensor:
    for end in ends:
        p = p + rate * (end - p)
    return p


IN_TURN = (
    "The tasks are applied one after another, each to where the one before it has left the start. The later tasks "
    "then count more, and the result depends on their order. Measure all differences from the same `params`, then "
    "move once."
)
OTHERS_ENDS = (
    "A tensor moves towards the ends of another one. Where the shapes fit, PyTorch does not complain. Each of `params` "
    "belongs to the tensor in the same place of each task's list: adapted[task][i] for params[i]."
)
OVER_ENTRIES = (
    "The mean is taken over entries of a tensor too, and not only over the tasks, so that several entries move towards "
    "one number. Take it entry by entry: for a stack of ends that is dim=0."
)
TOO_FEW = (
    "The sum over the tasks is divided by the number of tasks minus 1. That belongs to a variance. A mean divides by "
    "the number of tasks."
)
SHORTENED = (
    "The way to the mean is divided by its length, so the start moves equally far whether the mean is near or far. Go "
    "the part outer_lr of the way as it is."
)
NOT_RESET = (
    "The sum over the tasks is not set back to zero for each tensor, so a tensor's sum starts with those of the "
    "tensors before it. Begin a new sum for each of `params`."
)
LARGEST = (
    "It moves towards the {} of the ends, entry by entry, and not towards their mean. All tasks but one then have no "
    "effect on an entry. Reptile's update takes the mean."
)
MEDIAN = (
    "It moves towards the median of the ends, not their mean. The median ignores how far away the other ends are. "
    "Reptile's update takes the mean."
)

REPTILE_UPDATE_MISTAKES: list[Misconception] = [
    (
        "It moves away from where the tasks ended: the sign is turned around. (θ minus the mean stands in for a "
        "gradient, and an optimizer would subtract that once more.) Which way must the start go to be nearer to them?",
        _update(lambda p, ends, lr, n: p - lr * (ends - p).mean(dim=0)),
    ),
    (
        "The differences are added up over the tasks, not averaged. With more tasks the step grows, and from "
        "1 / outer_lr tasks on it overshoots. What turns a sum into a mean?",
        _update(lambda p, ends, lr, n: p + lr * (ends - p).sum(dim=0)),
    ),
    (
        "The ends are added up over the tasks, and the sum takes the place of their mean. With many tasks it lies far "
        "away from all of them. What turns a sum into a mean?",
        _update(lambda p, ends, lr, n: p + lr * (ends.sum(dim=0) - p)),
    ),
    (
        "It jumps to the mean of the ends and ignores outer_lr. A batch of a few tasks then wipes out what all earlier "
        "ones have taught. Go only a part of the way.",
        _update(lambda p, ends, lr, n: ends.mean(dim=0)),
    ),
    (
        "Only the last task counts; the others' ends are overwritten. The start then chases one task at a time. Where "
        "are the differences of the others kept?",
        _update(lambda p, ends, lr, n: p + lr * (ends[-1] - p)),
    ),
    (
        "Only the first task counts. The start then chases one task at a time. Does a `return` stand inside the loop, "
        "or is there an index 0?",
        _update(lambda p, ends, lr, n: p + lr * (ends[0] - p)),
    ),
    (IN_TURN, _update(lambda p, ends, lr, n: _in_turn(p, ends, lr))),
    (IN_TURN, _update(lambda p, ends, lr, n: _in_turn(p, ends, lr / len(ends)))),
    (
        "It adds a part of the mean itself, not of the way to it. Then the parameters grow step by step, even where "
        "start and ends agree already. What is the difference between the mean and `params`?",
        _update(lambda p, ends, lr, n: p + lr * ends.mean(dim=0)),
    ),
    (
        "It returns outer_lr times the mean of the ends, and `params` have dropped out. Is a pair of parentheses "
        "missing? The way from `params` to the mean is (mean - p), and a part of it is added to p.",
        _update(lambda p, ends, lr, n: lr * ends.mean(dim=0)),
    ),
    (
        "The weights are swapped: outer_lr of the old start and the rest of the mean. A small outer_lr, meant to be "
        "careful, then forgets nearly everything. Which of the two should stay where it is when outer_lr is 0?",
        _update(lambda p, ends, lr, n: lr * p + (1 - lr) * ends.mean(dim=0)),
    ),
    (
        "It returns the change alone, not the changed parameters. What comes back is the next start, so it must begin "
        "with `params`. What is the change added to?",
        _update(lambda p, ends, lr, n: lr * (ends - p).mean(dim=0)),
    ),
    (
        "It returns `params` minus the mean of the ends. That stands in for a gradient in Reptile, but here the next "
        "start itself is asked for. Which way, and how far, does the start move?",
        _update(lambda p, ends, lr, n: (p - ends).mean(dim=0)),
    ),
    (
        "It returns the difference between the mean of the ends and `params`, which is the whole way. The next start "
        "is asked for: `params`, moved by the part outer_lr of that way.",
        _update(lambda p, ends, lr, n: (ends - p).mean(dim=0)),
    ),
    (
        "outer_lr comes in twice, so the start moves only outer_lr squared of the way to the mean. Find the second "
        "place that multiplies by it.",
        _update(lambda p, ends, lr, n: p + lr**2 * (ends - p).mean(dim=0)),
    ),
    (
        "It divides by the number of tasks twice, so with more tasks the start would move less and less. Is a mean "
        "divided once more, or is each difference divided before the mean is taken?",
        _update(lambda p, ends, lr, n: p + lr * (ends - p).mean(dim=0) / len(ends)),
    ),
    (
        "The mean of the ends is divided by the number of tasks once more, so the start moves towards a point near "
        "zero. One division turns the sum into the mean.",
        _update(lambda p, ends, lr, n: p + lr * (ends.mean(dim=0) / len(ends) - p)),
    ),
    (
        TOO_FEW,
        _update(lambda p, ends, lr, n: p + lr * (ends - p).sum(dim=0) / (len(ends) - 1)),
    ),
    (TOO_FEW, _update(lambda p, ends, lr, n: p + lr * (ends.sum(dim=0) / (len(ends) - 1) - p))),
    (
        "Two things are wrong. The differences are added up over the tasks, not averaged, and they are subtracted, so "
        "the start moves away from where the tasks ended.",
        _update(lambda p, ends, lr, n: p - lr * (ends - p).sum(dim=0)),
    ),
    (SHORTENED, _update(lambda p, ends, lr, n: p + lr * (ends - p).mean(dim=0) / (ends - p).mean(dim=0).norm())),
    (SHORTENED, _shortened_way),
    (
        "Only the sign of the difference is used, so every entry moves equally far, however near the mean is. Use the "
        "difference itself.",
        _update(lambda p, ends, lr, n: p + lr * (ends - p).mean(dim=0).sign()),
    ),
    (
        "Large differences are cut down to 1, so far entries move less than the part outer_lr of their way. Use the "
        "difference as it is.",
        _update(lambda p, ends, lr, n: p + lr * (ends - p).mean(dim=0).clamp(-1, 1)),
    ),
    (LARGEST.format("largest"), _update(lambda p, ends, lr, n: p + lr * (ends.amax(dim=0) - p))),
    (LARGEST.format("smallest"), _update(lambda p, ends, lr, n: p + lr * (ends.amin(dim=0) - p))),
    (
        "The sum is divided with //, which rounds down to whole numbers. The mean needs / instead.",
        _update(lambda p, ends, lr, n: p + lr * (ends.sum(dim=0) // len(ends) - p)),
    ),
    (
        "The lengths of the differences are averaged, one number for each tensor. A length says how far, but not which "
        "way. Take the mean of the differences themselves, entry by entry.",
        _update(lambda p, ends, lr, n: p + lr * (ends - p).flatten(start_dim=1).norm(dim=1).mean()),
    ),
    (NOT_RESET, _towards(lambda means, adapted: list(itertools.accumulate(means)))),
    (NOT_RESET, _running_differences),
    (
        "Every entry of every tensor moves towards the same number, a mean over everything. Each entry has a mean of "
        "its own, over the tasks.",
        _towards(lambda means, adapted: [torch.stack(means).mean()] * len(means)),
    ),
    (
        "The start is counted as if it were one more end: the mean divides by the number of tasks plus 1. Take the "
        "mean over the tasks' ends alone.",
        _update(lambda p, ends, lr, n: p + lr * (ends - p).sum(dim=0) / (len(ends) + 1)),
    ),
    (
        "The mean divides by the number of tensors, not of tasks: with a deeper network the steps would be shorter. "
        "Over what does `adapted` run first?",
        _update(lambda p, ends, lr, n: p + lr * (ends - p).sum(dim=0) / n),
    ),
    (
        "The mean divides by the number of tensors, not of tasks: with a deeper network the steps would be shorter. "
        "Over what does `adapted` run first?",
        _update(lambda p, ends, lr, n: p + lr * (ends.sum(dim=0) / n - p)),
    ),
    (
        "The parameters come back as they went in: no step was taken. Where do the ends of the tasks enter? (A loop "
        "that gives its own variable a new value changes no list.)",
        _update(lambda p, ends, lr, n: p),
    ),
    (OTHERS_ENDS, _towards(lambda means, adapted: means[::-1])),
    (OTHERS_ENDS, _towards(lambda means, adapted: means[:1] * len(means))),
    (OTHERS_ENDS, _towards(lambda means, adapted: means[-1:] * len(means))),
    (
        "The mean is taken over the tensors of one task, and not over the tasks. `adapted` is indexed by the task "
        "first and then by the tensor: adapted[task][tensor].",
        _towards(lambda means, adapted: _means(adapted[: len(means)])),
    ),
    (
        "The mean is taken over all tensors of all tasks, so that every tensor moves towards the same one. Each of "
        "`params` has a mean of its own, over the tasks.",
        _towards(lambda means, adapted: _means([means]) * len(means)),
    ),
    (MEDIAN, _update(lambda p, ends, lr, n: p + lr * (ends.median(dim=0).values - p))),
    (MEDIAN, _update(lambda p, ends, lr, n: p + lr * (ends.quantile(0.5, dim=0) - p))),
    (OVER_ENTRIES, _update(lambda p, ends, lr, n: p + lr * (ends.mean() - p))),
    (OVER_ENTRIES, _update(lambda p, ends, lr, n: p + lr * (ends.mean(dim=(0, 1)) - p))),
    (OVER_ENTRIES, _update(lambda p, ends, lr, n: p + lr * (ends.mean(dim=0).mean(dim=-1, keepdim=True) - p))),
]


ONE_FOR_EACH_TASK = "`adapted` holds one list of tensors for each task: adapted[task][tensor]."
IN_ORDER = "The arguments come in the order params, adapted, outer_lr, and `adapted` holds a list for each task."
OF_ADAPTED = (
    {"'Tensor' and 'list'": IN_ORDER}
    | dict.fromkeys(("'list'", "got list", "index out of range"), ONE_FOR_EACH_TASK)
    | {
        piece: tip
        for piece, tip in OF_LISTS.items()
        if piece not in ("'list'", "'list' object is not callable", "index out of range")
    }
)


def _still_tensors(call: _Call) -> str | None:
    """Say which tensors have not moved, if the others are right."""
    right = solutions.reptile_update(*call.arguments)
    still = [i for i, (new, p) in enumerate(zip(call.result, call.arguments[0], strict=True)) if torch.equal(new, p)]
    others = [i for i in range(len(right)) if i not in still]
    if not still or not all(torch.allclose(call.result[i], right[i]) for i in others):
        return None
    return (
        f"Only some of the tensors move: {' and '.join(f'result[{i}]' for i in still)} did not. Reptile moves every "
        "parameter. Does your update run over the whole list?"
    )


def _facts_of_update(calls: list[_Call]) -> str | None:
    """Say what the new parameters are, if they are sums of the old ones and of the tasks' ends."""
    fitted = []
    for call in calls:
        params, adapted, _outer_lr = call.arguments
        weights = _weights(call.result, params, *adapted)
        if weights is None:
            return _still_tensors(call)
        fitted.append(weights)
    rates = [call.arguments[2] for call in calls]
    for (_start, *weights), rate in zip(fitted, rates, strict=True):
        if not _same(*weights):
            return (
                f"The tasks do not count equally. With {len(weights)} tasks, their ends have the weights "
                f"{', '.join(f'{weight:.3g}' for weight in weights)} in the result; each should have "
                f"{rate / len(weights):.3g}. Is something overwritten, left out, or used again for the next task?"
            )
    totals = [sum(weights) for _start, *weights in fitted]
    if all(_same(1 - old, total) for (old, *_), total in zip(fitted, totals, strict=True)):
        parts = [total / rate for total, rate in zip(totals, rates, strict=True)]
        if _same(1, *parts):
            return None
        if _same(*totals):
            return (
                f"The start moves {totals[0]:.4g} of the way to the mean, whatever outer_lr is. Is a rate written into "
                "the code? The lesson calls the function with a rate of its own, so use the argument."
            )
        if _same(*parts):
            return (
                f"The start moves {parts[0]:.4g} times as far as it should, and otherwise right. What else, apart from "
                "outer_lr, multiplies or divides the difference?"
            )
    divisors = [rate / weights[1] if weights[1] else 0 for rate, weights in zip(rates, fitted, strict=True)]
    if divisors[0] > 0 and _same(*divisors):
        return (
            f"The sum over the tasks is divided by {divisors[0]:.4g}, however many tasks there are. Is a number of "
            "tasks written into the code? It is len(adapted)."
        )
    off = (i for i, rate in enumerate(rates) if not (_same(1 - rate, fitted[i][0]) and _same(rate, totals[i])))
    shown = next(off, 0)
    return (
        f"With the arguments {_code('reptile_update', shown)}, where outer_lr is {rates[shown]:g}, the result is "
        f"{_sum_in_words({'`params`': fitted[shown][0], 'the mean of the ends': totals[shown]})}. It should be "
        f"{1 - rates[shown]:g} times `params` plus {rates[shown]:g} times the mean."
    )


def _explain_update(calls: list[_Call]) -> Iterator[Misconception]:
    yield from REPTILE_UPDATE_MISTAKES
    if all(call.can_be_explained() for call in calls) and (says := _facts_of_update(calls)):
        raise Wrong(says)


def _new_start(result: Any, arguments: tuple) -> Numbers:
    params, adapted, _outer_lr = arguments
    tensors = isinstance(result, tuple | list) and all(isinstance(part, Tensor) for part in result)
    if tensors and len(result) == len(params) * len(adapted) > len(params):
        raise Wrong(
            f"It returns {len(result)} tensors, as many as all {len(adapted)} tasks have together. Only "
            f"{len(params)} are asked for, like `params`. Take the mean over the tasks first."
        )
    return _numbers(result, params, "the new parameters")


def _examine_reptile_update(attempt: Callable) -> None:
    for cases in (REPTILE_UPDATE_CASES[:2], [*REPTILE_UPDATE_CASES, OTHER_REPTILE_CASE]):
        _agree(
            attempt,
            answer=solutions.reptile_update,
            cases=cases,
            numbers=_new_start,
            explain=_explain_update,
            tip=lambda says, call: _tip(says, OF_ADAPTED),
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
        "The new parameter is p + outer_lr * (mean - p): with outer_lr = 0 it stays, with 1 it is the mean.",
    ),
    cases=REPTILE_UPDATE_CASES,
    examine=_examine_reptile_update,
    in_place=(
        "It changes `params`, or the tasks' ends, in place. The start that the differences are measured from would be "
        "gone before the last task is looked at. Make new tensors and leave the arguments as they were."
    ),
)
