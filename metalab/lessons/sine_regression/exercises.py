"""The exercises of the sine lesson: draw a task, take an inner step, and use both in the loss of MAML.

The learner's functions see the network only as `params`, a list of tensors, and as `forward(params, x)`.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..kit.comparing import (
    ANOTHER,
    PRECISION,
    Case,
    Misconception,
    Trial,
    Wrong,
    agree,
    describe,
    number,
    with_help,
)
from ..kit.exercise import Exercise
from . import solutions
from .checks import (
    ADVICE,
    NAMES,
    Loss,
    Task,
    alone,
    and_,
    change_of,
    compare_gradients,
    expect_graph,
    expect_lists_kept,
    expect_params_untouched,
    fresh_params,
    fresh_task,
    in_pairs,
    in_turn,
    mean_square,
    meta_gradient,
    mse,
    remembered,
)
from .loop_exercises import INNER_LOOP_MISTAKES, META_TRAIN_MISTAKES, TUNE_MISTAKES, inner_loop, meta_train, tune
from .solutions import forward

__all__ = [
    "INNER_LOOP_MISTAKES",
    "META_TRAIN_MISTAKES",
    "TUNE_MISTAKES",
    "forward",
    "inner_loop",
    "inner_step",
    "meta_loss",
    "meta_train",
    "sample_task",
    "tune",
]

FORWARD = f"from {__name__} import forward"  # for our solutions, which call it

# sample_task

BY_NAME = "Hand the generator over by its name, to a function such as torch.rand: torch.rand(…, generator=generator)."
DRAWS = 2000  # how many tasks are drawn with each of the two seeds
INTERVALS = {"amplitude": (0.1, 5.0), "phase": (0.0, torch.pi)}

# What is known of some wrong intervals: the name, the interval, and the message.
KNOWN_INTERVALS = [
    (
        "amplitude",
        (0.0, 5.0),
        "The amplitude starts at 0 instead of 0.1. Waves that are almost flat teach nothing about adapting, and the "
        "published errors do not include them. Stretch the random number over 4.9, and then add 0.1.",
    ),
    (
        "amplitude",
        (0.1, 5.1),
        "The amplitude goes up to 5.1 instead of 5.0, because the random number is stretched over 5 and then moved "
        "up. Larger waves have larger errors, so results would not compare. How wide is the interval 0.1 … 5.0?",
    ),
    (
        "amplitude",
        (0.0, 4.9),
        "The amplitude lies between 0 and 4.9: the random number is stretched over the right width, but not moved. "
        "Add the lower end of the interval.",
    ),
    (
        "phase",
        (0.0, 2 * torch.pi),
        "The phase goes up to 2π instead of π. That is a wider family of tasks, harder to learn than the one whose "
        "errors are published. Halve the interval.",
    ),
    (
        "phase",
        (-torch.pi, torch.pi),
        "The phase lies between −π and π; it should lie between 0 and π. That is a wider family of tasks, harder to "
        "learn than the one whose errors are published.",
    ),
    (
        "phase",
        (0.0, 180.0),
        "The phase lies between 0 and 180, as if it were in degrees. It should lie between 0 and π, because "
        "torch.sin expects radians.",
    ),
]


def _examine_sample_task(attempt: Callable) -> None:
    attempt = with_help(attempt, {"torch._C.Generator": BY_NAME})
    _expect_repeatable(attempt)
    tasks = torch.cat([_drawn(attempt, case, DRAWS) for case in SAMPLE_TASK_CASES])  # [draws, 2]
    for values, name in zip(tasks.T, INTERVALS, strict=True):
        if not values.isfinite().all():
            raise Wrong(f"Some values of the {name} are not finite numbers: they are nan or inf.")
    _expect_different_tasks(attempt, tasks)

    columns = dict(zip(INTERVALS, tasks.T, strict=True))
    if _fills(columns["amplitude"], *INTERVALS["phase"]) and _fills(columns["phase"], *INTERVALS["amplitude"]):
        raise Wrong(
            "Amplitude and phase are swapped: the first number has the phase's interval, and the second number the "
            "amplitude's. The waves made from them would be another family of tasks. The order is (amplitude, phase)."
        )
    _expect_not_swapped(*columns.values())
    faults = {name: fault for name, values in columns.items() if (fault := _fault(values, name, *INTERVALS[name]))}
    if faults:
        more = " The phase is not right either." if len(faults) > 1 else ""
        raise Wrong(next(iter(faults.values())) + more)
    _expect_independent(*columns.values())


def _expect_not_swapped(first: Tensor, second: Tensor) -> None:
    """Raise `Wrong` if the two are swapped, and one of them has a known wrong interval."""
    for name, interval, message in KNOWN_INTERVALS:
        values, other, right = (second, first, "phase") if name == "amplitude" else (first, second, "amplitude")
        if _fills(values, *interval) and _fills(other, *INTERVALS[right]):
            raise Wrong(
                "Two things are wrong. First: Amplitude and phase are swapped; the order is (amplitude, phase). "
                f"Second: {message}"
            )


def _drawn(attempt: Callable, case: Case, count: int) -> Tensor:
    (generator,) = case.make()
    return torch.tensor([_pair(attempt(generator)) for _ in range(count)], dtype=torch.float64)  # [count, 2]


def _pair(task: Any) -> list[float]:
    if isinstance(task, Tensor | np.ndarray):
        task = list(task) if task.ndim and len(task) == 2 else task
    if not isinstance(task, tuple | list) or len(task) != 2:
        raise Wrong(f"It should return two numbers, (amplitude, phase); yours is {describe(task)}.")
    single = [value.item() if isinstance(value, np.ndarray) and value.size == 1 else value for value in task]
    return [number(value, f"The {name}") for value, name in zip(single, INTERVALS, strict=True)]


def _expect_repeatable(attempt: Callable) -> None:
    first, second = (_drawn(attempt, SAMPLE_TASK_CASES[0], 20) for _ in range(2))
    differing = [name for name, a, b in zip(INTERVALS, first.T, second.T, strict=True) if (a != b).any()]
    if differing and first.isfinite().all():
        (generator,) = SAMPLE_TASK_CASES[0].make()
        seed = generator.initial_seed()
        attempt(generator)
        if generator.initial_seed() != seed:
            raise Wrong(
                f"It gives `generator` a new seed, as generator.seed() does, and the same first seed gives another "
                f"{and_(differing)} each time. An experiment that cannot be repeated cannot be checked. Use "
                "`generator` as it comes."
            )
        raise Wrong(
            f"The same seed gives another {and_(differing)} each time, so some of the randomness does not come from "
            "`generator` as it was seeded. An experiment that cannot be repeated cannot be checked. Does every random "
            "function get generator=generator, and is nothing kept from one call to the next?"
        )


def _expect_different_tasks(attempt: Callable, tasks: Tensor) -> None:
    (generator,) = SAMPLE_TASK_CASES[0].make()
    before = generator.get_state()
    attempt(generator)
    used = not torch.equal(before, generator.get_state())
    torch.rand(1, generator=generator)  # or a seed that is set again would leave the same state
    after = generator.get_state()
    attempt(generator)
    used_again = not torch.equal(after, generator.get_state())
    same = [name for name, values in zip(INTERVALS, tasks[:DRAWS].T, strict=True) if (values == values[0]).all()]
    if len(same) == 2:
        single = "With a single task there is nothing to learn across tasks."
        if used and not used_again:
            raise Wrong(
                f"The first call draws a task from `generator`, and later calls return that task again, as with "
                f"functools.cache or a global variable. {single} Draw new numbers in every call."
            )
        if not used and not torch.equal(tasks[0], tasks[DRAWS]):
            raise Wrong(
                "Every call returns the same task: it follows from the seed, but the call leaves `generator` in the "
                f"state in which it was. {single} Draw from `generator` itself, and do not put its state back."
            )
        if used:
            raise Wrong(
                f"Every call returns the same task, although `generator` is used. {single} Is a generator seeded anew "
                "on each call, or is the random number lost?"
            )
        raise Wrong(
            f"Every call returns the same task, and no random number is drawn from `generator`. {single} Hand "
            "generator=generator to every random function."
        )
    if same:
        raise Wrong(
            f"The {same[0]} is the same in every task, {tasks[0, list(INTERVALS).index(same[0])]:.4g}. The tasks "
            "should differ in both numbers, and each needs a random number of its own, from `generator`."
        )


def _fills(values: Tensor, low: float, high: float) -> bool:
    """Tell whether the values are spread evenly over the interval from `low` to `high`.

    A right function fails less than once in a million times, in whatever way it uses the generator: of n values none
    lies in a margin of 0.005 with probability 0.995^4000 = 2e-9, and the distribution functions differ by more than
    3 / sqrt(n) with probability 2 exp(-2 * 3^2) = 3e-8 (the test of Kolmogorov and Smirnov).
    """
    margin = 0.005 * (high - low)
    inside = values.min() > low - 0.001 and values.max() < high + 0.001  # the ends may be rounded
    filled = values.min() < low + margin and values.max() > high - margin
    return bool(inside and filled and _unevenness(values, low, high) < 3 / len(values) ** 0.5)


def _unevenness(values: Tensor, low: float, high: float) -> float:
    fractions = (values.sort().values - low) / (high - low)
    return (fractions - torch.linspace(0, 1, len(values), dtype=values.dtype)).abs().max().item()


def _fault(values: Tensor, name: str, low: float, high: float) -> str | None:
    """Say what is wrong with the values of an amplitude or a phase, if anything is."""
    least, most = values.min().item(), values.max().item()
    between = values[(values > least) & (values < most)]
    # torch.rand can give 2^24 numbers, so hardly any number should come twice.
    if len(between) and len(between.unique()) > 0.85 * len(between):
        for edge in (least, most):
            if (share := (values == edge).double().mean().item()) > 0.002:
                return (
                    f"The {name} is exactly {edge:.4g} in {share:.1%} of the draws. That happens when numbers beyond "
                    "the interval are cut off at its end, by clamp, min or max. Stretch and move the random number "
                    "instead, so that all values are equally likely."
                )
    else:
        return (
            f"The {name} takes only {len(values.unique()):,} different values in {len(values):,} draws. It should "
            "take any real number of its interval. On a coarse grid the same tasks come again and again. Look for "
            "whole random numbers, for rounding, or for half precision."
        )
    if _fills(values, low, high):
        return None
    if not _fills(values, least, most):
        return _uneven(values, name, low, high)
    for known, (known_low, known_high), message in KNOWN_INTERVALS:
        if known == name and _fills(values, known_low, known_high):
            return message
    return (
        f"The {name} lies between about {least:.2f} and {most:.2f}; it should fill {low:.1f} … {high:.4g}. Errors on "
        "other tasks than the published ones cannot be compared. Multiply the random number by the width of the "
        "interval, and add its lower end."
    )


def _uneven(values: Tensor, name: str, low: float, high: float) -> str:
    least, most = values.min().item(), values.max().item()
    outside = least < low - 0.001 or most > high + 0.001
    if not outside:
        least, most = low, high
    fifths = torch.histc(values, 5, least, most) / len(values)
    lowest, middle, highest = fifths[[0, 2, 4]].tolist()
    if middle > 1.1 * max(lowest, highest):
        how = "values in the middle come more often than those at the ends, as with torch.randn or with a mean"
    elif middle < 0.9 * min(lowest, highest):
        how = "values at the ends come more often than those in the middle"
    elif lowest > 1.1 * highest:
        how = "small values come more often than large ones"
    elif highest > 1.1 * lowest:
        how = "large values come more often than small ones"
    else:
        how = "some values come more often than others"
    start = f"The {name} lies between {least:.2f} and {most:.2f} and" if outside else f"The {name}"
    wanted = f" in {low:.1f} … {high:.4g}" if outside else ""
    return (
        f"{start} is not uniform{wanted}: {how}. The lowest fifth of its values' interval holds {lowest:.0%} of the "
        f"draws, the middle fifth {middle:.0%}, and the highest {highest:.0%}. Take one number from torch.rand, and "
        "only stretch and move it."
    )


def _expect_independent(amplitude: Tensor, phase: Tensor) -> None:
    """Raise `Wrong` if one of the two tells something about the other (the chi-square test on a 6 × 6 table)."""
    rows, columns = (
        ((values - low) / (high - low) * 6).long().clamp(0, 5)
        for values, (low, high) in zip((amplitude, phase), INTERVALS.values(), strict=True)
    )
    counts, expected = torch.bincount(rows * 6 + columns, minlength=36), len(amplitude) / 36
    if ((counts - expected) ** 2 / expected).sum() > 120:  # 35 degrees of freedom: exceeded with probability 2e-11
        raise Wrong(
            "Amplitude and phase are not independent: knowing one of them tells something about the other, as if both "
            "came from the same random number. The tasks are then a smaller family than they should be. Each needs "
            "a random number of its own."
        )


SAMPLE_TASK_CASES = [
    Case(what=f"the seed {seed}", make=lambda seed=seed: (torch.Generator().manual_seed(seed),)) for seed in (0, 2017)
]

sample_task = Exercise(
    answer=solutions.sample_task,
    difficulty="easy",
    minutes=5,
    statement="Draw a sine task from the generator: an amplitude uniform in 0.1 … 5.0 and a phase uniform in 0 … π.",
    hints=(
        "torch.rand gives numbers uniform in 0 … 1. What do a multiplication and an addition make of that interval?",
        "torch.rand(1, generator=generator).item() is one number. You need two of them, one for each quantity.",
        "The interval low … high is low + (high - low) * u, with u uniform in 0 … 1; π is torch.pi.",
    ),
    cases=SAMPLE_TASK_CASES,
    examine=_examine_sample_task,
)


# Losses that readers write in place of the mean squared error. The messages are true of inner and outer losses.


def _every_pair(prediction: Tensor, y: Tensor) -> Tensor:
    return (prediction - y.flatten()) ** 2  # [K, K]


EVERY_PAIR = (
    "Each prediction is pulled towards the mean of all labels, as when a [K, 1] and a [K] tensor are subtracted, which "
    "gives a [K, K] table. Give both the same shape."
)
AVERAGED_FIRST = (
    "An average is taken before the squares: of the predictions, or of the differences. Errors above and below then "
    "cancel. Square the difference at each point, and average afterwards."
)

LOSSES: dict[Loss, str] = {
    lambda f, y: mean_square(f, y).sqrt(): (
        "The loss is the root of the mean squared error. Its gradient has another length, which does not shrink as "
        "the fit improves. Leave the root out."
    ),
    lambda f, y: _every_pair(f, y).mean(): EVERY_PAIR,
    F.l1_loss: (
        "The loss is the mean absolute error, where large errors pull no harder than small ones. The lesson uses the "
        "mean squared error everywhere. Square the differences."
    ),
    lambda f, y: ((f - y) ** 2).sum().sqrt(): (
        "The loss is the root of the summed squares, the norm of the errors. Take the mean of the squares, and no root."
    ),
    F.smooth_l1_loss: (
        "The loss is the Huber loss (smooth L1), which treats large errors as absolute ones. The lesson uses "
        "the mean squared error everywhere."
    ),
    lambda f, y: (f - y).mean(): (
        "Nothing is squared: the gradient is that of the mean difference, or of the mean prediction. Errors above and "
        "below then cancel. Square the difference at each point."
    ),
    lambda f, y: (f - y).mean() ** 2: AVERAGED_FIRST,
    lambda f, y: _every_pair(f, y).sum(): f"{EVERY_PAIR} (And the table is added up, not averaged.)",
    lambda f, y: ((f + y) ** 2).mean(): (
        "The labels are added to the predictions and not subtracted from them. The network is then trained to predict "
        "the negative wave."
    ),
    lambda f, y: (f**2).mean(): (
        "The labels have no influence on the gradient, as with a loss of prediction², or of prediction² − y². The "
        "network is then trained to predict 0 everywhere. Square the difference of prediction and label."
    ),
    lambda f, y: ((f - y) ** 3).mean(): "The errors are raised to the third power, which has no smallest value. Square "
    "them.",
    lambda f, y: ((f - y) ** 4).mean(): "The errors are raised to the fourth power. Square them once only.",
    lambda f, y: mean_square(f, y) ** 2: "The mean of the squares is squared once more. Use the mean as it is.",
    lambda f, y: mean_square(f, y).log(): "The logarithm of the mean squared error is taken. Use the mean as it is.",
    lambda f, y: ((f - y) ** 2).max(): "Only the point with the largest error counts. Take the mean over all points.",
    lambda f, y: ((f - y) ** 2).median(): "The median of the squares is taken, in which one point counts. Take their "
    "mean.",
}

# Losses whose gradients are those of others, so that only the outer loss can tell them apart.
OUTER_LOSSES: dict[Loss, str] = {
    lambda f, y: (f**2 - y**2).mean(): (
        "The squares are subtracted, prediction² − y², where the difference should be squared. Such a loss is not "
        "smallest at the labels."
    ),
    lambda f, y: mean_square(f.mean(), y): AVERAGED_FIRST,
    lambda f, y: mean_square(f, y.mean()): "The predictions are compared with the mean of the labels. Compare each "
    "prediction with its own label.",
}

# Factors of a loss over n points, with the messages for an inner loss, and for an outer loss.
SCALES: dict[Callable[[int], float], tuple[str, str]] = {
    lambda n: n: (
        "The step is too long by the number of points, as with a sum of the squared errors in place of their mean. An "
        "inner_lr that suits 5 points would be too large for 10. Look at how the squares are reduced.",
        "The outer loss is too large by the number of points, as with a sum of the squared errors in place of their "
        "mean. Look at how the squares are reduced.",
    ),
    lambda n: 1 / 2: (
        "The step is half as long as it should be, as with a loss of ½ (prediction - y)². Results at a given inner_lr "
        "would not compare with the published ones. Take the plain mean of the squared errors.",
        "The meta-loss is half as large as it should be, as with a loss of ½ (prediction - y)². Take the plain mean "
        "of the squared errors.",
    ),
    lambda n: 2: (
        "The step is twice as long as it should be. Autograd already includes the 2 that comes from the square. Is "
        "there a factor 2 in the code, or is the same gradient subtracted twice?",
        "The meta-loss is twice as large as it should be. Is there a factor 2 in the code, or is something added "
        "twice?",
    ),
    lambda n: 1 / n: (
        "The step is too short by the number of points: something divides by it a second time. mean() has already "
        "done that, so do not divide once more.",
        "The outer loss is too small by the number of points: something divides by it a second time. mean() has "
        "already done that, so do not divide once more.",
    ),
    lambda n: n / (n - 1): (
        "The squared errors seem to be divided by the number of points minus 1, as for a variance, because the step "
        "is too long by just that much. A mean divides by the number of points.",
        "The squared errors seem to be divided by the number of points minus 1, as for a variance, because the result "
        "is too large by just that much. A mean divides by the number of points.",
    ),
}
INNER_SCALES = {scale: inner for scale, (inner, _outer) in SCALES.items()}


# inner_step


def _plain_step(
    params: Sequence[Tensor],
    x: Tensor,
    y: Tensor,
    inner_lr: float,
    *,
    sign: int = -1,
    rate: Callable[[float], float] = lambda inner_lr: inner_lr,
    loss: Loss = mean_square,
    scale: Callable[[int], float] = lambda n: 1,
    points: Callable[[Tensor], Tensor] = lambda x_or_y: x_or_y,
    data: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = lambda x, y: (x, y),
    network: Callable = forward,
    direction: Callable[[list[Tensor]], list[Tensor]] = lambda gradients: gradients,
    steps: Callable[[int], int] = lambda n: 1,
    result: Callable[[Tensor, Tensor, Tensor, float], Tensor] = lambda old, new, gradient, inner_lr: new,
) -> list[Tensor]:
    """Take an inner step that has the right values, unless a switch makes it wrong, and a first-order graph."""
    factor = sign * rate(inner_lr) * scale(len(x))
    new = [p if p.requires_grad else p.detach().requires_grad_() for p in params]
    for _ in range(steps(len(x))):
        inputs, targets = data(points(x), points(y))
        gradients = direction(list(torch.autograd.grad(loss(network(new, inputs), targets), new)))
        new = [p + factor * g for p, g in zip(new, gradients, strict=True)]
    return [result(*parts, inner_lr) for parts in zip(params, new, gradients, strict=True)]


def _without_relu(params: Sequence[Tensor], x: Tensor) -> Tensor:
    w1, b1, w2, b2, w3, b3 = params
    return ((x @ w1 + b1) @ w2 + b2) @ w3 + b3


def _with_tanh(params: Sequence[Tensor], x: Tensor) -> Tensor:
    w1, b1, w2, b2, w3, b3 = params
    return torch.tanh(torch.tanh(x @ w1 + b1) @ w2 + b2) @ w3 + b3


def _each(change: Callable[[Tensor], Tensor]) -> Callable[[list[Tensor]], list[Tensor]]:
    return lambda gradients: [change(g) for g in gradients]


def _clipped(gradients: list[Tensor]) -> list[Tensor]:
    length = torch.cat([g.flatten() for g in gradients]).norm()
    return [g / length.clamp(min=1) for g in gradients]


def _one_after_another(create_graph: bool) -> Callable:
    def step(params: Sequence[Tensor], x: Tensor, y: Tensor, inner_lr: float) -> list[Tensor]:
        new = list(params)
        for i in range(len(new)):
            new[i] = new[i] - inner_lr * torch.autograd.grad(mse(new, x, y), new[i], create_graph=create_graph)[0]
        return new

    return step


def _point_after_point(params: Sequence[Tensor], x: Tensor, y: Tensor, inner_lr: float) -> list[Tensor]:
    for i in range(len(x)):
        params = _plain_step(params, x[i : i + 1], y[i : i + 1], inner_lr)
    return list(params)


def _without_relu_derivative(params: Sequence[Tensor], x: Tensor, y: Tensor, inner_lr: float) -> list[Tensor]:
    w1, b1, w2, b2, w3, b3 = params
    first = torch.relu(x @ w1 + b1)
    second = torch.relu(first @ w2 + b2)
    d3 = 2 * (second @ w3 + b3 - y) / len(x)
    d2 = d3 @ w3.T
    d1 = d2 @ w2.T
    gradients = [x.T @ d1, d1.sum(0), first.T @ d2, d2.sum(0), second.T @ d3, d3.sum(0)]
    return [p - inner_lr * g for p, g in zip(params, gradients, strict=True)]


def _only(*moving: int) -> Callable:
    """Return a step in which only the parameters with these numbers move."""

    def step(params: Sequence[Tensor], x: Tensor, y: Tensor, inner_lr: float) -> list[Tensor]:
        new = _plain_step(params, x, y, inner_lr)
        return [new[i] if i in moving else p for i, p in enumerate(params)]

    return step


def _says_what_moves(fixed: Sequence[int]) -> str:
    which = {
        (1, 3, 5): "Only the weight matrices move, and the biases stay as they are.",
        (0, 1, 2, 3): "Only the last layer moves. That is another algorithm, ANIL (Raghu et al. 2020).",
    }
    names = f"{and_([NAMES[i] for i in fixed])} {'does' if len(fixed) == 1 else 'do'} not move."
    return (
        f"{which.get(tuple(fixed), names)} The lesson adapts every parameter. Does the update run over the whole list?"
    )


def _minus_loss(params: Sequence[Tensor], x: Tensor, y: Tensor, inner_lr: float) -> list[Tensor]:
    return [p - inner_lr * mse(params, x, y) for p in params]


def _times_the_loss(params: Sequence[Tensor], x: Tensor, y: Tensor, inner_lr: float) -> list[Tensor]:
    return _plain_step(params, x, y, inner_lr, loss=lambda f, y: mean_square(f, y) ** 2 / 2)


def _without_biases(params: Sequence[Tensor], x: Tensor) -> Tensor:
    w1, b1, w2, b2, w3, b3 = params
    zero = 0 * (b1.sum() + b2.sum() + b3.sum())  # or autograd would miss them
    return torch.relu(torch.relu(x @ w1) @ w2) @ w3 + zero


NORMALISED = (
    "The gradient is normalised, so every step has the same length. Near a good start a plain gradient step is short "
    "by itself, and a normalised one jumps over it. Use the gradient as autograd returns it."
)
SIGN = (
    "Only the sign of the gradient is used, as in Adam's first step, so every parameter moves equally far. A sign has "
    "no derivative for MAML to use. Take the gradient itself."
)
ALIKE = "All entries of a tensor then move alike, but each has a gradient of its own. Use it as autograd returns it."
CLIPPED = (
    "Large gradients are clipped. The lesson's inner step is plain gradient descent, and results with "
    "clipping would not compare. Use the gradient as autograd returns it."
)
SOME_POINTS = (
    "Only some of the points enter the loss. With so few points each one matters, and all of `x` and `y` should count. "
    "Look for an index or a slice."
)
UNCHANGED = (
    "The parameters come back as they went in: no step was taken. Without adapting, every task gets the same network. "
    "Where does the gradient enter?"
)
NOT_ADDED = (
    "It returns the change alone, or the gradient, and not the changed parameters. What comes back is used as a "
    "network, so it must start from `params`."
)
OTHER_NETWORK = (
    "The predictions are not those of forward(params, x): the relu between the layers is missing, or another function "
    "stands in its place. Call exercises.forward."
)


def _several(steps: int) -> str:
    return (
        f"It takes {steps} gradient steps, each from where the one before ended. The exercise asks for one, and MAML "
        "here learns a start from which one step is enough."
    )


INNER_STEP_SWITCHES: dict[str, dict[Any, str]] = {
    "sign": {
        +1: "It climbs: the step goes along the gradient, so the loss grows. Meta-learning would look for a start "
        "from which going the wrong way helps. Which way does a gradient point?",
    },
    "rate": {
        lambda lr: 1: "The learning rate is missing: the step is one whole gradient. inner_lr decides how far a task "
        "may move from the shared start. Where does it belong?",
        lambda lr: lr**2: "The learning rate comes in twice, so the step is inner_lr squared times the gradient, and "
        "the task hardly adapts. Find the second place that multiplies by it.",
        lambda lr: 1 / lr: "The gradient is divided by inner_lr and not multiplied by it, so a small rate makes a "
        "huge step.",
        lambda lr: lr**0.5: "The root of inner_lr is the rate of the step. Multiply by inner_lr itself.",
        lambda lr: lr / len(NAMES): "The step is divided by 6, the number of tensors in `params`. Each tensor's own "
        "gradient should be subtracted whole, times inner_lr.",
    },
    "loss": LOSSES,
    "scale": INNER_SCALES,
    "points": {
        lambda values: values[:1]: SOME_POINTS,
        lambda values: values[-1:]: SOME_POINTS,
        lambda values: values[1:]: SOME_POINTS,
        lambda values: values[:-1]: SOME_POINTS,
        lambda values: values[:5]: SOME_POINTS,
        lambda values: values[: len(values) // 2]: SOME_POINTS,
    },
    "data": {
        lambda x, y: (y, x): "x and y are exchanged: the network gets y as its input and has to predict x. It should "
        "predict y from x. Check the order of the arguments.",
        lambda x, y: (x, x): "The predictions are compared with x. They should be compared with the labels y.",
        lambda x, y: (y, y): "The network gets y as its input. It should predict y from x.",
    },
    "network": {
        _without_relu: OTHER_NETWORK,
        _with_tanh: OTHER_NETWORK,
        lambda params, x: torch.relu(forward(params, x)): "A relu stands after the last layer, so negative values, "
        "half of each wave, cannot be predicted. Call exercises.forward.",
    },
    "direction": {
        lambda gs: [g / torch.cat([h.flatten() for h in gs]).norm() for g in gs]: NORMALISED,
        _each(lambda g: g / g.norm()): NORMALISED,
        _each(lambda g: g / g.abs().max()): NORMALISED,
        _clipped: CLIPPED,
        _each(lambda g: g.clamp(-1, 1)): CLIPPED,
        _each(torch.sign): SIGN,
        _each(lambda g: g / (g.abs() + 1e-8)): SIGN,
        _each(torch.square): "The gradient is squared, so its sign is lost and no parameter can grow. Use the gradient "
        "as autograd returns it.",
        _each(torch.abs): "The absolute value of the gradient is taken, so its sign is lost and no parameter can grow. "
        "Use the gradient as autograd returns it.",
        _each(lambda g: g.mean().expand_as(g)): f"Each gradient is averaged to one number. {ALIKE}",
        _each(lambda g: g.sum().expand_as(g)): f"Each gradient is added up to one number. {ALIKE}",
    },
    "steps": {(lambda n, steps=steps: steps): _several(steps) for steps in (2, 3, 4, 5, 6, 8, 10)}
    | {
        lambda n: (
            n
        ): "It takes as many gradient steps as there are points. The exercise asks for one step, in which the "
        "mean runs over the points.",
    },
    "result": {
        lambda old, new, g, lr: old: UNCHANGED,
        lambda old, new, g, lr: g: NOT_ADDED,
        lambda old, new, g, lr: new - old: NOT_ADDED,
        lambda old, new, g, lr: old - new: NOT_ADDED,
        lambda old, new, g, lr: lr * (old - g): "The parameters themselves are multiplied by inner_lr, not only the "
        "gradient. A missing pair of parentheses, or one too many, does this.",
        lambda old, new, g, lr: lr * old - g: "The parameters are multiplied by inner_lr, and the gradient is not. It "
        "should be the other way round.",
        lambda old, new, g, lr: -new: "The result has the wrong sign as a whole: it is inner_lr times the gradient, "
        "minus the parameters. Subtract the other way round.",
        lambda old, new, g, lr: old - lr * g * old: "The step is multiplied by the parameters themselves, as with "
        "p * (1 - inner_lr * gradient). Subtract the plain gradient, times inner_lr.",
        lambda old, new, g, lr: (
            old - lr * old
        ): "The parameters are subtracted from themselves, times inner_lr, and the "
        "gradient is not used. Subtract inner_lr times the gradient.",
        lambda old, new, g, lr: (
            g - lr * old
        ): "Parameters and gradient have changed places: inner_lr times the parameters "
        "is subtracted from the gradient. It should be the other way round.",
        lambda old, new, g, lr: (
            0 * old
        ): "All new parameters are 0. They should be the old ones, minus inner_lr times the gradient.",
        lambda old, new, g, lr: (1 - lr) * old + lr * g: "The result is a weighted mean of the parameters and the "
        "gradient. A gradient step subtracts inner_lr times the gradient from the parameters.",
    },
}


ONE_AFTER_ANOTHER = (
    "The parameters are updated one after another, each with a gradient taken after the earlier ones have moved. One "
    "gradient step takes all gradients at the same point, `params`."
)
INNER_STEP_NAMED: list[Misconception] = [
    (
        "The gradient is multiplied by the loss, so the step is longer where the fit is worse. The loss is only there "
        "to be differentiated. Subtract inner_lr times the gradient.",
        _times_the_loss,
    ),
    (ONE_AFTER_ANOTHER, _one_after_another(create_graph=False)),
    (ONE_AFTER_ANOTHER, _one_after_another(create_graph=True)),
    (
        "The loss itself is subtracted, not its gradient, so every entry moves by the same number. The gradient says "
        "in which direction each entry should move. torch.autograd.grad returns it.",
        _minus_loss,
    ),
    (
        "It takes a step for each point, one after another. One gradient step uses the mean over all points.",
        _point_after_point,
    ),
    (
        "The gradients of the hidden layers lack the derivative of relu, which is 0 where a unit is off and 1 where it "
        "is on. Let autograd compute the gradients, or multiply by (hidden > 0).",
        _without_relu_derivative,
    ),
]
INNER_STEP_MISTAKES = remembered(alone(_plain_step, INNER_STEP_SWITCHES) + INNER_STEP_NAMED)
INNER_STEP_PAIRS = remembered(in_pairs(_plain_step, INNER_STEP_SWITCHES))


def _inner_step_case(
    shots: int, widths: tuple[int, int], size: float, inner_lr: float, dtype: torch.dtype, seed: int
) -> Case:
    def make() -> tuple[list[Tensor], Tensor, Tensor, float]:
        generator = torch.Generator().manual_seed(seed)
        params = fresh_params(widths, size, dtype, generator)
        x, y, _, _ = fresh_task(shots, shots, dtype, generator)
        return params, x, y, inner_lr

    precision = "double" if dtype == torch.float64 else "single"
    sizes = {"the number of points": shots, "inner_lr": inner_lr}
    return Case(what=f"{shots} points in {precision} precision", make=make, sizes=sizes)


# Clipping at 1 changes the first case's gradient, and leaves the second one's as it is.
INNER_STEP_CASES = [
    _inner_step_case(7, (14, 13), 0.6, 0.067, torch.float32, seed=0),
    _inner_step_case(12, (10, 8), 0.3, 0.017, torch.float64, seed=1),
]


def _examine_inner_step(attempt: Callable) -> None:
    attempt = expect_lists_kept(with_help(attempt, ADVICE), inner_step.in_place)
    steps = []
    for case in INNER_STEP_CASES:
        arguments, ours = case.make(), case.make()
        adapted = attempt(*arguments)
        expect_params_untouched(arguments[0])
        steps.append(Step(change_of(adapted, arguments), change_of(_plain_step(*ours), ours), ours, case.sizes))
    if not all(change.isfinite().all() for step in steps for change in step.got.values()):
        raise Wrong("Some of the new parameters are not finite numbers: they are nan or inf.")
    _expect_no_loss_without_biases(steps)
    _expect_all_to_move(steps)
    _expect_precision(steps)

    def explain() -> None:
        _expect_no_written_number(steps)
        _expect_no_decay(steps)
        _expect_all_points(steps)
        _expect_no_rounding(steps)
        _expect_no_finite_differences(steps)

    called = agree(
        attempt,
        name="inner_step",
        cases=INNER_STEP_CASES,
        right=solutions.inner_step,
        numbers=change_of,
        mistakes=in_turn(INNER_STEP_MISTAKES, explain, INNER_STEP_PAIRS),
    )
    _expect_graph_of_step(called)


class Step(NamedTuple):
    """A reader's step in one case, and ours."""

    got: dict[str, Tensor]  # what is added to each of the parameters
    want: dict[str, Tensor]
    arguments: tuple[list[Tensor], Tensor, Tensor, float]
    sizes: Mapping[str, float]


def _expect_no_loss_without_biases(steps: list[Step]) -> None:
    """Raise `Wrong` if biases do not move because the loss does not depend on them."""
    variance = (
        "The loss is the variance of the errors, which does not change when all predictions move alike. So b3 never "
        "moves, and an offset is never learned. Take the mean of the squared errors."
    )
    known: dict[str, list[dict[str, Any]]] = {
        variance: [{"loss": lambda f, y, n=n: (f - y).var(correction=n)} for n in (0, 1)],
        "The predictions are made without the biases, which therefore do not move. Call exercises.forward.": [
            {"network": _without_biases}
        ],
    }
    for message, variants in known.items():
        for switches in variants:
            wants = [change_of(_plain_step(*step.arguments, **switches), step.arguments) for step in steps]
            if all(_gap(step.got, want) < 1e-4 for step, want in zip(steps, wants, strict=True)):
                raise Wrong(message)


def _gap(got: dict[str, Tensor], want: dict[str, Tensor]) -> float:
    """Return how far the numbers are from those wanted, relative to those."""
    a, b = (torch.cat([values.double().flatten() for values in numbers.values()]) for numbers in (got, want))
    return ((a - b).norm() / b.norm()).item()


def _expect_no_rounding(steps: list[Step]) -> None:
    """Raise `Wrong` if the gradients or the new parameters are rounded to some decimal places."""
    (step,) = (step for step in steps if step.arguments[1].dtype == torch.float64)
    old = torch.cat([p.detach().flatten() for p in step.arguments[0]])
    got, want = (torch.cat([t.flatten() for t in numbers.values()]) for numbers in (step.got, step.want))
    inner_lr = step.sizes["inner_lr"]
    for what, a, b in (
        ("gradients", got / inner_lr, want / inner_lr),
        ("new parameters", old + got, old + want),
    ):
        for places in range(1, 8):
            unit = 10.0**-places
            if ((a / unit) - (a / unit).round()).abs().max() < 1e-5 and (a - b).abs().max() < 0.51 * unit:
                digits = "1 decimal place" if places == 1 else f"{places} decimal places"
                raise Wrong(f"The {what} are rounded to {digits}. Rounding has the derivative 0. Leave it out.")


def _expect_no_finite_differences(steps: list[Step]) -> None:
    gaps = [_gap(step.got, step.want) for step in steps]
    if max(gaps) < 0.02:
        raise Wrong(
            f"The step is only nearly right, off by {max(gaps):.1g} of its length, as when finite differences stand in "
            "place of the gradients. torch.autograd.grad computes them exactly."
        )


def _expect_all_to_move(steps: list[Step]) -> None:
    fixed = [i for i, name in enumerate(steps[0].got) if not any(step.got[name].any() for step in steps)]
    if fixed and len(fixed) < len(NAMES):
        raise Wrong(_says_what_moves(fixed))


def _expect_precision(steps: list[Step]) -> None:
    """Raise `Wrong` if parameters in double precision are only as right as single precision allows."""
    gaps = [max((step.got[name] - step.want[name]).abs().max().item() for name in step.want) for step in steps]
    doubles = [step.arguments[1].dtype == torch.float64 for step in steps]
    if any(gap > 1e-11 for gap, double in zip(gaps, doubles, strict=True) if double) and max(gaps) < 1e-7:
        raise Wrong(f"The numbers agree to a few digits only where `params` are in double precision. {PRECISION}")


def _expect_no_written_number(steps: list[Step]) -> None:
    """Raise `Wrong` if the steps are too long by factors that a rate or a divisor in the code would explain."""
    factors = [_factor(step.got, step.want) for step in steps]
    if None in factors:
        return
    points, rates = ([step.sizes[name] for step in steps] for name in ("the number of points", "inner_lr"))
    by_rate = [factor * rate for factor, rate in zip(factors, rates, strict=True)]
    by_rate_of_sum = [factor / n for factor, n in zip(by_rate, points, strict=True)]
    by_divisor = [n / factor for factor, n in zip(factors, points, strict=True)]
    by_addition = [of_one - rate for of_one, rate in zip(by_rate, rates, strict=True)]
    climbs = f"Two things are wrong. First: {INNER_STEP_SWITCHES['sign'][1]} Second: " if factors[0] < 0 else ""
    if _all_same(by_rate) and not _all_same([abs(by_rate[0]), 1]):
        raise Wrong(
            f"{climbs}The rate {abs(by_rate[0]):.4g} is written into the code: the step has this rate whatever "
            "inner_lr is. The lesson tries several rates, so use the argument."
        )
    if _all_same(by_rate_of_sum) and not _all_same([abs(by_rate_of_sum[0]), 1]):
        raise Wrong(
            f"{climbs}The step is {abs(by_rate_of_sum[0]):.4g} times the gradient of the summed squares, whatever "
            "inner_lr and the number of points are. Use inner_lr, and the mean of the squares."
        )
    if _all_same(by_divisor) and not _all_same([abs(by_divisor[0]), 1]):
        raise Wrong(
            f"{climbs}The sum of the squared errors is divided by {abs(by_divisor[0]):.4g}, a number written into the "
            "code, and not by the number of points. Take the mean, which counts the points itself."
        )
    if _all_same(by_addition):
        raise Wrong(f"The rate of the step is inner_lr plus {by_addition[0]:.4g}. Use inner_lr as it is.")


def _expect_no_decay(steps: list[Step]) -> None:
    factors = []
    for step in steps:
        old = dict(zip(step.got, step.arguments[0], strict=True))
        single = step.arguments[1].dtype == torch.float32  # a difference of differences, so hardly precise
        excess = {name: step.got[name] - step.want[name] for name in old}
        factors.append(_factor(excess, old, 0.02 if single else 1e-4))
    if None not in factors:
        raise Wrong(
            "Besides the gradient step, the parameters are multiplied by a number, as by weight decay or by a term for "
            "their size in the loss. Take the gradient of the mean squared error alone."
        )


def _expect_all_points(steps: list[Step]) -> None:
    """Raise `Wrong` if the steps are right for some of the points, which are a slice of all."""
    used = [_points_used(step) for step in steps]
    if None not in used and any(
        len(points) < step.sizes["the number of points"] for points, step in zip(used, steps, strict=True)
    ):
        raise Wrong(SOME_POINTS)
    by_point = [_by_point(step) for step in steps]
    got = [torch.cat([change.flatten() for change in step.got.values()]) for step in steps]
    for count in range(2, 51):
        if all((g - b[:count].sum(0) / count).norm() < 1e-5 * g.norm() for g, b in zip(got, by_point, strict=True)):
            raise Wrong(
                f"At most {count} points enter the loss, and their sum is divided by {count} however many there are. "
                "Is that number written into the code? Take the mean over all points."
            )


def _by_point(step: Step) -> Tensor:
    """Return the changes [K, all parameters] that the points alone would cause."""
    params, x, y, inner_lr = step.arguments
    each = [torch.autograd.grad((forward(params, x[i]) - y[i]) ** 2, params) for i in range(len(x))]
    return -inner_lr * torch.stack([torch.cat([g.flatten() for g in of_point]) for of_point in each])


def _points_used(step: Step) -> range | None:
    """Return the points whose loss alone explains a step, as a mean or as a part of the mean over all points."""
    by_point = _by_point(step)
    count = len(by_point)
    got = torch.cat([change.flatten() for change in step.got.values()])
    slices = [range(i, j) for i in range(count) for j in range(i + 1, count + 1)]
    slices += [range(0, count, 2), range(1, count, 2)]
    for points in sorted(slices, key=len, reverse=True):
        total = by_point[list(points)].sum(0)
        if any((got - total / n).norm() < 1e-5 * got.norm() for n in (len(points), count)):
            return points
    return None


def _factor(got: dict[str, Tensor], want: dict[str, Tensor], tolerance: float = 1e-4) -> float | None:
    """Return the number by which all of `want` must be multiplied to be `got`, if there is one other than 0."""
    a, b = (torch.cat([values.double().flatten() for values in numbers.values()]) for numbers in (got, want))
    factor = (a @ b / (b @ b)).item()
    return factor if factor and (a - factor * b).norm() < tolerance * a.norm() else None


def _all_same(values: list[float]) -> bool:
    return all(abs(value - values[0]) <= 1e-4 * abs(values[0]) for value in values)


FIRST_ORDER_STEP = (
    "The numbers are right, but autograd takes your gradients for constants. The meta-gradient then misses its second "
    "derivatives, and MAML silently becomes first-order MAML. What must autograd be told to keep while it computes "
    "gradients?"
)
START_CUT = (
    "{The} right, but the old parameters are detached before the gradient is subtracted from them. The meta-gradient "
    "then misses its largest part and keeps only the second derivatives. Subtract from `params` as they are."
)


def _cut_at_the_start(params: Sequence[Tensor], x: Tensor, y: Tensor, inner_lr: float) -> list[Tensor]:
    new = solutions.inner_step(params, x, y, inner_lr)
    return [p.detach() + (q - p) for p, q in zip(params, new, strict=True)]


def _expect_graph_of_step(called: list[tuple[tuple, list[Tensor]]]) -> None:
    """Raise `Wrong` if gradients do not flow through right values as they should."""

    def gradient(adapted: Sequence[Tensor], params: list[Tensor], x: Tensor, y: Tensor, *_: Any) -> dict[str, Tensor]:
        # Any loss of the new parameters can serve as the query loss.
        return meta_gradient(mse([p.to(x.dtype) for p in adapted], -x, y), params)

    for arguments, adapted in called:
        params, x, y, _ = arguments
        loss = mse([p.to(x.dtype) for p in adapted], -x, y)
        cut = [name for name, p in zip(NAMES, adapted, strict=True) if not p.requires_grad]
        if 0 < len(cut) < len(NAMES):
            raise Wrong(
                f"The numbers are right, but of the new parameters {and_(cut)} are cut off from `params`: autograd "
                "cannot see where they come from. Look for detach, .data or no_grad."
            )
        expect_graph(
            loss,
            params,
            "The numbers are right, but the result is cut off from `params`: autograd cannot see that the step "
            "started there. No meta-gradient flows, so the start is never learned. Look for no_grad, detach or .data.",
        )
    trials = [
        Trial(
            case.what,
            f"exercises.inner_step.inputs({k or ''}) and a loss through your step",
            gradient(adapted, *arguments),
            gradient(solutions.inner_step(*arguments), *arguments),
        )
        for k, (case, (arguments, adapted)) in enumerate(zip(INNER_STEP_CASES, called, strict=True))
    ]
    mistakes = {FIRST_ORDER_STEP: _plain_step, START_CUT.format(The="The numbers are"): _cut_at_the_start}
    known = [
        (message, [gradient(step(*arguments), *arguments) for arguments, _ in called])
        for message, step in mistakes.items()
    ]
    compare_gradients(trials, known)


inner_step = Exercise(
    answer=solutions.inner_step,
    imports=FORWARD,
    difficulty="medium",
    minutes=10,
    statement=(
        "Take one gradient step on the mean squared error of a task's support set and return the new parameters, so "
        "that an outer loss can be differentiated through the step."
    ),
    hints=(
        "Three lines: the loss of forward(params, x) against y, its gradients, and a list of new tensors.",
        "torch.autograd.grad(loss, params) returns the gradients and touches nothing. Update out of place: a new "
        "list, with p minus something for each p.",
        "The step itself must stay in the graph: give torch.autograd.grad the argument create_graph=True.",
    ),
    cases=INNER_STEP_CASES,
    examine=_examine_inner_step,
    in_place=(
        "It changes the shared parameters themselves. The next task then starts from this task's weights instead of "
        "the common start, and no meta-gradient can flow. Make new tensors and leave `params` as they were."
    ),
)


# meta_loss


Points = tuple[Tensor, Tensor]  # x and y


def _support(task: Task) -> Points:
    return task[0], task[1]


def _query(task: Task) -> Points:
    return task[2], task[3]


def _joined(task: Task) -> Points:
    support_x, support_y, query_x, query_y = task
    return torch.cat([support_x, query_x]), torch.cat([support_y, query_y])


def _meta_variant(
    params: list[Tensor],
    tasks: list[Task],
    inner_lr: float,
    *,
    sets: tuple[Callable[[Task], Points], Callable[[Task], Points]] = (_support, _query),
    adapted: Callable[[Callable, list[Tensor], list[Points]], list[list[Tensor]]] | None = None,
    judge: Callable[[Callable, list[Tensor], list[Tensor], Task, Points], Tensor] | None = None,
    points: Callable[[Tensor], Tensor] = lambda x_or_y: x_or_y,
    loss: Loss = mean_square,
    scale: Callable[[int], float] = lambda n: 1,
    reduce: Callable[[Tensor], Tensor] = torch.mean,
    step: Callable = _plain_step,
    rate: Callable[[float, int], float] = lambda inner_lr, tasks: inner_lr,
) -> Tensor:
    """Compute the loss of MAML, which has the right value unless a switch makes it wrong, and a first-order graph.

    Args:
        params: the starting point.
        tasks: the tasks.
        inner_lr: the inner learning rate.
        sets: the points that a task adapts to, and those it is judged on.
        adapted: returns each task's parameters, from a step, the starting point, and the points of each task.
        judge: returns one task's loss, from a loss of parameters and points, the starting point, the adapted
            parameters, the task, and the points it is judged on.
        points: which of the points it is judged on.
        loss: the loss of predictions and labels outside the step.
        scale: a factor of that loss, from the number of points.
        reduce: makes one number of the tasks' losses [T].
        step: the inner step.
        rate: the rate of the inner step, from inner_lr and the number of tasks.
    """

    def take(start: list[Tensor], of_task: Points) -> list[Tensor]:
        return step(start, *of_task, rate(inner_lr, len(tasks)))

    def error(of: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        return scale(len(x)) * loss(forward(of, points(x)), points(y))

    adapted, judge = adapted or _each_from_the_start, judge or _adapted_alone
    to_adapt, to_judge = sets
    after = adapted(take, params, [to_adapt(task) for task in tasks])
    losses = [judge(error, params, new, task, to_judge(task)) for new, task in zip(after, tasks, strict=True)]
    return reduce(torch.stack(losses))


def _each_from_the_start(step: Callable, params: list[Tensor], points: list) -> list[list[Tensor]]:
    return [step(params, of_task) for of_task in points]


def _each_from_the_last(step: Callable, params: list[Tensor], points: list) -> list[list[Tensor]]:
    after = [params]
    for of_task in points:
        after.append(step(after[-1], of_task))
    return after[1:]


def _averaged(step: Callable, params: list[Tensor], points: list) -> list[list[Tensor]]:
    after = _each_from_the_start(step, params, points)
    return [[torch.stack(tensors).mean(0) for tensors in zip(*after, strict=True)]] * len(points)


def _summed(step: Callable, params: list[Tensor], points: list) -> list[list[Tensor]]:
    after = _each_from_the_start(step, params, points)
    moved = [p + sum(q - p for q in tensors) for p, *tensors in zip(params, *after, strict=True)]
    return [moved] * len(points)


def _late(step: Callable, params: list[Tensor], points: list) -> list[list[Tensor]]:
    return [params, *_each_from_the_start(step, params, points)][:-1]


def _shifted(by: int) -> Callable:
    def adapted(step: Callable, params: list[Tensor], points: list) -> list[list[Tensor]]:
        after = _each_from_the_start(step, params, points)
        return after[by:] + after[:by]

    return adapted


def _reversed(step: Callable, params: list[Tensor], points: list) -> list[list[Tensor]]:
    return _each_from_the_start(step, params, points)[::-1]


def _to_both_sets(arguments: tuple, task: Task) -> list[Tensor]:
    params, _tasks, inner_lr = arguments
    return _plain_step(_plain_step(params, *task[:2], inner_lr), *task[2:], inner_lr)


def _adapted_alone(error: Callable, params: list[Tensor], new: list[Tensor], task: Task, points: Points) -> Tensor:
    return error(new, *points)


def _as_many_as_the_support(
    error: Callable, params: list[Tensor], new: list[Tensor], task: Task, points: Points
) -> Tensor:
    x, y = points
    return error(new, x[: len(task[0])], y[: len(task[0])])


def _divided_by_the_support(
    error: Callable, params: list[Tensor], new: list[Tensor], task: Task, points: Points
) -> Tensor:
    return error(new, *points) * len(points[0]) / len(task[0])


def _divided_in_the_loop(losses: Tensor, count: int | None = None) -> Tensor:
    total = losses[0] * 0
    for loss in losses:
        total = (total + loss) / (count or len(losses))
    return total


def _every_network_on_every_query(params: list[Tensor], tasks: list[Task], inner_lr: float) -> Tensor:
    after = [_plain_step(params, *task[:2], inner_lr) for task in tasks]
    return torch.stack([mse(new, *task[2:]) for new in after for task in tasks]).mean()


def _on_the_query_of(which: int) -> Callable:
    """Return a meta-loss that takes one task's queries for all tasks."""

    def meta_loss(params: list[Tensor], tasks: list[Task], inner_lr: float) -> Tensor:
        after = [_plain_step(params, *task[:2], inner_lr) for task in tasks]
        return torch.stack([mse(new, *tasks[which][2:]) for new in after]).mean()

    return meta_loss


ONE_TASK = "A start learned from one task at a time chases that task. All tasks of the list should count alike."
ONE_IN_THE_SUM = (
    "Only one task's loss is in the sum, and the sum is divided by the number of tasks. Is the loss added up, or "
    "assigned anew in each round? Does a `return` stand inside the loop?"
)
LAST_COUNT_MOST = (
    "In every round the loss so far and the new one are averaged, so the last tasks count most. Add the losses up, and "
    "divide once, after the loop."
)
LEFT_OUT = (
    "One task is left out, the {which} one of the list. All tasks should count alike. Look for an index or a slice."
)
SOME_QUERIES = (
    "Only some of the query points enter the outer loss, but all of them should count. Look for an index or a slice."
)
BOTH_JUDGED = (
    "The outer loss includes the support points as well as the query points. That rewards memorising the points that "
    "the task has just adapted to. Judge the adapted parameters on the query set alone."
)
POOLED = (
    "All query sets are judged with the same parameters, which all support sets together have moved, as when gradients "
    "or adapted parameters are averaged or added up. Adapt to each task by itself, starting from `params` each time."
)
TWICE = "The loss of the {which} task is added twice. All tasks should count alike."
ROOT = "A root is taken in the outer loss. The meta-loss is a plain mean of squared errors, without a root."
ONE_FOR_ALL = (
    "All query sets are judged with the parameters that were adapted to the {which} task. Each task's query set "
    "belongs to the parameters adapted to its own support set. Judge inside the loop that adapts."
)
ONE_QUERY = (
    "All adapted parameters are judged on the query set of the {which} task. Each task's parameters belong to its own "
    "query set. Do two loops use the same variable?"
)
OTHER_QUERY = (
    "Parameters that were adapted to one task are judged on the query set of another. Each task's query set belongs to "
    "the parameters adapted to its own support set. Are two lists in different orders?"
)


def _at_rate(rate: float) -> Callable:
    return lambda params, x, y, inner_lr: _plain_step(params, x, y, rate)


# Some parameters stay where they are. The check of inner_step sees this in any step, by the changes.
PARTLY = [
    (_says_what_moves([i for i in range(6) if i not in moving]), _only(*moving))
    for moving in ((0, 2, 4), (1, 3, 5), (4, 5), (0, 1), (0, 1, 2, 3))
]


def _wrong_steps(mistakes: list[Misconception]) -> dict[Callable, str]:
    return {mistake: f"The inner step is not right. {message}" for message, mistake in mistakes}


def _rate_written(rate: float) -> str:
    return (
        f"The inner rate {rate:.4g} is written into the code, so it is used whatever inner_lr is. The lesson tries "
        "several rates. Use the argument."
    )


# In each switch the likely mistakes come first.
META_LOSS_SWITCHES: dict[str, dict[Any, str]] = {
    "sets": {
        (
            _support,
            _support,
        ): "The outer loss is taken on the support set, the very points the task has just adapted to. "
        "That rewards memorising them. MAML asks how well the adapted network does on points it has not seen. Which "
        "points are those?",
        (_query, _query): "It adapts on the query set, then judges on the same points. The answers leak into the "
        "adaptation, and at test time a learner has no query labels to adapt to. Adapt on the support set.",
        (
            _query,
            _support,
        ): "Support and query are swapped: it adapts on the query set and judges on the support set. At "
        "test time a learner has no query labels to adapt to. Check the order in which you unpack a task.",
        (_joined, _query): "It adapts on support and query points together. The answers leak into the adaptation, and "
        "at test time a learner has no query labels to adapt to. Adapt on the support set alone.",
        (_support, _joined): BOTH_JUDGED,
        (_joined, _joined): "Support and query points are joined to one set, for adapting and for judging. MAML asks "
        "how well the adapted network does on points it has not seen. Adapt on the support set, and judge on the query "
        "set.",
    },
    "adapted": {
        _each_from_the_last: "One task's weights are used for the next task: each starts where the one before it "
        "ended. MAML learns one start for all tasks, so every task must set out from `params`. Which name does your "
        "loop assign to?",
        _averaged: POOLED,
        _summed: POOLED,
        lambda step, params, points: [step(params, points[-1])] * len(points): ONE_FOR_ALL.format(which="last"),
        lambda step, params, points: [step(params, points[0])] * len(points): ONE_FOR_ALL.format(which="first"),
    },
    "judge": {
        lambda error, params, new, task, points: error(params, *points): "The query loss is that of the unadapted "
        "parameters: the inner step has no part in it. Minimising this gives one network for the average task, which "
        "is ordinary training. Whose prediction should be judged?",
        lambda error, params, new, task, points: error(params, *_support(task)): "It returns the loss of the unadapted "
        "parameters on the support set. Neither the inner step nor the query set has a part in it. Judge the adapted "
        "parameters, on the query set.",
        lambda error, params, new, task, points: error(new, *_support(task)) + error(new, *points): BOTH_JUDGED,
        lambda error, params, new, task, points: (error(new, *_support(task)) + error(new, *points)) / 2: BOTH_JUDGED,
        lambda error, params, new, task, points: error(params, *_support(task)) + error(new, *points): "The support "
        "loss, before adapting, is added to the query loss. MAML minimises the query loss after adapting, and nothing "
        "else.",
        lambda error, params, new, task, points: error(params, *points) + error(new, *points): "The query loss before "
        "adapting is added to the one after. MAML minimises the query loss after adapting, and nothing else.",
        lambda error, params, new, task, points: error(new, *points) - error(params, *points): "The query loss before "
        "adapting is subtracted, so this is the gain of the step. MAML minimises the loss after it, and nothing else.",
        lambda error, params, new, task, points: (
            error(params, *points) - error(new, *points)
        ): "The loss after adapting "
        "is subtracted from the loss before, so this is the gain of the step. MAML minimises the loss after it, and "
        "nothing else.",
        lambda error, params, new, task, points: error(new, *points[::-1]): "x and y are exchanged in the query loss: "
        "the network gets query_y as its input and has to predict query_x.",
    },
    "points": {
        lambda values: values[:1]: SOME_QUERIES,
        lambda values: values[-1:]: SOME_QUERIES,
        lambda values: values[1:]: SOME_QUERIES,
        lambda values: values[:-1]: SOME_QUERIES,
        lambda values: values[:5]: SOME_QUERIES,
    },
    "scale": {scale: outer for scale, (_inner, outer) in SCALES.items()},
    "loss": {loss: f"In the outer loss: {message}" for loss, message in (LOSSES | OUTER_LOSSES).items()},
    "reduce": {
        torch.sum: "The losses of the tasks are added up, not averaged. The meta-gradient then grows with the number "
        "of tasks, and the outer rate would have to change with it. What turns a sum into a mean?",
        lambda losses: losses[-1]: f"Only the last task counts, and the losses of the others are lost. {ONE_TASK}",
        lambda losses: losses[0]: f"Only the first task counts. {ONE_TASK} Does a `return` stand inside the loop?",
        lambda losses: losses[1]: f"Only the second task counts. {ONE_TASK}",
        lambda losses: losses[-1] / len(losses): ONE_IN_THE_SUM,
        lambda losses: losses[0] / len(losses): ONE_IN_THE_SUM,
        lambda losses: losses[:-1].mean(): LEFT_OUT.format(which="last"),
        lambda losses: losses[:-1].sum() / len(losses): LEFT_OUT.format(which="last"),
        lambda losses: losses[1:].mean(): LEFT_OUT.format(which="first"),
        lambda losses: losses[1:].sum() / len(losses): LEFT_OUT.format(which="first"),
        lambda losses: losses.mean() / len(losses): "The meta-loss is too small by the number of tasks: something "
        "divides by it a second time. The mean has already done that.",
        lambda losses: losses.sum() / (len(losses) - 1): "The sum is divided by the number of tasks minus 1. A mean "
        "divides by the number of tasks.",
        lambda losses: losses.sum() / (len(losses) + 1): "The sum is divided by the number of tasks plus 1. A mean "
        "divides by the number of tasks. Does the list of losses start with an extra entry?",
        _divided_in_the_loop: "The sum is divided by the number of tasks inside the loop, once a task, so the first "
        "tasks hardly count. Divide once, after the loop.",
        lambda losses: _divided_in_the_loop(losses, 2): LAST_COUNT_MOST,
        lambda losses: functools.reduce(lambda total, loss: (total + loss) / 2, losses): LAST_COUNT_MOST,
        lambda losses: losses.median(): "The median of the tasks' losses is taken, not their mean. Only one task "
        "counts in a median.",
        torch.max: "The largest of the tasks' losses is taken, not their mean. MAML minimises the mean over tasks.",
        torch.min: "The smallest of the tasks' losses is taken, not their mean. MAML minimises the mean over tasks.",
        lambda losses: losses.mean().sqrt(): ROOT,
        lambda losses: losses.sum().sqrt(): ROOT,
        torch.norm: "The norm of the tasks' losses is taken, not their mean.",
        torch.std: "The standard deviation of the tasks' losses is taken, not their mean.",
        torch.prod: "The tasks' losses are multiplied, not averaged.",
        lambda losses: (losses.sum() + losses[0]) / len(losses): TWICE.format(which="first"),
        lambda losses: (losses.sum() + losses[-1]) / len(losses): TWICE.format(which="last"),
        lambda losses: (
            (losses.sum() + 1) / len(losses)
        ): "The sum of the losses is too large by 1, as when it starts at "
        "1. Start it at 0, or use torch.stack(losses).mean().",
        lambda losses: functools.reduce(
            lambda total, loss: 0.9 * total + 0.1 * loss, losses, 0 * losses[0]
        ): "In every "
        "round the total is multiplied by 0.9 and the new loss by 0.1, as in a moving average. The tasks then count "
        "differently. Take their plain mean.",
        lambda losses: -losses.mean(): "The meta-loss has the wrong sign, so minimising it makes the adapted networks "
        "worse. A loss is minimised and needs no minus.",
    },
    "rate": {
        lambda lr, tasks: (
            lr / tasks
        ): "The inner rate is divided by the number of tasks. Each task takes a whole step of "
        "its own, with inner_lr. Only the mean of the query losses divides by the number of tasks.",
        lambda lr, tasks: 10 * lr: "The rate of the inner step is 10 times inner_lr. Use inner_lr as it is.",
        lambda lr, tasks: lr / 10: "The rate of the inner step is a tenth of inner_lr. Use inner_lr as it is.",
        lambda lr, tasks: lr * tasks: "The inner rate is multiplied by the number of tasks. Each task takes a step of "
        "its own, with inner_lr.",
    },
}
INNER_STEPS = alone(_plain_step, INNER_STEP_SWITCHES) + INNER_STEP_NAMED + PARTLY
LENGTHS = {name: INNER_STEP_SWITCHES[name] for name in ("sign", "rate", "scale")}  # what makes a step too long or short
WRONG_STEPS = _wrong_steps(
    # A step that changes nothing is the same as judging the unadapted parameters.
    [(message, step) for message, step in INNER_STEPS if message != UNCHANGED]
)
LIKELY_STEPS = _wrong_steps(alone(_plain_step, LENGTHS)) | {
    _at_rate(rate): _rate_written(rate) for rate in (0.001, 0.01, 0.02, 0.1)
}

# Mistakes that several switches make, or none.
META_LOSS_NAMED: list[Misconception] = [
    (
        "Each task's parameters are judged on the query sets of all tasks. A wave says nothing about the others. Judge "
        "them on the query set of their own task.",
        _every_network_on_every_query,
    ),
    (OTHER_QUERY, lambda *arguments: _meta_variant(*arguments, adapted=_shifted(1))),
    (OTHER_QUERY, lambda *arguments: _meta_variant(*arguments, adapted=_shifted(-1))),
    (OTHER_QUERY, lambda *arguments: _meta_variant(*arguments, adapted=_reversed)),
    (
        "Each task is judged before its own inner step, with the parameters adapted to the task before it, and the "
        "first task with `params`. Adapt first, and judge afterwards.",
        lambda *arguments: _meta_variant(*arguments, adapted=_late),
    ),
    (
        "It adapts to the support set and then to the query set too. The answers leak into the adaptation, and at test "
        "time a learner has no query labels to adapt to. Adapt on the support set alone.",
        lambda *arguments: torch.stack(
            [mse(_to_both_sets(arguments, task), *task[2:]) for task in arguments[1]]
        ).mean(),
    ),
    (
        "Only as many query points as there are support points enter the outer loss. The two sets may differ in size, "
        "and all query points should count.",
        lambda *arguments: _meta_variant(*arguments, judge=_as_many_as_the_support),
    ),
    (
        "The squared errors of the query points are added up and divided by the number of support points. Divide by "
        "the number of query points, as mean() does.",
        lambda *arguments: _meta_variant(*arguments, judge=_divided_by_the_support),
    ),
    (ONE_QUERY.format(which="last"), _on_the_query_of(-1)),
    (ONE_QUERY.format(which="first"), _on_the_query_of(0)),
]


def _in_both(loss: Loss = mean_square, data: Callable[[Tensor, Tensor], Points] = lambda x, y: (x, y)) -> Callable:
    def step(params: list[Tensor], x: Tensor, y: Tensor, inner_lr: float) -> list[Tensor]:
        return _plain_step(params, x, y, inner_lr, loss=loss, data=data)

    def judge(error: Callable, params: list[Tensor], new: list[Tensor], task: Task, points: Points) -> Tensor:
        return error(new, *data(*points))

    return lambda *arguments: _meta_variant(*arguments, step=step, loss=loss, judge=judge)


IN_BOTH = "In the inner step and in the outer loss: "
META_LOSS_NAMED += [(IN_BOTH + message, _in_both(loss)) for loss, message in LOSSES.items()]
META_LOSS_NAMED += [
    (IN_BOTH + message, _in_both(data=data)) for data, message in list(INNER_STEP_SWITCHES["data"].items())
]
META_LOSS_MISTAKES = remembered(alone(_meta_variant, META_LOSS_SWITCHES | {"step": WRONG_STEPS}) + META_LOSS_NAMED)
LIKELY = {
    "sets": 6,
    "adapted": 5,
    "judge": 4,
    "loss": 3,
    "scale": 5,
    "reduce": 16,
}  # how many of a switch's mistakes are likely
META_LOSS_PAIRS = remembered(
    in_pairs(
        _meta_variant,
        {name: dict(list(META_LOSS_SWITCHES[name].items())[:count]) for name, count in LIKELY.items()}
        | {"step": LIKELY_STEPS},
    )
    + alone(_meta_variant, {"step": _wrong_steps(in_pairs(_plain_step, LENGTHS))})
)


def _meta_loss_case(
    tasks: int,
    shots: int,
    queries: int,
    widths: tuple[int, int],
    size: float,
    inner_lr: float,
    dtype: torch.dtype,
    seed: int,
) -> Case:
    def make() -> tuple[list[Tensor], list[Task], float]:
        generator = torch.Generator().manual_seed(seed)
        params = fresh_params(widths, size, dtype, generator)
        return params, [fresh_task(shots, queries, dtype, generator) for _ in range(tasks)], inner_lr

    precision = "double" if dtype == torch.float64 else "single"
    sizes = {
        "the number of tasks": tasks,
        "the number of query points": queries,
        "the number of support points": shots,
        "inner_lr": inner_lr,
    }
    what = f"{tasks} tasks of {shots} support and {queries} query points in {precision} precision"
    return Case(what=what, make=make, sizes=sizes)


META_LOSS_CASES = [
    _meta_loss_case(3, 7, 11, (14, 13), 0.4, 0.017, torch.float32, seed=11),
    _meta_loss_case(5, 12, 9, (10, 8), 0.3, 0.068, torch.float64, seed=9),
]


def _as_number(loss: Any, arguments: tuple) -> dict[str, Tensor]:
    params, tasks, _ = arguments
    many = loss.numel() if isinstance(loss, Tensor) else len(loss) if isinstance(loss, tuple | list) else 1
    if many == len(tasks) > 1:
        raise Wrong(
            f"The meta-loss should be one number; yours is {describe(loss)}, one loss for each task. What is still "
            "missing is their mean."
        )
    if isinstance(loss, Tensor) and loss.dtype == torch.float64 and params[0].dtype == torch.float32:
        raise Wrong(
            "The meta-loss is in torch.float64, and `params` are in torch.float32. The result should have the "
            "precision of `params`. What converts it?"
        )
    return {"the meta-loss": torch.tensor(number(loss, "The meta-loss"), dtype=params[0].dtype)}


def _examine_meta_loss(attempt: Callable) -> None:
    other_set = "Support and query have different numbers of points. Does a prediction for one set meet the other set?"
    attempt = expect_lists_kept(attempt, meta_loss.in_place)
    attempt = with_help(attempt, ADVICE | {"size of tensor": other_set, "values to unpack": TASKS_ARE_A_LIST})
    values = []
    for case in META_LOSS_CASES:
        arguments, ours = case.make(), case.make()
        loss = attempt(*arguments)
        expect_params_untouched(arguments[0])
        (got,), (want,) = (_as_number(*pair).values() for pair in ((loss, arguments), (_meta_variant(*ours), ours)))
        values.append(Value(got.item(), want.item(), ours, case.sizes))
    if not all(math.isfinite(value.got) for value in values):
        raise Wrong("The meta-loss is not a finite number: it is nan or inf.")
    if not all(value.is_near(value.want) for value in values):
        for _ in range(5):  # so that a task chosen at random is not taken for one that is always chosen
            arguments = META_LOSS_CASES[-1].make()
            (again,) = _as_number(attempt(*arguments), arguments).values()
            if not values[-1].is_near(again.item()):
                raise Wrong(ANOTHER)

    def explain() -> None:
        _expect_no_constant(values)
        _expect_precise_value(values)
        _expect_no_written_rate(values)
        _expect_all_tasks(values)

    called = agree(
        attempt,
        name="meta_loss",
        cases=META_LOSS_CASES,
        right=solutions.meta_loss,
        numbers=_as_number,
        mistakes=in_turn(META_LOSS_MISTAKES, explain, META_LOSS_PAIRS),
    )
    _expect_meta_gradient(called)


TASKS_ARE_A_LIST = "`tasks` is a list with one tuple of four tensors for each task."


class Value(NamedTuple):
    """A reader's meta-loss in one case, and ours."""

    got: float
    want: float
    arguments: tuple[list[Tensor], list[Task], float]
    sizes: Mapping[str, float]

    def is_near(self, value: float) -> bool:
        """Tell whether the reader's number is this one."""
        exact = self.arguments[0][0].dtype == torch.float64
        return abs(self.got - value) <= (1e-9 if exact else 1e-5) * abs(value)


def _expect_no_constant(values: list[Value]) -> None:
    """Raise `Wrong` if the meta-losses are one constant, or are sums that are divided by a constant."""
    if _all_same([value.got for value in values]):
        raise Wrong(f"It returns {values[0].got:.4g} whatever its arguments are. Compute it from `params` and `tasks`.")
    for name, things in {"the number of tasks": "losses", "the number of query points": "squared errors"}.items():
        divisors = [value.sizes[name] * value.want / value.got if value.got else 0 for value in values]
        if _all_same(divisors) and divisors[0] > 1.5 and abs(divisors[0] - round(divisors[0])) < 1e-3:
            raise Wrong(
                f"The sum of the {things} is divided by {divisors[0]:.0f}, whatever {name} is. Is that number written "
                "into the code, or is something else counted? Take the mean, which counts by itself."
            )


def _expect_precise_value(values: list[Value]) -> None:
    if all(abs(value.got - value.want) <= 1e-6 * abs(value.want) for value in values):
        raise Wrong(f"The number agrees to a few digits only where `params` are in double precision. {PRECISION}")


def _expect_no_written_rate(values: list[Value]) -> None:
    """Raise `Wrong` if one inner rate explains the meta-losses of all cases."""

    def excess(rate: float) -> float:
        params, tasks, _ = values[-1].arguments
        return _meta_variant(params, tasks, rate).item() - values[-1].got

    tried = [0.0001 * 1.25**i for i in range(42)]  # up to 0.9, since a rate of 1 is no rate at all
    tried = [-rate for rate in reversed(tried)] + tried
    excesses = [excess(rate) for rate in tried]
    for low, high, at_low, at_high in zip(tried, tried[1:], excesses, excesses[1:], strict=False):
        if at_low * at_high > 0:
            continue
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) * at_low > 0 else (low, middle)
        if abs(low) > 2e-5 and all(v.is_near(_meta_variant(*v.arguments[:2], low).item()) for v in values):
            raise Wrong(_rate_written(low))
    for rate in (0.001, 0.01, 0.02, 0.1):
        divisors = [
            v.sizes["the number of tasks"] * _meta_variant(*v.arguments[:2], rate).item() / v.got if v.got else 0
            for v in values
        ]
        if _all_same(divisors) and divisors[0] > 1.5 and abs(divisors[0] - round(divisors[0])) < 1e-3:
            raise Wrong(
                f"Two things are wrong. First: {_rate_written(rate)} Second: The sum of the losses is divided by "
                f"{divisors[0]:.0f}, whatever the number of tasks is."
            )


def _expect_all_tasks(values: list[Value]) -> None:
    """Raise `Wrong` if the meta-losses are right for some of the tasks only."""
    used = [_tasks_used(value) for value in values]
    count = len(values[-1].arguments[1])
    if None in used or len(used[-1]) == count:
        return
    which = "task" if len(used[-1]) == 1 else "tasks"
    which += f" {and_([str(task + 1) for task in used[-1]])}"
    raise Wrong(f"Not all tasks count: of {count} tasks, the result uses {which} only. All should count alike.")


def _tasks_used(value: Value) -> tuple[int, ...] | None:
    """Return the tasks whose losses alone explain a meta-loss, as their mean or as a part of the mean over all."""
    params, tasks, inner_lr = value.arguments
    losses = [_meta_variant(params, [task], inner_lr).item() for task in tasks]
    for count in range(len(tasks), 0, -1):
        for chosen in itertools.combinations(range(len(tasks)), count):
            total = sum(losses[task] for task in chosen)
            if value.is_near(total / count) or value.is_near(total / len(tasks)):
                return chosen
    return None


def _expect_meta_gradient(called: list[tuple[tuple, Any]]) -> None:
    """Raise `Wrong` if gradients do not flow through a right value as they should."""
    for (params, _tasks, _inner_lr), loss in called:
        if not isinstance(loss, Tensor):
            raise Wrong(
                "The number is right, but it is a plain number and not a tensor. Autograd cannot follow it back to "
                "`params`, so nothing can be learned from it. Return the tensor, without item() or float()."
            )
        expect_graph(
            loss,
            params,
            "The number is right, but it is cut off from `params`: the meta-gradient is zero, so the start is never "
            "learned. Look for no_grad, detach, item, torch.tensor or .data between `params` and the loss.",
        )
    trials = [
        Trial(
            case.what,
            f"exercises.meta_loss.inputs({k or ''})",
            meta_gradient(loss, arguments[0]),
            meta_gradient(solutions.meta_loss(*arguments), arguments[0]),
        )
        for k, (case, (arguments, loss)) in enumerate(zip(META_LOSS_CASES, called, strict=True))
    ]
    known = [
        (message, [meta_gradient(mistake(*arguments), arguments[0]) for arguments, _ in called])
        for message, mistake in META_LOSS_GRAPHS
    ]
    compare_gradients(trials, known)


def _one_connected(which: int) -> Callable:
    def meta_loss(params: list[Tensor], tasks: list[Task], inner_lr: float) -> Tensor:
        return solutions.meta_loss(params, tasks[which:][:1], inner_lr) / len(tasks)

    return meta_loss


META_LOSS_GRAPHS: list[Misconception] = [
    (
        "The number is right, but the meta-gradient is the first-order one: the inner gradients have become constants "
        "on the way. That is first-order MAML, cheaper and a little worse. Look for detach, or for an inner step "
        "that does not keep its graph.",
        _meta_variant,
    ),
    (
        START_CUT.format(The="The number is"),
        lambda *arguments: _meta_variant(*arguments, step=_cut_at_the_start),
    ),
    *(
        (
            f"The number is right, but the meta-gradient is that of the {which} task alone: the losses of the others "
            "are cut off from `params`. Add them up as tensors, without item() or detach.",
            _one_connected(index),
        )
        for which, index in (("last", -1), ("first", 0))
    ),
]

meta_loss = Exercise(
    answer=solutions.meta_loss,
    imports=FORWARD,
    difficulty="medium",
    minutes=10,
    statement=(
        "Compute the loss that MAML minimises: the mean over tasks of the query loss after one inner step on the "
        "support set."
    ),
    hints=(
        "Go through the tasks. For each, adapt with inner_step, then judge the adapted parameters; never the other "
        "way.",
        "Adapt on support_x and support_y, starting from `params` each time. The squared error to average is that of "
        "forward(adapted, query_x) against query_y.",
        "Keep the losses as tensors in a list and return torch.stack(losses).mean().",
    ),
    cases=META_LOSS_CASES,
    examine=_examine_meta_loss,
    in_place=(
        "It changes the parameters or the tasks it is given, so whatever comes after starts from something else. Adapt "
        "copies, which is what inner_step returns, and leave the arguments as they were."
    ),
)
