"""The exercise of the smallest lesson: the mean of the tasks' losses."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..kit.comparing import Case, Misconception, agree, number
from ..kit.exercise import Exercise
from . import solutions

__all__ = ["mean_loss"]

MEAN_LOSS_MISTAKES: list[Misconception] = [
    ("This is the sum: it grows with the number of tasks.", lambda losses: losses.sum()),
    ("This is the loss of the first task alone.", lambda losses: losses[0]),
    ("This is the loss of the last task alone.", lambda losses: losses[-1]),
    ("This is the largest loss.", lambda losses: losses.max()),
    ("This is the smallest loss.", lambda losses: losses.min()),
    ("This is the median: a very large loss would not count.", lambda losses: losses.median()),
    ("This is minus the mean: a step that descends would make the losses larger.", lambda losses: -losses.mean()),
    ("This is the root mean square: large losses count too much.", lambda losses: losses.square().mean().sqrt()),
]


def _case(losses: list[float]) -> Case:
    tasks = len(losses)
    return Case(what=f"{tasks} tasks", make=lambda: (torch.tensor(losses),), sizes={"the number of tasks": tasks})


CASES = [_case([1.0, 5.0, 0.5, 2.0, 3.0]), _case([2.0, 0.25, 4.0])]


def _mean(result: Any, _arguments: tuple) -> dict[str, Tensor]:
    return {"the mean": torch.tensor(number(result, "the mean"))}


def _examine(attempt: Callable) -> None:
    right, mistakes = solutions.mean_loss, MEAN_LOSS_MISTAKES
    agree(attempt, name="mean_loss", cases=CASES, right=right, numbers=_mean, mistakes=mistakes)


mean_loss = Exercise(
    answer=solutions.mean_loss,
    difficulty="easy",
    minutes=1,
    statement="Return the mean of the tasks' losses.",
    hints=("Every task counts the same.", "Divide the sum by the number of tasks.", "A tensor has the method mean()."),
    cases=CASES,
    examine=_examine,
)
