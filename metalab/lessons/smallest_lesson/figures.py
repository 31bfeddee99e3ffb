"""The figure of the smallest lesson."""

from matplotlib.figure import Figure
from torch import Tensor

from ..kit.figures import BLUE, figure, finish


def draw_losses(losses: Tensor) -> Figure:
    """Draw a bar for each task's loss [T]."""
    fig, ax = figure(5, 3)
    ax.bar([f"task {t}" for t in range(1, len(losses) + 1)], losses.tolist(), color=BLUE)
    finish(ax, "a loss for each task", y="loss")
    return fig
