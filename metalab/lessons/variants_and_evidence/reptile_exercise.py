"""The exercise on Reptile's update: what it is checked with, and the mistakes that its check knows.

The learner's function sees the parameters as a list of tensors.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..kit.comparing import Case, Misconception, Numbers, Wrong
from ..kit.exercise import Exercise
from ..kit.lists import (
    AND_OTHERS,
    FIVE,
    OF_LISTS,
    THREE,
    TWO,
    WORDS,
    Call,
    Shapes,
    agree_on_lists,
    all_same,
    code_of,
    draw_tensors,
    flattened,
    numbers_of,
    of_one_shape,
    sum_in_words,
    tip_for,
    weights_of_parts,
)
from . import solutions


def _reptile_case(shapes: Shapes, tasks: int, outer_lr: float, dtype: torch.dtype, others: bool = False) -> Case:
    def make() -> tuple[list[Tensor], list[list[Tensor]], float]:
        params, *adapted = (
            [t.to(dtype) for t in draw_tensors(shapes, seed)] for seed in range(50 * others, 50 * others + 1 + tasks)
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
        towards = goals(means, adapted) if of_one_shape(params) else means
        return [p + outer_lr * (goal - p) for p, goal in zip(params, towards, strict=True)]

    return update


def _means(lists: Iterable[Iterable[Tensor]]) -> list[Tensor]:
    return [torch.stack(list(tensors)).mean(dim=0) for tensors in lists]


def _shortened_way(params: list[Tensor], adapted: list[list[Tensor]], outer_lr: float) -> list[Tensor]:
    ways = [mean - p for mean, p in zip(_means(zip(*adapted, strict=True)), params, strict=True)]
    length = flattened(ways).norm().item()
    return [p + outer_lr * way / length for p, way in zip(params, ways, strict=True)]


def _running_differences(params: list[Tensor], adapted: list[list[Tensor]], outer_lr: float) -> list[Tensor]:
    """Return the update with differences that are added up over the tensors too, where they are of one shape."""
    ways = [mean - p for mean, p in zip(_means(zip(*adapted, strict=True)), params, strict=True)]
    if of_one_shape(params):
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


def _still_tensors(call: Call) -> str | None:
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


def _facts_of_update(calls: list[Call]) -> str | None:
    """Say what the new parameters are, if they are sums of the old ones and of the tasks' ends."""
    fitted = []
    for call in calls:
        params, adapted, _outer_lr = call.arguments
        weights = weights_of_parts(call.result, params, *adapted)
        if weights is None:
            return _still_tensors(call)
        fitted.append(weights)
    rates = [call.arguments[2] for call in calls]
    for (_start, *weights), rate in zip(fitted, rates, strict=True):
        if not all_same(*weights):
            return (
                f"The tasks do not count equally. With {len(weights)} tasks, their ends have the weights "
                f"{', '.join(f'{weight:.3g}' for weight in weights)} in the result; each should have "
                f"{rate / len(weights):.3g}. Is something overwritten, left out, or used again for the next task?"
            )
    totals = [sum(weights) for _start, *weights in fitted]
    if all(all_same(1 - old, total) for (old, *_), total in zip(fitted, totals, strict=True)):
        parts = [total / rate for total, rate in zip(totals, rates, strict=True)]
        if all_same(1, *parts):
            return None
        if all_same(*totals):
            return (
                f"The start moves {totals[0]:.4g} of the way to the mean, whatever outer_lr is. Is a rate written into "
                "the code? The lesson calls the function with a rate of its own, so use the argument."
            )
        if all_same(*parts):
            return (
                f"The start moves {parts[0]:.4g} times as far as it should, and otherwise right. What else, apart from "
                "outer_lr, multiplies or divides the difference?"
            )
    divisors = [rate / weights[1] if weights[1] else 0 for rate, weights in zip(rates, fitted, strict=True)]
    if divisors[0] > 0 and all_same(*divisors):
        return (
            f"The sum over the tasks is divided by {divisors[0]:.4g}, however many tasks there are. Is a number of "
            "tasks written into the code? It is len(adapted)."
        )
    off = (i for i, rate in enumerate(rates) if not (all_same(1 - rate, fitted[i][0]) and all_same(rate, totals[i])))
    shown = next(off, 0)
    return (
        f"With the arguments {code_of('reptile_update', shown)}, where outer_lr is {rates[shown]:g}, the result is "
        f"{sum_in_words({'`params`': fitted[shown][0], 'the mean of the ends': totals[shown]})}. It should be "
        f"{1 - rates[shown]:g} times `params` plus {rates[shown]:g} times the mean."
    )


def _explain_update(calls: list[Call]) -> Iterator[Misconception]:
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
    return numbers_of(result, params, "the new parameters")


def _examine_reptile_update(attempt: Callable) -> None:
    for cases in (REPTILE_UPDATE_CASES[:2], [*REPTILE_UPDATE_CASES, OTHER_REPTILE_CASE]):
        agree_on_lists(
            attempt,
            answer=solutions.reptile_update,
            cases=cases,
            numbers=_new_start,
            explain=_explain_update,
            tip=lambda says, call: tip_for(says, OF_ADAPTED),
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
