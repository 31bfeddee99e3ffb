"""The exercise on Reptile's update: what it is checked with, and the mistakes that its check knows.

The learner's function sees the parameters as a list of tensors.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..kit.comparing import Case, Misconception, Numbers, Wrong, agree, describe
from ..kit.exercise import Exercise
from . import solutions

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


def _draw(shapes: Iterable[tuple[int, ...]], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])


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


def _tip(says: str, tips: Mapping[str, str]) -> str | None:
    error = says.partition(", at line ")[0]
    return next((tip for piece, tip in tips.items() if piece in error), None)


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
