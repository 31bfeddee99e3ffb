"""The curve of a training loop that the reader wrote, drawn while the loop runs."""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.figure import Figure
from torch import Tensor

from ...arguments import whole
from .figures import BLUE, SKY, figure, finish, show, smooth
from .panels import LivePicture, show_widget


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
