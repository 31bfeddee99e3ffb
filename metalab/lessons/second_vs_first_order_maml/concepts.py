"""Drawings of the ideas of the lesson on second- and first-order MAML."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from ..kit.figures import BLACK, BLUE, GREY, TEXT, TITLE, VERMILION, figure, legend_of_all

HEIGHT = 0.5  # half the height of a box


def draw_chain() -> tuple[Figure, str]:
    """Draw the chain from the start through the inner steps to the query loss, and the vector that travels back.

    Returns:
        The figure, and its description in words.
    """
    fig, ax = figure(height=4.3)
    places = {0: 0.0, 1: 2.6, 2: 5.2, "K": 8.6}
    for at, x in places.items():
        _box(ax, x, 0, f"$\\theta_{at}$", BLACK)
        _box(ax, x, -2.4, f"$v_{at}$", BLUE)
        if at != "K":
            ax.annotate("", (x, -2.4 + HEIGHT), (x, -HEIGHT), arrowprops={"arrowstyle": "-", "color": GREY, "ls": ":"})
    for one, other in ((0, 1), (1, 2)):
        _arrow(ax, (places[one] + 0.55, 0), (places[other] - 0.55, 0), BLACK)
        middle = (places[one] + places[other]) / 2
        ax.text(middle, 0.25, f"$-\\alpha\\nabla L_S(\\theta_{one})$", fontsize=TEXT, ha="center", va="bottom")
        _arrow(ax, (places[other] - 0.55, -2.4), (places[one] + 0.55, -2.4), BLUE)
        ax.text(middle, -2.15, f"$I - \\alpha H_{one}$", fontsize=TEXT, ha="center", va="bottom", color=BLUE)
    for y, color in ((0, BLACK), (-2.4, BLUE)):
        ax.text(6.9, y, "…", fontsize=TEXT + 6, ha="center", va="center", color=color)
        begin, end = (5.75, 6.5), (7.3, 8.05)
        for x0, x1 in (begin, end) if color == BLACK else (begin[::-1], end[::-1]):
            _arrow(ax, (x0, y), (x1, y), color)
    _box(ax, 11.2, 0, "$L_Q(\\theta_K)$", BLACK, width=0.95)
    _arrow(ax, (9.15, 0), (10.2, 0), BLACK)
    _arrow(ax, (11.2, -HEIGHT), (9.15, -2.4), BLUE, bend=-0.25)
    ax.text(11.35, -1.7, r"$\nabla L_Q(\theta_K)$", fontsize=TEXT, color=BLUE, ha="left")
    _arrow(ax, (8.6, -2.4 - HEIGHT), (0.0, -2.4 - HEIGHT), VERMILION, bend=-0.14, dash="--")
    ax.text(4.3, -3.98, "first order: $v_K$ is taken for $v_0$", fontsize=TEXT, color=VERMILION, ha="center", va="top")
    ax.text(-0.6, 0.95, "forward: adapt, and keep the points", fontsize=TEXT, va="bottom")
    back = r"back: how the query loss changes with $\theta_k$"
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    ax.text(-0.6, -1.38, back, fontsize=TEXT, color=BLUE, va="center", bbox=paper)
    ax.set(xlim=(-0.8, 13.4), ylim=(-4.6, 1.6), aspect="equal")
    ax.axis("off")
    return fig, (
        "A chain of inner steps leads from the start θ_0 over θ_1 and θ_2 to θ_K, and there to the query loss. Below "
        "it a chain leads back: it begins as v_K, the gradient of the query loss at θ_K, and is multiplied by "
        "I minus αH_k at each step, down to v_0. A dashed arrow from v_K straight to v_0 is first order."
    )


def draw_triangle(first: float, second: float, angle: float) -> tuple[Figure, str]:
    """Draw the two meta-gradients of one batch and the term between them, with their true lengths and angle.

    Args:
        first: the length of the first-order meta-gradient.
        second: the length of the second-order one.
        angle: the angle between the two, in degrees.

    Returns:
        The figure, and its description in words.
    """
    fig, ax = figure(9, 3.4)
    longest = max(first, second)
    a = (first / longest, 0.0)
    turn = math.radians(angle)
    b = (second / longest * math.cos(turn), second / longest * math.sin(turn))
    term = math.dist(a, b) * longest
    lines = [
        ((0, 0), a, VERMILION, "--", f"first order: {first:.2f}"),
        ((0, 0), b, BLUE, "-", f"second order: {second:.2f}"),
        (a, b, BLACK, ":", f"minus what is left out: {term:.2f}"),
    ]
    handles = []
    for begin, end, color, dash, label in lines:
        _arrow(ax, begin, end, color, dash=dash, width=2.5)
        handles += ax.plot([], [], dash, color=color, linewidth=2.5, label=label)
    ax.plot(0, 0, "o", color=BLACK, markersize=7)
    xs, ys = [0, a[0], b[0]], [0, a[1], b[1]]
    ax.set(xlim=(min(xs) - 0.1, max(xs) + 0.1), ylim=(min(ys) - 0.1, max(ys) + 0.15), aspect="equal")
    ax.axis("off")
    ax.set_title("the two meta-gradients of one batch, and the difference", fontsize=TITLE)
    legend_of_all(fig, handles)
    return fig, (
        f"A triangle of arrows: first order has the length {first:.2f}, second order {second:.2f}, {angle:.0f}° apart; "
        f"the third side, what first order leaves out, has the length {term:.2f}."
    )


def _box(ax: Axes, x: float, y: float, text: str, color: str, width: float = 0.5) -> None:
    style = {"boxstyle": "round,pad=0.05", "facecolor": "white", "edgecolor": color, "linewidth": 1.8}
    ax.add_patch(FancyBboxPatch((x - width, y - HEIGHT), 2 * width, 2 * HEIGHT, **style))
    ax.text(x, y, text, fontsize=TEXT + 3, ha="center", va="center", color=color)


def _arrow(
    ax: Axes,
    begin: tuple[float, float],
    end: tuple[float, float],
    color: str,
    *,
    bend: float = 0.0,
    dash: str = "-",
    width: float = 1.8,
) -> None:
    ax.add_patch(
        FancyArrowPatch(
            begin,
            end,
            arrowstyle="-|>",
            mutation_scale=16,
            connectionstyle=f"arc3,rad={bend}",
            shrinkA=0,
            shrinkB=0,
            color=color,
            linewidth=width,
            linestyle=dash,
        )
    )
