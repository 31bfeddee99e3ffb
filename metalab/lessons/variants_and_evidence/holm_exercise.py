"""The exercise on Holm's method: what it is checked with, and the mistakes that its check knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..kit.comparing import Case, Numbers, Wrong, combined, describe, single
from ..kit.exercise import Exercise
from . import solutions
from .truths import agree_on_truths, truth

_TESTS = [  # the p of the comparisons, and the level
    ([0.03, 0.01, 0.04], 0.05),
    ([0.001, 0.2, 0.012, 0.02, 0.013], 0.05),
    ([0.04, 0.9, 0.03], 0.1),
    ([0.6, 0.03, 0.2], 0.05),
    ([0.01, 0.02, 0.03, 0.04], 0.05),
    ([0.04], 0.05),
    ([0.021, 0.004, 0.015, 0.3, 0.009, 0.01, 0.04], 0.05),
    ([0.002, 0.004, 0.3, 0.001], 0.01),
    ([0.049, 0.024, 0.016], 0.05),
    ([0.02, 0.005, 0.02], 0.05),
    ([0.02, 0.3, 0.6], 0.05),
]


def _case(index: int) -> Case:
    p, level = _TESTS[index]
    return Case(what=f"the p {', '.join(map(str, p))} and the level {level}", make=lambda: (list(p), level))


PASSES_CASES = [_case(index) for index in range(len(_TESTS))]


def _passes(p: list[float], level: float, *, against: str = "holm", stop: bool = True, order: str = "given") -> list:
    """Return the truth values, or what comes of the mistakes that the keywords name."""
    count, ranked = len(p), sorted(range(len(p)), key=lambda index: p[index])
    if against == "largest first":
        ranked = ranked[::-1]
    limits = {
        "holm": lambda rank: level / (count - rank),
        "largest first": lambda rank: level / (count - rank),
        "all": lambda rank: level / count,
        "none": lambda rank: level,
        "rank": lambda rank: level / (rank + 1),
        "one less": lambda rank: level / max(1, count - rank - 1),
        "one more": lambda rank: level / (count - rank + 1),
        "share": lambda rank: level * (rank + 1) / count,
        "5 %": lambda rank: 0.05 / (count - rank),
    }[against]
    below = [p[index] < limits(rank) for rank, index in enumerate(ranked)]
    if stop:
        below = [all(below[: rank + 1]) for rank in range(count)]
    if order == "sorted":
        return below
    found = [False] * count
    for index, passed in zip(ranked, below, strict=True):
        found[index] = passed
    return [not passed for passed in found] if order == "turned" else found


_KNOWN = combined(
    _passes,
    {
        "against": {
            "all": "Every p is compared with the level divided by the number of comparisons. This is Bonferroni's "
            "method, which is stricter than it has to be. Holm's divides by one less after each p that passes.",
            "none": "Every p is compared with the level itself, as if it were the only comparison.",
            "rank": "The divisors are in the wrong order: the smallest p has to be below the level divided by the "
            "number of comparisons, and the largest one below the level itself.",
            "largest first": "It begins with the largest p. Holm's method begins with the smallest one.",
            "one less": "The divisor is too small by one: the smallest p is compared with the level divided by the "
            "number of *all* comparisons.",
            "one more": "The divisor is too large by one: the smallest p is compared with the level divided by the "
            "number of all comparisons, and the largest one with the level itself.",
            "share": "The limits grow in equal steps, as in the method of Benjamini and Hochberg, which promises "
            "something else: that few of the *findings* are false.",
            "5 %": "The level 0.05 is written into the code. Use the argument.",
        },
        "stop": {
            False: "It goes on after the first p that does not pass. From there on, none passes, however it compares "
            "with its own limit.",
        },
        "order": {
            "sorted": "The truth values are in the order of the sorted p. Return them in the order in which the p "
            "were given.",
            "turned": "The truth values are turned around: True should mean that the comparison passes.",
        },
    },
)
PASSES_MISTAKES = single(_KNOWN)


def _truths(result: Any, arguments: tuple) -> Numbers:
    """Return the truth values as 0 and 1, and raise `Wrong` for what are none."""
    count = len(arguments[0])
    if isinstance(result, Tensor | np.ndarray):
        result = list(result)
    if not isinstance(result, list | tuple) or len(result) != count:
        raise Wrong(f"It should return a list of {count} truth values, one for each p; yours is {describe(result)}.")
    return {"the truth values": torch.tensor([truth(part, "each value") for part in result])}


def _examine(attempt: Callable) -> None:
    def own(p: list[float], level: float) -> Any:
        return attempt(list(p), level)  # it may use its list up, as it may in the lesson

    agree_on_truths(own, name="passes", cases=PASSES_CASES, right=solutions.passes, numbers=_truths, known=_KNOWN)


passes = Exercise(
    answer=solutions.passes,
    difficulty="medium",
    minutes=10,
    statement="From the p of several comparisons and a level, tell by Holm's method which of them pass.",
    hints=(
        "Go through the comparisons from the smallest p to the largest, and remember where each stood in the list.",
        "sorted(range(len(p)), key=lambda i: p[i]) gives the places in the list, the smallest p first. The limit is "
        "level / m at first, then level / (m - 1), and so on down to level.",
        "Begin with found = [False] * len(p). For each place in this order: if p[place] is not below its limit, leave "
        "the loop; otherwise set found[place] = True.",
    ),
    cases=PASSES_CASES,
    examine=_examine,
)
