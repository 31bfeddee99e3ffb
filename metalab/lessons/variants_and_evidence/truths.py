"""Checks of exercises whose answers are truth values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..kit.comparing import Case, Misconception, Wrong, agree, describe


def truth(value: Any, name: str) -> float:
    """Return a truth value as 0 or 1. `name` says which one it is.

    Raises:
        Wrong: the value is no truth value.
    """
    alone = isinstance(value, Tensor | np.ndarray) and value.ndim == 0 and value.dtype in (torch.bool, np.bool_)
    if not (alone or isinstance(value, bool | np.bool_)):
        raise Wrong(f"{name[0].upper()}{name[1:]} should be True or False; yours is {describe(value)}.")
    return float(bool(value))


def agree_on_truths(
    attempt: Callable,
    *,
    name: str,
    cases: Sequence[Case],
    right: Callable,
    numbers: Callable,
    known: Sequence[Misconception],
) -> None:
    """Compare the truth values of an attempt with the right ones.

    Args:
        attempt: the reader's function.
        name: that of the exercise.
        cases: what to call the function with.
        right: the solution.
        numbers: takes a result and the arguments of its call, and returns the truth values as 0 and 1 by name.
        known: what comes of known mistakes.

    Raises:
        Wrong: they differ; the message names the mistake, or the first case whose answer is wrong.
    """

    def mistakes() -> Iterator[Misconception]:
        yield from known
        for index, case in enumerate(cases):
            got, want = (numbers(judge(*case.make()), case.make()) for judge in (attempt, right))
            for part, value in want.items():
                if not torch.equal(got[part], value):
                    should, does = value.bool().tolist(), got[part].bool().tolist()
                    yours = f"yours {'are' if value.ndim else 'is'} {does}"
                    raise Wrong(
                        f"With {case.what}, {part} should be {should}; {yours}. These arguments are "
                        f"exercises.{name}.inputs({index or ''})."
                    )

    agree(attempt, name=name, cases=cases, right=right, numbers=numbers, mistakes=mistakes(), tolerance=0.5)
