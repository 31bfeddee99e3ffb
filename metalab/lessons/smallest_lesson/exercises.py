"""The exercise of the smallest lesson: the mean of the tasks' losses."""

from collections.abc import Callable

import torch
from torch import Tensor

from ..kit.exercise import Exercise, Misconception, compare, number
from . import solutions

__all__ = ["mean_loss"]

MEAN_LOSS_MISTAKES: list[Misconception] = [
    ("This is the sum: it grows with the number of tasks.", lambda losses: losses.sum()),
    ("This is the loss of the first task alone.", lambda losses: losses[0]),
    ("This is the loss of the last task alone.", lambda losses: losses[-1]),
    ("This is the largest loss.", lambda losses: losses.max()),
    ("This is the smallest loss.", lambda losses: losses.min()),
    ("This is the median: a very large loss would not count.", lambda losses: losses.median()),
    ("This is half the mean.", lambda losses: losses.mean() / 2),
    ("This is minus the mean: a step that descends would make the losses larger.", lambda losses: -losses.mean()),
    ("It divides by T - 1, as for a variance.", lambda losses: losses.sum() / (len(losses) - 1)),
    ("This is the root mean square: large losses count too much.", lambda losses: losses.square().mean().sqrt()),
]


def _inputs() -> tuple[Tensor]:
    return (torch.tensor([1.0, 5.0, 0.5, 2.0, 3.0]),)


def _examine(attempt: Callable) -> None:
    (losses,) = _inputs()

    def named(function: Callable) -> dict[str, Tensor]:
        return {"the mean": torch.tensor(number(function(losses), "the mean"))}

    mistakes = ((message, named(wrong)) for message, wrong in MEAN_LOSS_MISTAKES)
    compare(named(attempt), named(solutions.mean_loss), mistakes=mistakes, inputs="exercises.mean_loss.inputs()")


mean_loss = Exercise(
    answer=solutions.mean_loss,
    difficulty="easy",
    minutes=1,
    statement="Return the mean of the tasks' losses.",
    hints=("Every task counts the same.", "Divide the sum by the number of tasks.", "A tensor has the method mean()."),
    inputs=_inputs,
    examine=_examine,
)
