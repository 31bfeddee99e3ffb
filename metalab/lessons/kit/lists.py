"""Exercises on functions of lists of tensors: what their checks share.

The reader's function sees the parameters as a list of tensors, and a loss as a function of such a list.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .comparing import Case, Misconception, Numbers, Wrong, agree, describe

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


AND_OTHERS = " and other values"  # for the case with the shapes of the first one, which tells what is kept by shapes
CLOSE = 1e-5  # the relative error up to which a result counts as a sum of known parts, rounding apart


def draw_tensors(shapes: Iterable[tuple[int, ...]], seed: int) -> list[Tensor]:
    """Return normal random tensors of these shapes, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def flattened(tensors: Iterable[Tensor]) -> Tensor:
    """Return all numbers of some tensors as one long vector, in double precision."""
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])


def of_one_shape(tensors: Iterable[Tensor]) -> bool:
    """Tell whether all tensors have the same shape."""
    return len({tensor.shape for tensor in tensors}) == 1


def weights_of_parts(target: Iterable[Tensor], *parts: Iterable[Tensor], error: float = CLOSE) -> list[float] | None:
    """Return what each part must be multiplied by, so that they add up to the target. None: they cannot."""
    wanted, columns = flattened(target), torch.stack([flattened(part) for part in parts], dim=1)
    sizes = columns.norm(dim=0)
    sizes[sizes == 0] = 1
    shares = torch.linalg.lstsq(columns / sizes, wanted[:, None], driver="gelsd").solution[:, 0]
    if (columns / sizes @ shares - wanted).norm() > error * wanted.norm():
        return None
    shares[shares.abs() <= CLOSE * wanted.norm()] = 0
    return (shares / sizes).tolist()


def all_same(*values: float) -> bool:
    """Tell whether numbers are the same, roundings apart."""
    return all(abs(value - values[0]) <= 1e-4 * abs(values[0]) for value in values)


def sum_in_words(weights: Mapping[str, float]) -> str:
    """Return a sum of named parts in words, such as "v minus 0.2 times H·v"."""
    words = ""
    for name, weight in sorted(weights.items(), key=lambda item: item[1] < 0):
        if weight:
            sign = "minus " if weight < 0 else "plus " if words else ""
            times = "" if all_same(1, abs(weight)) else f"{abs(weight):.4g} times "
            words += f"{' ' if words else ''}{sign}{times}{name}"
    return words or "zero"


@dataclass
class Call:
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


def code_of(name: str, number: int) -> str:
    """Return the code that makes the arguments of a case, for messages."""
    return f"exercises.{name}.inputs({number or ''})"


def agree_on_lists(
    attempt: Callable,
    *,
    answer: Callable,
    cases: Sequence[Case],
    numbers: Callable[[Any, tuple], Numbers],
    explain: Callable[[list[Call]], Iterator[Misconception]],
    tip: Callable[[str, Call], str | None],
    tolerance: float | None = None,
) -> None:
    """Compare the reader's function with our answer, as the kit does. An error that stops it gets a tip.

    `explain` yields known mistakes, and raises `Wrong` if the calls themselves tell more than the known mistakes.
    """
    calls: list[Call] = []

    def tried(first: Any, *others: Any) -> Any:
        call = Call((first, *others))
        before = grads_of(call.arguments)
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
        if not equal_grads(before, grads_of(call.arguments)):
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


def numbers_of(result: Any, params: Sequence[Tensor], what: str) -> Numbers:
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


GRAD_LEFT = (
    "It leaves a gradient in the .grad of `params`, as backward() does. Later gradients are added to it, and an outer "
    "optimizer would take it for the meta-gradient. Look for the function of torch.autograd that returns gradients "
    "instead."
)


GRAD_LOST = (
    "`params` came with gradients in their .grad, and it has changed them, as backward() and clearing .grad do. An "
    "outer optimizer may still need them. torch.autograd.grad returns gradients and leaves .grad alone."
)


def grads_of(arguments: tuple) -> list[Tensor | None]:
    """Return copies of what is in the .grad of the parameters."""
    params = next((part for part in arguments if isinstance(part, list)), [])
    return [None if p.grad is None else p.grad.detach().clone() for p in params]


def equal_grads(before: list[Tensor | None], after: list[Tensor | None]) -> bool:
    """Tell whether two results of `grads_of` are the same."""
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
    calls: list[Call], answer: Callable, cases: Sequence[Case], explain: Callable[[list[Call]], Iterator]
) -> Iterator[Misconception]:
    """Yield known mistakes. Raise `Wrong` for what can go wrong in the same way in each exercise."""
    yield from _unlike_the_first(calls, answer, cases)
    yield from explain(calls)


def _unlike_the_first(calls: list[Call], answer: Callable, cases: Sequence[Case]) -> Iterator[Misconception]:
    rights = [flattened(answer(*case.make())) for case in cases]
    results = [flattened(call.result) for call in calls]
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
    "'tuple'": "A whole tuple of tensors meets something else there. Go through its tensors one by one.",
    "same dtype": "Tensors of different precisions meet there. Keep to the precision of `params`.",
    "inhomogeneous": "The tensors may differ in shape, so they do not fit into one array. Go through them one by one.",
}


def tip_for(says: str, tips: Mapping[str, str]) -> str | None:
    """Return what to say about an error; None if nothing is known about it."""
    error = says.partition(", at line ")[0]
    return next((tip for piece, tip in tips.items() if piece in error), None)
