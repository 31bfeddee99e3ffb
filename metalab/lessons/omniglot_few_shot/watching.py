"""Trainings that are watched: the curve of the reader's own loop, and the engine's with its validation accuracy."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from ...evaluate import Score
from ...nets import Params
from ...train import Step, Trainer
from ..kit import panels
from ..kit.canvas import TWO_COLUMNS
from ..kit.curve import Curve as Curve
from ..kit.figures import BLUE, ORANGE, TITLE, figure, finish, smooth


def train_with_validation(
    trainer: Trainer,
    steps: int,
    score: Callable[[Params], Score],
    *,
    title: str,
    tests: int = 5,
    unit: str = "meta-step",
) -> dict[int, Score]:
    """Take `steps` steps. Draw the training loss, and next to it the accuracy on validation tasks, `tests` times.

    The two have axes of their own, because a loss on 60 characters and an accuracy on 5 cannot be compared.

    Args:
        trainer: the training.
        steps: the budget. It is counted in steps and not in seconds, so that a slower machine gets the same result.
        score: returns the score of the current parameters on validation tasks.
        title: the title of the figure.
        tests: how many times the validation score is taken; the last time at the end.
        unit: what a step is called on the axis.

    Returns:
        The validation scores by step.
    """
    found: dict[int, Score] = {}
    due = {round(steps * i / tests) for i in range(1, tests + 1)}

    def draw(done: list[Step]) -> tuple[Figure, str]:
        fig, (left, right) = figure(height=3.6, ncols=2)
        numbers = [step.number for step in done]
        left.plot(numbers, smooth([step.metrics["loss"] for step in done], 25), color=BLUE)
        left.set_xlim(0, steps)
        left.set_ylim(bottom=0)
        finish(left, "training loss, mean of 25 steps", unit, "cross-entropy")
        right.set_xlim(0, 1.03 * steps)
        right.set_ylim(20, 100)
        if found:
            means, bars = zip(*((100 * s.mean, 100 * s.ci95) for s in found.values()), strict=True)
            right.errorbar(list(found), means, bars, color=ORANGE, fmt="o--", capsize=4)
        finish(right, "validation alphabets, 5-way 1-shot", unit, "accuracy (%)")
        fig.suptitle(title, fontsize=TITLE)
        caption = f"{title}: {unit} {trainer.steps} of {steps}"
        if found:
            caption += f"; on validation alphabets {list(found.values())[-1].percent()}"
        return fig, caption + "."

    def test(step: Step) -> None:
        if step.number in due:
            found[step.number] = score(trainer.params)

    alt = f"{title}: training loss and validation accuracy, drawn while the network trains."
    # A picture takes longer than a step, and this training keeps both cores busy, so one picture per second is enough.
    panels.train_and_draw(trainer, steps, draw, alt=alt, after=test, per_second=1, narrowest=TWO_COLUMNS)
    return found
