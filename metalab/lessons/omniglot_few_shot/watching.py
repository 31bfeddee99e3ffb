"""Trainings that are watched: the curve of the reader's own loop, and the engine's with its validation accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from matplotlib.figure import Figure
from torch import Tensor

from ...arguments import whole
from ...evaluate import Score
from ...nets import Params
from ...train import Step, Trainer
from ..kit import panels
from ..kit.figures import BLUE, ORANGE, SKY, TITLE, figure, finish, show, smooth
from ..kit.panels import LivePicture, show_widget


class Curve:
    """The loss of a training loop, drawn while the loop runs.

        curve = Curve(100, title="my own loop")
        for step in curve:          # 1, 2, … 100
            curve.add(train_step(…))

    Args:
        steps: how many times the loop runs.
        title: the title of the figure.

    Attributes:
        losses: the losses so far.

    Raises:
        TypeError, ValueError: `steps` is no whole number of at least 1.
    """

    def __init__(self, steps: int, *, title: str) -> None:
        whole(steps=steps)
        self.steps, self.title = steps, title
        self.losses: list[float] = []

    def add(self, loss: float | Tensor) -> None:
        """Add the loss of a step to the curve."""
        self.losses.append(loss.item() if isinstance(loss, Tensor) else float(loss))

    def __iter__(self) -> Iterator[int]:
        picture = LivePicture(per_second=2)
        show_widget(picture.box, b"", f"{self.title}: the loss, drawn while the loop runs.")
        for step in range(1, self.steps + 1):
            yield step
            if self.losses and picture.due():
                picture.draw(*self._draw())
        caption = ""
        if self.losses:
            fig, caption = self._draw()
            show(fig, caption)
        picture.leave(caption)

    def _draw(self) -> tuple[Figure, str]:
        fig, ax = figure(height=3.4)
        ax.plot(range(1, len(self.losses) + 1), self.losses, color=SKY, linewidth=1, label="each step")
        ax.plot(range(1, len(self.losses) + 1), smooth(self.losses, 10), color=BLUE, label="mean of 10 steps")
        ax.set_xlim(0, self.steps)
        ax.set_ylim(bottom=0)
        finish(ax, self.title, "step", "loss", legend=True)
        last = smooth(self.losses, 10)[-1]
        return fig, f"{self.title}: step {len(self.losses)} of {self.steps}, loss {last:.2f}."


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
    panels.train_and_draw(trainer, steps, draw, alt=alt, after=test, per_second=1)
    return found
